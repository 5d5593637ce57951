"""Dropout of rows, and the row keys of all its sites: no mask is ever stored, backward draws it again.

Notation: ``r`` rows, ``d`` width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nlphub.kernels.triton.hashing import column_keys, mixed, stays
from nlphub.kernels.triton.plan import threshold
from nlphub.kernels.triton.tiles import OPTIONS, tile

SITES = 5  # of nlphub.kernels.reference.Site
_BLOCK = 256


@triton.jit(do_not_specialize=["rows", "limit"])
def dropout_kernel(
    x: tl.tensor,
    row_keys: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    scale: tl.tensor,
    limit: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """A tile of rows for each program; wide rows are cut along axis 1 of the grid."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    drawn = tl.load(row_keys + row, mask=row < rows, other=0)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) * scale
    value = tl.where(stays(drawn[:, None], column_keys(column)[None, :], limit), value, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows", "layer"])
def row_keys_kernel(
    seed: tl.tensor,
    examples: tl.tensor,
    positions: tl.tensor,
    keys: tl.tensor,
    rows: tl.tensor,
    layer: tl.tensor,
    SITES: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A block of rows of one site of one layer for each program; ``layer`` is the first one."""
    row, plane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    inside = row < rows
    whole = tl.load(seed)
    word = mixed((whole & 0xFFFFFFFF).to(tl.uint32))
    word = mixed(word ^ (whole >> 32).to(tl.uint32))
    word = mixed(word ^ (layer + plane // SITES).to(tl.uint32))
    word = mixed(word ^ (plane % SITES).to(tl.uint32))
    key = mixed(tl.load(examples + row, mask=inside, other=0).to(tl.uint32) ^ word)
    key = mixed(key ^ tl.load(positions + row, mask=inside, other=0).to(tl.uint32))
    tl.store(keys + plane.to(tl.int64) * rows + row, key.to(tl.int32, bitcast=True), mask=inside)


def dropout(x: Tensor, keys: Tensor, probability: float) -> Tensor:
    """``x`` ``(r, d)`` with values zeroed and the others scaled by ``1 / (1 - probability)``; ``keys`` ``(r,)`` int32.

    It is its own gradient: of the gradient of the result it makes that of ``x``.
    """
    x, (rows, width) = x.contiguous(), x.shape
    out = torch.empty_like(x)
    if out.numel():
        size = tile(min(width, 1024))
        grid = (triton.cdiv(rows, size.rows), triton.cdiv(width, size.columns))
        numbers = (rows, 1.0 / (1.0 - probability), threshold(probability))
        dropout_kernel[grid](x, keys, out, *numbers, WIDTH=width, ROWS=size.rows, COLUMNS=size.columns, num_warps=size.warps, **OPTIONS)
    return out


def row_keys(seed: Tensor, examples: Tensor, positions: Tensor, first: int, layers: int) -> Tensor:
    """Keys of every site of some layers in one launch: ``(layers, 5, r)`` int32, as :func:`nlphub.kernels.reference.row_keys` gives.

    Args:
        seed: int64 of one value, on the device, so that a captured graph can be given another.
        examples, positions: ``(r,)`` int64.
        first: layer of the first keys; 0 is the embeddings.
        layers: how many.
    """
    rows = len(examples)
    keys = torch.empty(layers, SITES, rows, dtype=torch.int32, device=examples.device)
    if keys.numel():
        grid = (triton.cdiv(rows, _BLOCK), layers * SITES)
        places = (examples.contiguous(), positions.contiguous())
        row_keys_kernel[grid](seed, *places, keys, rows, first, SITES=SITES, BLOCK=_BLOCK, **OPTIONS)
    return keys
