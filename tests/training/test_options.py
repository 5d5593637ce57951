"""Training options: each loss beside its formula, what leaves no trace, averages and samples, and exact resume with all of them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import nlphub as hub
from nlphub.checkpoints.native import tensors, weights_digest
from nlphub.data.batching import epoch_batches, pack
from nlphub.kernels import Noise
from nlphub.nn.encoder import to_tensors
from nlphub.tasks.targets import targets_of
from nlphub.training.adversarial import Adversary
from nlphub.training.loop import Loop
from nlphub.training.objectives import Objective, divergence, focal_factor
from nlphub.training.optim import parameter_groups

FAST = hub.TrainSettings(epochs=3, batch_size=8, learning_rate=3e-3, dropout=0.1)
EVERYTHING = {"r_drop": 0.7, "focal": 1.5, "adversarial": "pgd", "adversarial_steps": 2, "average": 0.9, "backoff": 2}
NAMED = [
    {"text": f"{opening}{name}在{place}", "spans": [(len(opening), len(opening) + 2, "人"), (len(opening) + 3, len(opening) + 5, "地")]}
    for opening in ("", "听说", "昨天　")
    for name in ("张三", "李四", "王五")
    for place in ("北京", "上海")
]


def digest(module: hub.Module) -> str:
    return weights_digest(module.encoder, module.head)


def settings(**changes: Any) -> hub.TrainSettings:
    return hub.TrainSettings(**{**FAST.model_dump(), **changes})


def loop_of(folder: Path, rows: Any, **changes: Any) -> Loop:
    chosen, examples = settings(**changes), hub.Examples.of(rows)
    spans = examples[0].spans is not None
    module = hub.Module(directory=folder, task="token-cls" if spans else "seq-cls", labels=["人", "地"] if spans else examples.label_names)
    optimizer = torch.optim.AdamW(parameter_groups(module, learning_rate=chosen.learning_rate), fused=True)
    return Loop(module, optimizer, chosen, examples)


def gradients(loop: Loop, number: int = 1) -> tuple[float, dict[str, torch.Tensor]]:
    loss, _ = loop.gradients(number, np.arange(len(loop.lengths)))
    return loss, {name: parameter.grad.clone() for name, parameter in loop.module.named_parameters() if parameter.grad is not None}


# ---- losses ------------------------------------------------------------------------------------------------------------------------


def test_the_focal_loss_is_its_formula_and_cross_entropy_at_zero() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 4, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 3, -100, 1])
    for gamma in (0.0, 0.5, 2.0):
        for row, target in enumerate(targets.tolist()):
            if target >= 0:
                right = logits[row].softmax(0)[target]
                assert focal_factor(logits, targets, gamma)[row].item() == pytest.approx(((1 - right) ** gamma).item(), rel=1e-5)
    assert focal_factor(logits, targets, 0.0).tolist() == [1.0] * 6


def test_the_gradient_of_the_focal_loss_is_finite_where_the_answer_is_certain() -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    loss = focal_factor(logits, torch.tensor([0]), 0.5) * F.cross_entropy(logits, torch.tensor([0]), reduction="none")
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_the_divergence_is_the_mean_of_both_directions() -> None:
    torch.manual_seed(1)
    one, other = torch.randn(5, 3), torch.randn(5, 3)
    twin = [0.5 * (_divergence(a, b) + _divergence(b, a)) for a, b in zip(one.softmax(1), other.softmax(1), strict=True)]
    torch.testing.assert_close(divergence(one, other), torch.stack(twin))
    torch.testing.assert_close(divergence(one, one), torch.zeros(5))


@pytest.mark.parametrize("kind", ["texts", "spans"])
def test_r_drop_is_two_passes_and_their_divergence(kind: str, small_folder: Path, rows: list[tuple[str, str]]) -> None:
    loop = loop_of(small_folder, rows if kind == "texts" else NAMED)
    module, everyone = loop.module, np.arange(len(loop.lengths))
    packed, targets = to_tensors(pack(loop.encoded, everyone)), torch.from_numpy(targets_of(loop.targets, loop.encoded, everyone))
    noise = Noise.of_step(0, 1)
    one, other = module(packed, noise=noise), module(packed, noise=Noise.of_step(noise.seed, 1))
    assert not torch.equal(one, other), "the passes have different dropout"
    for row, loss in enumerate(Objective(r_drop=0.5).losses(module, packed, targets, noise).tolist()):
        if targets[row] < 0:
            assert loss == 0.0
            continue
        told = [-logits[row].log_softmax(0)[targets[row]] for logits in (one, other)]
        apart = [_divergence(a[row].softmax(0), b[row].softmax(0)) for a, b in ((one, other), (other, one))]
        assert loss == pytest.approx((sum(told) / 2 + 0.5 * sum(apart) / 2).item(), rel=1e-4)
    plain = Objective().losses(module, packed, targets, noise)
    assert torch.equal(Objective(r_drop=0.0, focal=0.0).losses(module, packed, targets, noise), plain)
    torch.testing.assert_close(plain, F.cross_entropy(one, targets, reduction="none"))


@pytest.mark.parametrize("kind", ["texts", "spans"])
def test_cutting_a_batch_into_parts_changes_nothing_but_rounding(kind: str, small_folder: Path, rows: list[tuple[str, str]]) -> None:
    data = rows if kind == "texts" else NAMED
    options = {**EVERYTHING, "batch_size": len(data)}
    loss, whole = gradients(loop_of(small_folder, data, **options))
    for change in ({"max_tokens": 24}, {"batch_size": 4, "accumulation": 9}):
        again, parts = gradients(loop_of(small_folder, data, **{**options, **change}))
        assert again == pytest.approx(loss, rel=1e-4)
        for name, gradient in whole.items():
            torch.testing.assert_close(parts[name], gradient, rtol=2e-3, atol=2e-6)


# ---- adversarial -------------------------------------------------------------------------------------------------------------------


def test_embeddings_come_back_bit_by_bit_and_other_gradients_are_added(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    plain, fgm = loop_of(small_folder, rows), loop_of(small_folder, rows, adversarial="fgm", adversarial_epsilon=0.3)
    before = fgm.module.encoder.embeddings.word.weight.detach().clone()
    _, clean = gradients(plain)
    _, both = gradients(fgm)
    assert torch.equal(fgm.module.encoder.embeddings.word.weight, before)
    step = clean["encoder.embeddings.word.weight"]
    with torch.no_grad():  # the twin: move, look, move back
        plain.module.encoder.embeddings.word.weight.add_(0.3 * step / step.norm())
    plain.settings, fgm.settings = (each.settings.model_copy(update={"clip": None}) for each in (plain, fgm))
    unclipped, moved = gradients(fgm)[1], gradients(plain)[1]
    with torch.no_grad():
        plain.module.encoder.embeddings.word.weight.copy_(before)
    for name, gradient in gradients(plain)[1].items():
        torch.testing.assert_close(unclipped[name], gradient + moved[name], rtol=1e-3, atol=1e-6)
    assert both.keys() == unclipped.keys()


def test_embeddings_come_back_when_the_second_pass_fails(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    loop = loop_of(small_folder, rows, adversarial="pgd")
    weight = loop.module.encoder.embeddings.word.weight
    before, calls, backward = weight.detach().clone(), [], loop._backward

    def failing(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(torch.equal(weight, before))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return backward(*arguments, **options)

    loop._backward = failing
    with pytest.raises(KeyboardInterrupt):
        gradients(loop)
    assert calls == [True, False, False]
    assert torch.equal(weight, before)


def test_pgd_climbs_and_stays_within_its_bound() -> None:
    weight, seen = torch.nn.Parameter(torch.randn(5, 3)), []
    start, peak = weight.detach().clone(), torch.randn(5, 3) * 10

    def backward(only: Any) -> None:
        seen.append(weight.detach().clone())
        weight.grad = (peak - weight.detach()) + (weight.grad if weight.grad is not None else 0)

    backward(None)
    Adversary(weight, epsilon=0.5, steps=4).attack(backward)
    distances = [(peak - place).norm() for place in seen]
    assert distances == sorted(distances, reverse=True), "every place is higher than the one before"
    assert all((place - start).norm() <= 0.5 + 1e-5 for place in seen)
    assert (seen[-1] - start).norm() == pytest.approx(0.5, abs=1e-4)
    assert len(seen) == 1 + 4
    torch.testing.assert_close(weight.grad, (peak - start) + (peak - seen[-1]))


def test_a_batch_without_a_slope_is_left_alone() -> None:
    weight = torch.nn.Parameter(torch.randn(2, 2))
    for gradient in (None, torch.zeros(2, 2), torch.full((2, 2), torch.nan)):
        weight.grad = gradient
        Adversary(weight, epsilon=1.0).attack(lambda only: pytest.fail("there is no second pass"))


def test_frozen_embeddings_cannot_be_attacked(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder)
    module.encoder.embeddings.word.weight.requires_grad_(False)
    with pytest.raises(hub.NlphubError, match="frozen"):
        hub.Trainer(module, settings=settings(adversarial="fgm")).train(examples)


# ---- averages ----------------------------------------------------------------------------------------------------------------------


def test_the_averages_are_what_is_evaluated_kept_and_saved(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    module = hub.Module(directory=small_folder)
    trainer = hub.Trainer(module, settings=settings(average=0.9), checkpoint_dir=tmp_path)
    twin: dict[str, torch.Tensor] | None = None
    for fact in trainer.steps(examples):
        now = {name: tensor.clone() for name, tensor in tensors(module.encoder, module.head).items()}
        if fact.evaluated:
            assert twin is not None
            assert all(not torch.equal(now[name], tensor) for name, tensor in twin.items()), "not what trains on"
            shown = {name: tensor.clone() for name, tensor in now.items()}
        twin = now
    assert all(torch.equal(tensor, shown[name]) for name, tensor in tensors(module.encoder, module.head).items()), "they stay at the end"
    again = hub.Module(directory=small_folder)
    hub.Trainer(again, settings=settings(average=0.9), checkpoint_dir=tmp_path).train(examples)
    assert digest(again) == digest(module) == digest(hub.Module(directory=tmp_path / "best"))


def test_averages_follow_their_formula_and_training_goes_on_from_the_weights(small_folder: Path, examples: hub.Examples) -> None:
    plain, averaged = hub.Module(directory=small_folder), hub.Module(directory=small_folder)
    steps = zip(
        hub.Trainer(plain, settings=FAST).steps(examples),
        hub.Trainer(averaged, settings=settings(average=0.6)).steps(examples),
        strict=True,
    )
    twin: torch.Tensor | None = None
    for one, other in steps:
        weight = plain.encoder.blocks[0].up.weight.detach()
        twin = torch.zeros_like(weight) if twin is None else twin
        share = min(0.6, (1 + one.step) / (10 + one.step))
        if one.step == 1:
            twin = hub.Module(directory=small_folder).encoder.blocks[0].up.weight.detach().clone()
        twin = share * twin + (1 - share) * weight
        assert one.loss == other.loss, "the averages have no part in the training"
        if other.evaluated:
            torch.testing.assert_close(averaged.encoder.blocks[0].up.weight.detach(), twin, rtol=1e-4, atol=1e-6)


# ---- sampling ----------------------------------------------------------------------------------------------------------------------


def test_balanced_epochs_have_equally_many_of_each_class_and_follow_seed_and_epoch() -> None:
    classes = np.array([0] * 50 + [1] * 7 + [3] * 4)  # nobody is of class 2
    lengths = np.random.default_rng(0).integers(3, 20, len(classes))

    def epoch(number: int, seed: int = 5) -> list[int]:
        batches = epoch_batches(lengths, batch_size=8, seed=seed, epoch=number, classes=classes)
        return [row for batch in batches for row in batch.tolist()]

    for number in range(3):
        order = epoch(number)
        counts = Counter(classes[order].tolist())
        assert len(order) == len(classes)
        assert set(counts) == {0, 1, 3}
        assert max(counts.values()) - min(counts.values()) <= 1
        times = Counter(order)
        assert max(times[row] for row in range(50)) == 1, "of a large class no example comes twice"
        for rows in (range(50, 57), range(57, 61)):
            assert max(times[row] for row in rows) - min(times[row] for row in rows) <= 1
    assert epoch(0) == epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, seed=6)
    assert len({row for number in range(30) for row in epoch(number)}) == len(classes), "all have their turn"


def test_sampling_by_classes_is_for_tasks_with_one_label_a_text(small_folder: Path) -> None:
    with pytest.raises(hub.NlphubError, match="one label for each text"):
        hub.Trainer(hub.Module(directory=small_folder), settings=settings(sampling="balanced")).train(NAMED)


# ---- resume ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["texts", "spans"])
def test_a_resumed_training_with_all_options_ends_with_the_same_bits(
    kind: str, small_folder: Path, rows: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows if kind == "texts" else NAMED
    chosen = settings(**EVERYTHING, epochs=2, **({"sampling": "balanced"} if kind == "texts" else {}))
    _fail_at(monkeypatch, -(-len(data) // 8) + 2)  # between the checkpoint and the stop, when best/ is newer than last/
    straight = hub.Module(directory=small_folder)
    hub.Trainer(straight, settings=chosen, checkpoint_dir=tmp_path / "straight").train(data, eval_dataset=data)
    stopped = hub.Trainer(hub.Module(directory=small_folder), settings=chosen, checkpoint_dir=tmp_path / "resumed")
    stopped.keeper.keep_last = _stop_at_second_call(stopped.keeper.keep_last)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(data, eval_dataset=data)
    resumed = hub.Module(directory=small_folder)
    hub.Trainer(resumed, settings=chosen, checkpoint_dir=tmp_path / "resumed").train(data, eval_dataset=data, resume=True)
    assert digest(resumed) == digest(straight)
    facts = _facts(tmp_path / "straight")
    assert _facts(tmp_path / "resumed") == facts
    assert [fact["loss"] for fact in facts if fact.get("backed_off")] == [None], "one step had no finite loss"


def test_another_value_of_an_option_is_another_training(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    hub.Trainer(hub.Module(directory=small_folder), settings=settings(average=0.9), checkpoint_dir=tmp_path).train(examples)
    with pytest.raises(hub.NlphubError, match="other settings"):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(examples, resume=True)


# ---- going back --------------------------------------------------------------------------------------------------------------------


def test_after_a_step_without_numbers_training_goes_on_from_its_best_weights_at_half_the_rate(
    small_folder: Path, examples: hub.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_at(monkeypatch, 8)
    module = hub.Module(directory=small_folder)
    trainer = hub.Trainer(module, settings=settings(backoff=1, schedule="constant", warmup=0.0))
    seen = []
    for fact in trainer.steps(examples, examples):
        seen.append((fact.step, digest(module), fact.rate, fact.backed_off))
    assert [step for step, *_, gone_back in seen if gone_back] == [8]
    assert seen[7][1] == seen[5][1] != seen[6][1], "six steps are an epoch"
    assert [rate for _, _, rate, _ in seen] == [3e-3] * 8 + [1.5e-3] * 10
    assert trainer.optimizer is not None
    assert next(iter(trainer.optimizer.state.values()))["step"] == 10, "the moments began anew"


def test_before_the_first_evaluation_it_goes_back_to_the_start(
    small_folder: Path, examples: hub.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_at(monkeypatch, 2)
    module = hub.Module(directory=small_folder, task="seq-cls", labels=examples.label_names)
    start = digest(module)
    facts = hub.Trainer(module, settings=settings(backoff=1)).steps(examples)
    assert [digest(module) == start for _, _ in zip(range(3), facts, strict=False)] == [False, True, False]


def test_it_goes_back_when_the_score_falls_and_only_so_often(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder)
    trainer = hub.Trainer(module, settings=settings(epochs=6, backoff=2, patience=2))
    scores, judge, weights = [0.4, 0.8, 0.5, 0.75, 0.1, 0.1], trainer.evaluate, []
    trainer.evaluate = lambda data: replace(judge(data), macro_f1=scores.pop(0))
    found = []
    for fact in trainer.steps(examples, examples):
        if fact.evaluated:
            weights.append(digest(module))
            found.append((fact.improved, fact.backed_off, fact.progress.backoffs, fact.progress.stale))
    assert found == [
        (True, False, 0, 0),
        (True, False, 0, 0),
        (False, True, 1, 0),
        (False, False, 1, 1),
        (False, True, 2, 0),
        (False, False, 2, 1),
    ]
    assert weights[2] == weights[4] == weights[1]


def test_without_a_dev_set_a_loss_above_that_of_the_beginning_is_a_collapse(
    small_folder: Path, examples: hub.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients_of = Loop.gradients
    monkeypatch.setattr(
        Loop, "gradients", lambda self, number, batch: (50.0 if 7 <= number <= 12 else 1.0, gradients_of(self, number, batch)[1])
    )
    found = list(hub.Trainer(hub.Module(directory=small_folder), settings=settings(backoff=1)).steps(examples))
    assert [(fact.step, fact.improved) for fact in found if fact.evaluated] == [(6, True), (12, False), (18, True)]
    assert [fact.step for fact in found if fact.backed_off] == [12]
    assert found[11].progress.best_step == 6


def test_a_training_that_keeps_diverging_stops_in_the_end(small_folder: Path, examples: hub.Examples) -> None:
    wild = settings(learning_rate=1e30, clip=None, backoff=3)
    facts = []
    with pytest.raises(hub.NlphubError, match=r"train\.learning_rate"):
        facts.extend(hub.Trainer(hub.Module(directory=small_folder), settings=wild).steps(examples))


# ---- mistakes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r_drop": -1.0}, "r_drop"),
        ({"focal": float("nan")}, "focal"),
        ({"average": 1.0}, "average"),
        ({"adversarial": "pdg"}, "adversarial"),
        ({"adversarial_epsilon": 0.0}, "adversarial_epsilon"),
        ({"sampling": "even"}, "sampling"),
        ({"backoff": -1}, "backoff"),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hub.TrainSettings(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r_drop": 1.0, "dropout": 0.0}, "dropout is 0"),
        ({"sampling": "balanced", "class_weights": "balanced"}, "twice"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    change: dict[str, Any], message: str, small_folder: Path, examples: hub.Examples, tmp_path: Path
) -> None:
    with pytest.raises(hub.NlphubError, match=message):
        hub.Trainer(hub.Module(directory=small_folder), settings=settings(**change)).train(examples)
    (tmp_path / "one.yaml").write_text(
        f"module: {{name: ernie_tiny}}\ntask: seq-cls\ndata: {{train: a.csv}}\nrun: {{folder: x}}\ntrain: {json.dumps(change)}\n"
    )
    with pytest.raises(hub.NlphubError, match=message):
        hub.load_recipe(tmp_path / "one.yaml")


def test_r_drop_needs_a_module_with_dropout(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder)
    module.set_dropout(0.0)
    with pytest.raises(hub.NlphubError, match="this module has none"):
        hub.Trainer(module, settings=hub.TrainSettings(r_drop=1.0)).train(examples)


def _divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return sum(p * (p.log() - q.log()) for p, q in zip(one, other, strict=True))


def _fail_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The loss of this step is not finite."""
    gradients_of = Loop.gradients

    def failing(self: Loop, number: int, batch: Any) -> tuple[float, float]:
        loss, norm = gradients_of(self, number, batch)
        return (float("nan") if number == step else loss), norm

    monkeypatch.setattr(Loop, "gradients", failing)


def _stop_at_second_call(function: Any) -> Any:
    calls = []

    def guarded(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        function(*arguments)

    return guarded


def _facts(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]
