"""Linear layers of a training step by products.cpp: bias, GELU and the gradient of the bias are part of a product.

A row gets the same bits in every batch, which the libraries that PyTorch carries do not promise, and the small numbers of rows and odd
widths of packed batches cost what their arithmetic does.

Notation: ``t`` rows, ``k`` wide, to rows ``n`` wide.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlphub.kernels.native.calls import library


class Linear(torch.autograd.Function):
    """``x W^T + b`` of ``x`` ``(t, k)``, ``W`` ``(n, k)``, ``b`` ``(n,)`` or ``None``: ``(t, n)``, float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, weight = _even(x), _even(weight)
        ctx.save_for_backward(x, weight)
        return product(x, weight.t(), shift=bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _gradients(grad, *ctx.saved_tensors, wanted=ctx.needs_input_grad)


class LinearGelu(torch.autograd.Function):
    """``gelu(x W^T + b)``, arguments as for :class:`Linear`; GELU in its erf form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight = _even(x), _even(weight)
        out = x.new_empty(len(x), len(weight))
        slope = product(x, weight.t(), shift=bias, active=out)
        ctx.save_for_backward(x, weight, slope)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight, slope = ctx.saved_tensors
        return _gradients(grad * slope, x, weight, wanted=ctx.needs_input_grad)


def product(a: Tensor, b: Tensor, *, shift: Tensor | None = None, active: Tensor | None = None, totals: Tensor | None = None) -> Tensor:
    """``a b + shift`` of ``a`` ``(m, depth)`` and ``b`` ``(depth, n)``, either with rows or with columns in one piece, without gradients.

    Args:
        shift: ``(n,)``.
        active: ``(m, n)``, becomes GELU of the sum, and the result is the slope of GELU there.
        totals: ``(m,)``, becomes the sums of the rows of ``a``, whose columns then are in one piece.
    """
    c = a.new_empty(a.shape[0], b.shape[1])
    given = None if shift is None else shift.contiguous()
    library().product(
        a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride(), _at(given), *c.shape, b.shape[0], *map(_at, (c, active, totals))
    )
    return c


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, *, wanted: tuple[bool, bool, bool]) -> tuple[Tensor | None, ...]:
    """Of rows, weight and bias, as far as they are wanted."""
    of_x, of_weight, of_bias = wanted
    grad = grad.contiguous()
    rows = product(grad, weight) if of_x else None
    if not of_weight:
        return rows, None, grad.sum(0) if of_bias else None
    totals = grad.new_empty(grad.shape[1]) if of_bias else None
    return rows, product(grad.t(), x, totals=totals), totals


def _even(tensor: Tensor) -> Tensor:
    """The matrix, with rows in one piece."""
    return tensor if tensor.stride(1) == 1 else tensor.contiguous()


def _at(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
