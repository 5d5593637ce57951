"""What two texts are to each other: heads for pairs, read together or each by itself.

Notation: ``b`` pairs, ``t`` tokens of all texts, ``d`` width.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nlphub import kernels
from nlphub.data.apart import Vectors, pack_apart
from nlphub.data.batching import Packed
from nlphub.kernels import Draws, Noise, Site
from nlphub.nn.heads import Head, SequenceHead

BI_ENCODER = "bi-encoder"


class CrossEncoderHead(SequenceHead):
    """Both texts in one sequence, so that every token sees both, at one pass of the network for each pair."""

    task = "text-matching"


class BiEncoderHead(Head):
    """Each text in a sequence of its own, then one layer on what the two are: a text that stands in many pairs is read once.

    ``[u, v, |u - v|]`` of the means u, v of the hidden rows (Reimers and Gurevych, 2019, arXiv:1908.10084), [CLS] and [SEP] among them, as
    PaddleHub's ``text-matching``.

    Attributes:
        vectors: of the texts that were read last.
    """

    task = "text-matching"
    rows = "all"
    per_text = True
    apart = True

    def __init__(self, width: int, labels: int, *, dropout: float = 0.1) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.classifier = nn.Linear(3 * width, labels)
        self.vectors = Vectors()

    @property
    def form(self) -> dict[str, Any]:
        """As it stands in config.json."""
        return {"kind": BI_ENCODER, "version": 1}

    def train(self, mode: bool = True) -> "BiEncoderHead":
        """Training changes the network that made the vectors: they are forgotten."""
        if mode:
            self.vectors.clear()
        return super().train(mode)

    def arrange(self, packed: Packed[np.ndarray[Any, Any]]) -> Packed[np.ndarray[Any, Any]]:
        """Each text a sequence of its own."""
        return pack_apart(packed)

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(b, labels)`` logits of all hidden rows ``(t, d)`` of a batch of ``2b`` texts, first and second by turns."""
        if packed is None:
            raise TypeError("this head needs the packed batch too: head(hidden, packed)")
        means = torch.segment_reduce(hidden.float(), "mean", lengths=packed.lengths.to(hidden.device))
        if noise is not None:
            draws = Draws(noise.seed, packed.examples, packed.positions[packed.cls_rows])
            means = kernels.dropout(means, draws.dropout(self.probability, layer=0, site=Site.HEAD))
        return self.compare(means[0::2], means[1::2])

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """``(b, labels)`` logits of the vectors ``(b, d)`` of first and second texts."""
        logits: Tensor = self.classifier(torch.cat([first, second, (first - second).abs()], dim=1))
        return logits
