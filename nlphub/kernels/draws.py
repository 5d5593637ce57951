"""The dropout of a training step, site by site: which rows of which examples a batch has, and the keys of their hashes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nlphub.data.batching import Packed
from nlphub.kernels import dispatch
from nlphub.kernels.probes import Case
from nlphub.kernels.reference import Dropout, Noise, Site, row_keys


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The dropout of one step for the rows of one batch.

    Attributes:
        seed: of the step.
        examples: ``(rows,)`` number of each row's example in its data set.
        positions: ``(rows,)`` position of each row in its example.
        made: keys of other sites that were made on the way, for the route that makes many at once.
    """

    seed: int | Tensor
    examples: Tensor
    positions: Tensor
    made: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, noise: Noise | None, packed: Packed[Tensor]) -> "Draws | None":
        """For all rows of a batch; nothing without noise."""
        if noise is None:
            return None
        sequence = (packed.positions == 0).cumsum(0) - 1
        return cls(noise.seed, packed.examples[sequence], packed.positions)

    def take(self, rows: Tensor) -> "Draws":
        """For some of the rows."""
        return Draws(self.seed, self.examples[rows], self.positions[rows])

    def dropout(self, probability: float, *, layer: int, site: Site) -> Dropout | None:
        """The dropout of one site; nothing when its probability is 0."""
        if probability == 0.0:
            return None
        return Dropout(probability, self._keys(layer, site))

    def _keys(self, layer: int, site: Site) -> Tensor:
        if torch.compiler.is_exporting():
            return row_keys(self.seed, layer, site, self.examples, self.positions)
        if self.examples.is_cpu:
            return dispatch.on_cpu().row_keys(self.seed, layer, site, self.examples, self.positions)
        choice = dispatch.choose("row_keys", Case(self.examples.device.type, torch.int64, 0, True))
        options = {"made": self.made} if choice.candidate.family == "triton" else {}
        keys: Tensor = choice.function(self.seed, layer, site, self.examples, self.positions, **options)
        return keys
