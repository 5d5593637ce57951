"""``text-matching``, from pairs to answers: both variants are trained, judged, calibrated, saved, exported; what cannot be is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.cli.app import app
from nlphub.data.examples import Examples
from nlphub.errors import DataError, InputError, WeightsError
from nlphub.evaluation.auc import area_under_curve
from nlphub.recipe import load_recipe
from nlphub.tasks import task_named, trainable
from nlphub.text.tokenizers import load_tokenizer
from nlphub.training.loop import Loop

TOKENIZER = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
WORDS = ("苹果", "香蕉", "手机", "银行", "天气", "电影")
LABELS = ("不同", "相同")
QUICK = hub.TrainSettings(epochs=2, batch_size=8, learning_rate=3e-3, metric="auc")
both = pytest.mark.parametrize("variant", ["cross-encoder", "bi-encoder"])


def rows(number: int, *, seed: int) -> list[dict[str, str]]:
    chance = np.random.default_rng(seed)
    drawn = [chance.choice(WORDS, 2, replace=False) for _ in range(number)]
    words = [(a, a if n % 2 else b) for n, (a, b) in enumerate(drawn)]
    return [{"text": f"{a}好吗", "pair": f"问问{b}的事", "label": LABELS[a == b]} for a, b in words]


def asked(given: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["text"], row["pair"]) for row in given]


@pytest.fixture
def module(small_folder: Path) -> Callable[..., hub.Module]:
    def make(variant: str | None = None, **given: Any) -> hub.Module:
        return hub.Module(directory=small_folder, task="text-matching", labels=LABELS, variant=variant, **given)

    return make


@pytest.fixture(scope="module")
def trained(small_folder: Path) -> dict[str, hub.Module]:
    made = {}
    for variant in ("cross-encoder", "bi-encoder"):
        made[variant] = hub.Module(directory=small_folder, task="text-matching", labels=LABELS, variant=variant)
        settings = QUICK.model_copy(update={"epochs": 6})
        hub.Trainer(made[variant], settings=settings, progress=False).train(rows(96, seed=0))
    return made


def test_a_bi_encoder_learns_and_is_judged_by_accuracy_f1_and_auc(trained: dict[str, hub.Module]) -> None:
    given = rows(40, seed=1)
    metrics = hub.Trainer(trained["bi-encoder"], progress=False).evaluate(given)
    assert metrics.accuracy > 0.8
    logits = trained["bi-encoder"].logits(asked(given))
    truth = np.array([row["label"] == "相同" for row in given])
    assert metrics.auc == area_under_curve((logits[:, 1] - logits[:, 0]).astype(np.float64), truth)
    assert set(metrics.headlines) == {"accuracy", "macro_f1", "auc"}
    assert metrics.as_dict()["auc"] == metrics.auc
    assert "AUC" in metrics.table()


@both
def test_a_saved_module_and_its_artefact_answer_alike(variant: str, trained: dict[str, hub.Module], tmp_path: Path) -> None:
    module, pairs = trained[variant], [*asked(rows(20, seed=2)), ("", ""), ("长" * 600, "短"), ("😀\ud800", "a\u200bb")]
    hub.calibrate(module, rows(40, seed=3), aim={"coverage": 0.8}, train=rows(96, seed=0))
    answers = module.predict(pairs)
    assert any(not answer.accepted for answer in answers), "rejection works for pairs"
    module.save(tmp_path / "saved")
    opened = hub.Module(directory=tmp_path / "saved")
    assert np.array_equal(opened.logits(pairs), module.logits(pairs))
    report = module.export(tmp_path / "artefact")
    assert ("onnx/compare.onnx" in report.files) == (variant == "bi-encoder")
    predictor = hub.Predictor(tmp_path / "artefact")
    np.testing.assert_allclose(predictor.logits(pairs), module.logits(pairs), rtol=0, atol=1e-5)
    for ours, theirs in zip(answers, predictor(pairs, batch_tokens=64), strict=True):
        assert (ours.label, ours.accepted) == (theirs.label, theirs.accepted)
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)
    assert predictor([]) == module.predict([]) == []


def test_the_order_and_company_of_pairs_change_nothing(trained: dict[str, hub.Module]) -> None:
    module, pairs = trained["bi-encoder"], asked(rows(30, seed=4))
    whole = module.logits(pairs)
    for number in (0, 7, 29):
        module.task_head.train()  # forgets the vectors
        module.eval()
        np.testing.assert_allclose(module.logits([pairs[number]])[0], whole[number], rtol=0, atol=2e-6)


def test_a_bi_encoders_steps_do_not_depend_on_how_batches_are_cut(module: Callable[..., hub.Module]) -> None:
    def gradients(max_tokens: int) -> dict[str, torch.Tensor]:
        one = module("bi-encoder")
        settings = QUICK.model_copy(update={"max_tokens": max_tokens, "class_weights": "balanced", "dropout": 0.2, "clip": None})
        examples = Examples.of(rows(24, seed=5)[:-4])
        loop = Loop(one, torch.optim.SGD(one.parameters(), lr=0.1), settings, examples)
        loop.gradients(1, np.arange(len(examples))[::-1].copy())
        return {name: parameter.grad for name, parameter in one.named_parameters() if parameter.grad is not None}

    whole, cut = gradients(10_000), gradients(40)
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@both
def test_an_interrupted_training_goes_on_exactly(variant: str, module: Callable[..., hub.Module], tmp_path: Path) -> None:
    train, dev = rows(24, seed=6), rows(8, seed=7)
    straight = hub.Trainer(module(variant), settings=QUICK, checkpoint_dir=tmp_path / "straight", progress=False)
    straight.train(train, eval_dataset=dev)
    broken = hub.Trainer(module(variant), settings=QUICK, checkpoint_dir=tmp_path / "broken", progress=False)
    for fact in broken.steps(train, dev):
        if fact.evaluated:
            broken.keeper.keep_best(broken.module)
            broken.keeper.keep_last(broken.module, broken._optimizer(), fact.progress, {})
            break
    again = hub.Trainer(module(variant), settings=QUICK, checkpoint_dir=tmp_path / "broken", progress=False)
    again.train(train, eval_dataset=dev, resume=True)
    assert weights_digest(again.module.encoder, again.module.head) == weights_digest(straight.module.encoder, straight.module.head)


def test_three_labels_have_no_auc(module: Callable[..., hub.Module], small_folder: Path) -> None:
    given = [row | {"label": ("蕴含", "中立", "矛盾")[n % 3]} for n, row in enumerate(rows(12, seed=8))]
    nli = hub.Module(directory=small_folder, task="text-matching", labels=["蕴含", "中立", "矛盾"])
    settings = hub.TrainSettings(epochs=1, batch_size=8)
    trainer = hub.Trainer(nli, settings=settings, progress=False)
    assert trainer.train(given, eval_dataset=given).metrics.auc is None
    with pytest.raises(InputError, match="metric auc is of two labels, and this module has 3"):
        hub.Trainer(nli, settings=QUICK, progress=False).train(given, eval_dataset=given)
    one = [row for row in rows(12, seed=9) if row["label"] == "相同"]
    with pytest.raises(InputError, match="metric auc needs two labels that both occur"):
        hub.Trainer(module(), settings=QUICK, progress=False).train(rows(12, seed=9), eval_dataset=one)


@both
def test_a_short_question_keeps_all_of_itself_beside_a_long_text(variant: str) -> None:
    task = task_named("text-matching", variant)
    encoded = task.read([("退货吗", "很长的说明" * 20)], TOKENIZER, max_length=16).encoded
    places = encoded.offsets[encoded.types == 0]
    assert [("退货吗")[a:b] for a, b in places if b > a] == list("退货吗")
    second = [("很长的说明" * 20)[a:b] for a, b in encoded.offsets[encoded.types == 1] if b > a]
    assert "".join(second) == ("很长的说明" * 20)[: len(second)]
    assert len(second) == (14 if variant == "bi-encoder" else 10), "all that is left"
    assert encoded.truncated.all()


@both
@pytest.mark.parametrize("wrong", [["甲"], "甲", [("甲", "乙", "丙")], [("甲", "乙"), "丙"], [("甲", 3)], [("甲",)]], ids=str)
def test_what_is_no_pair_is_refused(variant: str, wrong: Any) -> None:
    with pytest.raises(InputError, match="pair"):
        task_named("text-matching", variant).read(wrong, TOKENIZER, max_length=16)


def test_wrong_rows_are_reported_all_at_once() -> None:
    train = Examples.of([
        {"text": "甲", "pair": "乙", "label": "相同"}, {"text": "甲", "pair": " ", "label": "不同"},
        {"text": "", "pair": "乙", "label": "相同"}, {"text": "甲", "label": "不同"}, {"text": "甲", "pair": "丙"},
    ])  # fmt: skip
    dev = Examples.of([{"text": "甲", "pair": "乙", "label": "一样"}])
    with pytest.raises(DataError) as caught:
        trainable("text-matching").check(train, dev)
    assert caught.value.problems == (
        "row 2: the second text is empty",
        "row 3: the text is empty (nothing but spaces or invisible characters)",
        "row 4: the second text is missing",
        "row 5: the label is missing",
        "row 1: label '一样' never occurs in train (1 example).",
    )


def test_a_changed_label_list_or_variant_never_takes_over_a_trained_head(
    trained: dict[str, hub.Module], tmp_path: Path, small_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained["bi-encoder"].save(tmp_path / "bi")
    changed = hub.Module(directory=tmp_path / "bi", task="text-matching", labels=["不同", "相近", "相同"])
    assert not changed.trained
    assert "answers other labels" in caplog.text
    other = hub.Module(directory=tmp_path / "bi", task="text-matching", labels=LABELS, variant="cross-encoder")
    assert not other.trained
    assert not other.task_head.form
    given = {"directory": small_folder, "task": "text-matching", "labels": LABELS, "load_checkpoint": tmp_path / "bi"}
    assert hub.Module(**given).task_head.form["kind"] == "bi-encoder"
    with pytest.raises(WeightsError, match=r"holds a head of the kind 'bi-encoder' .*variant='cross-encoder'"):
        hub.Module(**given, variant="cross-encoder")
    with pytest.raises(InputError, match="has no variants"):
        hub.Module(directory=small_folder, task="seq-cls", labels=LABELS, variant="bi-encoder")


def test_a_recipe_needs_a_column_of_second_texts_and_a_variant_that_exists() -> None:
    with pytest.raises(InputError, match=r"text-matching needs data\.pair"):
        load_recipe("matching", ["data.pair=null"])
    recipe = load_recipe("matching", ["calibration.aim={precision: 0.9}"])
    assert recipe.module.variant == "bi-encoder"
    with pytest.raises(InputError, match="accuracy"):
        load_recipe("matching", ["train.metric=span_f1"])


def test_pairs_are_predicted_on_the_command_line(trained: dict[str, hub.Module], tmp_path: Path) -> None:
    folder, runner = tmp_path / "bi", CliRunner()
    trained["bi-encoder"].save(folder)
    pairs = asked(rows(3, seed=10))
    expected = [answer.label for answer in trained["bi-encoder"].predict(pairs)]

    def answers(*arguments: str, text: str | None = None) -> list[dict[str, Any]]:
        done = runner.invoke(app, ["predict", str(folder), *arguments], input=text)
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    flat = answers(*(text for pair in pairs for text in pair))
    assert [(row["text"], row["pair"]) for row in flat] == pairs
    assert [row["label"] for row in flat] == expected
    table = tmp_path / "pairs.tsv"
    table.write_text("text\tpair\n" + "".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    assert answers("--input", str(table)) == flat
    assert answers("--input", str(table), "--text", "text", "--pair", "pair") == flat
    assert answers("-", text="".join(f"{a}\t{b}\n" for a, b in pairs)) == flat
    odd = runner.invoke(app, ["predict", str(folder), "一", "二", "三"])
    assert isinstance(odd.exception, InputError) or "two by two" in odd.output
    torn = runner.invoke(app, ["predict", str(folder), "-"], input="一\t二\n三\n")
    assert isinstance(torn.exception, InputError) or "line 2 has 0 tabs" in torn.output


def test_encoding_texts_is_as_with_any_module(trained: dict[str, hub.Module]) -> None:
    vectors = trained["bi-encoder"].encode(["苹果好吗", "问问苹果的事"])
    assert vectors.shape == (2, 32)
    head = trained["bi-encoder"].task_head
    with torch.no_grad():
        u, v = torch.from_numpy(vectors)[:, None]
        logits = head.compare(u, v)
    np.testing.assert_allclose(trained["bi-encoder"].logits([("苹果好吗", "问问苹果的事")]), logits.numpy(), rtol=0, atol=1e-6)
