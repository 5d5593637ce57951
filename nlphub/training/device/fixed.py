"""The layout of a batch as a captured graph may know it: where the sequences are stands on the device, and nowhere else."""

import torch

from nlphub.errors import InputError
from nlphub.kernels.layout import BUCKETS, Layout, Places, Run


class FixedLayout(Layout):
    """Places without runs. What reads lengths on the host would freeze those of one batch into the graph: here it is an error.

    Args:
        places: tensors whose addresses do not change.
        device: where they are.
    """

    __slots__ = ()

    def __init__(self, places: Places, device: torch.device) -> None:
        object.__setattr__(self, "placed", {device: places})

    @property
    def runs(self) -> tuple[Run, ...]:
        """Not known here.

        Raises:
            InputError: always.
        """
        raise InputError(
            "a captured graph needs attention kernels that find sequences by tensors on the device; those in use here read the lengths of "
            "each batch on the host (nlphub.kernels.explain says why). Set train.graphs=off"
        )

    @property
    def longest(self) -> int:
        """Tokens that a sequence may have."""
        (places,) = self.placed.values()
        return max((bucket for bucket, count in zip(BUCKETS, places.counts, strict=True) if count), default=0)
