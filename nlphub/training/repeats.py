"""The same recipe with several seeds: how much of a score is luck.

::

    runs/intent-seeds/
      recipe.yaml  lock.json   as in a run
      seeds/0/ ...             a whole run for each seed
      seeds/0.json ...         the scores of each finished one
      report/seeds.json        all scores, their means with intervals

It lies beside the folder of the run, since ``finetune`` replaces that one whole. What was interrupted goes on when it is called again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlphub import __version__
from nlphub.aligned import aligned
from nlphub.errors import InputError, StoreError
from nlphub.evaluation.calibration import Interval
from nlphub.evaluation.means import mean_interval
from nlphub.files import publish_json
from nlphub.recipe import ExportSettings, Recipe, RunSettings, load_recipe
from nlphub.training import run_folder
from nlphub.training.run import finetune

_UNJUDGED = "Runs are compared by their scores: give data.test, data.dev, or data.split={dev: 0.1}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """The run of one seed.

    Attributes:
        seed: of it.
        scores: name -> value, 0 to 1, on :attr:`Repeats.judged_on`.
        judged_on: ``"test"``, or ``"dev"`` when the recipe names no test set.
        weights_digest: sha256 of its weights.
        seconds: of training.
    """

    seed: int
    scores: Mapping[str, float]
    judged_on: str
    weights_digest: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        facts = {"seed": self.seed, "judged_on": self.judged_on, "scores": dict(self.scores)}
        return {**facts, "weights_sha256": self.weights_digest, "seconds": round(self.seconds, 1)}


@dataclass(frozen=True, slots=True)
class Repeats:
    """What :func:`repeat` found.

    Attributes:
        folder: where it is kept.
        judged_on: the set of the scores.
        runs: one for each seed.
    """

    folder: Path
    judged_on: str
    runs: tuple[Repeat, ...]

    @property
    def means(self) -> dict[str, Interval]:
        """Score -> mean over the seeds with its 95 % interval by Student's t."""
        return {name: mean_interval([run.scores[name] for run in self.runs]) for name in self.runs[0].scores}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        means = {name: interval.as_dict() for name, interval in self.means.items()}
        return {"judged_on": self.judged_on, "means": means, "runs": [run.as_dict() for run in self.runs]}

    def table(self) -> str:
        """A text table for a terminal: a line for each seed, then the means."""
        names = list(self.runs[0].scores)
        rows = [[str(run.seed), *(f"{run.scores[name]:.4f}" for name in names)] for run in self.runs]
        means = self.means
        rows.append(["mean", *(f"{means[name].value:.4f}" for name in names)])
        rows.append(["95 %", *(f"{means[name].low:.3f}-{means[name].high:.3f}" for name in names)])
        return aligned(("seed", *names), rows, numbers=True)


def repeat(
    recipe: Recipe | str | Path,
    *,
    seeds: int = 5,
    overwrite: bool = False,
    progress: bool = True,
    told: Callable[[Repeat], None] | None = None,
) -> Repeats:
    """Carry out a recipe with several seeds, from ``train.seed`` upwards, without exporting.

    A seed decides the new weights of the head, the order of the examples and the dropout, and which examples ``data.split`` cuts off.
    Called again with the same recipe it goes on where it stopped, inside a run too; with more ``seeds`` it adds runs.

    Args:
        recipe: from :func:`nlphub.load_recipe`, or what it takes.
        seeds: how many, at least 2.
        overwrite: begin anew.
        progress: show a progress bar when standard error is a terminal.
        told: called with each run as soon as it is known.

    Raises:
        InputError: fewer than 2 seeds, neither a dev nor a test set, or the folder holds something else.
        DataError: the data are not fit for training.
        StoreError: a file of scores is damaged.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 2:
        raise InputError(f"seeds={seeds!r} has to be a whole number of at least 2: one run alone has no interval")
    if recipe.train.seed + seeds > 2**32:
        raise InputError(f"train.seed={recipe.train.seed} leaves no room for {seeds} seeds below 2**32")
    data = recipe.data
    if len(data.sources) == 1 and not data.split and not data.train.startswith("hf://"):
        raise InputError(_UNJUDGED)
    folder = repeats_folder(recipe)
    with run_folder.alone(folder):
        own = recipe.model_copy(update={"run": RunSettings(folder=str(folder)), "export": ExportSettings(), "examples": ()})
        lock = {"nlphub": __version__, "recipe_sha256": own.digest()}
        run_folder.begin_or_continue(folder, own, lock, known={}, what="repeated runs", overwrite=overwrite)
        runs = []
        for seed in range(recipe.train.seed, recipe.train.seed + seeds):
            runs.append(_kept(folder, seed) or _run(own, folder, seed, progress=progress))
            if told is not None:
                told(runs[-1])
        made = Repeats(folder, runs[0].judged_on, tuple(runs))
        publish_json(folder / "report" / "seeds.json", made.as_dict())
    return made


def repeats_folder(recipe: Recipe) -> Path:
    """Where the runs are kept: the run's folder with ``-seeds`` behind its name."""
    folder = Path(recipe.run.folder).expanduser().absolute()
    return folder.with_name(f"{folder.name}-seeds")


def _run(recipe: Recipe, folder: Path, seed: int, *, progress: bool) -> Repeat:
    """One run, begun or gone on with."""
    target = folder / "seeds" / str(seed)
    changed = {"train": recipe.train.model_copy(update={"seed": seed}), "run": RunSettings(folder=str(target))}
    run = finetune(recipe.model_copy(update=changed), resume=run_folder.facts(target) is not None, progress=progress)
    if run.metrics is None or run.judged_on is None:  # a hub id that brought nothing but examples to train on
        raise InputError(_UNJUDGED)
    made = Repeat(seed, dict(run.metrics.headlines), run.judged_on, run.weights_digest, run.report.seconds)
    publish_json(folder / "seeds" / f"{seed}.json", made.as_dict())
    return made


def _kept(folder: Path, seed: int) -> Repeat | None:
    """A run that was finished before.

    Raises:
        StoreError: its file is damaged.
    """
    path = folder / "seeds" / f"{seed}.json"
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        scores = {str(name): float(value) for name, value in facts["scores"].items()}
        made = Repeat(int(facts["seed"]), scores, str(facts["judged_on"]), str(facts["weights_sha256"]), float(facts["seconds"]))
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise StoreError(f"{path} is damaged ({broken}). Delete it, and it is written again.") from broken
    return replace(made, seed=seed)
