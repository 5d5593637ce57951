"""The seam of a post-norm layer: LayerNorm of ``residual + dropout(x + shift)``, one pass forward and one backward.

``shift`` is the bias of the linear layer that made ``x``: its gradient is the sum of rows that are at hand here, and costs no pass of its
own. Saved for backward are the inputs, which are alive anyway, and two float32 numbers a row; the sum and the dropout mask are made again.
Statistics and sums are float32, whatever the types of the inputs, each of which may differ.

Notation: ``r`` rows, ``d`` width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nlphub.kernels.triton.hashing import column_keys, stays
from nlphub.kernels.triton.plan import threshold
from nlphub.kernels.triton.tiles import OPTIONS, sum_columns, tile, walkers

RUNTIME = ["rows", "limit"]  # whole numbers that change: no kernel is compiled anew for a value


@triton.jit
def _kept(row_keys: tl.tensor, row: tl.tensor, column: tl.tensor, rows: tl.tensor, limit: tl.tensor) -> tl.tensor:
    drawn = tl.load(row_keys + row, mask=row < rows, other=0)
    return stays(drawn[:, None], column_keys(column)[None, :], limit)


@triton.jit
def _summed(
    x: tl.tensor,
    residual: tl.tensor,
    shift: tl.tensor,
    place: tl.tensor,
    column: tl.tensor,
    inside: tl.tensor,
    kept: tl.tensor,
    scale: tl.tensor,
    WIDTH: tl.constexpr,
    DROPOUT: tl.constexpr,
    SHIFT: tl.constexpr,
) -> tl.tensor:
    """``residual + dropout(x + shift)`` of a tile, float32; 0 in columns outside."""
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    if SHIFT:
        value += tl.load(shift + column, mask=column < WIDTH, other=0.0).to(tl.float32)[None, :]
    if DROPOUT:
        value = tl.where(kept, value * scale, 0.0)
    return value + tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=RUNTIME)
def forward_kernel(
    x: tl.tensor,
    residual: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    shift: tl.tensor,
    row_keys: tl.tensor,
    out: tl.tensor,
    means: tl.tensor,
    factors: tl.tensor,
    rows: tl.tensor,
    eps: tl.tensor,
    scale: tl.tensor,
    limit: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DROPOUT: tl.constexpr,
    SHIFT: tl.constexpr,
) -> None:
    """A tile of whole rows for each program; ``factors`` are ``1 / sqrt(variance + eps)``."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    kept = _kept(row_keys, row, column, rows, limit) if DROPOUT else inside
    summed = _summed(x, residual, shift, place, column, inside, kept, scale, WIDTH, DROPOUT, SHIFT)
    mean = tl.sum(summed, 1) / WIDTH
    centred = tl.where(inside, summed - mean[:, None], 0.0)
    factor = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / WIDTH + eps)
    weights = tl.load(weight + column, mask=column < WIDTH, other=0.0).to(tl.float32)
    biases = tl.load(bias + column, mask=column < WIDTH, other=0.0).to(tl.float32)
    normed = centred * factor[:, None] * weights[None, :] + biases[None, :]
    tl.store(out + place, normed.to(out.dtype.element_ty), mask=inside)
    tl.store(means + row, mean, mask=row < rows)
    tl.store(factors + row, factor, mask=row < rows)


@triton.jit(do_not_specialize=RUNTIME)
def backward_kernel(
    grad: tl.tensor,
    x: tl.tensor,
    residual: tl.tensor,
    weight: tl.tensor,
    means: tl.tensor,
    factors: tl.tensor,
    shift: tl.tensor,
    row_keys: tl.tensor,
    dx: tl.tensor,
    dresidual: tl.tensor,
    partial: tl.tensor,
    rows: tl.tensor,
    scale: tl.tensor,
    limit: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DROPOUT: tl.constexpr,
    APART: tl.constexpr,
    SHIFT: tl.constexpr,
) -> None:
    """Each program walks through every so many-th tile; ``APART``: the gradient of ``x`` is not that of the residual."""
    column = tl.arange(0, COLUMNS)
    weights = tl.load(weight + column, mask=column < WIDTH, other=0.0).to(tl.float32)[None, :]
    dweight = tl.zeros((ROWS, COLUMNS), tl.float32)
    dbias = tl.zeros((ROWS, COLUMNS), tl.float32)
    dshift = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
        place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
        kept = _kept(row_keys, row, column, rows, limit) if DROPOUT else inside
        summed = _summed(x, residual, shift, place, column, inside, kept, scale, WIDTH, DROPOUT, SHIFT)
        factor = tl.load(factors + row, mask=row < rows, other=0.0)
        normed = (summed - tl.load(means + row, mask=row < rows, other=0.0)[:, None]) * factor[:, None]
        normed = tl.where(inside, normed, 0.0)
        slope = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
        dweight += slope * normed
        dbias += slope
        slope = slope * weights
        along = tl.sum(slope * normed, 1) / WIDTH
        slope = factor[:, None] * (slope - (tl.sum(slope, 1) / WIDTH)[:, None] - normed * along[:, None])
        tl.store(dresidual + place, slope.to(dresidual.dtype.element_ty), mask=inside)
        if DROPOUT:
            slope = tl.where(kept, slope * scale, 0.0)
        if APART:
            tl.store(dx + place, slope.to(dx.dtype.element_ty), mask=inside)
        if SHIFT:
            dshift += slope
    target = partial + tl.program_id(0) * (3 if SHIFT else 2) * WIDTH + column
    tl.store(target, tl.sum(dweight, 0), mask=column < WIDTH)
    tl.store(target + WIDTH, tl.sum(dbias, 0), mask=column < WIDTH)
    if SHIFT:
        tl.store(target + 2 * WIDTH, tl.sum(dshift, 0), mask=column < WIDTH)


def add_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor | None,
    keys: Tensor | None,
    probability: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The result ``(r, d)``, of the wider type of ``x`` and ``residual``, and float32 ``(r,)``: means and ``1 / sqrt(variance + eps)``.

    Args:
        x, residual: ``(r, d)``.
        weight, bias: ``(d,)`` of the norm.
        shift: ``(d,)``, added to ``x`` before dropout; nothing is without.
        keys: ``(r,)`` int32 row keys of dropout; no dropout without.
        probability: of a zero.
        eps: of the norm.
    """
    x, residual, (rows, width) = x.contiguous(), residual.contiguous(), x.shape
    out = torch.empty(rows, width, dtype=torch.promote_types(x.dtype, residual.dtype), device=x.device)
    means, factors = (torch.empty(rows, dtype=torch.float32, device=x.device) for _ in range(2))
    if rows:
        size = tile(width)
        numbers = (rows, eps, 1.0 / (1.0 - probability), threshold(probability))
        forward_kernel[(triton.cdiv(rows, size.rows),)](
            x, residual, weight, bias, bias if shift is None else shift, means if keys is None else keys, out, means, factors, *numbers,
            WIDTH=width, ROWS=size.rows, COLUMNS=size.columns, DROPOUT=keys is not None, SHIFT=shift is not None,
            num_warps=size.warps, **OPTIONS,
        )  # fmt: skip
    return out, means, factors


def add_norm_backward(
    grad: Tensor,
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    means: Tensor,
    factors: Tensor,
    shift: Tensor | None,
    keys: Tensor | None,
    probability: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``x``, ``residual``, ``weight``, ``bias`` and ``shift``, of their types.

    That of ``x`` has no elements where it is that of the residual: without dropout, and of one type. Nor has that of no shift.
    """
    grad, x, residual, (rows, width) = grad.contiguous(), x.contiguous(), residual.contiguous(), x.shape
    size, apart = tile(width), keys is not None or x.dtype != residual.dtype
    dx, dresidual = torch.empty_like(x) if apart else x.new_empty(0), torch.empty_like(residual)
    programs = walkers(x.device, triton.cdiv(rows, size.rows))
    summed = (weight.dtype, weight.dtype, *(() if shift is None else (shift.dtype,)))
    partial = torch.empty(programs, len(summed), width, dtype=torch.float32, device=x.device)
    backward_kernel[(programs,)](
        grad, x, residual, weight, means, factors, weight if shift is None else shift, means if keys is None else keys,
        dx, dresidual, partial, rows, 1.0 / (1.0 - probability), threshold(probability),
        WIDTH=width, ROWS=size.rows, COLUMNS=size.columns, DROPOUT=keys is not None, APART=apart, SHIFT=shift is not None,
        num_warps=size.warps, **OPTIONS,
    )  # fmt: skip
    dweight, dbias, *rest = sum_columns(partial, summed)
    return dx, dresidual, dweight, dbias, rest[0] if rest else x.new_empty(0)
