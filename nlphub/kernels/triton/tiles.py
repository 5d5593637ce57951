"""How row-wise work is cut into tiles, and the second stage of sums along columns.

Sums along columns are made in two stages: each program adds what it walks through, then :func:`sum_columns` adds the programs. Nothing is
added through memory, so two runs give the same bits.

Notation: ``d`` width, ``g`` programs of the first stage, ``k`` kinds of sums.
"""

import functools
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from nlphub.kernels.triton import WIDEST_ROW

OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}
"""Of every launch: nothing here is worth fetching ahead, and multiplications are fused with additions whatever Triton's default is."""

_ELEMENTS = 2048  # of a tile of short rows: 16 for each thread of 4 warps
_PROGRAMS = 3  # for each multiprocessor, of kernels that walk through the rows: as many as its registers hold at once


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows and columns (both powers of 2) that one program holds at a time, and its warps."""

    rows: int
    columns: int
    warps: int


@functools.lru_cache(maxsize=256)
def tile(width: int) -> Tile:
    """A tile of whole rows of ``width`` columns: several short rows, or a long one that more warps share.

    Raises:
        ValueError: rows wider than :data:`nlphub.kernels.triton.WIDEST_ROW`; dispatch does not send them here.
    """
    if width > WIDEST_ROW:
        raise ValueError(f"rows of {width} columns are wider than {WIDEST_ROW}")
    columns = max(16, triton.next_power_of_2(width))
    return Tile(max(1, _ELEMENTS // columns), columns, max(4, columns // 512))


def walkers(device: torch.device, tiles: int) -> int:
    """How many programs walk through ``tiles`` tiles: a few for each multiprocessor, so that there are few sums to add in the end."""
    return max(1, min(tiles, _PROGRAMS * _multiprocessors(device)))


def sum_columns(partial: Tensor, dtypes: tuple[torch.dtype, ...]) -> tuple[Tensor, ...]:
    """``(g, k, d)`` float32 to ``k`` sums ``(d,)`` of these types, in an order that depends on nothing but the shape."""
    count, kinds, width = partial.shape
    results = tuple(torch.empty(width, dtype=dtype, device=partial.device) for dtype in dtypes)
    for kind, result in enumerate(results):
        sum_kernel[(triton.cdiv(width, 64),)](partial, result, count, kind, KINDS=kinds, WIDTH=width, ROWS=32, COLUMNS=64, **OPTIONS)
    return results


@triton.jit(do_not_specialize=["count", "kind"])
def sum_kernel(
    partial: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    kind: tl.tensor,
    KINDS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """One block of columns of one kind."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, count, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < count)[:, None] & (column < WIDTH)[None, :]
        total += tl.load(partial + (row[:, None] * KINDS + kind) * WIDTH + column[None, :], mask=inside, other=0.0)
    tl.store(out + column, tl.sum(total, axis=0).to(out.dtype.element_ty), mask=column < WIDTH)


@functools.lru_cache(maxsize=16)
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
