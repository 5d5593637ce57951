"""Cross-validation of a recipe: a training for each fold, and what each says about the examples that it never saw.

::

    runs/intent-folds/
      recipe.yaml  lock.json       as in a run
      folds/1.safetensors ...      for each finished fold: its rows, their probabilities, steps and seconds
      folds/all.safetensors        probabilities (rows x labels) float32, and the fold of each row
      report/folds.json            labels, scores of each fold, their means with intervals

It lies beside the folder of the run, since ``finetune`` replaces that one whole. A cross-validation that is called again goes on after its
last finished fold.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nlphub import __version__
from nlphub.calibration import softmax
from nlphub.checkpoints.native import weights_digest
from nlphub.data.corrections import Suspect
from nlphub.data.examples import Examples
from nlphub.data.folds import fold_numbers
from nlphub.data.read import load_splits
from nlphub.data.splitting import split_off
from nlphub.errors import InputError, StoreError
from nlphub.evaluation.folds import HEADLINES, CrossValidation, Fold
from nlphub.evaluation.metrics import classification_report
from nlphub.files import publish, publish_json
from nlphub.recipe import ExportSettings, Recipe, RunSettings, load_recipe
from nlphub.tasks import trainable
from nlphub.training import run_folder
from nlphub.training.few.loop import check_few
from nlphub.training.modules import new_module
from nlphub.training.objectives import check_weights
from nlphub.training.trainer import Trainer

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

TASK = "seq-cls"


def cross_validate(
    recipe: Recipe | str | Path,
    *,
    folds: int = 5,
    overwrite: bool = False,
    progress: bool = True,
    use_gpu: bool = False,
    told: Callable[[Fold], None] | None = None,
) -> CrossValidation:
    """Train on all folds but one, for each fold, as a seq-cls recipe says, and judge on that one.

    The examples are those of ``data.train``, all of them: ``data.split.test`` is not cut off, and ``data.split.dev`` is cut off each
    training part instead; ``data.dev`` serves every fold, ``data.test`` is not read. So what is held out has no part in choosing weights.
    Folds are cut by ``train.seed``, see :func:`nlphub.data.folds.fold_numbers`.

    Args:
        recipe: from :func:`nlphub.load_recipe`, or what it takes.
        folds: how many, at least 2.
        overwrite: train again what an earlier call in the same folder left.
        progress: show a progress bar of each training when standard error is a terminal.
        use_gpu: train on the GPU.
        told: called with each fold as soon as it is known.

    Raises:
        InputError: another task, ``folds`` do not fit, or the folder holds something else, e.g. folds of other settings or data.
        DataError: the data are not fit for training.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    work = _Work.of(recipe, folds, use_gpu=use_gpu, progress=progress)
    with run_folder.alone(work.folder):
        _begin(work, folds, overwrite=overwrite)
        found, probabilities = [], np.zeros((len(work.examples), len(work.labels)), np.float32)
        for place in range(folds):
            held = work.kept(place) or work.train(place, folds)
            rows = np.flatnonzero(work.fold_of == place)
            probabilities[rows] = held["probabilities"]
            found.append(_judged(work, place, rows, held))
            if told is not None:
                told(found[-1])
        made = CrossValidation(work.folder, work.examples, work.labels, work.fold_of, probabilities, tuple(found))
        _publish(work.folder / "folds" / "all.safetensors", {"probabilities": probabilities, "fold_of": work.fold_of})
        publish_json(work.folder / "report" / "folds.json", made.as_dict())
    return made


def folds_folder(recipe: Recipe) -> Path:
    """Where the cross-validation of a recipe is kept: the run's folder with ``-folds`` behind its name."""
    folder = Path(recipe.run.folder).expanduser().absolute()
    return folder.with_name(f"{folder.name}-folds")


def publish_suspects(recipe: Recipe, suspects: Sequence[Suspect]) -> list[Path]:
    """Keep suspects as ``report/suspects.json`` beside the folds, and in the folder of the recipe's run if that was trained on these data.

    Returns:
        What was written: one file or two. A run of other data, e.g. from before the corrections, gets none.
    """
    folders, run = [folds_folder(recipe)], Path(recipe.run.folder).expanduser().absolute()
    if before := run_folder.facts(run):
        splits = load_splits(recipe.data, seed=recipe.train.seed, nested=recipe.nested)
        if before.get("data_sha256") == {name: examples.digest() for name, examples in splits.items()}:
            folders.append(run)
    files = [folder / "report" / "suspects.json" for folder in folders]
    for file in files:
        publish_json(file, [suspect.as_dict() for suspect in suspects])
    return files


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What the trainings of all folds have in common."""

    recipe: Recipe
    folder: Path
    examples: Examples
    dev: Examples | None
    labels: tuple[str, ...]
    fold_of: Ints
    use_gpu: bool
    progress: bool

    @classmethod
    def of(cls, recipe: Recipe, folds: int, *, use_gpu: bool, progress: bool) -> "_Work":
        if recipe.task != TASK:
            raise InputError(f"Only {TASK} has a cross-validation with probabilities of labels, and this recipe's task is {recipe.task}")
        splits = load_splits(recipe.data.model_copy(update={"split": {}, "test": None}), seed=recipe.train.seed, nested=recipe.nested)
        train, dev = splits["train"], splits.get("dev")
        trainable(TASK).check(train, dev)
        labels = trainable(TASK).label_names(train)
        check_weights(recipe.train.class_weights, labels)
        if recipe.train.method != "finetune":
            check_few(recipe.train, train, task=TASK)
        fold_of = np.array(fold_numbers(train, folds=folds, seed=recipe.train.seed), np.int64)
        return cls(recipe, folds_folder(recipe), train, dev, labels, fold_of, use_gpu, progress)

    def file(self, place: int) -> Path:
        return self.folder / "folds" / f"{place + 1}.safetensors"

    def kept(self, place: int) -> dict[str, Any] | None:
        """A fold that was finished before.

        Raises:
            StoreError: its file is damaged.
        """
        path = self.file(place)
        if not path.is_file():
            return None
        try:
            held = load(path.read_bytes())
        except SafetensorError as broken:
            raise StoreError(f"{path} is damaged: {broken}. Delete it, and this fold is trained again.") from broken
        rows = np.flatnonzero(self.fold_of == place)
        probabilities = held.get("probabilities")
        if probabilities is None or probabilities.shape != (len(rows), len(self.labels)) or not np.array_equal(held.get("rows", ()), rows):
            raise StoreError(f"{path} is not the fold of these rows and labels. Delete it, and this fold is trained again.")
        return held

    def train(self, place: int, folds: int) -> dict[str, Any]:
        """Train without the examples of a fold, and keep what the module says about them."""
        rows = np.flatnonzero(self.fold_of == place)
        train, dev = self._parts(np.flatnonzero(self.fold_of != place).tolist())
        log.info("fold %d of %d: training on %d examples, %d are held out", place + 1, folds, len(train), len(rows))
        module = new_module(self.recipe, self.examples)  # each fold's begins with the same weights
        report = Trainer(module, settings=self.recipe.train, use_gpu=self.use_gpu, progress=self.progress).train(train, eval_dataset=dev)
        logits = module.logits(trainable(TASK).questions(self.examples.take(rows.tolist())))
        held: dict[str, NDArray[Any]] = {
            "rows": rows,
            "probabilities": softmax(logits).astype(np.float32),
            "steps": np.array([report.steps], np.int64),
            "seconds": np.array([report.seconds], np.float64),
        }
        _publish(self.file(place), held)
        return held

    def _parts(self, rows: list[int]) -> tuple[Examples, Examples | None]:
        """What a fold is trained on, and what chooses its weights."""
        train = self.examples.take(rows)
        if "dev" in self.recipe.data.split:
            parts = split_off(train, {"dev": self.recipe.data.split["dev"]}, seed=self.recipe.train.seed)
            return parts["train"], parts["dev"]
        if self.dev is None:
            return train, None
        known = set(train.label_names)  # a label with one example is not among them while that is held out
        return train, self.dev.take([number for number, example in enumerate(self.dev) if example.label in known])


def _begin(work: _Work, folds: int, *, overwrite: bool) -> None:
    """Make the folder, or make sure that what is there belongs to the same settings and data."""
    module = new_module(work.recipe, work.examples)
    data = {"train": work.examples, **({"dev": work.dev} if work.dev is not None else {})}
    own = work.recipe.model_copy(update={"run": RunSettings(folder=str(work.folder)), "export": ExportSettings(), "examples": ()})
    facts = {
        "nlphub": __version__,
        "recipe_sha256": own.digest(),
        "data_sha256": {name: examples.digest() for name, examples in data.items()},
        "weights_sha256": weights_digest(module.encoder, module.head),
        "folds": folds,
    }
    known = {"data_sha256": "the examples", "weights_sha256": "the module's first weights", "folds": "the number of folds"}
    run_folder.begin_or_continue(work.folder, own, facts, known=known, what="a cross-validation", overwrite=overwrite)


def _judged(work: _Work, place: int, rows: Ints, held: Mapping[str, Any]) -> Fold:
    answers = [work.labels[number] for number in held["probabilities"].argmax(axis=1).tolist()]
    metrics = classification_report(work.examples.take(rows.tolist()).labels, answers, work.labels)
    seconds = round(float(held["seconds"][0]), 1)
    return Fold(place + 1, len(rows), {name: round(metrics.score(name), 6) for name in HEADLINES}, int(held["steps"][0]), seconds)


def _publish(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with publish(path) as stream:
        stream.write(save(dict(arrays)))
