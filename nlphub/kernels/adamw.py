"""The front door of AdamW: a step on flat buffers, or on some rows of a matrix, which can write a copy of lower precision on the same pass.

Words that no text has need no step: their gradients and moments are zero, and all that happens to them is decay, which can wait until
somebody looks (:mod:`nlphub.training.adamw`). Moments then have as many rows as are learnt.
"""

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
