"""AdamW in one pass over flat buffers: gradients are scaled, moments and weights updated, and a copy of lower precision is written.

Rate, number of the step and scale may lie on the device: a captured graph is replayed with others, and nobody waits for them.
"""

import math

import triton
import triton.language as tl
from torch import Tensor

from nlphub.kernels.triton.tiles import OPTIONS, tile

_BLOCK = 1024


@triton.jit
def _missing(steps: tl.tensor, log_beta: tl.tensor) -> tl.tensor:
    """``1 - beta ** steps``, without the loss of digits for small ``steps``: by its series where that is short."""
    x = -steps * log_beta
    series = x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0)))))
    return tl.where(x < 0.25, series, 1.0 - tl.exp(-x))


@triton.jit
def updated(
    parameter: tl.tensor,
    gradient: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    rate: tl.tensor,
    step: tl.tensor,
    scale: tl.tensor,
    rest1: tl.tensor,
    rest2: tl.tensor,
    log_beta1: tl.tensor,
    log_beta2: tl.tensor,
    eps: tl.tensor,
    decay: tl.tensor,
) -> tl.tensor:
    """Parameters and moments after a step; ``rest`` is ``1 - beta``."""
    gradient = gradient * scale
    first += (gradient - first) * rest1
    second += (gradient * gradient - second) * rest2
    root = tl.sqrt(second / _missing(step, log_beta2)) + eps
    parameter = parameter * (1.0 - rate * decay) - first / root * (rate / _missing(step, log_beta1))
    return parameter, first, second


@triton.jit
def adamw_kernel(
    parameters: tl.tensor,
    gradients: tl.tensor,
    firsts: tl.tensor,
    seconds: tl.tensor,
    copies: tl.tensor,
    rate: tl.tensor,
    step: tl.tensor,
    scale: tl.tensor,
    length: tl.tensor,
    rest1: tl.tensor,
    rest2: tl.tensor,
    log_beta1: tl.tensor,
    log_beta2: tl.tensor,
    eps: tl.tensor,
    decay: tl.tensor,
    COPY: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A block of each buffer for each program; ``rate``, ``step`` and ``scale`` point to float32 numbers."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < length
    parameter, first, second = updated(
        tl.load(parameters + place, mask=inside, other=0.0),
        tl.load(gradients + place, mask=inside, other=0.0).to(tl.float32),
        tl.load(firsts + place, mask=inside, other=0.0),
        tl.load(seconds + place, mask=inside, other=0.0),
        tl.load(rate), tl.load(step), tl.load(scale), rest1, rest2, log_beta1, log_beta2, eps, decay,
    )  # fmt: skip
    tl.store(parameters + place, parameter, mask=inside)
    tl.store(firsts + place, first, mask=inside)
    tl.store(seconds + place, second, mask=inside)
    if COPY:
        tl.store(copies + place, parameter.to(copies.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def adamw_rows_kernel(
    parameters: tl.tensor,
    learnt: tl.tensor,
    gradients: tl.tensor,
    firsts: tl.tensor,
    seconds: tl.tensor,
    copies: tl.tensor,
    rate: tl.tensor,
    step: tl.tensor,
    scale: tl.tensor,
    rows: tl.tensor,
    rest1: tl.tensor,
    rest2: tl.tensor,
    log_beta1: tl.tensor,
    log_beta2: tl.tensor,
    eps: tl.tensor,
    decay: tl.tensor,
    COPY: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """A tile of the rows whose numbers are ``learnt``; ``gradients`` and moments have one row for each of them."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    target = tl.load(learnt + row, mask=row < rows, other=0)[:, None] * WIDTH + column[None, :]
    parameter, first, second = updated(
        tl.load(parameters + target, mask=inside, other=0.0),
        tl.load(gradients + place, mask=inside, other=0.0).to(tl.float32),
        tl.load(firsts + place, mask=inside, other=0.0),
        tl.load(seconds + place, mask=inside, other=0.0),
        tl.load(rate), tl.load(step), tl.load(scale), rest1, rest2, log_beta1, log_beta2, eps, decay,
    )  # fmt: skip
    tl.store(parameters + target, parameter, mask=inside)
    tl.store(firsts + place, first, mask=inside)
    tl.store(seconds + place, second, mask=inside)
    if COPY:
        tl.store(copies + target, parameter.to(copies.dtype.element_ty), mask=inside)


def adamw_(
    parameters: Tensor,
    gradients: Tensor,
    first: Tensor,
    second: Tensor,
    copy: Tensor | None,
    rate: Tensor,
    step: Tensor,
    scale: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> None:
    """As :func:`nlphub.kernels.adamw.adamw_` on flat buffers; ``rate``, ``step`` and ``scale`` are float32 tensors of one value."""
    whole(parameters, gradients, first, second, copy)
    if length := parameters.numel():
        adamw_kernel[(triton.cdiv(length, _BLOCK),)](
            parameters, gradients, first, second, parameters if copy is None else copy, rate, step, scale, length,
            *numbers(beta1, beta2), eps, decay, COPY=copy is not None, BLOCK=_BLOCK, **OPTIONS,
        )  # fmt: skip


def adamw_rows_(
    parameters: Tensor,
    rows: Tensor,
    gradients: Tensor,
    first: Tensor,
    second: Tensor,
    copy: Tensor | None,
    rate: Tensor,
    step: Tensor,
    scale: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> None:
    """The same for some rows of ``parameters`` ``(all rows, d)``, whose int64 numbers ``rows`` names, each once."""
    whole(parameters, rows, gradients, first, second, copy)
    count, width = gradients.shape
    if gradients.numel():
        size = tile(min(width, _BLOCK))
        adamw_rows_kernel[(triton.cdiv(count, size.rows), triton.cdiv(width, size.columns))](
            parameters, rows, gradients, first, second, parameters if copy is None else copy, rate, step, scale, count,
            *numbers(beta1, beta2), eps, decay,
            COPY=copy is not None, WIDTH=width, ROWS=size.rows, COLUMNS=size.columns, num_warps=size.warps, **OPTIONS,
        )  # fmt: skip


def numbers(beta1: float, beta2: float) -> tuple[float, float, float, float]:
    """``1 - beta`` and ``log(beta)``, in the precision of the host."""
    first, second = (math.log(beta) if beta > 0.0 else -math.inf for beta in (beta1, beta2))
    return 1.0 - beta1, 1.0 - beta2, first, second


def whole(*tensors: Tensor | None) -> None:
    """A copy would not do where a kernel writes into a tensor."""
    if any(tensor is not None and not tensor.is_contiguous() for tensor in tensors):
        raise ValueError("the buffers of adamw_ must be contiguous")
