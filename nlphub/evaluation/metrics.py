"""Scores: what every task's have in common, and a classifier's as scikit-learn's ``classification_report`` gives them, with numpy alone.

Notation: ``n`` labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nlphub.aligned import aligned
from nlphub.errors import InputError, brief

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Metrics(Protocol):
    """How good a module is on labelled examples, whatever its task."""

    @property
    def headlines(self) -> Mapping[str, float]:
        """The few scores, 0 to 1, by which weights are compared, under the names that ``TrainSettings.metric`` has."""

    def score(self, name: str) -> float:
        """One of the :attr:`headlines`."""

    def as_dict(self) -> dict[str, Any]:
        """All scores as plain values, ready for JSON."""

    def table(self) -> str:
        """A text table for a terminal."""


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores of one label, 0 to 1; 0 where nothing was there to divide by.

    Attributes:
        precision: share of the predictions of this label that are right.
        recall: share of the examples of this label that were found.
        f1: harmonic mean of the two.
        support: examples with this label.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int

    @classmethod
    def of_counts(cls, label: str, right: int, given: int, wanted: int) -> "LabelScores":
        """From how many answers are right, how many were given, and how many there should be."""
        return cls(
            label,
            precision=right / given if given else 0.0,
            recall=right / wanted if wanted else 0.0,
            f1=2 * right / (given + wanted) if given + wanted else 0.0,
            support=wanted,
        )

    def as_dict(self) -> dict[str, float]:
        """The scores without the label, ready for JSON."""
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1, "support": self.support}

    def cells(self) -> list[object]:
        """A line of a table."""
        return [self.label, f"{self.precision:.4f}", f"{self.recall:.4f}", f"{self.f1:.4f}", self.support]


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationMetrics:
    """Scores of a classifier on labelled examples, all 0 to 1.

    Attributes:
        accuracy: share of right predictions.
        macro_precision, macro_recall, macro_f1: means over the labels that occur in the truth or in the predictions, each label
            counting the same.
        weighted_precision, weighted_recall, weighted_f1: means weighted by support.
        per_label: one row for each label, in the given order, absent ones included.
        confusion: ``(n, n)`` int64: row = true label, column = predicted label.
        auc: area under the ROC curve of two labels, of tasks that ask for it; else ``None``.
    """

    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    per_label: tuple[LabelScores, ...]
    confusion: Ints
    auc: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of rows and columns."""
        return tuple(row.label for row in self.per_label)

    @property
    def support(self) -> int:
        """The number of examples."""
        return int(self.confusion.sum())

    @property
    def headlines(self) -> Mapping[str, float]:
        """``accuracy``, ``macro_f1``, and ``auc`` where there is one."""
        ranked = {} if self.auc is None else {"auc": self.auc}
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, **ranked}

    def score(self, name: str) -> float:
        """One of the :attr:`headlines`.

        Raises:
            InputError: there is no ``auc`` here.
        """
        if name == "auc" and self.auc is None:
            raise InputError(
                f"metric auc needs two labels that both occur, and here there are {', '.join(self.labels)}; take another metric"
            )
        return self.headlines[name]

    def as_dict(self) -> dict[str, Any]:
        """All scores as plain values, ready for JSON."""
        return {
            "accuracy": self.accuracy,
            **({} if self.auc is None else {"auc": self.auc}),
            "support": self.support,
            "macro": {"precision": self.macro_precision, "recall": self.macro_recall, "f1": self.macro_f1},
            "weighted": {"precision": self.weighted_precision, "recall": self.weighted_recall, "f1": self.weighted_f1},
            "per_label": {row.label: row.as_dict() for row in self.per_label},
            "confusion": {"labels": list(self.labels), "rows_true_columns_predicted": self.confusion.tolist()},
        }

    def table(self) -> str:
        """A text table for a terminal: one line for each label, then the averages."""
        rows = [row.cells() for row in self.per_label]
        rows.append(["accuracy", "", "", f"{self.accuracy:.4f}", self.support])
        rows += [] if self.auc is None else [["AUC", "", "", f"{self.auc:.4f}", self.support]]
        rows.append(LabelScores("macro avg", self.macro_precision, self.macro_recall, self.macro_f1, self.support).cells())
        rows.append(LabelScores("weighted avg", self.weighted_precision, self.weighted_recall, self.weighted_f1, self.support).cells())
        return aligned(("label", "precision", "recall", "f1", "support"), rows, numbers=True)


def classification_report(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> ClassificationMetrics:
    """Compare predicted labels with the true ones.

    Args:
        truth: the true label of each example.
        predicted: the predicted label of each example.
        labels: all labels in the order wanted, without duplicates; each of the above is one of them.

    Raises:
        InputError: no examples, different lengths, duplicate labels, or labels that are not in ``labels``.
    """
    _check(truth, predicted, labels)
    confusion = confusion_matrix(truth, predicted, labels)
    right, support, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    scores = np.stack([_divide(right, answered), _divide(right, support), _divide(2 * right, support + answered)])  # (3, n)
    macro = scores[:, support + answered > 0].mean(axis=1)
    weighted = (scores * support).sum(axis=1) / support.sum()
    per_label = tuple(
        LabelScores(label, float(precision), float(recall), float(f1), int(count))
        for label, (precision, recall, f1), count in zip(labels, scores.T, support, strict=True)
    )
    return ClassificationMetrics(
        accuracy=float(right.sum() / support.sum()),
        macro_precision=float(macro[0]),
        macro_recall=float(macro[1]),
        macro_f1=float(macro[2]),
        weighted_precision=float(weighted[0]),
        weighted_recall=float(weighted[1]),
        weighted_f1=float(weighted[2]),
        per_label=per_label,
        confusion=confusion,
    )


def confusion_matrix(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Ints:
    """``(n, n)`` int64 counts: row = true label, column = predicted label."""
    number = {label: index for index, label in enumerate(labels)}
    cells = np.array([number[a] * len(labels) + number[b] for a, b in zip(truth, predicted, strict=True)], dtype=np.int64)
    return np.bincount(cells, minlength=len(labels) ** 2).reshape(len(labels), len(labels)).astype(np.int64)


def _divide(part: Ints, whole: Ints) -> Floats:
    """Elementwise share; 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _check(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> None:
    known, problems = set(labels), []
    if len(known) < len(labels):
        problems.append(f"labels holds duplicates: {brief(sorted({label for label in labels if list(labels).count(label) > 1}))}")
    if len(truth) != len(predicted):
        problems.append(f"{len(truth)} true labels, but {len(predicted)} predictions")
    if not truth:
        problems.append("there are no examples to score")
    for name, given in (("truth", truth), ("predicted", predicted)):
        problems += [f"{name} holds {label!r}, which is not one of the labels" for label in sorted(set(given) - known)]
    if problems:
        raise InputError("These predictions cannot be scored.", problems)
