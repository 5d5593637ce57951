"""From packed ids to hidden rows: word + position + token type (+ task type), LayerNorm, dropout, and a matrix where they are narrower.

Notation: ``t`` tokens of all sequences together, ``e`` width of the embeddings, ``d`` width.
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
        self.config, e = config, config.embedded
        self.word = nn.Embedding(config.vocab, e)
        self.position = nn.Embedding(config.positions, e)
        self.token_type = nn.Embedding(config.types, e)
        self.task_type = nn.Embedding(config.task_types, e) if config.task_types else None
        self.norm = nn.LayerNorm(e, eps=config.eps)
        self.project = nn.Linear(e, config.width) if config.embedding else None

    def forward(self, packed: Packed[Tensor], *, draws: Draws | None = None) -> Tensor:
        """``(t, d)`` hidden rows."""
        hidden: Tensor = self.norm(self.add(packed.ids, packed.positions, packed.types))
        dropped = draws.dropout(self.config.dropout, layer=0, site=Site.EMBEDDINGS) if draws else None
        return self.widen(kernels.dropout(hidden, dropped))

    def widen(self, hidden: Tensor) -> Tensor:
        """``(..., e)`` behind the norm to ``(..., d)``."""
        return hidden if self.project is None else self.project(hidden)

    def add(self, ids: Tensor, positions: Tensor, types: Tensor) -> Tensor:
        """The sum before the norm, ``(..., e)`` for index tensors of any one shape."""
        summed: Tensor = self.word(ids) + self.position(positions) + self.token_type(types)
        return summed if self.task_type is None else summed + self.task_type.weight[self.config.task_id]
