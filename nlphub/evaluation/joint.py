"""Scores of intents with their slots: of each by itself, and of both together.

A frame is right where the intent is right and all slots are, each by place and label, with none missing and none too many (Goo et al.,
2018, call its share "overall accuracy").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlphub.aligned import aligned
from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.evaluation.spans import SpanMetrics, span_report

Frame = tuple[str, Sequence[Span]]


@dataclass(frozen=True, slots=True, eq=False)
class JointMetrics:
    """Scores of frames, 0 to 1.

    Attributes:
        frame_accuracy: share of the texts whose intent and slots are all right.
        intents: scores of the intents, as those of seq-cls.
        slots: scores of the slots, as those of token-cls (strict).
    """

    frame_accuracy: float
    intents: ClassificationMetrics
    slots: SpanMetrics

    @property
    def headlines(self) -> Mapping[str, float]:
        """``frame_accuracy``, ``intent_accuracy`` and ``slot_f1``."""
        return {"frame_accuracy": self.frame_accuracy, "intent_accuracy": self.intents.accuracy, "slot_f1": self.slots.f1}

    def score(self, name: str) -> float:
        """One of the :attr:`headlines`."""
        return self.headlines[name]

    def as_dict(self) -> dict[str, Any]:
        """All scores as plain values, ready for JSON."""
        return {
            **self.headlines,
            "support": self.intents.support,
            "macro": self.intents.as_dict()["macro"],
            "micro": self.slots.as_dict()["micro"],
            "intents": self.intents.as_dict(),
            "slots": self.slots.as_dict(),
        }

    def table(self) -> str:
        """Three text tables for a terminal: the intents, the slots, and the frames."""
        rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in self.headlines.items()]
        together = aligned(("all together", ""), [*rows, ("texts", str(self.intents.support))], numbers=True)
        return "\n\n".join([f"intents\n{self.intents.table()}", f"slots\n{self.slots.table()}", together])


def joint_report(truth: Sequence[Frame], found: Sequence[Frame], *, intents: Sequence[str], slots: Sequence[str]) -> JointMetrics:
    """Compare frames, each an intent and its slots, with the true ones.

    Args:
        truth: the true frame of each text.
        found: the frame that each text was given.
        intents: all intents in the order wanted, without duplicates.
        slots: the same of the labels of slots.

    Raises:
        InputError: no texts, different numbers of them, or names that are in neither list.
    """
    if not truth or len(truth) != len(found):
        raise InputError(f"{len(found)} frames cannot be scored against {len(truth)} true ones")
    right = [a == b and {*these} == {*those} for (a, these), (b, those) in zip(truth, found, strict=True)]
    return JointMetrics(
        frame_accuracy=sum(right) / len(right),
        intents=classification_report([intent for intent, _ in truth], [intent for intent, _ in found], intents),
        slots=span_report([spans for _, spans in truth], [spans for _, spans in found], slots),
    )
