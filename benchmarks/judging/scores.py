"""Scores of predictions, as a cell keeps them: metric -> value, 0 to 1."""

from collections.abc import Sequence

from nlphub.data.spans import Span
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.evaluation.spans import SpanMetrics, span_report

Scores = dict[str, float]


def as_scores(metrics: ClassificationMetrics | SpanMetrics) -> Scores:
    """Accuracy and macro-F1 (mean over the labels in truth or predictions); of spans micro precision, recall and F1."""
    names = ("f1", "precision", "recall") if isinstance(metrics, SpanMetrics) else ("accuracy", "macro_f1")
    return {name: float(getattr(metrics, name)) for name in names}


def label_scores(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Scores:
    """Scores of labels."""
    return as_scores(classification_report(truth, predicted, labels))


def span_scores(truth: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: Sequence[str]) -> Scores:
    """Scores of spans: one counts when start, end and type are right."""
    return as_scores(span_report(truth, predicted, labels))
