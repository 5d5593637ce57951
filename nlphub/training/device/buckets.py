"""A few shapes for all batches of a training, so that a few captured graphs serve it: sizes in tokens, and a tail that weighs nothing.

A captured graph has fixed shapes. A batch gets the smallest size that it fits into; the rows behind its end belong to sequences of a
token or more that have no targets, so they change neither loss nor gradients. Nothing else in nlphub pads packed batches.

Notation: ``t`` tokens and ``b`` sequences of a batch, ``T`` and ``S`` of its shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import Packed, places_in
from nlphub.kernels.layout import BUCKETS
from nlphub.tasks.base import IGNORED, Targets
from nlphub.text.encoding import Ints

_MULTIPLE = 16  # tokens: rows of a matrix product in bfloat16
_SPARE = 1.0625  # epochs have other batches than the first: so much larger may they be
_RARE = 0.05  # share of batches, the small ones, for which the tail may have too few sequences
_DUMMY = 64  # tokens of a sequence in the tail, at most


@dataclass(frozen=True, slots=True)
class Shape:
    """What a graph is captured for.

    Attributes:
        tokens: T.
        sequences: S, those of the tail among them.
        counts: places for sequences of each of :data:`nlphub.kernels.layout.BUCKETS`.
    """

    tokens: int
    sequences: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes of a training: they differ in tokens only.

    Attributes:
        sizes: T of each, ascending.
        sequences: S.
        counts: as :attr:`Shape.counts`.
        dummy: tokens of a sequence in the tail, at most.
    """

    sizes: tuple[int, ...]
    sequences: int
    counts: tuple[int, ...]
    dummy: int = _DUMMY

    @classmethod
    def of(cls, parts: Sequence[Ints], *, most: int = 8, positions: int = 512) -> "Shapes":
        """Shapes that waste least on batches like these.

        Args:
            parts: lengths of the sequences of each batch, as of one epoch.
            most: how many shapes.
            positions: the longest sequence that the network can have.
        """
        dummy = min(_DUMMY, positions)
        tokens = np.array([int(part.sum()) for part in parts], np.int64)
        sizes = np.array(token_sizes(np.append(tokens, int(tokens.max() * _SPARE)), most=most))
        usual = min(int(np.quantile(tokens, _RARE)), int(sizes[0]))
        gap = int(np.diff(sizes, prepend=usual).max()) + _MULTIPLE
        tail = -(-gap // (dummy - 1)) if dummy > 1 else gap
        longest = max(len(part) for part in parts)
        return cls(
            sizes=tuple(_rounded(size + tail) for size in sizes.tolist()),
            sequences=longest + tail,
            counts=_counts(parts, sequences=longest + tail, dummy=dummy),
            dummy=dummy,
        )

    def fit(self, lengths: Ints) -> Shape | None:
        """The smallest shape for a batch of sequences of these lengths; ``None`` where it fits into none: it runs as it is then."""
        tail, tokens = self.sequences - len(lengths), int(lengths.sum())
        size = next((size for size in self.sizes if tokens + tail <= size), None)
        if tail < 1 or size is None or size - tokens > tail * self.dummy or int(lengths.max()) > BUCKETS[-1]:
            return None
        shape = Shape(size, self.sequences, self.counts)
        return shape if _assigned(np.append(lengths, _tail(shape, lengths)), self.counts) is not None else None


def token_sizes(counts: Ints, *, most: int) -> tuple[int, ...]:
    """At most ``most`` sizes, the largest of which holds the largest count, with the least sum of what is added to round counts up to them.

    Dynamic programming over the distinct counts, rounded up to multiples of 16 (of more where there are many).
    """
    step = _MULTIPLE * max(1, int(counts.max() - counts.min()) // (128 * _MULTIPLE))
    values, weights = np.unique(-(-counts // step) * step, return_counts=True)
    below, tokens = np.append(0, np.cumsum(weights)), np.append(0, np.cumsum(weights * values))
    first, last = np.arange(len(values))[:, None], np.arange(len(values))[None, :]
    added = np.where(first <= last, (below[last + 1] - below[first]) * values[last] - (tokens[last + 1] - tokens[first]), np.inf)
    best, chosen = added[0], [np.zeros(len(values), np.int64)]
    for _ in range(1, min(most, len(values))):
        waste = np.append(np.inf, best[:-1])[:, None] + added  # [first, last]: a size for first..last behind the best of what is before
        chosen.append(np.where(waste.min(0) < best, waste.argmin(0), 0))
        best = np.minimum(best, waste.min(0))
    sizes, place = [], len(values) - 1
    for starts in reversed(chosen):
        sizes.append(int(values[place]))
        place = int(starts[place]) - 1
        if place < 0:
            break
    return tuple(sorted(sizes))


def with_tail(packed: Packed[NDArray[Any]], shape: Shape) -> Packed[NDArray[Any]]:
    """The batch with sequences behind it that fill its shape; their ids, types and examples are 0."""
    tail = _tail(shape, packed.lengths)
    rows = shape.tokens - len(packed.ids)
    starts = len(packed.ids) + np.cumsum(tail) - tail
    return Packed(
        ids=np.append(packed.ids, np.zeros(rows, np.int64)),
        types=np.append(packed.types, np.zeros(rows, np.int64)),
        positions=np.append(packed.positions, places_in(tail)),
        lengths=np.append(packed.lengths, tail),
        starts=np.append(packed.starts, starts),
        cls_rows=np.append(packed.cls_rows, starts),
        examples=np.append(packed.examples, np.zeros(len(tail), np.int64)),
    )


def targets_with_tail(targets: Targets, packed: Packed[NDArray[Any]], shape: Shape) -> Targets:
    """Targets of a batch (``packed``: without its tail) with rows for the tail: without a target, or 0 where there is no such value.

    Where there is one for each sequence, there is one for the sequence without tokens too (:func:`placed`): ``S + 1``.
    """
    if isinstance(targets, tuple):
        return tuple(_longer(one, packed, shape) for one in targets)
    return _longer(targets, packed, shape)


def placed(lengths: Ints, shape: Shape) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """``starts`` and ``lengths`` ``(S + 1,)`` and ``order`` of :class:`nlphub.kernels.layout.Places` for ``(S,)`` lengths, tail included.

    The last entry of starts and lengths is a sequence without tokens: the one that unused places of ``order`` name.

    Raises:
        ValueError: they do not fit into the shape.
    """
    if (order := _assigned(lengths, shape.counts)) is None or len(lengths) != shape.sequences:
        raise ValueError(f"sequences of these lengths do not fit into {shape}")
    starts = np.append(np.cumsum(lengths) - lengths, 0)
    return starts.astype(np.int32), np.append(lengths, 0).astype(np.int32), order


def _tail(shape: Shape, lengths: Ints) -> Ints:
    """Lengths of the sequences behind a batch, as equal as possible, the longer ones first."""
    count, rows = shape.sequences - len(lengths), shape.tokens - int(lengths.sum())
    each, more = divmod(rows, count)
    return np.repeat(np.array([each + 1, each], np.int64), [more, count - more])


def _assigned(lengths: Ints, counts: Sequence[int]) -> NDArray[np.int32] | None:
    """Which sequence is at which place, the places of each bucket together; a sequence may stand in a larger bucket than its own."""
    order, waiting = [], np.array([], np.int64)
    bucket = np.searchsorted(BUCKETS, lengths)
    for number, count in enumerate(counts):
        waiting = np.append(waiting, np.flatnonzero(bucket == number))
        here, waiting = waiting[:count], waiting[count:]
        order.append(np.append(here, np.full(count - len(here), len(lengths))))
    if len(waiting) or (bucket >= len(counts)).any():
        return None
    return np.concatenate(order).astype(np.int32)


def _counts(parts: Sequence[Ints], *, sequences: int, dummy: int) -> tuple[int, ...]:
    """Places of each bucket: a quarter more than any of the batches needs, and those of the tail. At least one is never used."""
    found = np.array([np.bincount(np.searchsorted(BUCKETS, part), minlength=len(BUCKETS) + 1) for part in parts]).max(0)[: len(BUCKETS)]
    longest = max(len(part) for part in parts)
    spare = np.where(found > 0, np.minimum(longest, -(-found * 5 // 4) + 2), 0)
    spare[int(np.searchsorted(BUCKETS, dummy))] += sequences - longest
    spare[int(np.searchsorted(BUCKETS, dummy))] += max(0, sequences + 1 - int(spare.sum()))
    return tuple(spare.tolist())


def _longer(targets: NDArray[Any], packed: Packed[NDArray[Any]], shape: Shape) -> NDArray[Any]:
    rows = shape.sequences + 1 if len(targets) == len(packed.lengths) else shape.tokens
    nothing = IGNORED if np.issubdtype(targets.dtype, np.integer) else 0
    return np.concatenate([targets, np.full((rows - len(targets), *targets.shape[1:]), nothing, targets.dtype)])


def _rounded(size: int) -> int:
    return -(-size // _MULTIPLE) * _MULTIPLE
