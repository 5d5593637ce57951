"""How the sequences of a packed batch lie: what attention has to know on the host, computed once for a batch.

Notation: ``t`` tokens of all sequences together, ``b`` sequences.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nlphub.data.batching import Packed

BUCKETS = (16, 32, 64, 128, 256)
"""Tokens: the lengths that kernels are made for. The bucket of a sequence is that of its own length, never of its batch, so that its
result has the same bits wherever it is packed."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the sequences of a batch lie, for kernels that work on one sequence at a time.

    Attributes:
        starts: ``(b,)`` int32 first row of each sequence, on the device.
        lengths: ``(b,)`` int32 tokens of each, on the device; 0 for a place that is not used.
        order: ``(b,)`` int32 numbers of sequences, grouped by bucket, on the device; longer ones than the last bucket come last.
        counts: how many entries of ``order`` belong to each of :data:`BUCKETS`.
    """

    starts: Tensor
    lengths: Tensor
    order: Tensor
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The runs of a batch, in order; together they cover every row once.

    Attributes:
        runs: neighbours of equal length.
        placed: what :meth:`places` has made so far, by device. A CUDA graph puts its own there: tensors of fixed addresses.
    """

    runs: tuple[Run, ...]
    placed: dict[torch.device, Places] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, packed: Packed[Tensor]) -> "Layout":
        """Read ``packed.lengths`` once. They lie on the host (:func:`nlphub.nn.encoder.to_tensors`), so no device waits for this."""
        if isinstance(packed, Laid):
            return packed.layout
        runs, row, sequence = [], 0, 0
        for length, same in itertools.groupby(packed.lengths.tolist()):
            count = len(list(same))
            runs.append(Run(row, sequence, count, length))
            row, sequence = row + count * length, sequence + count
        return cls(tuple(runs))

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence; 0 of none."""
        return max((run.length for run in self.runs), default=0)

    def places(self, device: torch.device) -> Places:
        """The sequences as int32 tensors on ``device``, made when first asked for, in one copy that nobody waits for."""
        if device not in self.placed:
            self.placed[device] = self._place(device)
        return self.placed[device]

    def _place(self, device: torch.device) -> Places:
        lengths = np.repeat([run.length for run in self.runs], [run.count for run in self.runs]).astype(np.int32)
        buckets = np.searchsorted(BUCKETS, lengths)
        table = torch.from_numpy(np.stack([np.cumsum(lengths) - lengths, lengths, np.argsort(buckets, kind="stable")]).astype(np.int32))
        if device.type == "cuda":
            table = table.pin_memory()
        starts, placed, order = table.to(device, non_blocking=True)
        counts = np.bincount(buckets, minlength=len(BUCKETS) + 1)[: len(BUCKETS)].tolist()
        return Places(starts, placed, order, tuple(counts))


@dataclass(frozen=True, slots=True, eq=False)
class Laid(Packed[Tensor]):
    """A batch that brings its layout along: one whose places have addresses that do not change, for a captured graph."""

    layout: Layout
