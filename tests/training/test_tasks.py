"""Fine-tuning on pairs and on spans, end to end: learning, exact resume, saving, exporting, recipes."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.cli.app import app

FAST = hub.TrainSettings(epochs=12, batch_size=8, learning_rate=5e-3, dropout=0.0)
PAIRS = [
    {"text": first, "pair": second, "label": "同" if (first in asked) == (second in asked) else "异"}
    for asked, other in [(("余额多少", "还剩多少钱"), ("卡丢了", "挂失怎么办"))]
    for first in asked + other
    for second in asked + other
]
NAMED = [
    {"text": f"{opening}{name}在{place}", "spans": [(len(opening), len(opening) + 2, "人"), (len(opening) + 3, len(opening) + 5, "地")]}
    for opening in ("", "听说", "昨天　")
    for name in ("张三", "李四", "王五")
    for place in ("北京", "上海")
]


def digest(module: hub.Module) -> str:
    return weights_digest(module.encoder, module.head)


@pytest.fixture(scope="module")
def of_pairs(small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder, task="seq-cls", labels=["同", "异"])
    hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 100})).train(PAIRS)
    return module


@pytest.fixture(scope="module")
def of_spans(small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder)
    report = hub.Trainer(module, settings=FAST).train(NAMED, eval_dataset=NAMED)
    assert (module.task, module.labels) == ("token-cls", ("人", "地")), "the head follows from the examples"
    assert report.metrics.f1 == 1.0
    return module


def test_a_module_learns_what_only_both_texts_together_tell(of_pairs: hub.Module) -> None:
    assert hub.Trainer(of_pairs).evaluate(PAIRS).accuracy > 0.8, "each text alone goes with both labels equally often"
    pair = ("余额多少", "卡丢了")
    np.testing.assert_allclose(of_pairs.logits([pair, list(pair)]), of_pairs.logits([pair]).repeat(2, axis=0), atol=1e-5)
    assert np.abs(of_pairs.logits([pair]) - of_pairs.logits(["余额多少卡丢了"])).max() > 0.1, "a pair is not one text"


def test_spans_are_found_with_offsets_into_the_text_as_it_was_written(of_spans: hub.Module) -> None:
    text = "听说 張三在\u200b北京"
    (answer,) = of_spans.predict(text)
    assert [(span.label, span.text) for span in answer.spans] == [("人", "張三"), ("地", "北京")]
    assert all(span.text == text[span.start : span.end] for span in answer.spans)


@pytest.mark.parametrize("kind", ["of_pairs", "of_spans"])
def test_saved_and_exported_modules_answer_alike(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    module: hub.Module = request.getfixturevalue(kind)
    rows = PAIRS if kind == "of_pairs" else NAMED
    asked = [(row["text"], row["pair"]) if "pair" in row else row["text"] for row in rows]
    asked += [("", "")] if kind == "of_pairs" else ["", "\u200b", "王五在上海" * 200]
    module.save(tmp_path / "saved")
    module.export(tmp_path / "exported")
    again, predictor = hub.Module(directory=tmp_path / "saved"), hub.Predictor(tmp_path / "exported")
    assert again.predict(asked) == module.predict(asked)
    np.testing.assert_allclose(predictor.logits(asked, batch_tokens=64), module.logits(asked), atol=1e-5)
    assert predictor.labels == module.labels
    for here, there in zip(module.predict(asked), predictor(asked), strict=True):
        assert _without_scores(here) == _without_scores(there)
    names = json.loads((tmp_path / "exported" / "config.json").read_text("utf-8"))["id2label"]
    assert list(names.values()) == (["同", "异"] if kind == "of_pairs" else ["O", "B-人", "I-人", "B-地", "I-地"])


@pytest.mark.parametrize("rows", [PAIRS, NAMED], ids=["pairs", "spans"])
def test_a_resumed_training_ends_with_the_same_bits(rows: list, small_folder: Path, tmp_path: Path) -> None:
    brief = FAST.model_copy(update={"epochs": 3, "dropout": 0.1})
    straight = hub.Module(directory=small_folder)
    hub.Trainer(straight, settings=brief, checkpoint_dir=tmp_path / "straight").train(rows, eval_dataset=rows)
    stopped = hub.Trainer(hub.Module(directory=small_folder), settings=brief, checkpoint_dir=tmp_path / "resumed")
    keep, calls = stopped.keeper.keep_last, []

    def keep_one(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        keep(*arguments)

    stopped.keeper.keep_last = keep_one
    with pytest.raises(KeyboardInterrupt):
        stopped.train(rows, eval_dataset=rows)
    resumed = hub.Module(directory=small_folder)
    hub.Trainer(resumed, settings=brief, checkpoint_dir=tmp_path / "resumed").train(rows, eval_dataset=rows, resume=True)
    assert digest(resumed) == digest(straight)


def test_cutting_a_batch_of_spans_into_parts_changes_nothing_but_rounding(small_folder: Path) -> None:
    def losses(**changes: int) -> list[float]:
        settings = FAST.model_copy(update={"epochs": 1, **changes})
        return [step.loss for step in hub.Trainer(hub.Module(directory=small_folder), settings=settings).steps(NAMED)]

    np.testing.assert_allclose(losses(max_tokens=24), losses(), rtol=1e-4)
    np.testing.assert_allclose(losses(batch_size=4, accumulation=2), losses(), rtol=1e-4)


def test_the_first_loss_is_the_mean_over_the_tokens_of_the_texts(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"])
    before = module.logits([row["text"] for row in NAMED]).astype(np.float64)
    step = next(hub.Trainer(module, settings=FAST.model_copy(update={"batch_size": len(NAMED)})).steps(NAMED))
    tags, losses = ["O", "B-人", "I-人", "B-地", "I-地"], []
    rows = iter(before)
    for row in NAMED:
        next(rows)  # [CLS]
        for place, character in enumerate(row["text"]):
            if character == "\u3000":
                continue  # the tokenizer drops spaces
            label = next((f"{'B' if place == a else 'I'}-{name}" for a, b, name in row["spans"] if a <= place < b), "O")
            logits = next(rows)
            losses.append(np.log(np.exp(logits).sum()) - logits[tags.index(label)])
        next(rows)  # [SEP]
    assert step.loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_default_score_is_the_tasks_and_another_tasks_is_refused(small_folder: Path) -> None:
    def fingerprint(rows: list, metric: str | None) -> str:
        trainer = hub.Trainer(hub.Module(directory=small_folder), settings=FAST.model_copy(update={"metric": metric}))
        return next(trainer.steps(rows)).progress.fingerprint

    assert fingerprint(PAIRS, None) == fingerprint(PAIRS, "macro_f1") != fingerprint(PAIRS, "accuracy")
    assert fingerprint(NAMED, None) == fingerprint(NAMED, "span_f1")
    with pytest.raises(hub.NlphubError, match="no score of token-cls"):
        fingerprint(NAMED, "macro_f1")


def test_wrong_spans_are_refused_all_at_once(small_folder: Path) -> None:
    rows = [{"text": "张三", "spans": [(0, 9, "人")]}, {"text": "李四"}, {"text": "王五", "spans": [(0, 2, "人"), (1, 2, "人")]}]
    with pytest.raises(hub.NlphubError) as caught:
        hub.Trainer(hub.Module(directory=small_folder)).train(rows, eval_dataset=[{"text": "好", "spans": [(0, 1, "地")]}])
    assert len(caught.value.problems) == 4, caught.value.problems
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人"])
    with pytest.raises(hub.NlphubError, match="the spans are missing"):
        hub.Trainer(module).train([("张三", "人")])
    with pytest.raises(hub.NlphubError, match="'地' is not one of the module's labels"):
        hub.Trainer(module).evaluate(NAMED)
    with pytest.raises(hub.NlphubError, match="no span at all"):
        hub.Trainer(hub.Module(directory=small_folder)).train([{"text": "好", "spans": []}])


def test_texts_that_are_cut_are_told_before_training(small_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = hub.Module(directory=small_folder, max_length=6)
    with caplog.at_level(logging.WARNING):
        next(hub.Trainer(module, settings=FAST).steps(NAMED))
    assert f"{len(NAMED)} of {len(NAMED)} training texts are longer than 6 tokens" in caplog.text


def test_recipes_fine_tune_pairs_and_spans(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "pairs.tsv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t").writerows([("a", "b", "label"), *((row["text"], row["pair"], row["label"]) for row in PAIRS)])
    (tmp_path / "named.jsonl").write_text("".join(json.dumps(row) + "\n" for row in NAMED), "utf-8")
    common = f"module: {{directory: {small_folder}}}\ntrain: {{epochs: 1}}\n"
    (tmp_path / "pairs.yaml").write_text(
        common + "task: seq-cls\ndata: {train: pairs.tsv, test: pairs.tsv, text: a, pair: b}\nrun: {folder: runs/pairs}\n"
    )
    (tmp_path / "named.yaml").write_text(
        common + "task: token-cls\ndata: {train: named.jsonl, test: named.jsonl, spans: spans}\nrun: {folder: runs/named}\n"
        "export: {folder: dist/named}\nexamples: [张三在北京]\n"
    )
    pairs, named = (json.loads(run("finetune", f"{name}.yaml", "--json")) for name in ("pairs", "named"))
    assert 0 <= pairs["metrics"]["accuracy"] <= 1
    assert 0 <= named["metrics"]["micro"]["f1"] <= 1
    assert "spans" in named["predictions"][0]
    assert hub.load_recipe(tmp_path / "runs" / "named" / "recipe.yaml").train.metric == "span_f1"
    assert not (tmp_path / "runs" / "named" / "report" / "confusion.svg").exists()
    scored = json.loads(run("evaluate", "dist/named", "named.jsonl", "--spans", "spans", "--json"))
    assert scored == {key: value for key, value in named["metrics"].items() if key != "judged_on"}
    assert (
        json.loads(run("evaluate", "runs/pairs", "pairs.tsv", "--text", "a", "--pair", "b", "--json"))["accuracy"]
        == pairs["metrics"]["accuracy"]
    )
    assert json.loads(run("predict", "dist/named", "张三"))["text"] == "张三"
    with pytest.raises(hub.NlphubError, match=r"needs data\.spans"):
        hub.load_recipe(tmp_path / "named.yaml", ["data.spans=null"])
    with pytest.raises(hub.NlphubError, match="no score of token-cls"):
        hub.load_recipe(tmp_path / "named.yaml", ["train={metric: macro_f1}"])


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def _without_scores(answer) -> object:
    if isinstance(answer, hub.Prediction):
        return [label for label, _ in answer.top]
    return answer.truncated, [(span.start, span.end, span.label, span.text) for span in answer.spans]
