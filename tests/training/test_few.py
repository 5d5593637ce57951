"""Few examples: the methods through the Trainer and through recipes, labels added later, and how ``auto`` chooses."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nlphub as hub
from nlphub.checkpoints import huggingface
from nlphub.checkpoints.native import weights_digest
from nlphub.errors import InputError, RecipeError, WeightsError
from nlphub.nn.prototype import PrototypeHead
from nlphub.recipe import TrainSettings
from nlphub.training.few import choose as chooser
from nlphub.training.few.choose import Choice, choose
from nlphub.training.few.loop import paired_order

SMALL: dict[str, Any] = {"batch_size": 6, "epochs": 2, "learning_rate": 1e-3, "seed": 1}
NEW = [(f"{opening}开发票", "开票") for opening in ("请问怎么", "我要", "帮我", "能不能")]


@pytest.fixture
def module(small_folder: Path) -> hub.Module:
    return hub.Module(directory=small_folder)


def learnt(folder: Path, rows: Any, method: str = "prototype", **more: Any) -> hub.Module:
    module = hub.Module(directory=folder)
    hub.Trainer(module, settings=TrainSettings(method=method, **(SMALL | more)), progress=False).train(rows)  # type: ignore[arg-type]
    return module


def digest(module: hub.Module) -> str:
    return weights_digest(module.encoder, module.head)


def test_prototypes_leave_the_encoder_as_it_is_and_repeat_to_the_bit(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    before = weights_digest(hub.Module(directory=small_folder).encoder)
    first, second = (learnt(small_folder, rows) for _ in range(2))
    assert weights_digest(first.encoder) == before
    assert digest(first) == digest(second)
    assert first.labels == ("余额", "挂失", "转账")
    assert isinstance(first.head, PrototypeHead)
    answers = first.predict([text for text, _ in rows])
    assert np.mean([answer.label == label for answer, (_, label) in zip(answers, rows, strict=True)]) == 1
    assert first.predict(["我的卡丢了"])[0].label == "挂失"


def test_a_saved_module_with_prototypes_opens_again_and_its_artefact_agrees(
    small_folder: Path, rows: list[tuple[str, str]], tmp_path: Path
) -> None:
    module, texts = learnt(small_folder, rows), ["卡丢了怎么办", "汇款", "", "钱" * 600, "abc"]
    hub.calibrate(module, rows, confidence="neighbours", aim={"coverage": 0.9}, train=rows)
    module.save(tmp_path / "saved")
    again = hub.Module(directory=tmp_path / "saved")
    assert digest(again) == digest(module)
    assert again.predict(texts) == module.predict(texts)
    assert module.export(tmp_path / "artefact").parity.holds
    for ours, theirs in zip(module.predict(texts), hub.Predictor(tmp_path / "artefact")(texts), strict=True):
        assert (ours.label, ours.accepted) == (theirs.label, theirs.accepted)
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)
    fresh = hub.Module(directory=small_folder, load_checkpoint=tmp_path / "saved")
    assert digest(fresh) == digest(module)
    assert hub.Module(directory=tmp_path / "saved", task="seq-cls", labels=["甲", "乙"]).head.form == {}  # type: ignore[union-attr]
    with pytest.raises(InputError, match="Hugging Face"):
        huggingface.save_folder(tmp_path / "hf", encoder=module.encoder, head=module.head, tokenizer=module.tokenizer)


@pytest.mark.parametrize("change", [{"grams": 1}, {"version": 9}, {"kind": "x"}, {"tokens": 3}], ids=str)
def test_a_form_that_does_not_fit_its_weights_is_refused(
    small_folder: Path, rows: list[tuple[str, str]], tmp_path: Path, change: dict[str, Any]
) -> None:
    learnt(small_folder, rows).save(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(config | {"head": config["head"] | change}), "utf-8")
    with pytest.raises(WeightsError):
        hub.Module(directory=tmp_path / "saved")


def test_a_label_added_later_gives_the_module_of_all_examples(small_folder: Path, rows: list[tuple[str, str]], tmp_path: Path) -> None:
    module = learnt(small_folder, rows)
    module.save(tmp_path / "old")
    opened = hub.Module(directory=tmp_path / "old")
    opened.add_label("开票", [text for text, _ in NEW])
    whole = learnt(small_folder, [*rows, *NEW])
    assert opened.labels == whole.labels == ("余额", "开票", "挂失", "转账")
    assert digest(opened) == digest(whole)
    assert opened.predict(["开一张发票"]) == whole.predict(["开一张发票"])
    opened.save(tmp_path / "new")
    assert digest(hub.Module(directory=tmp_path / "new")) == digest(whole)


def test_a_label_added_later_resets_the_calibration_and_says_so(
    small_folder: Path, rows: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    module = learnt(small_folder, rows)
    hub.calibrate(module, rows, aim={"coverage": 0.5})
    with caplog.at_level(logging.WARNING):
        module.add_label("开票", [text for text, _ in NEW])
    assert "hub.calibrate" in caplog.text
    assert module.calibration.threshold == 0
    assert module.trained


def test_unsorted_labels_keep_their_order_and_the_new_one_comes_last(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    module = hub.Module(directory=small_folder, task="seq-cls", labels=["转账", "余额", "挂失"])
    hub.Trainer(module, settings=TrainSettings(method="prototype"), progress=False).train(rows)
    assert module.labels == ("转账", "余额", "挂失")
    module.add_label("开票", [text for text, _ in NEW])
    assert module.labels == ("转账", "余额", "挂失", "开票")
    assert [answer.label for answer in module.predict(["我要开发票", "卡丢了"])] == ["开票", "挂失"]


def test_a_label_that_cannot_be_added_is_refused_with_all_reasons(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    module = learnt(small_folder, rows)
    with pytest.raises(InputError) as wrong:
        module.add_label("转账", ["好", "", 3])  # type: ignore[list-item]
    assert len(wrong.value.problems) == 3
    for label, texts in (("新", []), ("新", "一个"), (" ", ["好"])):
        with pytest.raises(InputError):
            module.add_label(label, texts)
    with pytest.raises(InputError, match="method=prototype"):
        hub.Module(directory=small_folder, task="seq-cls", labels=["甲", "乙"]).add_label("新", ["好"])


def test_contrastive_steps_bring_the_texts_of_a_label_together(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    def apart(module: hub.Module) -> float:
        vectors = module.encode([text for text, _ in rows])
        vectors = vectors - vectors.mean(0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        same = np.array([[one == other for _, other in rows] for _, one in rows])
        similar = vectors @ vectors.T
        return float(similar[same].mean() - similar[~same].mean())

    before, after = hub.Module(directory=small_folder), learnt(small_folder, rows, "contrastive", epochs=8)
    assert apart(after) > apart(before) + 0.1
    assert isinstance(after.head, PrototypeHead)
    assert after.head.balance is not None, "the balance is the one of the encoder before it knew the examples"
    after.add_label("开票", [text for text, _ in NEW])
    assert after.predict(["我要开发票"])[0].label == "开票"


def test_a_contrastive_training_goes_on_exactly(small_folder: Path, rows: list[tuple[str, str]], tmp_path: Path) -> None:
    settings = TrainSettings(method="contrastive", **(SMALL | {"epochs": 3}))

    def trainer(folder: Path) -> hub.Trainer:
        return hub.Trainer(hub.Module(directory=small_folder), settings=settings, checkpoint_dir=folder, progress=False)

    whole = trainer(tmp_path / "whole")
    whole.train(rows, eval_dataset=rows)
    torn = trainer(tmp_path / "torn")
    torn_keep = torn.keeper.keep_last
    evaluations = []

    def stop(*given: Any) -> None:
        torn_keep(*given)
        evaluations.append(given)
        if len(evaluations) == 2:
            raise KeyboardInterrupt

    torn.keeper.keep_last = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        torn.train(rows, eval_dataset=rows)
    resumed = trainer(tmp_path / "torn")
    report = resumed.train(rows, eval_dataset=rows, resume=True)
    assert report.steps == 24
    assert digest(resumed.module) == digest(whole.module)
    for part in ("best", "last"):
        assert (tmp_path / "torn" / part / "model.safetensors").read_bytes() == (
            tmp_path / "whole" / part / "model.safetensors"
        ).read_bytes()
    ended = trainer(tmp_path / "torn")
    assert ended.train(rows, eval_dataset=rows, resume=True).steps == 0
    assert digest(ended.module) == digest(whole.module)


def test_an_order_in_pairs_has_every_example_once_and_company_for_it() -> None:
    targets = np.array([0] * 5 + [1] * 4 + [2])
    order = paired_order(targets, seed=3, epoch=0)
    assert sorted(order.tolist()) == list(range(10))
    assert order.tolist() == paired_order(targets, seed=3, epoch=0).tolist() != paired_order(targets, seed=3, epoch=1).tolist()
    named = targets[order]
    alone = [place for place in range(10) if named[place] not in (*named[max(0, place - 1) : place], *named[place + 1 : place + 2])]
    assert [int(named[place]) for place in alone] == [2]


def test_fine_tuning_a_module_with_prototypes_gives_it_the_usual_head(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    module = learnt(small_folder, rows)
    hub.Trainer(module, settings=TrainSettings(**SMALL), progress=False).train(rows)
    assert module.task_head.form == {}
    assert module.trained


class Told:
    """Stands for training in :func:`choose`: a pupil answers as its method is told to."""

    def __init__(self, right: dict[str, Callable[[int], bool]]) -> None:
        self.right, self.trained, self.passes = right, Counter[str](), set[tuple[int, int]]()

    def __call__(self, pupil: hub.Module, settings: TrainSettings, train: hub.Examples) -> None:
        method, labels = settings.method, dict(ROWS)
        self.trained[method] += 1
        self.passes.add((settings.epochs, len(train)))

        def predict(texts: list[str], *, top_k: int) -> list[Any]:
            given = [labels[text] if self.right[method](ORDER[text]) else "无" for text in texts]
            return [hub.Prediction(label, 1.0, True, ((label, 1.0),)) for label in given]

        object.__setattr__(pupil, "predict", predict)


ROWS = [(f"{name}{what}", name) for name in ("甲", "乙", "丙") for what in ("山", "水", "火", "木", "金", "土", "日", "月")]
LABELS = ("丙", "乙", "甲", "无")
ORDER = {text: number for number, (text, _) in enumerate(ROWS)}


@pytest.mark.parametrize("best", ["prototype", "finetune"])
def test_auto_leaves_the_standing_method_for_one_that_is_clearly_ahead(small_folder: Path, best: str) -> None:
    others = {name: (lambda number: number % 3 > 0) for name in ("prototype", "finetune", "contrastive")}
    told = Told(others | {best: lambda number: number % 12 > 0})
    found = choose(hub.Module(directory=small_folder), TrainSettings(), hub.Examples.of(ROWS), labels=LABELS, fit=told)
    assert found.method == best
    assert max(found.scores, key=lambda name: found.scores[name]) == best
    assert found.metric == "macro_f1"
    assert found.judged == dict.fromkeys(found.scores, 24)
    assert found.reason.startswith("clearly more right answers than contrastive, asked about 24 of 24 examples")


def test_auto_stays_where_chance_explains_what_a_rival_is_ahead(small_folder: Path) -> None:
    told = Told({"prototype": lambda number: number != 5, "finetune": lambda number: True, "contrastive": lambda number: number > 0})
    found = choose(hub.Module(directory=small_folder), TrainSettings(), hub.Examples.of(ROWS), labels=LABELS, fit=told)
    assert found.scores["finetune"] > found.scores["contrastive"]
    assert found.method == "contrastive"


def test_auto_ends_when_no_rival_is_ahead_any_more(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "_LEAST", 10)
    told = Told({"prototype": lambda number: True, "finetune": lambda number: False, "contrastive": lambda number: True})
    found = choose(hub.Module(directory=small_folder), TrainSettings(), hub.Examples.of(ROWS), labels=LABELS, fit=told)
    assert told.trained == {"prototype": 2, "finetune": 2, "contrastive": 2}
    assert found.judged == dict.fromkeys(found.scores, 12)
    assert found.summary().startswith("contrastive (macro_f1: contrastive 1.000, prototype 1.000, finetune 0.000): no other method gives")


def test_auto_trains_a_fold_for_as_many_steps_as_the_training_that_follows(small_folder: Path) -> None:
    told = Told(dict.fromkeys(("prototype", "finetune", "contrastive"), lambda number: True))
    choose(hub.Module(directory=small_folder), TrainSettings(epochs=9), hub.Examples.of(ROWS), labels=("丙", "乙", "甲"), fit=told)
    assert told.passes == {(12, 18)}, "12 passes over 18 examples are 9 over 24"


def test_auto_follows_its_seed_and_leaves_the_module_as_it_is(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    module = hub.Module(directory=small_folder)
    before = digest(module)
    settings = TrainSettings(**(SMALL | {"epochs": 1}))

    def fit(pupil: hub.Module, settings: TrainSettings, train: hub.Examples) -> None:
        hub.Trainer(pupil, settings=settings, progress=False).train(train)

    first, second = (choose(module, settings, hub.Examples.of(rows), labels=("余额", "挂失", "转账"), fit=fit) for _ in range(2))
    assert first == second
    assert first.method == "contrastive"
    assert digest(module) == before
    assert module.head is None


def test_auto_fine_tunes_where_there_is_nothing_to_choose(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: Any) -> None:
        raise AssertionError("nothing has to be trained for this")

    module, labels = hub.Module(directory=small_folder), ("甲", "乙")
    alone = choose(module, TrainSettings(), hub.Examples.of([("一", "甲"), ("二", "乙")]), labels=labels, fit=never)
    assert (alone.method, alone.scores) == ("finetune", {})
    monkeypatch.setattr(chooser, "MOST_EACH", 4)
    many = choose(module, TrainSettings(), hub.Examples.of([(f"{n}", "甲" if n % 2 else "乙") for n in range(9)]), labels=labels, fit=never)
    assert "9 examples of 2 labels are not few" in many.reason


@pytest.fixture
def desk(rows: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return tmp_path


def recipe(folder: Path, *overrides: str) -> hub.Recipe:
    fixed = ("module.name=null", f"module.directory={folder}", "data.train=train.csv", "data.test=null", "data.split={dev: 0.25}")
    small = ("train.epochs=1", "train.batch_size=8", "run.folder=run", "export.folder=null")
    return hub.load_recipe("intent", [*fixed, *small, *overrides])


def test_a_run_with_auto_says_what_it_chose_and_why(small_folder: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice("prototype", "a test says so", "macro_f1", {"prototype": 0.9, "finetune": 0.5}, {"prototype": 24, "finetune": 6})
    monkeypatch.setattr("nlphub.training.trainer.choose", lambda *given, **named: choice)
    run = hub.finetune(recipe(small_folder, "train.method=auto"), progress=False)
    assert run.report.choice == choice
    lock = json.loads((desk / "run" / "lock.json").read_text("utf-8"))
    assert lock["result"]["method"] == choice.as_dict()
    assert run.metrics is not None
    assert run.calibrated is not None
    again = hub.finetune(recipe(small_folder, "train.method=auto"), resume=True, progress=False)
    assert (again.report.steps, again.weights_digest) == (0, run.weights_digest)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("task=token-cls", "data.spans=spans"), "of task seq-cls"),
        (("data.pair=other",), "single texts"),
        (("train.focal=2.0",), "has no focal"),
        (("train.class_weights=balanced",), "has no class_weights"),
        (("train.method=both",), "method"),
    ],
    ids=str,
)
def test_a_recipe_that_contradicts_its_method_is_refused(small_folder: Path, desk: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(small_folder, "train.method=prototype", *overrides)


@pytest.mark.parametrize("method", ["prototype", "contrastive", "auto"])
def test_pairs_and_spans_are_refused_before_anything_is_written(module: hub.Module, method: str) -> None:
    trainer = hub.Trainer(module, settings=TrainSettings(method=method), progress=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pairs"):
        trainer.train([{"text": "一", "pair": "二", "label": "甲"}, {"text": "三", "pair": "四", "label": "乙"}])
    with pytest.raises(InputError, match="token-cls"):
        trainer.train([{"text": "张三来了", "spans": [{"start": 0, "end": 2, "label": "人"}]}])
    many = [(f"{number}", "甲" if number % 2 else "乙") for number in range(4100)]
    if method != "auto":
        with pytest.raises(InputError, match="4,100"):
            trainer.train(many)
    if method != "prototype":
        torn = hub.Trainer(module, settings=TrainSettings(method=method, accumulation=2), progress=False)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="accumulation"):
            torn.train(many[:20])


def test_old_recipes_keep_their_digests() -> None:
    assert "method" not in TrainSettings().decisive()
    assert TrainSettings(method="prototype").decisive()["method"] == "prototype"
    assert torch.get_num_threads() >= 1
