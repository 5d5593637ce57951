"""Whole-word masking for masked language models, drawn anew at every call.

Words are masked as in BERT-wwm (Cui et al. 2019, arXiv:1906.08101) and entities or phrases as in ERNIE 1.0 (Sun et al. 2019,
arXiv:1904.09223): a unit is chosen whole, and each token of a chosen unit becomes [MASK] (80 %), a random character (10 %) or stays
(10 %), as in BERT (Devlin et al. 2018, arXiv:1810.04805). Units are drawn independently, as in ERNIE's own code, so the masked share of a
long text is close to ``rate``; a text in which none was drawn masks one, as BERT does, so that no short utterance is read for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.text.encoding import Encoded, Ints

IGNORED = -100  # the target of a token that is not predicted; torch's cross_entropy skips it
KEEP, RANDOM = 0.1, 0.1  # shares of the chosen tokens that stay, or become a random character; the others become [MASK]

Spans = Sequence[Sequence[tuple[int, int]]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A batch to learn from.

    Attributes:
        ids: ``(t,)`` int64, what the network reads.
        targets: ``(t,)`` int64, the id to predict, or -100.
    """

    ids: Ints
    targets: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """What masking has to know of a vocabulary: the id of [MASK], the ids that are never chosen, and those drawn at random (a range)."""

    mask: int
    special: tuple[int, ...]
    random: range


def mask_words(
    encoded: Encoded,
    word_starts: Flags,
    entries: Entries,
    *,
    generator: np.random.Generator,
    rate: float = 0.15,
    spans: Spans | None = None,
) -> Masked:
    """Mask whole words.

    Args:
        encoded: ``b`` sequences, ``t`` tokens.
        word_starts: ``(t,)`` bool, True at the first token of each word.
        entries: of the vocabulary.
        generator: its state decides the result, and moves on.
        rate: the share of units that are chosen.
        spans: for each sequence, entities or phrases as (start, end) code points of its first text. A span is one unit, whatever
            words it holds; what was cut off by truncation is ignored.

    Raises:
        InputError: ``rate`` is not in (0, 1], arrays do not fit, or spans are empty, negative or overlap.
    """
    if not 0 < rate <= 1:
        raise InputError(f"rate={rate!r} is not a share of words to mask; give more than 0 and at most 1, e.g. 0.15")
    if len(word_starts) != len(encoded.ids):
        raise InputError(f"{len(word_starts)} word starts do not fit {len(encoded.ids)} tokens")
    starts = word_starts.copy() if spans is None else _with_spans(encoded, word_starts, spans)
    starts[encoded.starts[:-1]] = True  # no unit reaches from one sequence into the next
    maskable = ~np.isin(encoded.ids, entries.special)
    chosen = _chosen(encoded, starts, maskable, generator.random(len(encoded.ids)), rate)
    lot = generator.random(len(encoded.ids))
    random = generator.integers(entries.random.start, entries.random.stop, size=len(encoded.ids))
    ids = np.where(chosen & (lot < 1 - KEEP - RANDOM), entries.mask, encoded.ids)
    ids = np.where(chosen & (lot >= 1 - RANDOM), random, ids)
    return Masked(ids=ids, targets=np.where(chosen, encoded.ids, IGNORED))


def join_words(word_starts: Flags, *, generator: np.random.Generator, share: float) -> Flags:
    """Word starts with some words glued to the word before them, so that phrases and longer names become units too.

    ERNIE (Sun et al. 2019) masks words, phrases and entities. Its phrases and entities come from a tagger and a gazetteer; here the
    entities that a word list knows are words already, and runs of neighbouring words stand in for the rest, drawn anew at every call as
    the n-grams of MacBERT are (Cui et al. 2020, arXiv:2004.13922).

    Args:
        word_starts: ``(t,)`` bool.
        generator: its state decides the result, and moves on.
        share: of the words that lose their start, from 0 to below 1.
    """
    if not 0 <= share < 1:
        raise InputError(f"share={share!r} of words to glue must be at least 0 and below 1")
    joined: Flags = word_starts & (generator.random(len(word_starts)) >= share)
    return joined


def _chosen(encoded: Encoded, starts: Flags, maskable: Flags, draws: NDArray[np.float64], rate: float) -> Flags:
    """``(t,)`` bool: tokens of units whose draw is below ``rate``, or the lowest of their sequence. A unit's draw is its first token's."""
    if not len(draws):
        return maskable
    first = np.flatnonzero(starts)
    lengths = np.diff(np.append(first, len(draws)))
    candidates = np.logical_or.reduceat(maskable, first)  # a unit of special tokens alone cannot be chosen
    draw = np.where(candidates, draws[first], np.inf)
    sequence = np.searchsorted(first, encoded.starts[:-1])
    lowest = np.repeat(np.minimum.reduceat(draw, sequence), np.diff(np.append(sequence, len(first))))
    unit = candidates & ((draw < rate) | (draw == lowest))
    return np.repeat(unit, lengths) & maskable


def _with_spans(encoded: Encoded, word_starts: Flags, spans: Spans) -> Flags:
    """Word starts in which every span is one unit, and the token after it starts another."""
    sequence, start, end = _flat(encoded, spans)
    stride = int(encoded.offsets.max(initial=0)) + 1
    start, end = np.minimum(start, stride - 1), np.minimum(end, stride - 1)
    body = np.flatnonzero((encoded.offsets[:, 1] > encoded.offsets[:, 0]) & (encoded.types == 0))
    place = np.repeat(np.arange(len(encoded)), encoded.lengths)[body] * stride + encoded.offsets[body, 0]
    first, last = np.searchsorted(place, sequence * stride + start), np.searchsorted(place, sequence * stride + end)
    first, last = first[first < last], last[first < last]
    inside = np.zeros(len(body) + 1, np.int64)
    np.add.at(inside, first, 1)
    np.add.at(inside, last, -1)
    starts = np.append(word_starts[body], True) & (np.cumsum(inside) == 0)
    starts[first] = starts[last] = True
    result = word_starts.copy()
    result[body] = starts[:-1]
    return result


def _flat(encoded: Encoded, spans: Spans) -> tuple[Ints, Ints, Ints]:
    """``(m,)`` sequence, start and end of all spans, checked."""
    if len(spans) != len(encoded):
        raise InputError(f"{len(spans)} lists of spans do not fit {len(encoded)} sequences; give one list (it may be empty) for each")
    flat = np.array([(i, a, b) for i, row in enumerate(spans) for a, b in sorted(row)], dtype=np.int64).reshape(-1, 3)
    sequence, start, end = flat.T
    previous = np.where(np.diff(sequence, prepend=-1) == 0, np.roll(end, 1), 0)
    wrong = np.flatnonzero((start < previous) | (end <= start))
    if len(wrong):
        problems = [f"spans[{sequence[i]}]: ({start[i]}, {end[i]})" for i in wrong[:10].tolist()]
        raise InputError(f"{len(wrong)} spans are empty, negative or overlap the one before", problems)
    return sequence, start, end
