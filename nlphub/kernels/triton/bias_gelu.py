"""``activation(x + bias)`` and its gradients. Saved is ``x`` alone, without the bias; GELU is the erf form, as in BERT and ERNIE.

Notation: ``r`` rows, ``d`` width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nlphub.kernels.triton.tiles import OPTIONS, sum_columns, tile, walkers

_COLUMNS = 256  # of a tile: rows are independent here, so wide ones are cut
_ROOT_HALF = tl.constexpr(0.7071067811865476)  # sqrt(1 / 2)
_DENSITY = tl.constexpr(0.3989422804014327)  # 1 / sqrt(2 pi)


@triton.jit(do_not_specialize=["rows"])
def forward_kernel(
    x: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    GELU: tl.constexpr,
) -> None:
    """A tile for each program."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + column, mask=column < WIDTH, other=0.0).to(tl.float32)[None, :]
    value = 0.5 * value * (1.0 + tl.erf(value * _ROOT_HALF)) if GELU else tl.where(value > 0.0, value, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def backward_kernel(
    grad: tl.tensor,
    x: tl.tensor,
    bias: tl.tensor,
    dx: tl.tensor,
    partial: tl.tensor,
    rows: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    GELU: tl.constexpr,
) -> None:
    """Each program walks down a block of columns, through every so many-th tile of rows."""
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    biases = tl.load(bias + column, mask=column < WIDTH, other=0.0).to(tl.float32)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
        place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
        value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) + biases
        slope = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
        if GELU:
            slope *= 0.5 * (1.0 + tl.erf(value * _ROOT_HALF)) + value * (_DENSITY * tl.exp(-0.5 * value * value))
        else:
            slope = tl.where(value > 0.0, slope, 0.0)
        tl.store(dx + place, slope.to(dx.dtype.element_ty), mask=inside)
        total += slope
    tl.store(partial + tl.program_id(0) * WIDTH + column, tl.sum(total, 0), mask=column < WIDTH)


def bias_gelu(x: Tensor, bias: Tensor, activation: str) -> Tensor:
    """``(r, d)`` of the type of ``x``; ``activation`` is ``gelu`` or ``relu``, ``bias`` ``(d,)``."""
    x, (rows, width) = x.contiguous(), x.shape
    out = torch.empty_like(x)
    if out.numel():
        size = tile(min(width, _COLUMNS))
        grid = (triton.cdiv(rows, size.rows), triton.cdiv(width, size.columns))
        forward_kernel[grid](
            x, bias, out, rows,
            WIDTH=width, ROWS=size.rows, COLUMNS=size.columns, GELU=activation == "gelu", num_warps=size.warps, **OPTIONS,
        )  # fmt: skip
    return out


def bias_gelu_backward(grad: Tensor, x: Tensor, bias: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Gradients of ``x`` and ``bias``, of their types."""
    grad, x, (rows, width) = grad.contiguous(), x.contiguous(), x.shape
    size, dx = tile(min(width, _COLUMNS)), torch.empty_like(x)
    blocks = triton.cdiv(width, size.columns)
    programs = walkers(x.device, triton.cdiv(rows, size.rows) * blocks)
    programs = max(1, min(triton.cdiv(rows, size.rows), triton.cdiv(programs, blocks)))
    partial = torch.empty(programs, 1, width, dtype=torch.float32, device=x.device)
    backward_kernel[(programs, blocks)](
        grad, x, bias, dx, partial, rows,
        WIDTH=width, ROWS=size.rows, COLUMNS=size.columns, GELU=activation == "gelu", num_warps=size.warps, **OPTIONS,
    )  # fmt: skip
    (dbias,) = sum_columns(partial, (bias.dtype,))
    return dx, dbias
