"""The ERNIE transformer on packed rows: no padding, no mask.

Notation: ``t`` tokens of all sequences together, ``b`` sequences, ``d`` width, ``h`` heads.
"""

from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from nlphub import kernels
from nlphub.data.batching import Packed
from nlphub.kernels import Draws, Layout, Noise, Site
from nlphub.nn.config import EncoderConfig
from nlphub.nn.embeddings import Embeddings

__all__ = ["Block", "Encoder", "EncoderConfig", "Rows", "sent", "to_tensors"]

Rows = Literal["all", "cls"]


class Encoder(nn.Module):
    """Embeddings and a stack of post-norm layers (Vaswani et al., 2017; Devlin et al., 2019; Sun et al., 2020)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(1 if config.shared else config.layers))

    @property
    def passes(self) -> list["Block"]:
        """The layers in the order in which hidden rows go through them: those of shared weights are one layer, several times."""
        blocks = cast("list[Block]", list(self.blocks))
        return blocks * self.config.layers if self.config.shared else blocks

    def forward(self, packed: Packed[Tensor], *, rows: Rows = "all", noise: Noise | None = None) -> Tensor:
        """Hidden rows ``(t, d)``, or ``(b, d)`` for ``rows="cls"``.

        Args:
            packed: from :func:`to_tensors`.
            rows: ``cls``: the last layer computes keys and values of all rows, and the rest only for ``packed.cls_rows``. The result
                equals those rows of ``all``, at about a quarter less work for a short stack.
            noise: of a training step; without it there is no dropout, whatever ``train()`` says.
        """
        layout, draws = Layout.of(packed), Draws.of(noise, packed)
        hidden: Tensor = self.embeddings(packed, draws=draws)
        passes = self.passes
        for number, block in enumerate(passes):
            last, turn = number == len(passes) - 1, number if self.config.shared else 0
            hidden = block(hidden, layout, draws=draws, only=packed.cls_rows if last and rows == "cls" else None, turn=turn)
        return hidden

    def set_dropout(self, probability: float) -> None:
        """Change the probability at every site, attention included. Weights stay as they are."""
        config = replace(self.config, dropout=probability, attention_dropout=probability)
        for part in (self, self.embeddings, *self.blocks):
            part.config = config


class Linear(nn.Linear):
    """As torch's, through the front door of the kernels."""

    def forward(self, x: Tensor, *, biased: bool = True) -> Tensor:
        """``(..., k)`` to ``(..., n)``; without the bias where it is added later."""
        return kernels.linear(x, self.weight, self.bias if biased else None)


class Block(nn.Module):
    """One layer: attention, add and norm, feed-forward, add and norm."""

    def __init__(self, config: EncoderConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.qkv = Linear(config.width, 3 * config.mixed)
        self.out = Linear(config.mixed, config.width)
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.up = Linear(config.width, config.inner)
        self.down = Linear(config.inner, config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, hidden: Tensor, layout: Layout, *, draws: Draws | None = None, only: Tensor | None = None, turn: int = 0) -> Tensor:
        """``(t, d)`` to ``(t, d)``, or to ``(b, d)`` where ``only`` names one row of each sequence.

        Args:
            turn: how often the rows went through these weights before; each time has dropout masks of its own.
        """
        q, k, v = self._project(hidden, only)
        if only is not None:
            hidden, draws = hidden[only], draws.take(only) if draws else None
        mixed = kernels.attention(q, k, v, layout, heads=self.config.heads, dropped=self._dropped(draws, Site.ATTENTION, turn))
        hidden = _add_norm(self.out, mixed, hidden, self.norm1, self._dropped(draws, Site.ATTENTION_OUTPUT, turn))
        inner = kernels.linear_gelu(hidden, self.up.weight, self.up.bias, activation=self.config.activation)
        return _add_norm(self.down, inner, hidden, self.norm2, self._dropped(draws, Site.FEED_FORWARD_OUTPUT, turn))

    def _project(self, hidden: Tensor, only: Tensor | None) -> tuple[Tensor, ...]:
        """Queries, keys and values, of one matrix product where queries are wanted for all rows."""
        weight, bias, width = self.qkv.weight, self.qkv.bias, self.config.mixed
        if only is None:
            return kernels.linear(hidden, weight, bias).chunk(3, dim=1)
        rest = kernels.linear(hidden, weight[width:], bias[width:])
        return kernels.linear(hidden[only], weight[:width], bias[:width]), *rest.chunk(2, dim=1)

    def _dropped(self, draws: Draws | None, site: Site, turn: int) -> kernels.Dropout | None:
        probability = self.config.attention_dropout if site == Site.ATTENTION else self.config.dropout
        return draws.dropout(probability, layer=self.layer + turn, site=site) if draws else None


def _add_norm(linear: Linear, x: Tensor, residual: Tensor, norm: nn.LayerNorm, dropped: kernels.Dropout | None) -> Tensor:
    """LayerNorm of ``residual + dropout(linear(x))``. The bias goes with the norm where that saves the pass that sums up its gradient."""
    apart = kernels.takes_shift(x, residual.shape[1], dropped=dropped)
    made: Tensor = linear(x, biased=not apart)
    shift = linear.bias if apart else None
    return kernels.add_norm(made, residual, norm.weight, norm.bias, eps=norm.eps, dropped=dropped, shift=shift)


def to_tensors(packed: Packed[np.ndarray[Any, Any]], device: str | torch.device = "cpu") -> Packed[Tensor]:
    """The batch as tensors on ``device``, but ``lengths`` on the host: they decide which calls are made, which should not wait."""
    tensors, there = packed.map(torch.from_numpy), torch.device(device)
    return tensors.map(lambda tensor: tensor if tensor is tensors.lengths else sent(tensor, there))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor of the host on ``device``. A CUDA device fetches it from page-locked memory when it gets there: the host does not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
