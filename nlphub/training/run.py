"""A whole run from a recipe: data, module, training, scores, picture, artefact, first predictions, all in one folder.

::

    runs/intent/
      recipe.yaml     the recipe as it was resolved, every default written out
      lock.json       digests of data, module and result; versions; seed: what has to be equal to get the same weights again
      metrics.jsonl   one line for each optimizer step
      best/  last/    module folders; last/ also holds the state that --resume needs
      report/         report.html and what it is made from (nlphub.evaluation.report): metrics.json, judged.jsonl, data.json,
                      calibration.json or thresholds.json; confusion.svg of tasks that have classes
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nlphub import __version__, kernels
from nlphub.checkpoints.native import weights_digest
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.evaluation.metrics import ClassificationMetrics, Metrics
from nlphub.evaluation.report import confusion_svg
from nlphub.export.onnx import require_exportable
from nlphub.files import publish_json, publish_text
from nlphub.module import Module
from nlphub.recipe import Recipe, load_recipe
from nlphub.runtime.predictor import Predictor
from nlphub.tasks import outputs_of, trainable
from nlphub.training import run_folder
from nlphub.training.calibrated_run import Calibrated, Outside, calibrate_run, load_outside
from nlphub.training.device.choose import require_gpu
from nlphub.training.distillation.run import open_school
from nlphub.training.few.loop import check_few
from nlphub.training.modules import new_module, pinned
from nlphub.training.objectives import check_weights
from nlphub.training.run_report import report_run
from nlphub.training.thresholds import Thresholds
from nlphub.training.trainer import Report, Trainer


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
        calibrated: how; of multi-label the thresholds of its labels; ``None`` without a dev set, or of a task that has no calibration.
        page: the report, ``report.html``; ``None`` if something kept it from being written, which is logged.
    """

    folder: Path
    report: Report
    metrics: Metrics | None
    judged_on: str | None
    weights_digest: str
    artefact: Path | None
    predictions: Mapping[str | tuple[str, str], Any]
    calibrated: Calibrated | Thresholds | None
    page: Path | None = None

    @property
    def picture(self) -> Path | None:
        """The confusion matrix, of tasks that have one."""
        return self.folder / "report" / "confusion.svg" if isinstance(self.metrics, ClassificationMetrics) else None


def finetune(recipe: Recipe | str | Path, *, overwrite: bool = False, resume: bool = False, progress: bool = True) -> Run:
    """Carry out a recipe.

    Args:
        recipe: from :func:`nlphub.load_recipe`, or what it takes: the name of a shipped recipe or a path.
        overwrite: replace an earlier run in the same folder, and an earlier artefact in the export folder.
        resume: go on exactly where an interrupted run in the same folder stopped.
        progress: show a progress bar when standard error is a terminal.

    Raises:
        InputError: the folder holds something already, or the data are not fit for training (nothing is written then).
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    splits = load_splits(recipe.data, seed=recipe.train.seed, nested=recipe.nested)
    outside = load_outside(recipe)
    task = trainable(recipe.task, recipe.module.variant)
    task.check(splits["train"], splits.get("dev"), test=splits.get("test"))
    check_weights(recipe.train.class_weights, outputs_of(task.name, task.label_names(splits["train"])))
    if recipe.train.device == "cuda":
        require_gpu("train.device=cuda")
    if recipe.train.method != "finetune":
        check_few(recipe.train, splits["train"], task=recipe.task)
    folder = Path(recipe.run.folder).expanduser().absolute()
    if recipe.export.folder is not None:
        require_exportable(Path(recipe.export.folder).expanduser(), task=recipe.task)
    with run_folder.alone(folder):
        run_folder.check(folder, recipe, overwrite=overwrite, resume=resume)
        return _carry_out(recipe, splits, outside, folder, resume=resume, progress=progress)


def _carry_out(recipe: Recipe, splits: Mapping[str, Examples], outside: Outside, folder: Path, *, resume: bool, progress: bool) -> Run:
    school = open_school(recipe, splits)
    module = new_module(recipe, splits["train"], labels=school.labels if school else None)
    recipe = pinned(recipe, module)
    lock = _lock(recipe, splits, module) | (school.lock if school else {})
    if not resume:
        run_folder.begin(folder, recipe, lock)
    teaching = school.teaching if school else None
    trainer = Trainer(module, settings=recipe.train, checkpoint_dir=folder, progress=progress, teaching=teaching)
    report = trainer.train(school.train if school else splits["train"], eval_dataset=splits.get("dev"), resume=resume)
    digest = weights_digest(module.encoder, module.head)
    chosen = {"method": report.choice.as_dict()} if report.choice else {}
    publish_json(folder / run_folder.LOCK, {**lock, "result": {"weights_sha256": digest, **chosen}})
    calibrated = calibrate_run(module, recipe, splits, outside)
    if calibrated is not None:
        module.save(folder / "best")
        publish_json(folder / "report" / calibrated.file, calibrated.as_dict())
    judged_on = next((name for name in ("test", "dev") if name in splits), None)
    metrics = trainer.evaluate(splits[judged_on]) if judged_on else None
    if metrics is not None:
        _write_report(folder / "report", metrics, judged_on)
    artefact = _export(module, recipe, splits.get("dev"))
    named = Path(recipe.run.folder).expanduser()  # as the caller wrote it
    answers = _first_answers(artefact, recipe)
    page = report_run(named, module, splits, judged_on)
    return Run(named, report, metrics, judged_on, digest, artefact, answers, calibrated, page)


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
        "device": recipe.train.device,
        **({"kernels": kernels.computing(recipe.train.device)} if recipe.train.method == "finetune" else {}),
        "libraries": {name: version(name) for name in ("numpy", "onnxruntime", "safetensors", "torch")},
    }


def _write_report(folder: Path, metrics: Metrics, judged_on: str | None) -> None:
    publish_json(folder / "metrics.json", {"judged_on": judged_on, **metrics.as_dict()})
    if isinstance(metrics, ClassificationMetrics):
        publish_text(folder / "confusion.svg", confusion_svg(metrics))


def _export(module: Module, recipe: Recipe, dev: Examples | None) -> Path | None:
    if recipe.export.folder is None:
        return None
    folder = Path(recipe.export.folder).expanduser()
    module.export(folder, dev=dev, **run_folder.options_of(recipe))
    return folder


def _first_answers(artefact: Path | None, recipe: Recipe) -> dict[str | tuple[str, str], Any]:
    if artefact is None or not recipe.examples:
        return {}
    texts: list[Any] = list(recipe.examples)
    return dict(zip(texts, Predictor(artefact)(texts), strict=True))
