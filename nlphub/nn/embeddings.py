"""From packed ids to hidden rows: word + position + token type (+ task type), LayerNorm, dropout.

Notation: ``t`` tokens of all sequences together, ``d`` width.
"""

from torch import Tensor, nn

from nlphub import kernels
from nlphub.data.batching import Packed
from nlphub.kernels import Draws, Site
from nlphub.nn.config import EncoderConfig


class Embeddings(nn.Module):
    """ERNIE's input (Sun et al., 2019 and 2020): BERT's, and from ERNIE 2.0 on the embedding of a task that is constant here."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.word = nn.Embedding(config.vocab, config.width)
        self.position = nn.Embedding(config.positions, config.width)
        self.token_type = nn.Embedding(config.types, config.width)
        self.task_type = nn.Embedding(config.task_types, config.width) if config.task_types else None
        self.norm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, packed: Packed[Tensor], *, draws: Draws | None = None) -> Tensor:
        """``(t, d)`` hidden rows."""
        hidden: Tensor = self.norm(self.add(packed.ids, packed.positions, packed.types))
        dropped = draws.dropout(self.config.dropout, layer=0, site=Site.EMBEDDINGS) if draws else None
        return kernels.dropout(hidden, dropped)

    def add(self, ids: Tensor, positions: Tensor, types: Tensor) -> Tensor:
        """The sum before the norm, ``(..., d)`` for index tensors of any one shape."""
        summed: Tensor = self.word(ids) + self.position(positions) + self.token_type(types)
        return summed if self.task_type is None else summed + self.task_type.weight[self.config.task_id]
