"""Fine-tuning on sets of labels and on numbers, end to end: learning, thresholds, exact resume, saving, exporting, recipes, bad input."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import nlphub as hub
from nlphub.calibration import Calibration
from nlphub.checkpoints.native import weights_digest
from nlphub.cli.app import app
from nlphub.nn.losses import SHIFT, binary_cross_entropy
from nlphub.nn.text_heads import LabelSetHead, ValueHead
from nlphub.tasks.labelsets import give_labels

FAST = hub.TrainSettings(epochs=40, batch_size=8, learning_rate=5e-3, dropout=0.0)
PARTS = {"物流": "快递没到", "退货": "我要退钱", "人工": "转个真人"}
SETS = [
    {"text": "，".join(PARTS[name] for name in names) or "你好在吗" + end, "labels": list(names)}
    for names in ((), ("物流",), ("退货",), ("人工",), ("物流", "退货"), ("退货", "人工"), ("物流", "人工"), ("人工", "物流", "退货"))
    for end in ("", "呀")
]
NUMBERS = [
    {"text": f"{first}{n}", "pair": f"{second}{n}", "value": 4.5 if first == second else 0.5 + 0.1 * n}
    for first in ("余额", "挂失")
    for second in ("余额", "挂失")
    for n in range(4)
]


def digest(module: hub.Module) -> str:
    return weights_digest(module.encoder, module.head)


@pytest.fixture(scope="module")
def of_sets(small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder)
    report = hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 80})).train(SETS, eval_dataset=SETS)
    assert (module.task, module.labels) == ("multi-label", ("人工", "物流", "退货")), "the head follows from the examples"
    assert report.metrics.f1 > 0.6
    return module


@pytest.fixture(scope="module")
def of_numbers(small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder, task="regression")
    hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 60})).train(NUMBERS)
    return module


def questions(kind: str) -> list[Any]:
    if kind == "of_sets":
        return [row["text"] for row in SETS] + ["", "\u200b", "快遞沒到", "退" * 600]
    return [(row["text"], row["pair"]) for row in NUMBERS] + [("", ""), ("余额" * 400, "挂失" * 400)]


def test_a_text_gets_all_of_its_labels_or_none(of_sets: hub.Module) -> None:
    several, none = of_sets.predict(["快递没到，转个真人", "你好在吗呀"])
    assert set(several.labels) == {"人工", "物流"}
    assert list(several.scores) == sorted(several.scores, reverse=True)
    assert several.top[: len(several.labels)] == tuple(zip(several.labels, several.scores, strict=True))
    assert (none.labels, none.cells()) == ((), ("(none)", ""))
    assert set(several.as_dict()) == {"labels", "scores", "top"}


def test_thresholds_of_a_module_decide_and_are_kept(of_sets: hub.Module, tmp_path: Path) -> None:
    before = of_sets.calibration
    try:
        chosen = hub.set_thresholds(of_sets, SETS * 2)
        assert set(of_sets.calibration.thresholds) == set(of_sets.labels)
        assert chosen.dev.macro_f1 >= chosen.before.macro_f1, "each label has its best F1"
        assert "3 labels" in chosen.summary()
        of_sets.calibration = Calibration(thresholds={"人工": 1.0, "退货": 0.0})
        of_sets.save(tmp_path / "saved")
        again = hub.Module(directory=tmp_path / "saved")
        for answer in again.predict([row["text"] for row in SETS]):
            assert "退货" in answer.labels
            assert "人工" not in answer.labels
    finally:
        of_sets.calibration = before


def test_thresholds_are_of_trained_modules_with_label_sets(small_folder: Path, of_sets: hub.Module, of_numbers: hub.Module) -> None:
    untrained = hub.Module(directory=small_folder, task="multi-label", labels=["a", "b"])
    for module, state in ((untrained, "untrained"), (of_numbers, "a trained regression")):
        with pytest.raises(hub.NlphubError, match=f"this one is {state}"):
            hub.set_thresholds(module, SETS)
    with pytest.raises(hub.NlphubError, match="'别的' is not one of the module's labels"):
        hub.set_thresholds(of_sets, [("好", ["别的"])])


def test_labels_are_given_from_their_threshold_on_as_the_slow_twin_gives_them() -> None:
    generator, labels = np.random.default_rng(0), ("a", "b", "c")
    logits = generator.normal(scale=3, size=(50, 3)).astype(np.float32)
    calibration = Calibration(temperature=2.0, thresholds={"b": 0.2})
    for row, answer in zip(logits, give_labels(logits, labels, top_k=2, calibration=calibration), strict=True):
        scores = {label: 1 / (1 + np.exp(-float(x) / 2)) for label, x in zip(labels, row, strict=True)}
        given = [label for label in labels if scores[label] >= {"b": 0.2}.get(label, 0.5)]
        assert sorted(answer.labels) == given
        assert dict(answer.top).keys() == set(sorted(scores, key=lambda label: -scores[label])[:2])
    extreme = give_labels(np.array([[1e4, -1e4, 0]], np.float32), labels, top_k=3, calibration=Calibration())
    assert extreme[0].labels == ("a", "c")
    with pytest.raises(hub.NlphubError, match="top_k"):
        give_labels(logits, labels, top_k=0, calibration=calibration)


def test_numbers_are_in_the_unit_of_the_data_and_within_their_range(of_numbers: hub.Module) -> None:
    scores = hub.Trainer(of_numbers).evaluate(NUMBERS)
    assert scores.pearson > 0.8
    values = [answer.value for answer in of_numbers.predict(questions("of_numbers"))]
    assert min(values) >= 0.5
    assert max(values) <= 4.5
    assert of_numbers.labels == ("value",)
    with torch.no_grad():
        of_numbers.head.classifier.bias.add_(100)
    assert {answer.value for answer in of_numbers.predict(questions("of_numbers"))} == {4.5}
    with torch.no_grad():
        of_numbers.head.classifier.bias.sub_(100)


@pytest.mark.parametrize("kind", ["of_sets", "of_numbers"])
def test_saved_and_exported_modules_answer_alike(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    module: hub.Module = request.getfixturevalue(kind)
    asked = questions(kind)
    if kind == "of_sets":
        module.calibration = Calibration(thresholds={"人工": 0.4, "退货": 0.7})
    module.save(tmp_path / "saved")
    module.export(tmp_path / "exported")
    again, predictor = hub.Module(directory=tmp_path / "saved"), hub.Predictor(tmp_path / "exported")
    assert again.predict(asked) == module.predict(asked)
    np.testing.assert_allclose(predictor.logits(asked, batch_tokens=64), module.logits(asked), atol=1e-5)
    assert (predictor.labels, predictor.artefact.calibration) == (module.labels, module.calibration)
    for here, there in zip(module.predict(asked), predictor(asked), strict=True):
        if kind == "of_sets":
            assert here.labels == there.labels
        else:
            assert here.value == pytest.approx(there.value, abs=1e-5)


@pytest.mark.parametrize("rows", [SETS, NUMBERS], ids=["sets", "numbers"])
def test_a_resumed_training_ends_with_the_same_bits(rows: list[Any], small_folder: Path, tmp_path: Path) -> None:
    brief = FAST.model_copy(update={"epochs": 3, "dropout": 0.1, "average": 0.5})
    straight = hub.Module(directory=small_folder)
    hub.Trainer(straight, settings=brief, checkpoint_dir=tmp_path / "straight").train(rows, eval_dataset=rows)
    stopped = hub.Trainer(hub.Module(directory=small_folder), settings=brief, checkpoint_dir=tmp_path / "resumed")
    keep, calls = stopped.keeper.keep_last, []

    def keep_one(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        keep(*arguments)

    stopped.keeper.keep_last = keep_one  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.train(rows, eval_dataset=rows)
    resumed = hub.Module(directory=small_folder)
    hub.Trainer(resumed, settings=brief, checkpoint_dir=tmp_path / "resumed").train(rows, eval_dataset=rows, resume=True)
    assert digest(resumed) == digest(straight)


@pytest.mark.parametrize("rows", [SETS, NUMBERS], ids=["sets", "numbers"])
def test_cutting_a_batch_into_parts_changes_nothing_but_rounding(rows: list[Any], small_folder: Path) -> None:
    def losses(**changes: int) -> list[float]:
        settings = FAST.model_copy(update={"epochs": 1, **changes})
        return [step.loss for step in hub.Trainer(hub.Module(directory=small_folder), settings=settings).steps(rows)]

    np.testing.assert_allclose(losses(max_tokens=24), losses(), rtol=1e-4)
    np.testing.assert_allclose(losses(batch_size=4, accumulation=2), losses(), rtol=1e-4)


def test_an_untrained_head_begins_at_the_means_of_its_targets(small_folder: Path) -> None:
    sets = hub.Module(directory=small_folder, task="multi-label", labels=["人工", "物流", "退货"])
    next(hub.Trainer(sets, settings=FAST.model_copy(update={"learning_rate": 1e-9})).steps(SETS))
    shares = np.mean([[name in row["labels"] for name in sets.labels] for row in SETS], axis=0)
    torch.testing.assert_close(sets.head.classifier.bias.detach().sigmoid(), torch.tensor(shares, dtype=torch.float32), atol=1e-4, rtol=0)
    numbers = hub.Module(directory=small_folder, task="regression")
    next(hub.Trainer(numbers, settings=FAST).steps(NUMBERS))
    values = np.array([row["value"] for row in NUMBERS])
    np.testing.assert_allclose(numbers.head.scaling.tolist(), [values.mean(), values.std(), 0.5, 4.5], rtol=1e-6)
    numbers.head.prepare(np.array([9.0], np.float32), trained=True)
    np.testing.assert_allclose(numbers.head.scaling.tolist(), [values.mean(), values.std(), 0.5, 9.0], rtol=1e-6)


def slow_asymmetric(logit: float, target: float, gamma: float) -> float:
    """Equation 7 of arXiv:2009.14119 with gamma+ 0."""
    p = 1 / (1 + np.exp(-logit))
    shifted = max(p - SHIFT, 0)
    return float(-np.log(p) if target else -(shifted**gamma) * np.log(1 - shifted))


@pytest.mark.parametrize("gamma", [1.0, 4.0])
def test_the_asymmetric_loss_is_its_formula_and_has_finite_gradients(gamma: float) -> None:
    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(20, 4), (torch.rand(20, 4) < 0.3).float()
    expected = [
        sum(slow_asymmetric(*pair, gamma) for pair in zip(a, b, strict=True))
        for a, b in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    torch.testing.assert_close(binary_cross_entropy(logits, targets, asymmetric=gamma), torch.tensor(expected), rtol=1e-4, atol=1e-6)
    far = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    binary_cross_entropy(far, torch.tensor([[0.0, 1.0, 0.0]]), asymmetric=gamma).sum().backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_losses_of_heads_are_those_of_the_obvious_formulas() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 3), (torch.rand(5, 3) < 0.5).float()
    p = logits.sigmoid()
    told = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum(1)
    torch.testing.assert_close(LabelSetHead(8, 3).loss(logits, targets), told)
    head, values = ValueHead(8), torch.tensor([1.0, 2.0, 3.0])
    head.prepare(values.numpy(), trained=False)
    torch.testing.assert_close(head.loss(torch.tensor([[1.0], [1.0], [4.0]]), values), torch.tensor([0.0, 1.5, 1.5]))
    for head, given in ((LabelSetHead(8, 3), targets), (ValueHead(8), values)):
        with pytest.raises(TypeError, match="label_smoothing"):
            head.loss(logits, given, label_smoothing=0.1)


def test_a_head_of_ones_own_needs_forward_and_loss_only(small_folder: Path) -> None:
    class Margin(LabelSetHead):
        def loss(self, logits: Tensor, targets: Any, **_: Any) -> Tensor:
            return (1 - logits * (2 * targets - 1)).clamp(min=0).sum(1)

    module = hub.Module(directory=small_folder)
    module.heads = {**module.heads, "multi-label": Margin}
    report = hub.Trainer(module, settings=FAST).train(SETS, eval_dataset=SETS)
    assert isinstance(module.head, Margin)
    assert report.metrics.f1 > 0.6


@pytest.mark.parametrize(
    "option", [{"class_weights": "balanced"}, {"label_smoothing": 0.1}, {"focal": 2.0}, {"r_drop": 1.0}, {"sampling": "balanced"}]
)
@pytest.mark.parametrize("rows", [SETS, NUMBERS], ids=["sets", "numbers"])
def test_options_of_classes_are_refused_where_there_are_none(option: dict[str, Any], rows: list[Any], small_folder: Path) -> None:
    settings = FAST.model_copy(update={**option, "dropout": 0.1})
    with pytest.raises(hub.NlphubError, match=next(iter(option))):
        hub.Trainer(hub.Module(directory=small_folder), settings=settings).train(rows)


def test_the_asymmetric_loss_and_prototypes_are_of_their_own_tasks(small_folder: Path) -> None:
    with pytest.raises(hub.NlphubError, match="asymmetric is of task multi-label"):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST.model_copy(update={"asymmetric": 4.0})).train(NUMBERS)
    with pytest.raises(hub.NlphubError, match="method: prototype is of task seq-cls"):
        hub.Trainer(hub.Module(directory=small_folder), settings=hub.TrainSettings(method="prototype")).train(SETS)
    with pytest.raises(hub.NlphubError, match="no score of regression"):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST.model_copy(update={"metric": "micro_f1"})).train(NUMBERS)
    steps = hub.Trainer(hub.Module(directory=small_folder), settings=FAST.model_copy(update={"asymmetric": 4.0})).steps(SETS)
    assert next(steps).loss > 0


def test_wrong_answers_are_refused_all_at_once(small_folder: Path, of_sets: hub.Module) -> None:
    with pytest.raises(hub.NlphubError) as caught:
        hub.Trainer(hub.Module(directory=small_folder, task="multi-label", labels=["a", "b"])).train(
            [("好", ["a"]), ("坏", ["c"]), {"text": "空"}, ("", [])], eval_dataset=[("x", ["b"])]
        )
    assert len(caught.value.problems) == 4, caught.value.problems
    with pytest.raises(hub.NlphubError) as caught:
        hub.Trainer(hub.Module(directory=small_folder, task="regression")).train([("好", 3), {"text": "坏", "value": 1}, {"text": "x"}])
    assert sum("the value is missing" in problem for problem in caught.value.problems) == 2
    with pytest.raises(hub.NlphubError, match="one value only"):
        hub.Trainer(hub.Module(directory=small_folder)).train([{"text": "好", "value": 1}, {"text": "坏", "value": 1}])
    with pytest.raises(hub.NlphubError, match="no label at all"):
        hub.Trainer(hub.Module(directory=small_folder)).train([("好", []), ("坏", [])])
    with pytest.raises(hub.NlphubError, match="one number and no labels"):
        hub.Module(directory=small_folder, task="regression", num_classes=3)
    with pytest.raises(hub.NlphubError, match="is not one of the module's labels"):
        hub.Trainer(of_sets).evaluate([("好", ["别的"])])


def test_a_checkpoint_with_other_labels_is_refused(of_sets: hub.Module, tmp_path: Path) -> None:
    of_sets.save(tmp_path / "saved")
    with pytest.raises(hub.NlphubError, match="Leave out task and labels"):
        hub.Module(directory=tmp_path / "saved", task="multi-label", labels=["人工", "物流"], load_checkpoint=tmp_path / "saved")


def test_old_names_of_tasks_work_with_a_warning(small_folder: Path) -> None:
    for old, new in (("multi_label", "multi-label"), ("seq_cls", "seq-cls"), ("token_classification", "token-cls")):
        with pytest.warns(DeprecationWarning, match=f"is now called '{new}'"):
            assert hub.Module(directory=small_folder, task=old, labels=["a", "b"]).task == new


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_recipes_fine_tune_label_sets(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SETS * 2), "utf-8")
    (tmp_path / "sets.yaml").write_text(
        f"module: {{directory: {small_folder}}}\ntrain: {{epochs: 1}}\ntask: multi-label\n"
        "data: {train: sets.jsonl, dev: sets.jsonl, test: sets.jsonl, labels: labels}\nrun: {folder: runs/sets}\n"
    )
    made = json.loads(run("finetune", "sets.yaml", "--json"))
    assert set(made["calibration"]["thresholds"]) == {"人工", "物流", "退货"}
    assert (tmp_path / "runs/sets/report/thresholds.json").is_file()
    page = (tmp_path / "runs/sets/report/report.html").read_text("utf-8")
    assert "微平均 F1" in page
    assert "各标签" in page
    scored = json.loads(run("evaluate", "runs/sets", "sets.jsonl", "--json"))
    assert scored == {key: value for key, value in made["metrics"].items() if key != "judged_on"}
    assert set(json.loads(run("predict", "runs/sets", "转个真人"))) == {"text", "labels", "scores", "top"}
    assert hub.load_recipe(tmp_path / "runs/sets/recipe.yaml").train.metric == "micro_f1"
    with pytest.raises(hub.NlphubError, match=r"needs data\.labels"):
        hub.load_recipe(tmp_path / "sets.yaml", ["data.labels=null"])
    with pytest.raises(hub.NlphubError, match="focal is of tasks in which"):
        hub.load_recipe(tmp_path / "sets.yaml", ["train.focal=2"])


def test_recipes_fine_tune_numbers_of_pairs(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "numbers.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("a", "b", "value"), *((row["text"], row["pair"], row["value"]) for row in NUMBERS)])
    (tmp_path / "numbers.yaml").write_text(
        f"module: {{directory: {small_folder}}}\ntrain: {{epochs: 1}}\ntask: regression\n"
        "data: {train: numbers.csv, test: numbers.csv, text: a, pair: b, value: value, bounds: [0, 5]}\nrun: {folder: runs/numbers}\n"
        "export: {folder: dist/numbers}\nexamples: [[余额, 挂失]]\n"
    )
    made = json.loads(run("finetune", "numbers.yaml", "--json"))
    assert set(made["metrics"]) == {"pearson", "spearman", "rmse", "mae", "support"}
    assert made["predictions"][0]["text"] == ["余额", "挂失"]
    assert 0.5 <= made["predictions"][0]["value"] <= 4.5
    assert "斯皮尔曼" in (tmp_path / "runs/numbers/report/report.html").read_text("utf-8")
    scored = json.loads(run("evaluate", "runs/numbers", "numbers.csv", "--text", "a", "--pair", "b", "--json"))
    assert scored["rmse"] == pytest.approx(made["metrics"]["rmse"])
    lines = run("predict", "dist/numbers", "--input", "numbers.csv", "--text", "a", "--pair", "b").splitlines()
    assert len(lines) == len(NUMBERS)
    assert set(json.loads(lines[0])) == {"text", "pair", "value"}
    with pytest.raises(hub.NlphubError, match=r"needs data\.value"):
        hub.load_recipe(tmp_path / "numbers.yaml", ["data.value=null", "data.bounds=null"])
    with pytest.raises(hub.NlphubError, match="smallest number first"):
        hub.load_recipe(tmp_path / "numbers.yaml", ["data.bounds=[5, 0]"])
