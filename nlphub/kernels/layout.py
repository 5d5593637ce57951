"""How the sequences of a packed batch lie: what attention has to know on the host, computed once for a batch.

Notation: ``t`` tokens of all sequences together, ``b`` sequences.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor

from nlphub.data.batching import Packed


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring sequences of equal length: a dense ``(count, length)`` block of the packed rows.

    Attributes:
        row: first packed row.
        sequence: number in the batch of the first sequence.
        count: sequences.
        length: tokens of each.
    """

    row: int
    sequence: int
    count: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The runs of a batch, in order; together they cover every row once."""

    runs: tuple[Run, ...]

    @classmethod
    def of(cls, packed: Packed[Tensor]) -> "Layout":
        """Read ``packed.lengths`` once. They lie on the host (:func:`nlphub.nn.encoder.to_tensors`), so no device waits for this."""
        runs, row, sequence = [], 0, 0
        for length, same in itertools.groupby(packed.lengths.tolist()):
            count = len(list(same))
            runs.append(Run(row, sequence, count, length))
            row, sequence = row + count * length, sequence + count
        return cls(tuple(runs))
