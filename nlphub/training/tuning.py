"""Searching hyper-parameters of a recipe by its dev score.

::

    runs/intent-tune/
      recipe.yaml  lock.json   as in a run
      trials/0.json ...        each finished trial: its values, its dev scores, how it ended
      best.yaml                the recipe with the best trial's values, for `nlphub finetune`
      report/trials.json       all trials

It lies beside the folder of the run, since ``finetune`` replaces that one whole. A search that is called again goes on after its last
finished trial, and comes to the same trials as one that was never interrupted.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nlphub import __version__
from nlphub.aligned import aligned
from nlphub.checkpoints.native import weights_digest
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.errors import InputError, StoreError, TrainingError, brief
from nlphub.files import publish_json, publish_text
from nlphub.recipe import ExportSettings, Recipe, RunSettings, TrainSettings, load_recipe
from nlphub.recipe.space import Range
from nlphub.tasks import outputs_of, trainable
from nlphub.training import run_folder
from nlphub.training.bar import with_bar
from nlphub.training.facts import describe
from nlphub.training.modules import new_module, pinned
from nlphub.training.objectives import check_weights
from nlphub.training.search import Search, default_space
from nlphub.training.trainer import Trainer

log = logging.getLogger(__name__)

_STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of values and what it came to.

    Attributes:
        number: from 0; trial 0 has the recipe's own values.
        values: keys of ``train`` that differ from the recipe's.
        state: ``complete``; ``pruned``: cut short because others did better; ``failed``: its numbers were not finite, or the values do
            not go together.
        scores: on dev, of each evaluation.
        seconds: that it took.
        why: it failed.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    scores: tuple[float, ...]
    seconds: float
    why: str | None = None

    @property
    def score(self) -> float | None:
        """The best of them, which is that of the weights that ``finetune`` would keep; ``None`` if it failed before the first."""
        return max(self.scores, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        facts = {"number": self.number, "values": dict(self.values), "state": self.state, "scores": list(self.scores)}
        return {**facts, "score": self.score, "seconds": round(self.seconds, 1), "why": self.why}


@dataclass(frozen=True, slots=True)
class Tuning:
    """What :func:`tune` found.

    Attributes:
        folder: where it is kept.
        metric: the score of dev that was compared.
        trials: all of them, in order.
        best: the complete one with the highest score. It was chosen by that score, which therefore flatters it.
    """

    folder: Path
    metric: str
    trials: tuple[Trial, ...]
    best: Trial

    @property
    def recipe(self) -> Path:
        """``best.yaml``, for ``nlphub finetune``."""
        return self.folder / "best.yaml"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"metric": self.metric, "best": self.best.number, "trials": [trial.as_dict() for trial in self.trials]}

    def table(self) -> str:
        """A text table for a terminal, the best trial first."""
        keys = sorted({key for trial in self.trials for key in trial.values})
        rows = [
            (trial.number, _score(trial.score), trial.state, *(_cell(trial.values.get(key, "")) for key in keys))
            for trial in sorted(self.trials, key=_rank)
        ]
        return aligned(("trial", f"dev {self.metric}", "state", *keys), rows)


def tune(
    recipe: Recipe | str | Path,
    *,
    trials: int = 20,
    minutes: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
    told: Callable[[Trial], None] | None = None,
) -> Tuning:
    """Train with different values of ``train``, as the recipe's ``tune`` section says, and keep the recipe of the best dev score.

    The first trial has the recipe's own values. Trials that do worse than half of the others at the same evaluation are cut short. All
    have the recipe's seed and the same examples; the test set is not read. Called again it goes on where it stopped; with more
    ``trials`` it adds some.

    Args:
        recipe: from :func:`nlphub.load_recipe`, or what it takes.
        trials: how many in all, earlier ones included.
        minutes: after which this call begins no further trial.
        overwrite: forget the trials of an earlier call in the same folder.
        progress: show a progress bar of each training when standard error is a terminal.
        told: called with each trial as soon as it is known.

    Raises:
        InputError: another ``train.method``, no dev set, ``trials`` or ``minutes`` do not fit, or the folder holds something else, e.g.
            a search in another space.
        MissingExtraError: Optuna is not installed.
        DataError: the data are not fit for training.
        TrainingError: no trial came to a score.
        StoreError: the file of a trial is damaged.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    _check_limits(trials, minutes)
    work = _Work.of(recipe, progress=progress)
    ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
    with run_folder.alone(work.folder):
        work.begin(overwrite=overwrite)
        found: list[Trial] = []
        for number in range(trials):
            known = work.kept(number)
            if known is None and found and time.monotonic() > ends:
                log.info("the time is over after %d of %d trials; the same command goes on", number, trials)
                break
            found.append(known or work.run(number))
            work.search.take_in(found[-1].values, found[-1].scores, state=found[-1].state)
            if told is not None:
                told(found[-1])
        return work.finish(found)


def tuning_folder(recipe: Recipe) -> Path:
    """Where the search is kept: the run's folder with ``-tune`` behind its name."""
    folder = Path(recipe.run.folder).expanduser().absolute()
    return folder.with_name(f"{folder.name}-tune")


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What all trials have in common."""

    recipe: Recipe
    folder: Path
    train: Examples
    dev: Examples
    space: Mapping[str, Range | tuple[Any, ...]]
    search: Search
    progress: bool

    @classmethod
    def of(cls, recipe: Recipe, *, progress: bool) -> "_Work":
        if recipe.train.method != "finetune":
            raise InputError(
                f"A search is of train.method=finetune, and this recipe's is {recipe.train.method}, which has nothing to search"
            )
        space: dict[str, Range | tuple[Any, ...]] = {str(key): values for key, values in recipe.tune.items()} or default_space(
            recipe.train, recipe.task
        )
        search = Search(space, seed=recipe.train.seed)
        given = recipe.data.model_copy(update={"test": None})  # what is cut off as test is not used
        splits = load_splits(given, seed=recipe.train.seed, nested=recipe.nested)
        if "dev" not in splits:
            raise InputError("A search compares dev scores, and this recipe has no dev set: give data.dev, or data.split={dev: 0.1}")
        task = trainable(recipe.task, recipe.module.variant)
        task.check(splits["train"], splits["dev"])
        check_weights(recipe.train.class_weights, outputs_of(task.name, task.label_names(splits["train"])))
        return cls(recipe, tuning_folder(recipe), splits["train"], splits["dev"], space, search, progress)

    def begin(self, *, overwrite: bool) -> None:
        """Make the folder, or make sure that what is there is of the same settings, data and space."""
        module = new_module(self.recipe, self.train)
        own = self.recipe.model_copy(update={"run": RunSettings(folder=str(self.folder)), "export": ExportSettings(), "examples": ()})
        lock = {
            "nlphub": __version__,
            "recipe_sha256": own.digest(),
            "data_sha256": {"train": self.train.digest(), "dev": self.dev.digest()},
            "weights_sha256": weights_digest(module.encoder, module.head),
            "space": {key: _plain(values) for key, values in self.space.items()},
        }
        known = {"data_sha256": "the examples", "weights_sha256": "the module's first weights", "space": "the space"}
        run_folder.begin_or_continue(self.folder, own, lock, known=known, what="a search", overwrite=overwrite)

    def run(self, number: int) -> Trial:
        """Make a trial and keep it."""
        values = self.search.suggest(number) if number else {}
        scores: list[float] = []
        started = time.perf_counter()
        state, why = self._train(values, scores)
        trial = Trial(number, values, state, tuple(scores), time.perf_counter() - started, why)
        publish_json(self.folder / "trials" / f"{number}.json", trial.as_dict())
        return trial

    def _train(self, values: Mapping[str, Any], scores: list[float]) -> tuple[str, str | None]:
        """How a training with these values ended; its dev scores are appended."""
        settings = TrainSettings.model_validate({**self.recipe.train.model_dump(), **values})
        if problems := settings.problems(self.recipe.task):
            return "failed", "; ".join(problems)
        trainer = Trainer(new_module(self.recipe, self.train), settings=settings, progress=self.progress)
        try:
            for fact in with_bar(trainer.steps(self.train, self.dev), describe, shown=self.progress):
                if fact.score is not None:
                    scores.append(fact.score)
                    if self.search.hopeless(scores):
                        return "pruned", None
        except TrainingError as wrong:
            return "failed", str(wrong)
        return "complete", None

    def kept(self, number: int) -> Trial | None:
        """A trial that was finished before.

        Raises:
            StoreError: its file is damaged.
        """
        path = self.folder / "trials" / f"{number}.json"
        if not path.is_file():
            return None
        try:
            return self._read(json.loads(path.read_text(encoding="utf-8")), number)
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as broken:
            raise StoreError(f"{path} is no trial of this search ({broken}). Delete it, and the trial is made again.") from broken

    def _read(self, facts: dict[str, Any], number: int) -> Trial:
        """A trial from its file; what does not fit is a ``ValueError`` or another of those that :meth:`kept` knows."""
        values, scores = dict(facts["values"]), tuple(float(score) for score in facts["scores"])
        wanted = set(self.space) if number else set()
        state = facts["state"]
        if facts["number"] != number or set(values) != wanted or state not in _STATES or (state != "failed" and not scores):
            raise ValueError(f"it says {brief(facts)}")
        if not all(0 <= score <= 1 for score in scores):
            raise ValueError(f"scores {brief(scores)}")
        TrainSettings.model_validate({**self.recipe.train.model_dump(), **values})
        why = facts["why"]
        return Trial(number, values, state, scores, float(facts["seconds"]), None if why is None else str(why))

    def finish(self, found: list[Trial]) -> Tuning:
        """Write best.yaml and the report."""
        complete = [trial for trial in found if trial.state == "complete"]
        if not complete:
            raise TrainingError(f"None of {len(found)} trials came to its end; the last one: {found[-1].why}")
        best = min(complete, key=_rank)
        made = Tuning(self.folder, str(self.recipe.train.metric), tuple(found), best)
        train = TrainSettings.model_validate({**self.recipe.train.model_dump(), **best.values})
        recipe = pinned(self.recipe, new_module(self.recipe, self.train)).model_copy(update={"train": train})
        head = (
            f"# Trial {best.number} of {len(found)}, by `nlphub tune`: dev {made.metric} {best.score:.4f}, which chose it and flatters it."
        )
        publish_text(made.recipe, f"{head}\n{recipe.to_yaml()}")
        publish_json(self.folder / "report" / "trials.json", made.as_dict())
        return made


def _check_limits(trials: int, minutes: float | None) -> None:
    problems = []
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        problems.append(f"trials={trials!r} has to be a whole number of at least 1")
    if minutes is not None and not (isinstance(minutes, int | float) and 0 < minutes < math.inf):
        problems.append(f"minutes={minutes!r} has to be a number above 0")
    if problems:
        raise InputError("This search cannot be:", problems)


def _rank(trial: Trial) -> tuple[float, int]:
    """Sorts the best trial first; of equal ones the earlier."""
    return (math.inf if trial.score is None else -trial.score, trial.number)


def _plain(values: Range | tuple[Any, ...]) -> Any:
    return values.model_dump() if isinstance(values, Range) else list(values)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
