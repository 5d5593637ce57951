"""Kernels on packed rows for the CPU (correct on any device): equal-length neighbours are views of dense blocks.

About nine tenths of a layer's time on a CPU is matrix products, so nothing here is worth more than few and large torch calls.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.kernels.layout import Layout, Run
from nlphub.kernels.reference import ACTIVATIONS, Dropout, attention_columns, dropout, keep

__all__ = ["add_norm", "attention", "bias_gelu", "dropout"]


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.attention`, one call for each run of equal lengths."""
    single = q.shape[0] != k.shape[0]
    columns = attention_columns(heads, max(run.length for run in layout.runs), k.device) if dropped else None
    outputs = []
    for run in layout.runs:
        keys = slice(run.row, run.row + run.count * run.length)
        queries = slice(run.sequence, run.sequence + run.count) if single else keys
        parts = (_heads_first(q[queries], run, heads), _heads_first(k[keys], run, heads), _heads_first(v[keys], run, heads))
        if dropped is None or columns is None:
            mixed = F.scaled_dot_product_attention(*parts)
        else:  # torch's own dropout would leave the fused path and draw other masks
            mixed = _attend(*parts, dropped.keys[queries].view(run.count, 1, -1, 1), columns[:, None, : run.length], dropped)
        outputs.append(mixed.transpose(1, 2).reshape(-1, q.shape[1]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def add_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, *, eps: float, dropped: Dropout | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.add_norm`."""
    return F.layer_norm(residual + dropout(x, dropped), weight.shape, weight, bias, eps)


def bias_gelu(x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """As :func:`nlphub.kernels.reference.bias_gelu`, but overwrites ``x``: a fresh tensor costs a third of the product that made it."""
    return ACTIVATIONS[activation](x.add_(bias))


def _heads_first(rows: Tensor, run: Run, heads: int) -> Tensor:
    """A view ``(count, h, n, k)`` of rows ``(count * n, d)``."""
    return rows.view(run.count, -1, heads, rows.shape[1] // heads).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, dropped: Dropout) -> Tensor:
    weights = torch.softmax(q @ k.transpose(2, 3) * (1.0 / math.sqrt(q.shape[-1])), dim=-1)
    return (weights * (keep(rows, columns, dropped.probability).to(weights.dtype).mul_(dropped.scale))) @ v
