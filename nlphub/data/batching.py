"""From tokenised sequences to packed batches, and which sequences go together.

Notation: ``b`` sequences, ``t`` tokens of all sequences together, ``s`` the longest sequence.

A packed batch has no padding: sequences stand one after the other in one row of ``t`` tokens. :func:`pad` exists for graphs of
padded tensors (an exported ONNX file) and for the slow twins in the tests; nothing else pads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from nlphub.text.encoding import Encoded, Ints, Sequences

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True, eq=False)
class Packed(Generic[A]):
    """A batch, and the only thing that encoder and heads see. Arrays are numpy here and tensors after :meth:`map`.

    Attributes:
        ids: ``(t,)`` int64.
        types: ``(t,)`` int64 token types.
        positions: ``(t,)`` int64, 0 at the start of each sequence.
        lengths: ``(b,)`` int64 tokens of each sequence, at least 1.
        starts: ``(b,)`` int64 row of each sequence's first token.
        cls_rows: ``(b,)`` int64 row of each sequence's [CLS].
        examples: ``(b,)`` int64 number of each sequence in its data set; dropout masks follow it, not the place in a batch.
    """

    ids: A
    types: A
    positions: A
    lengths: A
    starts: A
    cls_rows: A
    examples: A

    def map(self, convert: Callable[[A], B]) -> "Packed[B]":
        """The same batch with every array converted, e.g. by ``torch.from_numpy``."""
        return Packed(
            ids=convert(self.ids),
            types=convert(self.types),
            positions=convert(self.positions),
            lengths=convert(self.lengths),
            starts=convert(self.starts),
            cls_rows=convert(self.cls_rows),
            examples=convert(self.examples),
        )


def pack(encoded: Sequences, rows: Ints) -> Packed[np.ndarray[Any, Any]]:
    """Pack the sequences ``rows`` of ``encoded``, in that order; what it costs does not depend on how many others there are.

    Neighbours of equal length make attention fast (see :mod:`nlphub.kernels`), so pass them sorted by length.
    """
    rows = np.asarray(rows, dtype=np.int64)
    begins = encoded.starts[rows]
    lengths = encoded.starts[rows + 1] - begins
    starts = np.cumsum(lengths) - lengths
    positions = places_in(lengths)
    source = np.repeat(begins, lengths) + positions
    return Packed(
        ids=encoded.ids[source].astype(np.int64, copy=False),
        types=encoded.types[source].astype(np.int64, copy=False),
        positions=positions,
        lengths=lengths,
        starts=starts,
        cls_rows=starts,
        examples=rows,
    )


def token_rows(encoded: Sequences, rows: Ints) -> Ints:
    """``(t,)`` where the tokens of a packed batch of the sequences ``rows`` stand in ``encoded``."""
    begins = encoded.starts[rows]
    lengths = encoded.starts[rows + 1] - begins
    return np.repeat(begins, lengths) + places_in(lengths)


def places_in(lengths: Ints) -> Ints:
    """``(sum,)`` int64: 0, 1, 2, ... anew in each sequence."""
    return np.arange(lengths.sum(), dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def epoch_batches(lengths: Ints, *, batch_size: int, seed: int, epoch: int, classes: Ints | None = None) -> Iterator[Ints]:
    """One epoch of training batches: a seeded shuffle cut into ``batch_size`` examples, each batch sorted by length.

    Args:
        lengths: ``(b,)`` tokens of each example.
        batch_size: examples of a batch; the last one may be smaller.
        seed: with ``epoch`` it decides the order; the same pair always gives the same batches.
        classes: ``(b,)`` for an epoch in which all classes are equally frequent, see :func:`balanced_order`.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths)) if classes is None else balanced_order(classes, generator)
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        yield batch[np.argsort(lengths[batch], kind="stable")]


def balanced_order(classes: Ints, generator: np.random.Generator) -> Ints:
    """As many examples as there are, but equally many of each class (one more of some), in random order.

    A class that is larger than its share is represented by some of its examples, each at most once; the examples of a smaller one are
    taken again and again, no one twice more often than another.

    Args:
        classes: ``(b,)`` the class of each example; numbers without an example are allowed.

    Returns:
        ``(b,)`` numbers of examples.
    """
    present = generator.permutation(np.unique(classes))
    chosen = []
    for place, each in enumerate(present.tolist()):
        rows = np.flatnonzero(classes == each)
        wanted = len(classes) // len(present) + (place < len(classes) % len(present))
        turns = [generator.permutation(rows) for _ in range(-(-wanted // len(rows)))]
        chosen.append(np.concatenate(turns)[:wanted] if turns else rows[:0])
    return generator.permutation(np.concatenate(chosen))


def micro_batches(batch: Ints, lengths: Ints, *, max_tokens: int) -> Iterator[Ints]:
    """Cut a training batch into neighbours of at most ``max_tokens`` tokens together (a longer single sequence stands alone).

    Gradients of the parts are accumulated into one step, so memory is bounded and ``batch_size`` keeps its meaning.
    """
    first = total = 0
    for last, length in enumerate(lengths[batch].tolist()):
        if last > first and total + length > max_tokens:
            yield batch[first:last]
            first, total = last, 0
        total += length
    if len(batch):
        yield batch[first:]


def token_batches(lengths: Ints, *, max_tokens: int) -> Iterator[Ints]:
    """Inference batches: all sequences sorted by length, cut so that ``sequences x longest`` stays within ``max_tokens``."""
    order = np.argsort(lengths, kind="stable")
    first = 0
    for last in range(1, len(order) + 1):
        if last == len(order) or (last + 1 - first) * lengths[order[last]] > max_tokens:
            yield order[first:last]
            first = last


def pad(encoded: Encoded, rows: Ints, *, pad_id: int) -> tuple[Ints, Ints, Ints]:
    """Padded ``input_ids, attention_mask, token_type_ids``, each ``(b, s)`` int64, of the sequences ``rows``."""
    lengths = encoded.lengths[rows]
    width = int(lengths.max()) if len(rows) else 0
    mask = np.arange(width) < lengths[:, None]
    source = pack(encoded, rows)
    ids, types = np.full(mask.shape, pad_id, np.int64), np.zeros(mask.shape, np.int64)
    ids[mask], types[mask] = source.ids, source.types
    return ids, mask.astype(np.int64), types
