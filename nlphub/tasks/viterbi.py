"""The best tags of texts, and how probable each tag is: for tags that have to be in order, and for those of a linear-chain CRF.

Tags are ``O, B-1, I-1, B-2, I-2, ...``. In order means that every ``I-x`` follows a ``B-x`` or ``I-x``; nothing else is ever found.

Notation: ``t`` tokens of all texts, ``b`` texts, ``s`` tokens of the longest of a batch, ``n`` tags.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import places_in, token_batches
from nlphub.text.encoding import Ints

Scores = NDArray[np.float64]

_DECODED = 1 << 16  # tokens of texts that are decoded at once, with their padding: bounds memory


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """What a CRF adds to the scores of single tags; see :func:`allowed` for those that cannot be.

    Attributes:
        pairs: ``(n, n)`` of the second tag directly behind the first.
        first: ``(n,)`` of the first tag of a text.
        last: ``(n,)`` of the last tag of a text.
    """

    pairs: Scores
    first: Scores
    last: Scores

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Transitions":
        """From the lists that an artefact holds."""
        return cls(*(np.array(facts[name], np.float64) for name in ("pairs", "first", "last")))

    @classmethod
    def none(cls, tags: int) -> "Transitions":
        """Nothing but the order."""
        return cls(np.zeros((tags, tags)), np.zeros(tags), np.zeros(tags))

    def in_order(self) -> "Transitions":
        """The same with minus infinity for what cannot be."""
        follows, begins = allowed(len(self.first))
        return Transitions(np.where(follows, self.pairs, -np.inf), np.where(begins, self.first, -np.inf), self.last)

    def over(self, temperature: float) -> "Transitions":
        """Of scores that are divided by a temperature."""
        return Transitions(self.pairs / temperature, self.first / temperature, self.last / temperature)


def allowed(tags: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """``(n, n)`` whether the second tag may stand behind the first, and ``(n,)`` whether a tag may be the first of a text."""
    each = np.arange(tags)
    inside = (each > 0) & (each % 2 == 0)
    follows = ~inside[None, :] | (each[:, None] == each[None, :]) | (each[:, None] == each[None, :] - 1)
    return follows, ~inside


def is_table(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether a value read from JSON is a list, or a list of lists, of so many finite numbers."""
    if not shape:
        return type(values) in (int, float) and bool(np.isfinite(values))
    return isinstance(values, list) and len(values) == shape[0] and all(is_table(value, shape[1:]) for value in values)


def best_tags(scores: Scores, lengths: Ints, transitions: Transitions | None = None) -> Ints:
    """The best tags of each text that are in order (Viterbi, 1967), all texts at once.

    Args:
        scores: ``(t, n)`` of tags, such as log-probabilities, text after text.
        lengths: ``(b,)`` tokens of each text, which may be 0.
        transitions: of a CRF; without them only the order counts, which takes ``n`` instead of ``n * n`` steps for each token.

    Returns:
        ``(t,)`` int64. Of equal tags the first is taken.
    """
    tags = np.zeros(len(scores), np.int64)
    step = _in_order if transitions is None else _stepping(transitions.in_order().pairs)
    added = transitions or Transitions.none(scores.shape[1])
    for rows, tokens in _batches(lengths, _DECODED if transitions is None else _DECODED // scores.shape[1]):
        tags[tokens] = _viterbi(scores[tokens], lengths[rows], added, step)
    return tags


def marginals(scores: Scores, lengths: Ints, transitions: Transitions) -> Scores:
    """``(t, n)`` the probability of each tag of each token under a CRF, over all tags in order (forward-backward, Rabiner, 1989).

    Args:
        scores: ``(t, n)``, before any normalisation.
        lengths: ``(b,)`` tokens of each text, which may be 0.
    """
    found, kept = np.zeros(scores.shape), transitions.in_order()
    for rows, tokens in _batches(lengths, _DECODED // scores.shape[1]):
        found[tokens] = _marginals(scores[tokens], lengths[rows], kept)
    return found


_Step = Callable[[Scores], tuple[Scores, Ints]]  # (b, n) best until here -> (b, n) best before each tag, and which tag that is


def _in_order(best: Scores) -> tuple[Scores, Ints]:
    """Where all that is in order is equally good: behind O and B-x the best of all, behind I-x the better one of B-x and I-x."""
    each = np.arange(best.shape[1])
    begins, goes_on = each[1::2], each[2::2]
    before = np.repeat(best.argmax(axis=1)[:, None], best.shape[1], axis=1)
    before[:, goes_on] = np.where(best[:, begins] >= best[:, goes_on], begins, goes_on)
    return np.take_along_axis(best, before, 1), before


def _stepping(pairs: Scores) -> _Step:
    def step(best: Scores) -> tuple[Scores, Ints]:
        ways = best[:, :, None] + pairs
        before = ways.argmax(axis=1)
        return np.take_along_axis(ways, before[:, None, :], 1)[:, 0], before

    return step


def _viterbi(scores: Scores, lengths: Ints, added: Transitions, step: _Step) -> Ints:
    """:func:`best_tags` of texts of about the same length, in padded tables."""
    table, inside = _padded(scores, lengths)
    texts, longest, tags = table.shape
    if not longest:
        return np.zeros(0, np.int64)
    before, each = np.zeros((texts, longest, tags), np.int64), np.arange(texts)
    best = np.where(allowed(tags)[1], table[:, 0] + added.first, -np.inf)
    for place in range(1, longest):
        came, before[:, place] = step(best)
        best = np.where(inside[:, place, None], table[:, place] + came, best)
        before[:, place] = np.where(inside[:, place, None], before[:, place], np.arange(tags))  # behind its end a text stays as it is
    found = np.zeros((texts, longest), np.int64)
    last = (best + added.last).argmax(axis=1)
    for place in reversed(range(longest)):
        found[:, place] = last
        last = before[each, place, last]
    return found[inside]


def _marginals(scores: Scores, lengths: Ints, kept: Transitions) -> Scores:
    table, inside = _padded(scores, lengths)
    texts, longest, tags = table.shape
    forward, backward = np.zeros(table.shape), np.zeros(table.shape)
    ends = inside & ~np.pad(inside[:, 1:], ((0, 0), (0, 1)))
    for place in range(longest):
        came = kept.first if place == 0 else _log_sum(forward[:, place - 1, :, None] + kept.pairs, axis=1)
        forward[:, place] = table[:, place] + came
    for place in reversed(range(longest)):
        behind = table[:, place + 1] + backward[:, place + 1] if place + 1 < longest else np.zeros((texts, tags))
        backward[:, place] = np.where(ends[:, place, None], kept.last, _log_sum(behind[:, None, :] + kept.pairs, axis=2))
    both = (forward + backward)[inside]
    odds: Scores = np.exp(both - both.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _log_sum(values: Scores, *, axis: int) -> Scores:
    """Logarithm of the sum of exponentials; minus infinity of nothing but minus infinities."""
    largest = values.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(np.exp(values - largest).sum(axis=axis, keepdims=True)) + largest).squeeze(axis))


def _padded(scores: Scores, lengths: Ints) -> tuple[Scores, NDArray[np.bool_]]:
    """``(b, s, n)`` with zeros behind the ends of texts, and ``(b, s)`` where there are tokens."""
    inside = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
    table = np.zeros((*inside.shape, scores.shape[1]))
    table[inside] = scores
    return table, inside


def _batches(lengths: Ints, most: int) -> Iterator[tuple[Ints, Ints]]:
    """Texts of about the same length, at most so many tokens with their padding, and where their tokens stand."""
    starts = np.cumsum(lengths) - lengths
    for rows in token_batches(lengths, max_tokens=most):
        yield rows, np.repeat(starts[rows], lengths[rows]) + places_in(lengths[rows])
