"""Intents with slots, end to end: learning, exact resume, saving, exporting, long texts, offsets, bad input."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.cli.app import app
from nlphub.errors import InputError, NlphubError, WeightsError
from nlphub.recipe import load_recipe

VARIANTS = ("linear", "crf")
LABELS = {"intents": ["订票", "退票"], "slots": ["城市", "日期"]}
FAST = hub.TrainSettings(epochs=16, batch_size=8, learning_rate=1e-2, dropout=0.0)
ROWS = [
    {"text": f"{opening}{before}{day}去{city}{behind}", "intent": intent, "slots": {"日期": day, "城市": city}}
    for opening in ("", "麻烦", "我想　")
    for intent, before, behind in (("订票", "订", "的票"), ("退票", "不要", "那张了"))
    for day, city in (("明天", "北京"), ("周五", "上海"), ("后天", "广州"))
] + [{"text": "订票", "intent": "订票", "slots": {}}, {"text": "不要那张了", "intent": "退票", "slots": {}}]
LONG = "我想　訂周五去北\u200b京的票，" * 60
REAL = [
    "", " ", "\u200b", "我想不要明天去廣州那張了", "ＢＯＯＫ 订周五去上海的票！", "订\u200b明\ufe0f天去北\u3000京的票",
    "👨‍👩‍👧不要後天去上海那张😀",
    "[MASK][CLS]订票",
    "\ud800订明天\udfff", "a\x00b订后天", "e\u0301 é 订周五", "מַה 订明天去北京", LONG, "退" * 1200,
]  # fmt: skip


def random_texts(count: int) -> list[str]:
    source = random.Random(5)
    pieces = [row["text"] for row in ROWS]
    blocks = (range(0x250), range(0x4E00, 0x5200), range(0x2000, 0x2100), range(0x1F300, 0x1F700), range(0x110000))
    texts = []
    for _ in range(count):
        noise = "".join(chr(source.choice(source.choice(blocks))) for _ in range(source.choice([1, 3, 12, 40])))
        texts.append(f"{noise[::2]}{source.choice(pieces)}{noise[1::2]}")
    return texts


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request: pytest.FixtureRequest, small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder, task="joint", labels=LABELS, variant=request.param)
    metrics = hub.Trainer(module, settings=FAST).train(ROWS, eval_dataset=ROWS).metrics
    assert metrics.frame_accuracy > 0.95
    return module


@pytest.fixture(scope="module")
def exported(trained: hub.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joint") / "exported"
    assert trained.export(folder).parity.holds
    return folder


def test_an_answer_has_the_intent_and_slots_that_are_slices_of_the_text(trained: hub.Module) -> None:
    (answer,) = trained.predict("麻烦不要后\u200b天去上 海那张了")
    assert (answer.intent, answer.accepted) == ("退票", True)
    assert answer.values == {"日期": ["后\u200b天"], "城市": ["上 海"]}
    assert [one for one, _ in answer.top] == ["退票", "订票"]
    assert sum(score for _, score in answer.top) == pytest.approx(1)
    said = answer.as_dict()
    assert (said["intent"], said["slots"][0]["text"], len(said["top"])) == ("退票", "后\u200b天", 2)
    assert answer.cells() == ("退票 (日期=后\u200b天, 城市=上 海)", f"{answer.score:.3f}")
    assert trained.predict([]) == []
    assert len(trained.predict(["订票", "退票"], top_k=1)[0].top) == 1


def test_every_slot_is_the_slice_of_the_callers_own_text(trained: hub.Module) -> None:
    texts = [*REAL, *random_texts(40)]
    answers, found = trained.predict(texts), 0
    for text, answer in zip(texts, answers, strict=True):
        places = [(slot.start, slot.end) for slot in answer.slots]
        assert all(text[slot.start : slot.end] == slot.text for slot in answer.slots)
        assert all(a < b <= c < d for (a, b), (c, d) in itertools.pairwise(places)), "in order, none overlaps"
        found += len(places)
    assert found > 60
    long = answers[REAL.index(LONG)]
    assert not long.truncated
    assert max(slot.end for slot in long.slots) > 700, "behind what one window reads"
    (cut,) = trained.predict(LONG, stride=0)
    assert cut.truncated
    assert (cut.intent, cut.score) == (long.intent, pytest.approx(long.score, abs=1e-5)), "that of the first window"


def test_saved_and_exported_modules_answer_alike(trained: hub.Module, exported: Path, tmp_path: Path) -> None:
    asked = [*(row["text"] for row in ROWS), *REAL, *random_texts(40)]
    trained.save(tmp_path / "saved")
    again, predictor = hub.Module(directory=tmp_path / "saved"), hub.Predictor(exported)
    assert (again.task, again.labels) == ("joint", ("intent:订票", "intent:退票", "slot:城市", "slot:日期"))
    assert weights_digest(again.encoder, again.head) == weights_digest(trained.encoder, trained.head)
    assert again.predict(asked) == trained.predict(asked)
    np.testing.assert_allclose(predictor.logits(asked), trained.logits(asked), atol=1e-5)
    said = CliRunner().invoke(app, ["predict", str(exported), "订明天去北京的票"])
    assert (json.loads(said.stdout)["intent"], len(json.loads(said.stdout)["slots"])) == ("订票", 2)
    for here, there in zip(trained.predict(asked), predictor(asked), strict=True):
        assert (here.intent, here.truncated) == (there.intent, there.truncated)
        assert [(s.start, s.end, s.label, s.text) for s in here.slots] == [(s.start, s.end, s.label, s.text) for s in there.slots]
        np.testing.assert_allclose([here.score, *(s.score for s in here.slots)], [there.score, *(s.score for s in there.slots)], atol=1e-5)


def test_the_graph_has_two_outputs_of_ids(exported: Path) -> None:
    import onnx

    graph = onnx.load(exported / "onnx" / "model.onnx", load_external_data=False).graph
    assert [one.name for one in graph.input] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [(one.name, one.type.tensor_type.shape.dim[-1].dim_value) for one in graph.output] == [("intents", 2), ("slots", 5)]


def test_texts_do_not_matter_to_each_other_and_logits_are_those_of_the_heads_parts(trained: hub.Module) -> None:
    texts = ["订明天去北京的票", "退票", ""]
    together = trained.logits(texts)
    np.testing.assert_allclose(together, np.concatenate([trained.logits(text) for text in texts]), atol=1e-5)
    assert not together[1:9, :2].any(), "intents are said by the first token only"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_training_ends_with_the_same_bits(variant: str, small_folder: Path, tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"epochs": 2, "dropout": 0.1, "slot_weight": 2.0})
    made: dict[str, Any] = {"directory": small_folder, "task": "joint", "labels": LABELS, "variant": variant}
    straight = hub.Module(**made)
    hub.Trainer(straight, settings=settings).train(ROWS)
    half = hub.Trainer(hub.Module(**made), settings=settings, checkpoint_dir=tmp_path)
    keep = half.keeper.keep_last

    def keep_once(*arguments: Any) -> None:
        keep(*arguments)
        raise KeyboardInterrupt

    half.keeper.keep_last = keep_once  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        half.train(ROWS)
    resumed = hub.Module(**made)
    hub.Trainer(resumed, settings=settings, checkpoint_dir=tmp_path).train(ROWS, resume=True)
    assert weights_digest(resumed.encoder, resumed.head) == weights_digest(straight.encoder, straight.head)


def test_how_a_batch_is_cut_into_parts_changes_nothing_but_rounding(small_folder: Path) -> None:
    def first_loss(**changes: Any) -> float:
        module = hub.Module(directory=small_folder, task="joint", labels=LABELS)
        settings = FAST.model_copy(update={"dropout": 0.1, **changes})
        return next(hub.Trainer(module, settings=settings).steps(ROWS)).loss

    assert first_loss(max_tokens=24) == pytest.approx(first_loss(), rel=1e-4)
    assert first_loss(slot_weight=3.0) > first_loss() + 1.0, "the slots weigh more"


def test_the_trainer_makes_the_head_that_intents_and_slots_ask_for(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder)
    report = hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 1})).train(ROWS, eval_dataset=ROWS[:5])
    assert module.task == "joint"
    assert set(report.metrics.headlines) == {"frame_accuracy", "intent_accuracy", "slot_f1"}


@pytest.mark.parametrize("alias", ["intent_slot", "slot_filling", "joint_intent_slot", "intent_and_slot"])
def test_other_names_of_the_task_work_with_a_warning(alias: str, small_folder: Path) -> None:
    with pytest.warns(DeprecationWarning, match="'joint'"):
        assert hub.Module(directory=small_folder, task=alias, labels=LABELS).task == "joint"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["订票", "退票"], "joint needs both lists"),
        ({"intents": ["订票"], "slots": ["城市"]}, "at least two labels"),
        ({"intents": ["订票", "退票"], "slots": []}, "joint needs both lists"),
        ({"intents": ["订票", "订票"], "slots": ["城市"]}, "repeated"),
        ({"intents": ["订票", "退票"]}, "joint takes"),
    ],
)
def test_labels_that_are_no_intents_and_slots_are_refused(labels: Any, said: str, small_folder: Path) -> None:
    with pytest.raises(InputError, match=said):
        hub.Module(directory=small_folder, task="joint", labels=labels)


def test_all_that_is_wrong_with_rows_is_said_at_once_and_nothing_is_written(small_folder: Path, tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "改签吧", "intent": "改签", "slots": []}, {"text": "坐K9去", "intent": "订票", "slots": [[1, 3, "车次"]]},
            {"text": "订票去北京", "intent": "订票", "slots": [[2, 5, "城市"], [3, 5, "日期"]]},
            {"text": "去", "intent": "订票", "slots": [[0, 9, "城市"]]},
            {"text": "退", "intent": None, "slots": None}]  # fmt: skip
    module = hub.Module(directory=small_folder, task="joint", labels=LABELS)
    trainer = hub.Trainer(module, settings=FAST, checkpoint_dir=tmp_path / "run")
    with pytest.raises(NlphubError) as caught:
        trainer.train(rows)
    told = "\n".join(caught.value.problems)
    first = len(ROWS) + 1
    for row, part in enumerate(
        ["'intent:改签' is not one of the module's labels", "'slot:车次' is not one", "overlap", "0:9", "intent is missing"], first
    ):
        assert any(f"row {row}:" in problem and part in problem for problem in caught.value.problems), (row, part, told)
    assert "the slots are missing" in told
    assert not (tmp_path / "run").exists()


def test_values_that_are_not_in_the_text_are_named_by_row() -> None:
    rows = [ROWS[0], {**ROWS[1], "slots": {"城市": "东京"}}, {**ROWS[2], "slots": {"字": "票票"}}]
    with pytest.raises(NlphubError) as caught:
        hub.Examples.of(rows)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["row 2", "row 3"]


def test_an_intent_that_came_after_the_checkpoint_is_refused(trained: hub.Module, small_folder: Path, tmp_path: Path) -> None:
    trained.save(tmp_path / "saved")
    module = hub.Module(directory=tmp_path / "saved")
    new = [{"text": "改签到周五", "intent": "改签", "slots": {"日期": "周五"}}]
    for ask in (lambda: hub.Trainer(module).evaluate(new), lambda: hub.Trainer(module).train([*ROWS, *new])):
        with pytest.raises(NlphubError, match="intent:改签"):
            ask()
    with pytest.raises(WeightsError, match="slot:日期"):
        hub.Module(
            directory=small_folder,
            task="joint",
            labels={"intents": ["订票", "改签"], "slots": ["日期"]},
            load_checkpoint=tmp_path / "saved",
        )


def test_training_data_have_two_intents_and_a_slot(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder)
    with pytest.raises(NlphubError) as caught:
        hub.Trainer(module).train([{"text": "订票", "intent": "订票", "slots": {}}] * 2)
    told = " ".join(caught.value.problems)
    assert "one intent only" in told
    assert "no slot at all" in told


def test_options_of_other_losses_are_refused_before_training(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="joint", labels=LABELS)
    settings = hub.TrainSettings(r_drop=1.0, focal=2.0, label_smoothing=0.1, class_weights="balanced")
    with pytest.raises(InputError) as caught:
        hub.Trainer(module, settings=settings).train(ROWS)
    assert len([problem for problem in caught.value.problems if "joint" in problem]) == 4
    other = hub.Module(directory=small_folder, task="seq-cls", labels=["a", "b"])
    with pytest.raises(InputError, match="slot_weight is of task joint"):
        hub.Trainer(other, settings=hub.TrainSettings(slot_weight=2.0)).train([("一", "a"), ("二", "b")])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.slots=null", "needs data.slots"),
        ("data.spans=slots", "token-cls"),
        ("module.variant=pointer", "pointer"),
        ("train.metric=span_f1", "joint"),
    ],
)
def test_recipes_that_contradict_the_task_are_refused(change: str, said: str) -> None:
    with pytest.raises(NlphubError, match=said):
        hub.finetune(load_recipe("joint", [change]))  # of variants the module decides


def test_options_that_are_off_leave_old_digests_alone() -> None:
    assert "slot_weight" not in hub.TrainSettings().decisive()
    assert hub.TrainSettings(slot_weight=2.0).decisive()["slot_weight"] == 2.0
    assert "slots" not in load_recipe("intent").data.decisive()


def test_the_command_line_trains_judges_and_answers(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS), "utf-8")
    changes = [
        f"module.directory={small_folder}",
        "module.name=null",
        "data.train=rows.jsonl",
        "data.test=null",
        "data.split={dev: 0.2}",
        "train.epochs=1",
        "export.folder=null",
    ]
    result = CliRunner().invoke(app, ["finetune", "joint", *changes, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["metrics"]) >= {"frame_accuracy", "intent_accuracy", "slot_f1", "intents", "slots"}
    assert "Frame accuracy" in Path("runs/joint/report/report.html").read_text("utf-8")
    judged = CliRunner().invoke(app, ["evaluate", "runs/joint", "rows.jsonl", "--json"])
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["support"] == len(ROWS)
    answered = CliRunner().invoke(app, ["predict", "runs/joint", "订明天去北京的票"])
    assert set(json.loads(answered.stdout)) >= {"text", "intent", "score", "slots"}
