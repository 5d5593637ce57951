"""The route for training on a CPU: kernels of our own in C++ (three files here), where a compiler is there; else the CPU route.

They compute what :mod:`nlphub.kernels.reference` defines, in float32; everything else (bfloat16, evaluation, other activations) goes the
way of :mod:`nlphub.kernels.cpu`, so that a module answers with the same bits whether it was trained in this process or not.
"""

import torch
from torch import Tensor

from nlphub.kernels import cpu, reference
from nlphub.kernels.cpu import bias_gelu  # trainings take linear_gelu, where it is part of the product
from nlphub.kernels.joining import joined
from nlphub.kernels.layout import Layout
from nlphub.kernels.native import functions
from nlphub.kernels.native.build import library
from nlphub.kernels.native.functions import AddNorm, Attention, Drop
from nlphub.kernels.native.products import Linear, LinearGelu
from nlphub.kernels.reference import Dropout

__all__ = ["add_norm", "attention", "available", "bias_gelu", "dropout", "linear", "linear_gelu", "row_keys"]


def available() -> bool:
    """Whether the kernels can be had here; they are compiled when this is asked for the first time (some seconds)."""
    return library() is not None


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.attention`."""
    if not _fits(q, k, v):
        return cpu.attention(q, k, v, layout, heads=heads, dropped=dropped)
    parts = (q, joined(k, v)) if len(q) != len(k) else (joined(q, k, v),)
    mixed: Tensor = Attention.apply(layout, heads, dropped, *parts)  # type: ignore[no-untyped-call]
    return mixed


def add_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    dropped: Dropout | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """As :func:`nlphub.kernels.reference.add_norm`."""
    x = x if shift is None else x + shift  # products of a CPU add their bias for nothing: nobody asks for this in a training
    if not _fits(x, residual, weight, bias):
        return cpu.add_norm(x, residual, weight, bias, eps=eps, dropped=dropped)
    normed: Tensor = AddNorm.apply(x, residual, weight, bias, eps, dropped)  # type: ignore[no-untyped-call]
    return normed


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.linear`."""
    if not _multiplies(x, weight, bias):
        return cpu.linear(x, weight, bias)
    out: Tensor = Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """As :func:`nlphub.kernels.reference.linear_gelu`."""
    if activation != "gelu" or not _multiplies(x, weight, bias):
        return cpu.linear_gelu(x, weight, bias, activation=activation)
    out: Tensor = LinearGelu.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def dropout(x: Tensor, dropped: Dropout | None) -> Tensor:
    """As :func:`nlphub.kernels.reference.dropout`."""
    if dropped is None or not _fits(x):
        return cpu.dropout(x, dropped)
    out: Tensor = Drop.apply(x, dropped)  # type: ignore[no-untyped-call]
    return out


def row_keys(seed: int | Tensor, layer: int, site: int, examples: Tensor, positions: Tensor) -> Tensor:
    """As :func:`nlphub.kernels.reference.row_keys`, in one pass."""
    if isinstance(seed, Tensor) or not (examples.dtype == positions.dtype == torch.int64 and examples.is_cpu and available()):
        return reference.row_keys(seed, layer, site, examples, positions)
    return functions.row_keys(reference.site_word(seed, layer, site), examples, positions)


def _multiplies(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a linear layer is computed here: of packed rows, unless autocast wants other numbers."""
    return x.ndim == 2 and not torch.is_autocast_enabled("cpu") and _fits(x, weight, *([] if bias is None else [bias]))


def _fits(*tensors: Tensor) -> bool:
    """Whether a training step asks, with numbers that the kernels are for."""
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return learns and all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors) and available()
