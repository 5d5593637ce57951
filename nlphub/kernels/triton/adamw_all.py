"""AdamW for many tensors in one launch: where they lie is read from a table on the device, so they need not be one buffer.

Parameters, gradients, moments and low-precision copies are read and written once. The table names addresses, so it is made once for
tensors that stay where they are, as those of a captured graph do; it is kept for as long as the parameters are there, since a graph does
not keep what it reads.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from nlphub.kernels.triton.adamw import numbers, updated, whole
from nlphub.kernels.triton.tiles import OPTIONS

_BLOCK = 1024
_COLUMNS = tl.constexpr(6)  # of the table: addresses of parameters, gradients, both moments, copy and step
_EVEN = 16  # bytes that addresses, and elements that sizes are multiples of where 16 bytes are read at a time
_tables: Any = WeakTensorKeyDictionary()  # by the first parameter of a launch: the addresses, and what was made of them
_KINDS = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


@triton.jit
def _pointer(table: tl.tensor, tensor: tl.tensor, COLUMN: tl.constexpr, KIND: tl.constexpr, EVEN: tl.constexpr) -> tl.tensor:
    pointer = tl.load(table + tensor * _COLUMNS + COLUMN).to(tl.pointer_type(KIND))
    if EVEN:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def adamw_all_kernel(
    table: tl.tensor,
    sizes: tl.tensor,
    blocks: tl.tensor,
    rate: tl.tensor,
    scale: tl.tensor,
    halted: tl.tensor,
    rest1: tl.tensor,
    rest2: tl.tensor,
    log_beta1: tl.tensor,
    log_beta2: tl.tensor,
    eps: tl.tensor,
    decay: tl.tensor,
    GRADIENT: tl.constexpr,
    COPY: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A block of one tensor for each program: ``blocks`` ``(programs, 2)`` int32 say which. ``COPY``: its type, or ``None``."""
    tensor = tl.load(blocks + 2 * tl.program_id(0)).to(tl.int64)
    size = tl.where(tl.load(halted) == 0.0, tl.load(sizes + tensor), 0)
    if EVEN:
        size = tl.multiple_of(size, 16)
    place = tl.load(blocks + 2 * tl.program_id(0) + 1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    parameters = _pointer(table, tensor, 0, tl.float32, EVEN)
    firsts, seconds = _pointer(table, tensor, 2, tl.float32, EVEN), _pointer(table, tensor, 3, tl.float32, EVEN)
    parameter, first, second = updated(
        tl.load(parameters + place, mask=inside, other=0.0),
        tl.load(_pointer(table, tensor, 1, GRADIENT, EVEN) + place, mask=inside, other=0.0).to(tl.float32),
        tl.load(firsts + place, mask=inside, other=0.0),
        tl.load(seconds + place, mask=inside, other=0.0),
        tl.load(rate), tl.load(_pointer(table, tensor, 5, tl.float32, False)), tl.load(scale),
        rest1, rest2, log_beta1, log_beta2, eps, decay,
    )  # fmt: skip
    tl.store(parameters + place, parameter, mask=inside)
    tl.store(firsts + place, first, mask=inside)
    tl.store(seconds + place, second, mask=inside)
    if COPY is not None:
        tl.store(_pointer(table, tensor, 4, COPY, EVEN) + place, parameter.to(COPY), mask=inside)


def adamw_all_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    copies: Sequence[Tensor],
    steps: Sequence[Tensor],
    rate: Tensor,
    scale: Tensor,
    halted: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> None:
    """As :func:`nlphub.kernels.adamw.adamw_all_`; ``copies`` may be empty, all other numbers are float32 tensors of one value."""
    _check(parameters, gradients, first, second, copies or parameters, steps=steps)
    rows = [row for row in zip(parameters, gradients, first, second, copies or parameters, steps, strict=True) if row[0].numel()]
    even = [_is_even(row) for row in rows]
    for wanted in (True, False):
        part = [row for row, is_even in zip(rows, even, strict=True) if is_even == wanted]
        if part:
            _launch(part, rate, scale, halted, (*numbers(beta1, beta2), eps, decay), copied=bool(copies), even=wanted)


def _launch(
    rows: list[tuple[Tensor, ...]], rate: Tensor, scale: Tensor, halted: Tensor, rest: tuple[float, ...], *, copied: bool, even: bool
) -> None:
    like, (table, sizes, blocks) = rows[0], _table(rows)
    adamw_all_kernel[(len(blocks),)](
        table, sizes, blocks, rate, scale, halted, *rest,
        GRADIENT=_KINDS[like[1].dtype], COPY=_KINDS[like[4].dtype] if copied else None, EVEN=even, BLOCK=_BLOCK, **OPTIONS,
    )  # fmt: skip


def _table(rows: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Addresses ``(n, 6)``, sizes ``(n,)`` and the blocks of all tensors ``(programs, 2)``, made before a graph is captured."""
    first, places = rows[0][0], [[row[0].numel(), *(tensor.data_ptr() for tensor in row)] for row in rows]
    known, made = _tables.get(first, (None, None))
    if known != places:
        table = torch.tensor(places)
        counts = (table[:, 0] + _BLOCK - 1) // _BLOCK
        tensor = torch.repeat_interleave(torch.arange(len(rows)), counts)
        number = torch.arange(len(tensor)) - (counts.cumsum(0) - counts)[tensor]
        parts = (table[:, 1:].contiguous(), table[:, 0].contiguous(), torch.stack([tensor, number], 1).to(torch.int32))
        made = tuple(part.to(first.device) for part in parts)
        _tables[first] = places, made
    return made  # type: ignore[no-any-return]


def _check(*parts: Sequence[Tensor], steps: Sequence[Tensor]) -> None:
    """A kernel that is given addresses checks nothing."""
    whole(*(tensor for part in parts for tensor in part))
    parameters, _, first, second, _ = parts
    if any(tensor.dtype != torch.float32 for part in (parameters, first, second, steps) for tensor in part):
        raise ValueError("parameters, moments and steps of adamw_all_ must be float32")
    for tensors in zip(*parts, strict=True):
        if len({tensor.numel() for tensor in tensors}) > 1:
            raise ValueError(f"the buffers of adamw_all_ differ in size: {[tuple(tensor.shape) for tensor in tensors]}")
    if any(len({tensor.dtype for tensor in part}) > 1 for part in parts):
        raise ValueError("the buffers of adamw_all_ differ in type")


def _is_even(row: tuple[Tensor, ...]) -> bool:
    """Whether a tensor can be read 16 bytes at a time."""
    return row[0].numel() % _EVEN == 0 and not any(tensor.data_ptr() % _EVEN for tensor in row[:5])
