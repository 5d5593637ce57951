"""Spans as tags of tokens: ``O``, ``B-x`` where a span of label x begins, ``I-x`` where it goes on (IOB2).

The decoder ``linear`` takes each tag's own score, ``crf`` those of neighbouring tags too (Lafferty, McCallum and Pereira, 2001). Spans do
not overlap. Long texts: each token's scores are those of the window that owns it, and the best tags are those of the whole text.

Notation: ``t`` tokens of all windows, ``w`` tokens that stand for text, ``n`` tags.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import softmax
from nlphub.data.examples import Examples
from nlphub.tasks.base import IGNORED, Logits
from nlphub.tasks.found import Found
from nlphub.tasks.viterbi import Transitions, best_tags, marginals
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.windows import Windows


@dataclass(frozen=True, slots=True, eq=False)
class Tagging:
    """Decoder of tags.

    Attributes:
        transitions: of a CRF; ``None``: only the order of tags counts.
    """

    transitions: Transitions | None = None
    nested: ClassVar[bool] = False

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """``O``, then ``B-x`` and ``I-x`` of each label."""
        return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Ints:
        """``(t,)`` the number of each token's tag. A token belongs to a span that it overlaps; special tokens have no tag."""
        number = {name: 2 * index + 1 for index, name in enumerate(labels)}
        tags = np.where(encoded.offsets[:, 1] > encoded.offsets[:, 0], 0, IGNORED).astype(np.int64)
        for row, spans in enumerate(examples.spans):
            first, behind = int(encoded.starts[row]) + 1, int(encoded.starts[row + 1]) - 1  # without [CLS] and [SEP]
            places = encoded.offsets[first:behind]
            for span in spans:
                a, b = tokens_of(places, span.start, span.end)
                tags[first + a : first + b] = number[span.label] + 1
                tags[first + a : first + min(a + 1, b)] = number[span.label]
        return tags

    def find(self, logits: Logits, windows: Windows, *, labels: int, temperature: float) -> Iterator[Found]:
        """The spans of the best tags that are in order."""
        tags, chosen = self._tags(logits[windows.rows], windows.lengths, temperature)
        owner = np.repeat(np.arange(len(windows.lengths)), windows.lengths)
        for first, behind in _runs(tags):
            yield Found(int(owner[first]), first, behind, (int(tags[first]) - 1) // 2, float(chosen[first:behind].mean()))

    def _tags(self, logits: Logits, lengths: Ints, temperature: float) -> tuple[Ints, NDArray[np.float64]]:
        """``(w,)`` the best tags, and their probabilities."""
        if self.transitions is None:
            probabilities = softmax(logits, temperature=temperature)
            tags = best_tags(np.log(np.maximum(probabilities, 1e-300)), lengths)
        else:
            scores, added = logits.astype(np.float64) / temperature, self.transitions.over(temperature)
            tags, probabilities = best_tags(scores, lengths, added), marginals(scores, lengths, added)
        return tags, np.take_along_axis(probabilities, tags[:, None], 1)[:, 0]


def tokens_of(places: Ints, start: int, end: int) -> tuple[int, int]:
    """First, and behind the last, of the tokens at ``places`` ``(k, 2)`` that a stretch of text overlaps; equal ones for none."""
    return int(np.searchsorted(places[:, 1], start, "right")), int(np.searchsorted(places[:, 0], end, "left"))


def _runs(tags: Ints) -> Iterator[tuple[int, int]]:
    """``(first, behind the last)`` token of every span. One text's last span ends before the next text: that begins with O or B."""
    begins = np.flatnonzero(tags % 2 == 1)
    stops = np.flatnonzero(np.append((tags == 0) | (tags % 2 == 1), True))
    yield from zip(begins.tolist(), stops[np.searchsorted(stops, begins, "right")].tolist(), strict=True)
