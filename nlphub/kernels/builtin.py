"""Attention through PyTorch's own variable-length operators on a GPU. The other operations have nothing better than the CPU route's calls.

What is missing (https://docs.pytorch.org/docs/main/nn.attention.varlen.html, torch 2.13): ``varlen_attn`` has no dropout; FlashAttention
behind it has, but draws masks of its own, which the hash of :mod:`nlphub.kernels.reference` does not know; both want half precision and
widths of a head that 8 divides, so others are padded; and their gradients are added in any order, so the last bits of two runs may differ.
Dispatch therefore gives short sequences with dropout to equal-length groups.

Notation: ``t`` tokens of all sequences together, ``b`` sequences, ``d`` width, ``h`` heads, ``k`` width of a head.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.kernels.layout import Layout
from nlphub.kernels.reference import Dropout

__all__ = ["flash", "varlen"]

_MULTIPLE = 8  # of the width of a head


def varlen(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.attention`, by ``torch.nn.attention.varlen``, without dropout.

    Raises:
        ValueError: dropout is wanted; dispatch does not send it here.
    """
    from torch.nn.attention import varlen as there  # absent from older versions of torch: found out by the probe

    if dropped is not None:
        raise ValueError("varlen_attn has no dropout")
    operator: Callable[..., Any] = there.varlen_attn
    ends, most = _ends(q, k, layout)
    return _whole(operator(*_padded(q, k, v, heads), *ends, *most, scale=_factor(q, heads)), q, heads)


def flash(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """As :func:`varlen`, with dropout whose masks follow torch's generator instead of the hash."""
    ends, most = _ends(q, k, layout)
    probability = dropped.probability if dropped is not None else 0.0
    operator = torch.ops.aten._flash_attention_forward  # what nested tensors call; private, therefore probed
    mixed = operator(*_padded(q, k, v, heads), *ends, *most, probability, False, False, scale=_factor(q, heads))[0]
    return _whole(mixed, q, heads)


def _ends(q: Tensor, k: Tensor, layout: Layout) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """``(b + 1,)`` int32 boundaries of the sequences among queries and among keys, and their greatest lengths."""
    ends = F.pad(layout.places(k.device).lengths.cumsum(0, dtype=torch.int32), (1, 0))
    if len(q) == len(k):
        return (ends, ends), (layout.longest, layout.longest)
    asked = torch.arange(len(ends), dtype=torch.int32, device=k.device).clamp_(max=len(q))
    return (asked, ends), (1, layout.longest)


def _padded(q: Tensor, k: Tensor, v: Tensor, heads: int) -> list[Tensor]:
    """Rows ``(t, d)`` as ``(t, h, k)``, with zeros behind a width that 8 does not divide: they change neither products nor sums."""
    parts = [part.view(len(part), heads, -1) for part in (q, k, v)]
    more = -parts[0].shape[2] % _MULTIPLE
    return [F.pad(part, (0, more)) for part in parts] if more else parts


def _whole(mixed: Tensor, q: Tensor, heads: int) -> Tensor:
    """``(t, h, k)`` back to rows, without the padding."""
    return mixed[:, :, : q.shape[1] // heads].reshape(q.shape)


def _factor(q: Tensor, heads: int) -> float:
    return 1.0 / math.sqrt(q.shape[1] // heads)
