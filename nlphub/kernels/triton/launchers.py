"""What :mod:`nlphub.kernels.operators` calls: one function for each operator, launched on the device of its first tensor.

Signatures are those of :mod:`nlphub.kernels.formulas`, which compute the same in plain torch.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from nlphub.kernels.triton import adamw as steps
from nlphub.kernels.triton import adamw_all as everywhere
from nlphub.kernels.triton import add_norm as norms
from nlphub.kernels.triton import attention as attentions
from nlphub.kernels.triton import bias_gelu as gelus
from nlphub.kernels.triton import dropout as dropouts

P = ParamSpec("P")
R = TypeVar("R")


def _at_home(function: Callable[P, R]) -> Callable[P, R]:
    """Triton launches on the current device, which need not be that of the tensors."""

    @functools.wraps(function)
    def launched(*args: P.args, **options: P.kwargs) -> R:
        first = args[0] if isinstance(args[0], Tensor) else args[0][0]  # type: ignore[index]
        assert isinstance(first, Tensor)
        with torch.cuda.device(first.device) if first.is_cuda else contextlib.nullcontext():
            return function(*args, **options)

    return launched


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    lengths: Tensor,
    order: Tensor,
    counts: Sequence[int],
    heads: int,
    keys: Tensor | None,
    probability: float,
) -> tuple[Tensor, Tensor]:
    """:func:`nlphub.kernels.triton.attention.forward`."""
    return attentions.forward(q, k, v, starts, lengths, order, counts=counts, heads=heads, row_keys=keys, probability=probability)


def attention_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lse: Tensor,
    starts: Tensor,
    lengths: Tensor,
    order: Tensor,
    counts: Sequence[int],
    heads: int,
    keys: Tensor | None,
    probability: float,
    *,
    out: Sequence[Tensor],
) -> None:
    """:func:`nlphub.kernels.triton.attention.backward`, into ``out``."""
    dq, dk, dv = out
    attentions.backward(
        grad, q, k, v, lse, starts, lengths, order,
        counts=counts, heads=heads, row_keys=keys, probability=probability, into=(dq, dk, dv),
    )  # fmt: skip


adamw_ = _at_home(steps.adamw_)
adamw_rows_ = _at_home(steps.adamw_rows_)
adamw_all_ = _at_home(everywhere.adamw_all_)
add_norm = _at_home(norms.add_norm)
add_norm_backward = _at_home(norms.add_norm_backward)
bias_gelu = _at_home(gelus.bias_gelu)
bias_gelu_backward = _at_home(gelus.bias_gelu_backward)
dropout = _at_home(dropouts.dropout)
row_keys = _at_home(dropouts.row_keys)
