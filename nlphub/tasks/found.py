"""What ``token-cls`` answers, and what every way of finding spans has to offer: :class:`Decoder`.

Notation: ``t`` tokens of all windows, ``w`` tokens that stand for text, ``n`` outputs of the head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from nlphub.data.examples import Examples
from nlphub.tasks.base import Logits, Targets
from nlphub.text.encoding import Encoded
from nlphub.text.windows import Windows


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A stretch of the caller's text and what it is.

    Attributes:
        start, end: ``text[start:end]`` in code points of the text as the caller wrote it.
        label: its type.
        score: 0 to 1: mean probability of its tags (of a CRF: over all paths of tags), or the probability of the span (pointer).
        text: the slice.
    """

    start: int
    end: int
    label: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class SpanPrediction:
    """What was found in one text.

    Attributes:
        spans: by place; only those of a pointer head may be nested or overlap.
        truncated: whether the end of the text was not searched, because it was asked for with ``stride=0``.
    """

    spans: tuple[FoundSpan, ...]
    truncated: bool

    @property
    def words(self) -> list[tuple[str, str]]:
        """Each span's text and label: the words of a segmenter with their tags."""
        return [(span.text, span.label) for span in self.spans]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; scores with six decimals."""
        return {"spans": [{**asdict(span), "score": round(span.score, 6)} for span in self.spans], "truncated": self.truncated}

    def cells(self) -> tuple[str, str]:
        """For a table for people: the answer, and how probable it is."""
        found = [(f"{span.text} ({span.label})", f"{span.score:.3f}") for span in self.spans]
        return ", ".join(text for text, _ in found) or "(none)", ", ".join(score for _, score in found)


class Found(NamedTuple):
    """A span in tokens: from ``first`` to the one before ``behind`` of ``w``, with the number of its label and its score."""

    text: int
    first: int
    behind: int
    label: int
    score: float


class Decoder(Protocol):
    """A way of finding spans: what the head is taught, and how its logits become spans.

    Attributes:
        nested: whether spans may lie inside each other and overlap.
    """

    @property
    def nested(self) -> bool: ...

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The names of the head's ``n`` logits."""

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """What the head should say of each token of ``encoded``, as its loss takes it."""

    def find(self, logits: Logits, windows: Windows, *, labels: int, temperature: float) -> Iterator[Found]:
        """The spans, text after text and by place.

        Args:
            logits: ``(t, n)`` of all windows.
            labels: how many there are.
            temperature: of the module's calibration.
        """
