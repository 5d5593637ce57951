"""What autograd has to know of attention.cpp and rows.cpp, and how their arguments are laid out.

Notation: ``t`` rows, ``d`` width, ``b`` sequences, ``h`` heads.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nlphub.kernels.layout import Layout
from nlphub.kernels.native.calls import at, library, long
from nlphub.kernels.reference import Dropout, attention_columns, column_keys

_CPU = torch.device("cpu")
_float, _int = ctypes.c_float, ctypes.c_int32
_LANES = 16  # numbers of the longest vector of lanes.h


class _Heads(ctypes.Structure):
    """As ``Heads`` in attention.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("q", "k", "v")),
        *((name, long) for name in ("q_stride", "k_stride", "v_stride")),
        *((name, ctypes.c_void_p) for name in ("starts", "lengths")),
        *((name, long) for name in ("sequences", "heads", "size", "single")),
        *((name, ctypes.c_void_p) for name in ("keys", "columns")),
        ("wide", long),
        ("least", _int),
        ("scale", _float),
    )


class Attention(torch.autograd.Function):
    """Of queries, keys and values as columns of one tensor ``(rows, 3 d)``, or of queries ``(queries, d)`` and the rest ``(rows, 2 d)``."""

    @staticmethod
    def forward(ctx: Any, layout: Layout, heads: int, dropped: Dropout | None, *given: Tensor) -> Tensor:
        """``(queries, d)``."""
        given = tuple(tensor.contiguous() for tensor in given)
        q, *rest = _parts(given)
        out, norms = q.new_empty(q.shape), q.new_empty(q.shape[0], heads, 2)
        ctx.save_for_backward(norms, *given)
        ctx.about = (layout, heads, dropped)
        library().attention_forward(ctypes.byref(_heads((q, *rest), *ctx.about)), at(out), at(norms))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Of what was given."""
        norms, *given = ctx.saved_tensors
        grads, grad = [torch.empty_like(tensor) for tensor in given], grad.contiguous()
        heads = _heads(_parts(given), *ctx.about)
        library().attention_backward(ctypes.byref(heads), *map(at, (grad, norms, *_parts(grads))))
        return None, None, None, *grads


class AddNorm(torch.autograd.Function):
    """LayerNorm of ``residual + dropout(x)``, ``(t, d)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, dropped: Dropout | None) -> Tensor:
        """``(t, d)``."""
        x, residual, (t, d) = x.contiguous(), residual.contiguous(), x.shape
        out, plain, by = torch.empty_like(x), torch.empty_like(x), x.new_empty(t)
        ctx.dropped = dropped
        ctx.save_for_backward(plain, by, weight)
        parts = (at(part) for part in (x, residual, weight, bias))
        library().add_norm_forward(*parts, *_noise(dropped, d), _float(eps), long(t), long(d), *map(at, (out, plain, by)))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Of x, residual, weight and bias."""
        plain, by, weight = ctx.saved_tensors
        (t, d), grad = plain.shape, grad.contiguous()
        dresidual, dweight, dbias = torch.empty_like(plain), torch.empty_like(weight), torch.empty_like(weight)
        dx = dresidual if ctx.dropped is None else torch.empty_like(plain)
        given = (at(part) for part in (grad, plain, by, weight))
        library().add_norm_backward(*given, *_noise(ctx.dropped, d), long(t), long(d), *map(at, (dx, dresidual, dweight, dbias)))
        return dx, dresidual, dweight, dbias, None, None


class Drop(torch.autograd.Function):
    """Dropout of ``(t, d)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: Dropout) -> Tensor:
        """``(t, d)``."""
        ctx.dropped = dropped
        return _drop(x, dropped)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Of x."""
        return _drop(grad, ctx.dropped), None


def row_keys(word: int, examples: Tensor, positions: Tensor) -> Tensor:
    """``(rows,)`` int32 hashes of examples and positions, int64, after the word of their site."""
    examples, positions = examples.contiguous(), positions.contiguous()
    keys = torch.empty(examples.shape, dtype=torch.int32)
    library().row_keys(ctypes.c_uint32(word), at(examples), at(positions), long(examples.numel()), at(keys))
    return keys


def _parts(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Queries, keys and values."""
    *first, last = tensors
    return *first, *last.chunk(3 - len(first), dim=1)


def _drop(x: Tensor, dropped: Dropout) -> Tensor:
    x, (t, d) = x.contiguous(), x.shape
    out = torch.empty_like(x)
    library().dropout(at(x), *_noise(dropped, d), long(t), long(d), at(out))
    return out


def _heads(parts: Sequence[Tensor], layout: Layout, heads: int, dropped: Dropout | None) -> _Heads:
    q, k, v = parts
    places, single = layout.places(_CPU), int(q.shape[0] != k.shape[0])
    wide = -(-layout.longest // _LANES) * _LANES
    about = _Heads(
        *map(at, (q, k, v)), q.stride(0), k.stride(0), v.stride(0), at(places.starts), at(places.lengths), len(places.lengths), heads,
        q.shape[1] // heads, single, 0, 0, wide,
    )  # fmt: skip
    if dropped is not None:
        about.keys, about.columns = at(dropped.keys), at(_attention_columns(heads, wide))
        about.least, about.scale = _least(dropped), dropped.scale
    return about


def _noise(dropped: Dropout | None, width: int) -> tuple[Any, ...]:
    if dropped is None:
        return None, None, _int(0), _float(1.0)
    return at(dropped.keys), at(_columns(width)), _int(_least(dropped)), _float(dropped.scale)


def _least(dropped: Dropout) -> int:
    return round(dropped.probability * 2**32) - 2**31


@functools.lru_cache(maxsize=64)
def _columns(width: int) -> Tensor:
    return column_keys(torch.arange(width))


@functools.lru_cache(maxsize=64)
def _attention_columns(heads: int, wide: int) -> Tensor:
    return attention_columns(heads, wide, _CPU)
