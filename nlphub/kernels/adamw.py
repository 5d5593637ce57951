"""The front doors of AdamW: a step on flat buffers, on rows of a matrix, or on many tensors, which can write copies of lower precision.

Words that no text has need no step: their gradients and moments are zero, and all that happens to them is decay, which can wait until
somebody looks (:mod:`nlphub.training.adamw`). Moments then have as many rows as are learnt.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nlphub.kernels import dispatch, reference
from nlphub.kernels.probes import Case


def adamw_(
    parameters: Tensor,
    gradients: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    rate: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    step: int | Tensor,
    scale: float | Tensor = 1.0,
    copy: Tensor | None = None,
    rows: Tensor | None = None,
) -> None:
    """One step in place, as :func:`nlphub.kernels.reference.adamw_`.

    Args:
        parameters: ``(n,)`` float32, contiguous; with ``rows`` the matrix ``(all rows, d)``.
        gradients, first, second: ``(n,)``, the last two float32; with ``rows`` ``(len(rows), d)``, row by row.
        rate, step, scale: numbers, or tensors of one value on the device, which a captured graph can be given anew.
        beta1, beta2, eps, decay: as there.
        copy: of the shape of ``parameters``, any floating type: takes the new values.
        rows: int64 numbers of the rows that are learnt, each once; the others stay as they are, in ``copy`` too.
    """
    options: dict[str, Any] = {"rate": rate, "beta1": beta1, "beta2": beta2, "eps": eps, "decay": decay, "step": step, "scale": scale}
    function = plain_
    if not parameters.is_cpu:
        function = dispatch.choose("adamw_", Case(parameters.device.type, parameters.dtype, 0, False)).function
    function(parameters, gradients, first, second, **options, copy=copy, rows=rows)


def adamw_all_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    *,
    steps: Sequence[Tensor],
    rate: Tensor,
    halted: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    divisor: Tensor | None = None,
    copies: Sequence[Tensor] = (),
) -> None:
    """One step for many tensors of one device, as :func:`nlphub.kernels.reference.adamw_all_`; nothing of it is read on the host.

    A captured graph may repeat it for as long as the tensors live, and until it is called for the same parameters with other tensors.
    """
    if not parameters:
        return
    options: dict[str, Any] = {"steps": steps, "rate": rate, "halted": halted, "beta1": beta1, "beta2": beta2, "eps": eps, "decay": decay}
    function, like = plain_all_, parameters[0]
    if not like.is_cpu and all(one.is_contiguous() for one in parameters):  # our kernel walks through memory, not through shapes
        function = dispatch.choose("adamw_all_", Case(like.device.type, like.dtype, 0, False)).function
    function(parameters, gradients, first, second, **options, divisor=divisor, copies=copies)


@torch.no_grad()
def plain_all_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    *,
    steps: Sequence[Tensor],
    rate: Tensor,
    halted: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    divisor: Tensor | None = None,
    copies: Sequence[Tensor] = (),
) -> None:
    """The same by torch's own kernel, and a pass over the copies."""
    torch._fused_adamw_(
        list(parameters), list(gradients), list(first), list(second), [], list(steps),
        lr=rate, beta1=beta1, beta2=beta2, weight_decay=decay, eps=eps,
        amsgrad=False, maximize=False, grad_scale=divisor, found_inf=halted,
    )  # fmt: skip
    if copies:
        torch._foreach_copy_(list(copies), list(parameters))


@torch.no_grad()
def plain_(
    parameters: Tensor,
    gradients: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    copy: Tensor | None = None,
    rows: Tensor | None = None,
    **options: Any,
) -> None:
    """The same in calls of torch."""
    learnt = parameters if rows is None else parameters.index_select(0, rows)
    reference.adamw_(learnt, gradients.to(learnt.dtype), first, second, **options)
    if rows is not None:
        parameters.index_copy_(0, rows, learnt)
    if copy is not None and rows is not None:
        copy.index_copy_(0, rows, learnt.to(copy.dtype))
    elif copy is not None:
        copy.copy_(learnt)
