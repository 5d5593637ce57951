"""Scores of sets of labels, as scikit-learn gives them for indicator matrices, and the thresholds that make sets of probabilities.

Notation: ``b`` texts, ``n`` labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.aligned import aligned
from nlphub.errors import InputError
from nlphub.evaluation.metrics import LabelScores

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

THRESHOLD = 0.5  # of labels for which none was chosen
RARE = 5  # labels of fewer texts than this keep THRESHOLD: what fits so few says nothing of others


@dataclass(frozen=True, slots=True)
class LabelSetMetrics:
    """Scores of sets of labels, all 0 to 1 and 0 where nothing was there to divide by.

    Attributes:
        precision: share of the labels that were given that are right, over all texts together (micro).
        recall: share of the true labels that were given.
        f1: harmonic mean of the two.
        macro_f1: mean of the labels' F1, each label that occurs in the truth or in the answers counting the same.
        subset_accuracy: share of the texts whose labels are all right.
        support: texts.
        per_label: one row for each label, in the given order, absent ones included.
    """

    precision: float
    recall: float
    f1: float
    macro_f1: float
    subset_accuracy: float
    support: int
    per_label: tuple[LabelScores, ...]

    @property
    def headlines(self) -> Mapping[str, float]:
        """``micro_f1``, ``macro_f1`` and ``subset_accuracy``."""
        return {"micro_f1": self.f1, "macro_f1": self.macro_f1, "subset_accuracy": self.subset_accuracy}

    def score(self, name: str) -> float:
        """One of the :attr:`headlines`."""
        return self.headlines[name]

    def as_dict(self) -> dict[str, Any]:
        """All scores as plain values, ready for JSON."""
        return {
            "support": self.support,
            "subset_accuracy": self.subset_accuracy,
            "micro": {"precision": self.precision, "recall": self.recall, "f1": self.f1},
            "macro": {"f1": self.macro_f1},
            "per_label": {row.label: row.as_dict() for row in self.per_label},
        }

    def table(self) -> str:
        """A text table for a terminal: one line for each label, then all together."""
        together = LabelScores("micro avg", self.precision, self.recall, self.f1, sum(row.support for row in self.per_label))
        rows = [row.cells() for row in (*self.per_label, together)]
        rows.append(["macro avg", "", "", f"{self.macro_f1:.4f}", ""])
        rows.append(["all labels right", "", "", f"{self.subset_accuracy:.4f}", self.support])
        return aligned(("label", "precision", "recall", "f1", "support"), rows, numbers=True)


def label_set_report(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]], labels: Sequence[str]) -> LabelSetMetrics:
    """Compare sets of labels with the true ones.

    Args:
        truth: the true labels of each text.
        found: the labels that each text was given.
        labels: all labels in the order wanted, without duplicates.

    Raises:
        InputError: no texts, different numbers of them, or labels that are not in ``labels``.
    """
    if not truth or len(truth) != len(found):
        raise InputError(f"Labels given to {len(found)} texts cannot be scored against the true ones of {len(truth)}")
    if strangers := sorted({name for names in (*truth, *found) for name in names} - {*labels}):
        raise InputError("These labels cannot be scored.", [f"{label!r} is not one of the labels" for label in strangers])
    true, given = indicators(truth, labels), indicators(found, labels)
    right, answered, support = (table.sum(axis=0) for table in (true & given, given, true))
    rows = tuple(
        LabelScores.of_counts(label, int(a), int(b), int(c)) for label, a, b, c in zip(labels, right, answered, support, strict=True)
    )
    whole = LabelScores.of_counts("", int(right.sum()), int(answered.sum()), int(support.sum()))
    seen = [row.f1 for row, there in zip(rows, answered + support, strict=True) if there]
    return LabelSetMetrics(
        precision=whole.precision,
        recall=whole.recall,
        f1=whole.f1,
        macro_f1=sum(seen) / len(seen) if seen else 0.0,
        subset_accuracy=float((true == given).all(axis=1).mean()),
        support=len(truth),
        per_label=rows,
    )


def indicators(sets: Sequence[Sequence[str]], labels: Sequence[str]) -> Flags:
    """``(b, n)`` bool: which labels each text has.

    Raises:
        KeyError: a text has a label that is not in ``labels``.
    """
    number = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(sets), len(labels)), np.bool_)
    for row, names in enumerate(sets):
        table[row, [number[name] for name in names]] = True
    return table


def choose_thresholds(probabilities: Floats, true: Flags, labels: Sequence[str]) -> dict[str, float]:
    """For each label the threshold with the highest F1 on these texts; a label of fewer than :data:`RARE` texts gets none.

    A label is given where its probability reaches the threshold. Thresholds lie in the middle between two probabilities, so that
    rounding decides nothing; of equally good ones the one that is nearest to :data:`THRESHOLD` is taken.

    Args:
        probabilities: ``(b, n)``, 0 to 1.
        true: ``(b, n)``.
    """
    enough = np.flatnonzero(true.sum(axis=0) >= RARE).tolist()
    return {labels[place]: _best_threshold(probabilities[:, place], true[:, place]) for place in enough}


def _best_threshold(probabilities: Floats, true: Flags) -> float:
    order = np.argsort(-probabilities, kind="stable")
    high = probabilities[order]
    low = np.append(high[1:], 0.0)
    cuts = np.flatnonzero(np.append(high[1:] < high[:-1], True))  # equal probabilities are given alike
    f1 = 2 * np.cumsum(true[order])[cuts] / (cuts + 1 + true.sum())
    best = cuts[f1 == f1.max()]
    middles = (high[best] + low[best]) / 2
    thresholds = np.where(middles > low[best], middles, high[best])  # neighbours among the floats have no middle
    return float(thresholds[np.argmin(np.abs(thresholds - THRESHOLD))])
