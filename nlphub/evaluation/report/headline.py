"""The first figures of a report, with 95 % bootstrap intervals. Notation: ``b`` judged texts, ``n`` labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.evaluation.calibration import Interval, bootstrap, calibration_error
from nlphub.evaluation.report.judged import Judged
from nlphub.evaluation.report.run_files import RunFiles, Scores, Worth

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        kind: ``accuracy``, ``macro_f1``, ``coverage``, ``precision``, ``calibration_error``, ``rejected``; ``span_f1``,
            ``span_precision``, ``span_recall``; ``micro_f1``, ``subset_accuracy``; ``spearman``, ``pearson``, ``rmse``, ``mae``;
            ``frame_accuracy``, ``intent_accuracy``, ``slot_f1``.
        value: 0 to 1, or in the unit of the data; ``None`` where there was nothing to divide by.
        interval: where there are judged texts to draw from.
        before: of the calibration error: without the temperature.
        count: of the texts that the figure is about.
    """

    kind: str
    value: float | None
    interval: Interval | None
    count: int
    before: float | None = None


def figures(run: RunFiles) -> list[Figure]:
    """The figures that a run has; none, if it was judged on nothing."""
    if run.scores is None:
        return []
    if run.judged:
        return list(_of_judged(run.judged, worth(run)))
    return [Figure(kind, value, None, run.scores.support) for kind, value in _values(run.scores).items()]


def _values(scores: Scores) -> dict[str, float]:
    """The figures of a run without judged texts."""
    micro = scores.micro
    if scores.rmse is not None:
        return {name: float(getattr(scores, name) or 0.0) for name in ("spearman", "pearson", "rmse", "mae")}
    if scores.frame_accuracy is not None:
        return {name: float(getattr(scores, name) or 0.0) for name in ("frame_accuracy", "intent_accuracy", "slot_f1")}
    if scores.subset_accuracy is not None and micro is not None:
        return {"micro_f1": micro["f1"], "macro_f1": scores.macro["f1"], "subset_accuracy": scores.subset_accuracy}
    if micro is not None:
        return {"span_f1": micro["f1"], "span_precision": micro["precision"], "span_recall": micro["recall"]}
    return {"accuracy": scores.accuracy or 0.0, "macro_f1": scores.macro["f1"]}


def worth(run: RunFiles) -> Worth | None:
    """What the calibration was worth where the run was judged."""
    if run.calibration is None or run.scores is None:
        return None
    return run.calibration.test if run.scores.judged_on == "test" else run.calibration.dev


def macro_f1(truth: Ints, answers: Ints, n: int) -> float:
    """Mean F1 of the labels that occur in ``truth`` or ``answers``, both ``(b,)`` numbers of labels, as
    :func:`nlphub.evaluation.metrics.classification_report` has it."""
    right = np.bincount(truth[truth == answers], minlength=n)
    both = np.bincount(truth, minlength=n) + np.bincount(answers, minlength=n)
    seen = both > 0
    return float((2 * right[seen] / both[seen]).mean())


def _of_judged(judged: Sequence[Judged], found: Worth | None) -> Iterator[Figure]:
    right, accepted = (np.array([getattr(row, name) for row in judged], np.bool_) for name in ("right", "accepted"))
    sure = np.array([row.probability for row in judged])
    names = {label: number for number, label in enumerate(sorted({row.label for row in judged} | {row.answer for row in judged}))}
    truth, answers = (np.array([names[getattr(row, name)] for row in judged], np.int64) for name in ("label", "answer"))
    b = len(judged)
    yield _figure("accuracy", bootstrap(lambda rows: float(right[rows].mean()), b), b)
    yield _figure("macro_f1", bootstrap(lambda rows: macro_f1(truth[rows], answers[rows], len(names)), b), b)
    yield _figure("coverage", bootstrap(lambda rows: float(accepted[rows].mean()), b), b)
    kept = right[accepted]
    if len(kept):
        yield _figure("precision", bootstrap(lambda rows: float(kept[rows].mean()), len(kept)), len(kept))
    else:
        yield Figure("precision", None, None, 0)
    error = bootstrap(lambda rows: calibration_error(sure[rows], right[rows]), b)
    yield Figure("calibration_error", error.value, error, b, found.calibration_error_before.value if found else None)
    if found is not None and found.rejected is not None:
        yield Figure("rejected", found.rejected, None, found.out_of_scope)


def _figure(kind: str, interval: Interval, count: int) -> Figure:
    return Figure(kind, interval.value, interval, count)
