"""Scores of predictions, as a cell keeps them: metric -> value, 0 to 1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nlphub.data.spans import Span
from nlphub.evaluation.auc import area_under_curve
from nlphub.evaluation.joint import JointMetrics
from nlphub.evaluation.labelsets import LabelSetMetrics
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.evaluation.spans import SpanMetrics, span_report
from nlphub.evaluation.values import ValueMetrics

Scores = dict[str, float]


def as_scores(metrics: ClassificationMetrics | SpanMetrics | LabelSetMetrics | ValueMetrics | JointMetrics) -> Scores:
    """Accuracy and macro-F1 (mean over the labels in truth or predictions); of spans micro precision, recall and F1; of sets of labels,
    numbers and frames their headlines."""
    if isinstance(metrics, LabelSetMetrics | ValueMetrics | JointMetrics):
        return dict(metrics.headlines)
    names = ("f1", "precision", "recall") if isinstance(metrics, SpanMetrics) else ("accuracy", "macro_f1")
    return {name: float(getattr(metrics, name)) for name in names}


def label_scores(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Scores:
    """Scores of labels."""
    return as_scores(classification_report(truth, predicted, labels))


def area(truth: Sequence[str], logits: NDArray[np.floating], labels: Sequence[str]) -> Scores:
    """``auc`` of the second of two labels ("1" of pairs that mean the same).

    Args:
        logits: ``(b, 2)``, or log-probabilities, in the order of ``labels``.
    """
    _, positive = labels
    return {"auc": area_under_curve(logits[:, 1] - logits[:, 0], np.array([name == positive for name in truth]))}


def span_scores(truth: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: Sequence[str]) -> Scores:
    """Scores of spans: one counts when start, end and type are right."""
    return as_scores(span_report(truth, predicted, labels))
