"""Spans by their first and last token, each pair of tokens and each label judged on its own, so that spans may be nested and overlap.

The efficient form of GlobalPointer (Su et al., 2022, arXiv:2208.03054), with rotary positions (Su et al., 2021, arXiv:2104.09864): a span
from token i to token j of label x has the score ``q_i . k_j / sqrt(k) + start_x(i) + end_x(j)`` and is found where that is above 0. The
network gives one row for each token (``q``, ``k``, and for each label ``start`` and ``end``; the paper makes the last two of q and k, here
they are linear in the hidden row); the scores of pairs are made here, window after window, so memory is that of one window.

Long texts: a span is taken from the window that owns its middle token.

Notation: ``t`` tokens of all windows, ``s`` of one window without [CLS] and [SEP], ``k`` width of q and k, ``n`` labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nlphub.data.examples import Examples
from nlphub.tasks.base import IGNORED, Logits, Targets
from nlphub.tasks.found import Found
from nlphub.tasks.tagging import tokens_of
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.windows import Windows

INNER = 64  # k, as in the paper
_MOST = 4  # spans of a window for each of its tokens; of more (an untrained head) the best are taken

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pointing:
    """Decoder of pairs of tokens."""

    nested: ClassVar[bool] = True

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """``query-0`` ..., ``key-0`` ..., then ``start-x`` of each label and ``end-x`` of each label."""
        vectors = [f"{name}-{number}" for name in ("query", "key") for number in range(INNER)]
        return (*vectors, *(f"{edge}-{label}" for edge in ("start", "end") for label in labels))

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """``(b,)`` zeros: a text is what has a loss; and ``(t, m)`` int64, for each of up to m spans that begin with a token ``last * n +
        label``, where ``last`` is its last token, counted from the first behind [CLS]; :data:`IGNORED` elsewhere."""
        number = {name: index for index, name in enumerate(labels)}
        begins: dict[int, set[int]] = {}
        for row, spans in enumerate(examples.spans):
            first, behind = int(encoded.starts[row]) + 1, int(encoded.starts[row + 1]) - 1
            for span in spans:
                a, b = tokens_of(encoded.offsets[first:behind], span.start, span.end)
                if a < b and span.end <= int(encoded.offsets[behind - 1, 1]):  # a span that was cut is not taught as a shorter one
                    begins.setdefault(first + a, set()).add((b - 1) * len(labels) + number[span.label])
        codes = np.full((len(encoded.ids), max([1, *map(len, begins.values())])), IGNORED, np.int64)
        for place, several in begins.items():
            codes[place, : len(several)] = sorted(several)
        return np.zeros(len(encoded), np.int64), codes

    def find(self, logits: Logits, windows: Windows, *, labels: int, temperature: float) -> Iterator[Found]:
        """The pairs whose scores are above 0."""
        found: list[Found] = []
        base, owners = np.cumsum(windows.lengths) - windows.lengths, windows.owners
        starts = windows.encoded.starts
        for window, (text, place) in enumerate(zip(windows.texts.tolist(), windows.firsts.tolist(), strict=True)):
            rows = logits[starts[window] + 1 : starts[window + 1] - 1]
            first = int(base[text]) + place
            for a, b, label, score in _above_zero(rows, INNER, labels):
                if owners[first + (a + b) // 2] == window:
                    found.append(Found(text, first + a, first + b + 1, label, float(1 / (1 + np.exp(-score / temperature)))))
        yield from sorted(found)


def _above_zero(rows: Logits, inner: int, labels: int) -> list[tuple[int, int, int, float]]:
    """``(first, last, label, score)`` of the pairs of one window, whose logits are ``(s, 2k + 2n)``; at most 4 for each token."""
    shared, starts, ends = pair_parts(rows.astype(np.float64), inner, labels)
    kept = np.triu(np.ones(shared.shape, np.bool_))
    found = []
    for label in range(labels):
        scores = shared + starts[:, label, None] + ends[None, :, label]
        first, last = np.nonzero(kept & (scores > 0))
        found += [(a, b, label, float(scores[a, b])) for a, b in best_of(scores, first, last, _MOST * len(rows))]
    return sorted(found, key=lambda one: -one[3])[: _MOST * len(rows)]


def best_of(scores: Floats, first: Ints, last: Ints, most: int) -> list[tuple[int, int]]:
    """The pairs with the highest scores, by place where these are equal."""
    order = np.argsort(-scores[first, last], kind="stable")[:most]
    return list(zip(first[order].tolist(), last[order].tolist(), strict=True))


def pair_parts(rows: Floats, inner: int, labels: int) -> tuple[Floats, Floats, Floats]:
    """``(s, s)`` what all labels share, and ``(s, n)`` scores of starts and of ends."""
    turns = rotations(len(rows), inner)
    query, key = (rotated(rows[:, side * inner : (side + 1) * inner], turns) for side in (0, 1))
    edges = rows[:, 2 * inner :]
    return query @ key.T / np.sqrt(inner), edges[:, :labels], edges[:, labels:]


def rotations(tokens: int, inner: int) -> tuple[Floats, Floats]:
    """``(s, k / 2)`` cosines and sines: token p is turned by ``p * 10000 ** (-2 i / k)`` in its i-th plane."""
    angles = np.arange(tokens)[:, None] * 10000.0 ** (-2 * np.arange(inner // 2) / inner)
    return np.cos(angles), np.sin(angles)


def rotated(vectors: Floats, turns: tuple[Floats, Floats]) -> Floats:
    """``(s, k)`` vectors, each pair of neighbouring columns turned."""
    cosines, sines = turns
    even, odd = vectors[:, ::2], vectors[:, 1::2]
    return np.stack([even * cosines - odd * sines, odd * cosines + even * sines], axis=-1).reshape(vectors.shape)
