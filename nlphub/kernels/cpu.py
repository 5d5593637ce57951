"""Kernels on packed rows for the CPU (correct on any device): equal-length neighbours are views of dense blocks.

About nine tenths of a layer's time on a CPU is matrix products, so nothing here is worth more than few and large torch calls.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.kernels.layout import Layout, Run
from nlphub.kernels.reference import ACTIVATIONS, Dropout, attention_columns, dropout, keep, linear, row_keys

__all__ = ["add_norm", "attention", "bias_gelu", "dropout", "linear", "linear_gelu", "row_keys"]

_SHORT = 256  # tokens


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.attention`, one call for each run of equal lengths."""
    single = q.shape[0] != k.shape[0]
    rows = [run.count * run.length for run in layout.runs]
    asked = [run.count for run in layout.runs] if single else rows
    columns = attention_columns(heads, max(run.length for run in layout.runs), k.device) if dropped else None
    drawn = torch.split(dropped.keys, asked) if dropped else (None,) * len(rows)
    outputs = []
    # split, not slices: the gradient of a slice is as large as the whole, and there is one for every run
    for run, qs, ks, vs, keys in zip(layout.runs, torch.split(q, asked), torch.split(k, rows), torch.split(v, rows), drawn, strict=True):
        parts = (_heads_first(qs, run, heads), _heads_first(ks, run, heads), _heads_first(vs, run, heads))
        if dropped is not None and columns is not None and keys is not None:  # torch's own dropout would draw other masks
            mixed = _attend(*parts, keys.view(run.count, 1, -1, 1), columns[:, None, : run.length], dropped)
        elif _is_short_bf16(k, run):
            mixed = _attend(*parts)
        else:
            mixed = F.scaled_dot_product_attention(*parts)
        outputs.append(mixed.transpose(1, 2).reshape(-1, q.shape[1]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


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
    x = x if shift is None else x + shift
    return F.layer_norm(residual + dropout(x, dropped), weight.shape, weight, bias, eps)


def bias_gelu(x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """As :func:`nlphub.kernels.reference.bias_gelu`, but overwrites ``x``: a fresh tensor costs a third of the product that made it."""
    return ACTIVATIONS[activation](x.add_(bias))


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """As :func:`nlphub.kernels.reference.linear_gelu`."""
    return bias_gelu(linear(x, weight), bias, activation=activation)


def _heads_first(rows: Tensor, run: Run, heads: int) -> Tensor:
    """A view ``(count, h, n, k)`` of rows ``(count * n, d)``."""
    return rows.view(run.count, -1, heads, rows.shape[1] // heads).transpose(1, 2)


def _is_short_bf16(k: Tensor, run: Run) -> bool:
    """Where the fused kernel loses: on a CPU in bfloat16 it is 3 to 4 times slower than plain products up to some hundred tokens."""
    return k.dtype == torch.bfloat16 and k.device.type == "cpu" and run.length <= _SHORT


def _attend(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None = None, columns: Tensor | None = None, dropped: Dropout | None = None
) -> Tensor:
    weights = torch.softmax(q @ k.transpose(2, 3) * (1.0 / math.sqrt(q.shape[-1])), dim=-1)
    if rows is not None and columns is not None and dropped is not None:
        weights = weights * (keep(rows, columns, dropped.probability).to(weights.dtype).mul_(dropped.scale))
    return weights.to(v.dtype) @ v
