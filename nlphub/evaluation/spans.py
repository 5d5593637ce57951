"""Scores of found spans: what seqeval's ``classification_report`` gives in its strict mode for IOB2 tags, on the spans themselves.

A span is found when place and label are both exactly right (Tjong Kim Sang and De Meulder, 2003).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlphub.aligned import aligned
from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.evaluation.metrics import LabelScores


@dataclass(frozen=True, slots=True)
class SpanMetrics:
    """Scores of found spans, all 0 to 1 and 0 where nothing was there to divide by.

    Attributes:
        precision: share of the found spans that are right.
        recall: share of the true spans that were found.
        f1: harmonic mean of the two, over all spans together (micro).
        macro_f1: mean of the labels' F1, each label that occurs in the truth or in the predictions counting the same.
        support: true spans.
        per_label: one row for each label, in the given order, absent ones included.
    """

    precision: float
    recall: float
    f1: float
    macro_f1: float
    support: int
    per_label: tuple[LabelScores, ...]

    @property
    def headlines(self) -> Mapping[str, float]:
        """``span_f1``, ``precision`` and ``recall``."""
        return {"span_f1": self.f1, "precision": self.precision, "recall": self.recall}

    def score(self, name: str) -> float:
        """One of the :attr:`headlines`."""
        return self.headlines[name]

    def as_dict(self) -> dict[str, Any]:
        """All scores as plain values, ready for JSON."""
        return {
            "support": self.support,
            "micro": {"precision": self.precision, "recall": self.recall, "f1": self.f1},
            "macro": {"f1": self.macro_f1},
            "per_label": {row.label: row.as_dict() for row in self.per_label},
        }

    def table(self) -> str:
        """A text table for a terminal: one line for each label, then all together."""
        together = LabelScores("micro avg", self.precision, self.recall, self.f1, self.support)
        rows = [row.cells() for row in (*self.per_label, together)]
        rows.append(["macro avg", "", "", f"{self.macro_f1:.4f}", self.support])
        return aligned(("label", "precision", "recall", "f1", "support"), rows, numbers=True)


def span_report(truth: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]], labels: Sequence[str]) -> SpanMetrics:
    """Compare found spans with the true ones.

    Args:
        truth: the true spans of each text.
        found: the found spans of each text.
        labels: all labels in the order wanted, without duplicates.

    Raises:
        InputError: no texts, or different numbers of them.
    """
    if not truth or len(truth) != len(found):
        raise InputError(f"Spans found in {len(found)} texts cannot be scored against the true ones of {len(truth)}")
    right, given, wanted = Counter[str](), Counter[str](), Counter[str]()
    for true, answered in zip(truth, found, strict=True):
        given.update(span.label for span in {*answered})
        wanted.update(span.label for span in {*true})
        right.update(span.label for span in {*true} & {*answered})
    if strangers := sorted({*given, *wanted} - {*labels}):
        raise InputError("These spans cannot be scored.", [f"{label!r} is not one of the labels" for label in strangers])
    rows = tuple(LabelScores.of_counts(label, right[label], given[label], wanted[label]) for label in labels)
    whole = LabelScores.of_counts("", right.total(), given.total(), wanted.total())
    seen = [row.f1 for row in rows if given[row.label] or wanted[row.label]]
    return SpanMetrics(
        precision=whole.precision,
        recall=whole.recall,
        f1=whole.f1,
        macro_f1=sum(seen) / len(seen) if seen else 0.0,
        support=whole.support,
        per_label=rows,
    )
