"""Packed batches of random ids."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from torch import Tensor

from nlphub.data.batching import Packed, pack
from nlphub.nn.encoder import to_tensors
from nlphub.text.encoding import Encoded


@pytest.fixture
def batch() -> Callable[..., Packed[Tensor]]:
    def make(lengths: Sequence[int], *, rows: Sequence[int] | None = None) -> Packed[Tensor]:
        """The sequences ``rows`` of a data set whose sequences have these ``lengths``; ids below 50, types 0 and 1."""
        generator, total = np.random.default_rng(0), sum(lengths)
        encoded = Encoded(
            ids=generator.integers(0, 50, total),
            types=generator.integers(0, 2, total),
            offsets=np.zeros((total, 2), np.int64),
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            truncated=np.zeros(len(lengths), np.bool_),
        )
        return to_tensors(pack(encoded, np.array(range(len(lengths)) if rows is None else rows)))

    return make
