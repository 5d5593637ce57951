"""The result of tokenising a batch: flat arrays, no padding, no list of lists until somebody asks for one.

Notation: ``b`` sequences, ``t`` tokens of all sequences together.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Sequences(Protocol):
    """What batches are made of: :class:`Encoded`, or the same in fewer bytes and without places in texts.

    Attributes:
        ids, types, starts: as of :class:`Encoded`, whole numbers of any width.
    """

    @property
    def ids(self) -> NDArray[Any]: ...
    @property
    def types(self) -> NDArray[Any]: ...
    @property
    def starts(self) -> Ints: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A tokenised batch.

    Attributes:
        ids: ``(t,)`` int64, entries of the vocabulary, with [CLS] and [SEP].
        types: ``(t,)`` int64, 0 in the first text of a sequence, 1 in the second.
        offsets: ``(t, 2)`` int64, start and end of each token in the caller's original text, in code points;
            special tokens have an empty span.
        starts: ``(b + 1,)`` int64: sequence ``i`` is ``ids[starts[i]:starts[i + 1]]``.
        truncated: ``(b,)`` bool, whether text was cut to fit the maximum length.
    """

    ids: Ints
    types: Ints
    offsets: Ints
    starts: Ints
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        """``(b,)`` tokens of each sequence."""
        return np.diff(self.starts)

    def lists(self) -> list[list[int]]:
        """The ids as one Python list for each sequence."""
        flat, edges = self.ids.tolist(), self.starts.tolist()
        return [flat[a:b] for a, b in itertools.pairwise(edges)]
