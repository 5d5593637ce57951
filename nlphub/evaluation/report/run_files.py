"""What a run's folder holds for its report, read and checked. Nothing of it needs torch or the data."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from nlphub.data.corrections import Suspect
from nlphub.data.doctor.profile import Profile
from nlphub.errors import DataError, InputError
from nlphub.evaluation.calibration import Interval
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.evaluation.report.judged import Judged, read_judged
from nlphub.evaluation.report.words import Words
from nlphub.recipe import Recipe, load_recipe

LOCK, RECIPE = "lock.json", "recipe.yaml"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Scores of one label, 0 to 1, as metrics.json holds them."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """The confusion matrix as metrics.json holds it."""

    labels: list[str]
    rows_true_columns_predicted: list[list[int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """``report/metrics.json`` of any task: ``accuracy`` and ``confusion`` are of classifiers, ``micro`` of spans and sets of labels,
    ``subset_accuracy`` of the latter, the four behind it of numbers, and the last three of intents with their slots."""

    judged_on: str
    support: int
    macro: Mapping[str, float] = field(default_factory=dict)
    per_label: Mapping[str, LabelRow] = field(default_factory=dict)
    accuracy: float | None = None
    confusion: Confusion | None = None
    micro: Mapping[str, float] | None = None
    subset_accuracy: float | None = None
    spearman: float | None = None
    pearson: float | None = None
    rmse: float | None = None
    mae: float | None = None
    frame_accuracy: float | None = None
    intent_accuracy: float | None = None
    slot_f1: float | None = None

    def classification(self) -> ClassificationMetrics | None:
        """The same as metrics, in the order of the labels; ``None`` of spans."""
        if self.confusion is None:
            return None
        return metrics_of(self.confusion.rows_true_columns_predicted, self.confusion.labels)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a calibration was worth on one split, see :class:`nlphub.evaluation.trust.Judgement`."""

    calibration_error: Interval
    calibration_error_before: Interval
    out_of_scope: int
    rejected: float | None


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """``report/calibration.json``."""

    calibration: Mapping[str, Any]
    aim: Mapping[str, float] | None
    dev: Worth
    test: Worth | None


@dataclass(frozen=True, slots=True)
class DataFile:
    """``report/data.json``."""

    splits: Mapping[str, Profile] = field(default_factory=dict)
    words: Mapping[str, Words] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Perturbed:
    """What one perturbation did, see :class:`nlphub.evaluation.robustness.Outcome`."""

    strength: str
    changed: int
    accuracy_before: float | None
    accuracy_after: float | None
    flips: int
    flip_rate: float | None


@dataclass(frozen=True, slots=True)
class RobustnessFile:
    """``report/robustness.json``, which ``nlphub check-robustness RUN ...`` writes."""

    texts: int
    accuracy: float
    perturbations: Mapping[str, Perturbed]


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Everything that a report tells of.

    Attributes:
        recipe: with its text as it stands in the folder.
        lock: ``lock.json``.
        log: lines of ``metrics.jsonl``.
        scores: ``None`` of a run that had nothing to be judged on.
        judged: empty for tasks other than seq-cls.
        calibration, robustness: ``None`` without such a file.
        suspects: from ``report/suspects.json``, which ``nlphub suspects`` writes.
    """

    name: str
    recipe: Recipe
    recipe_text: str
    lock: Mapping[str, Any]
    log: tuple[Mapping[str, Any], ...] = ()
    scores: Scores | None = None
    judged: tuple[Judged, ...] = ()
    calibration: CalibrationFile | None = None
    data: DataFile = field(default_factory=DataFile)
    robustness: RobustnessFile | None = None
    suspects: tuple[Suspect, ...] = ()


def read_run(folder: Path) -> RunFiles:
    """Read a run's folder.

    Raises:
        InputError: it is none, or a file in it is not what a run writes.
    """
    if not is_run(folder):
        raise InputError(f"{folder} is no run of `nlphub finetune`: it lacks {LOCK} or {RECIPE}. A run is the recipe's run.folder.")
    report = folder / "report"
    judged = read_judged(report / "judged.jsonl") if (report / "judged.jsonl").is_file() else ()
    scores = _read(report / "metrics.json", Scores)
    if judged and (scores is None or scores.support != len(judged)):
        raise DataError(f"{report}: judged.jsonl ({len(judged)} texts) and metrics.json belong to different runs; train again")
    return RunFiles(
        name=folder.absolute().name,
        recipe=load_recipe(folder / RECIPE),
        recipe_text=(folder / RECIPE).read_text(encoding="utf-8"),
        lock=_read(folder / LOCK, dict[str, Any]) or {},
        log=tuple(_log(folder / "metrics.jsonl")),
        scores=scores,
        judged=judged,
        calibration=_read(report / "calibration.json", CalibrationFile),
        data=_read(report / "data.json", DataFile) or DataFile(),
        robustness=_read(report / "robustness.json", RobustnessFile),
        suspects=tuple(_suspects(report / "suspects.json")),
    )


def metrics_of(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> ClassificationMetrics:
    """The metrics behind a confusion matrix, rows true and columns predicted.

    Raises:
        DataError: it is not square.
    """
    if len(confusion) != len(labels) or any(len(row) != len(labels) for row in confusion):
        raise DataError(f"a confusion matrix of {len(labels)} labels has as many rows and columns, and this one has not")
    pairs = [(a, b) for a, row in zip(labels, confusion, strict=True) for b, n in zip(labels, row, strict=True) for _ in range(n)]
    return classification_report([a for a, _ in pairs], [b for _, b in pairs], labels)


def is_run(folder: Path) -> bool:
    """Whether a folder looks like a run of fine-tuning."""
    return (folder / LOCK).is_file() and (folder / RECIPE).is_file()


def _read(path: Path, kind: type[T]) -> T | None:
    """A JSON file as an instance of ``kind``; ``None`` where there is no such file."""
    if not path.is_file():
        return None
    try:
        return TypeAdapter(kind).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as wrong:
        found = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in wrong.errors(include_url=False)]
        raise DataError(f"{path} is not what nlphub writes there.", found) from wrong
    except ValueError as wrong:
        raise DataError(f"{path} is not JSON: {wrong}") from wrong


def _log(path: Path) -> Iterator[Mapping[str, Any]]:
    """Whole lines; what follows the last line end was torn by a crash and is no measurement."""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else (), start=1):
        try:
            fact = json.loads(line)
        except ValueError as wrong:
            raise DataError(f"{path}, line {number} is not JSON: {wrong}") from wrong
        if not isinstance(fact, dict):
            raise DataError(f"{path}, line {number} is no measurement")
        yield fact


def _suspects(path: Path) -> Iterator[Suspect]:
    found = _read(path, list[Any]) or []
    if problems := [
        f"item {number}: expected text, label, suggested and score" for number, one in enumerate(found, 1) if not _is_suspect(one)
    ]:
        raise DataError(f"{path} is no list of suspects.", problems)
    for one in found:
        yield Suspect(one.get("row"), one["text"], one.get("pair"), one["label"], one["suggested"], one["score"])


def _is_suspect(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(key), str) for key in ("text", "label", "suggested"))
        and isinstance(one.get("pair"), str | None)
        and isinstance(one.get("score"), int | float)
    )
