"""A whole run from a recipe: data, module, training, scores, picture, artefact, first predictions, all in one folder.

::

    runs/intent/
      recipe.yaml     the recipe as it was resolved, every default written out
      lock.json       digests of data, module and result; versions; seed: what has to be equal to get the same weights again
      metrics.jsonl   one line for each optimizer step
      best/  last/    module folders; last/ also holds the state that --resume needs
      report/         metrics.json, confusion.svg
"""

import json
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nlphub import __version__
from nlphub.checkpoints.native import weights_digest
from nlphub.data.examples import Examples, check_for_training
from nlphub.data.read import load_splits
from nlphub.errors import InputError
from nlphub.evaluation.metrics import ClassificationMetrics
from nlphub.evaluation.report import confusion_svg
from nlphub.files import discard_folder, publish_json, publish_text
from nlphub.module import Module
from nlphub.recipe import Recipe
from nlphub.runtime.predictions import Prediction
from nlphub.runtime.predictor import Predictor
from nlphub.training.trainer import Report, Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """What :func:`finetune` made.

    Attributes:
        folder: the run's folder.
        report: of the training.
        metrics: scores on ``judged_on``.
        judged_on: ``"test"``, or ``"dev"`` when the recipe names no test set, or ``None`` without either.
        weights_digest: sha256 of the kept weights.
        artefact: the exported folder, if the recipe asks for one.
        predictions: what the artefact answers to the recipe's examples.
    """

    folder: Path
    report: Report
    metrics: ClassificationMetrics | None
    judged_on: str | None
    weights_digest: str
    artefact: Path | None
    predictions: Mapping[str, Prediction]

    @property
    def picture(self) -> Path:
        """The confusion matrix."""
        return self.folder / "report" / "confusion.svg"


def finetune(recipe: Recipe, *, overwrite: bool = False, resume: bool = False, progress: bool = True) -> Run:
    """Carry out a recipe.

    Args:
        overwrite: replace an earlier run in the same folder.
        resume: go on exactly where an interrupted run in the same folder stopped.
        progress: show a progress bar when standard error is a terminal.

    Raises:
        InputError: the folder holds something already, or the data are not fit for training (nothing is written then).
    """
    splits = load_splits(recipe.data, seed=recipe.train.seed)
    check_for_training(splits["train"], splits.get("dev"), test=splits.get("test"))
    folder = Path(recipe.run.folder)
    _check_folder(folder, overwrite=overwrite, resume=resume)
    torch.manual_seed(recipe.train.seed)
    module = Module(
        recipe.module.name,
        directory=recipe.module.directory,
        version=recipe.module.version,
        task=recipe.task,
        labels=splits["train"].label_names,
        max_length=recipe.data.max_length,
        seed=recipe.train.seed,
    )
    lock = _lock(recipe, splits, module)
    _begin(folder, recipe, lock, resume=resume)
    trainer = Trainer(module, settings=recipe.train, checkpoint_dir=folder, progress=progress)
    report = trainer.train(splits["train"], eval_dataset=splits.get("dev"), resume=resume)
    digest = weights_digest(module.encoder, module.head)
    publish_json(folder / "lock.json", {**lock, "result": {"weights_sha256": digest}})
    judged_on = next((name for name in ("test", "dev") if name in splits), None)
    metrics = trainer.evaluate(splits[judged_on]) if judged_on else None
    if metrics is not None:
        _write_report(folder / "report", metrics, judged_on)
    artefact = _export(module, recipe)
    return Run(folder, report, metrics, judged_on, digest, artefact, _first_answers(artefact, recipe))


def _check_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume goes on with a run, --overwrite throws it away: give one of them")
    if resume and not (folder / "lock.json").is_file():
        raise InputError(f"{folder} holds no run to resume; leave --resume out to start one")
    if resume or not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / "lock.json").is_file():
        raise InputError(f"{folder} is not empty and is no run of nlphub, so it is left alone; choose another run.folder=...")
    if not overwrite:
        raise InputError(f"{folder} holds a run already; add --overwrite, --resume, or run.folder=another/folder")


def _begin(folder: Path, recipe: Recipe, lock: dict[str, Any], *, resume: bool) -> None:
    if resume:
        before = json.loads((folder / "lock.json").read_text(encoding="utf-8"))
        changed = sorted(key for key in lock if before.get(key) != lock[key])
        if changed:
            log.warning("since the interrupted run these have changed: %s; bitwise equal weights are not certain", ", ".join(changed))
        return
    discard_folder(folder)
    publish_text(folder / "recipe.yaml", recipe.to_yaml())
    publish_json(folder / "lock.json", lock)


def _lock(recipe: Recipe, splits: Mapping[str, Examples], module: Module) -> dict[str, Any]:
    return {
        "nlphub": __version__,
        "recipe_sha256": recipe.digest(),
        "data_sha256": {name: examples.digest() for name, examples in sorted(splits.items())},
        "module": {"config": module.config, "weights_sha256": weights_digest(module.encoder, module.head)},
        "seed": recipe.train.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(module.device),
        "libraries": {name: version(name) for name in ("numpy", "onnxruntime", "safetensors", "torch")},
    }


def _write_report(folder: Path, metrics: ClassificationMetrics, judged_on: str | None) -> None:
    publish_json(folder / "metrics.json", {"judged_on": judged_on, **metrics.as_dict()})
    publish_text(folder / "confusion.svg", confusion_svg(metrics))


def _export(module: Module, recipe: Recipe) -> Path | None:
    if recipe.export.folder is None:
        return None
    module.export(recipe.export.folder)
    return Path(recipe.export.folder)


def _first_answers(artefact: Path | None, recipe: Recipe) -> dict[str, Prediction]:
    if artefact is None or not recipe.examples:
        return {}
    texts = list(recipe.examples)
    return dict(zip(texts, Predictor(artefact)(texts), strict=True))
