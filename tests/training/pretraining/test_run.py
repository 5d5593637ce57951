"""A whole pretraining: it learns, it can be stopped and goes on bit for bit, it adapts, and it leaves a module that opens."""

import json
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import nlphub as hub
from nlphub.errors import DataError, InputError, TrainingError, WeightsError
from nlphub.recipe import PretrainRecipe
from nlphub.training.pretraining import run as runs
from nlphub.training.pretraining.loop import Fact, Pretraining
from nlphub.training.pretraining.optimizers import warmup_stable_decay

Recipes = Callable[..., PretrainRecipe]


class Stopped(Exception):
    """The power went off."""


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the loop of trainings that begin now die after a step, before anything is kept."""
    steps = Pretraining.steps

    def dying(self: Pretraining) -> Iterator[Fact]:
        for fact in steps(self):
            if fact.position.step > step:
                raise Stopped
            yield fact

    monkeypatch.setattr(Pretraining, "steps", dying)


def test_it_learns_and_says_so_by_source(recipe: Recipes) -> None:
    done = hub.pretrain(recipe(steps=60, evaluate_minutes=1e-6), progress=False)
    before, after = done.scores["all"]
    assert (done.steps, list(done.scores)) == (60, ["bank", "all"])
    assert after.accuracy > before.accuracy
    assert after.mean_loss < before.mean_loss - 2
    facts = [json.loads(line) for line in (done.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [fact["step"] for fact in facts] == list(range(1, 61))
    assert all(fact["tokens_per_second"] > 0 and fact["mfu"] > 0 for fact in facts)
    assert all(fact["held_out"]["accuracy"] >= 0 for fact in facts), "with intervals this short every step is followed by an evaluation"
    curves = (done.folder / "report" / "curves.svg").read_text(encoding="utf-8")
    assert "masked accuracy" in curves
    assert "held-out" in curves
    assert json.loads((done.folder / "report" / "scores.json").read_text(encoding="utf-8"))["after"]["bank"]["right"] == after.right


def test_the_module_opens_with_and_without_its_head(recipe: Recipes, caplog: pytest.LogCaptureFixture) -> None:
    done = hub.pretrain(recipe(steps=3), progress=False)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        classifier = hub.Module(directory=done.module, task="seq-cls", labels=["a", "b"])
        guesser = hub.Module(directory=done.module, task="mlm")
    assert not caplog.records, "weights are there, so nothing has to be warned of"
    assert guesser.trained
    assert classifier.encoder.config.dropout == 0.1, "pretraining without dropout says nothing about fine-tuning"
    assert not classifier.trained
    assert runs.weights_digest(guesser.encoder, guesser.task_head) == done.weights_digest


def test_two_runs_of_one_recipe_are_bitwise_equal(recipe: Recipes) -> None:
    digests = {hub.pretrain(recipe(run=name, steps=4, phrases=0.3, dropout=0.1), progress=False).weights_digest for name in ("a", "b")}
    assert len(digests) == 1


SHALLOW = {"start": "counts", "shallow": 0.6, "shallow_layers": 1}


TEXTS = {"pairs": 0.3, "views": 0.3}


@pytest.fixture(scope="module")
def whole() -> Callable[[PretrainRecipe], runs.Pretrained]:
    """A run that nothing stopped; one for each way of training, in the folder of the test that was the first to ask."""
    done: dict[str, runs.Pretrained] = {}

    def once(recipe: PretrainRecipe) -> runs.Pretrained:
        settings = recipe.train.model_dump_json()
        if settings not in done:
            done[settings] = hub.pretrain(recipe, progress=False)
        return done[settings]

    return once


@pytest.mark.parametrize(
    "settings", [{"optimizer": "muon"}, {"optimizer": "adamw"}, SHALLOW, TEXTS], ids=["muon", "adamw", "shallow", "texts"]
)
@pytest.mark.parametrize("stop", [0, 2, 5])
def test_a_run_that_died_goes_on_to_the_same_weights(
    recipe: Recipes, whole: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], stop: int
) -> None:
    expected = whole(recipe(run="whole", steps=6, **settings))
    with monkeypatch.context() as patch:
        stop_after(patch, stop)
        with pytest.raises(Stopped):
            hub.pretrain(recipe(steps=6, **settings), progress=False)
    resumed = hub.pretrain(recipe(steps=6, **settings), resume=True, progress=False)
    assert resumed.weights_digest == expected.weights_digest
    assert (resumed.steps, resumed.tokens, resumed.before) == (expected.steps, expected.tokens, expected.before)
    steps = [json.loads(line)["step"] for line in (resumed.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_the_layers_above_a_shallow_start_wait_as_they_are_and_then_train(recipe: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, Any, Any]] = []
    steps = Pretraining.steps

    def watched(self: Pretraining) -> Iterator[Fact]:
        low, high = (block.down.weight for block in self.module.encoder.blocks)
        for fact in steps(self):
            seen.append((fact.depth, low.detach().clone(), high.detach().clone()))
            yield fact

    monkeypatch.setattr(Pretraining, "steps", watched)
    hub.pretrain(recipe(steps=5, average=0.0, **SHALLOW), progress=False)
    assert [depth for depth, _, _ in seen] == [1, 1, 1, 2, 2]
    for (_, low, high), (depth, next_low, next_high) in pairwise(seen[:-1]):  # the last step has a rate of 0
        assert not low.equal(next_low)
        assert high.equal(next_high) == (depth == 1)


def test_a_shallow_start_needs_damped_layers(recipe: Recipes) -> None:
    with pytest.raises(ValueError, match="needs start: counts"):
        recipe(steps=2, start="scratch", shallow=0.5)


def test_a_run_that_ended_has_nothing_left_to_do(recipe: Recipes) -> None:
    first = hub.pretrain(recipe(steps=2), progress=False)
    assert hub.pretrain(recipe(steps=2), resume=True, progress=False).weights_digest == first.weights_digest


def test_other_settings_do_not_go_on(recipe: Recipes) -> None:
    hub.pretrain(recipe(steps=2), progress=False)
    with pytest.raises(InputError, match=r"train\.steps: 2 -> 3"):
        hub.pretrain(recipe(steps=3), resume=True, progress=False)
    with pytest.raises(InputError, match="holds a run already"):
        hub.pretrain(recipe(steps=2), progress=False)


def test_other_initial_weights_do_not_go_on(recipe: Recipes, small_module: Path) -> None:
    hub.pretrain(recipe(steps=2, start="weights"), progress=False)
    config = json.loads((small_module / "config.json").read_text(encoding="utf-8"))
    (small_module / "config.json").write_text(json.dumps(config | {"initial_seed": 2}), encoding="utf-8")
    with pytest.raises(WeightsError, match="other settings or other data"):
        hub.pretrain(recipe(steps=2, start="weights"), resume=True, progress=False)


def test_shards_that_appear_are_picked_up(recipe: Recipes, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlphub.training.pretraining.loop._REFRESH", 2)
    steps = Pretraining.steps

    def feeding(self: Pretraining) -> Iterator[Fact]:
        for fact in steps(self):
            if fact.position.step == 1:
                write(tmp_path / "text" / "late-0.safetensors", weight=50.0)
            yield fact
        assert "late-0" in fact.position.taken
        assert fact.position.taken["late-0"] > fact.position.taken["bank-0"] / 2

    monkeypatch.setattr(Pretraining, "steps", feeding)
    hub.pretrain(recipe(steps=6), progress=False)


def test_adaptation_starts_from_the_weights_of_a_pretrained_module(recipe: Recipes) -> None:
    first = hub.pretrain(recipe(steps=40), progress=False)
    adapted = recipe(run="adapted", steps=2, start="weights", learning_rate=1e-5, embedding_rate=1e-5)
    adapted = adapted.model_copy(update={"module": adapted.module.model_copy(update={"directory": str(first.module)})})
    done = hub.pretrain(adapted, progress=False)
    assert done.before == first.after


def test_training_by_the_clock_follows_the_clock(recipe: Recipes) -> None:
    done = hub.pretrain(recipe(minutes=0.02, average=0.0), progress=False)
    facts = [json.loads(line) for line in (done.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert facts[-1]["seconds"] >= 1.2
    for fact in facts:
        rounded = 0.5e-4 / 0.02 + 0.5e-4  # what four decimals of done, in the steepest part, and of the factor can hide
        assert fact["factor"] == pytest.approx(warmup_stable_decay(fact["done"], warmup=0.02, decay=0.3), abs=rounded)


def test_text_of_another_tokenizer_is_refused_before_anything_is_written(recipe: Recipes, tmp_path: Path) -> None:
    import numpy as np

    from nlphub.data.shards import write_shard

    write_shard(
        tmp_path / "text" / "other.safetensors",
        ids=np.arange(9),
        word_starts=np.ones(9, np.bool_),
        starts=np.array([0, 9]),
        tokenizer_digest="another",
    )
    with pytest.raises(DataError, match="other has another"):
        hub.pretrain(recipe(steps=2), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_training(recipe: Recipes) -> None:
    with pytest.raises(TrainingError, match=r"smaller train\.learning_rate"):
        hub.pretrain(recipe(steps=40, optimizer="adamw", learning_rate=1e30, embedding_rate=1e30, warmup=0.0), progress=False)
