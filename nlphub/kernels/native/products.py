"""Linear layers of a training step by oneDNN (https://github.com/uxlfoundation/oneDNN), which PyTorch carries, instead of MKL.

PyTorch takes Intel's MKL for float32 products. On processors of other makers oneDNN's are faster where both sides of a weight are
multiples of 16, the numbers of a wide register: 9 % of a step of 6x768 and 5 % of 6x384 on an AMD EPYC, and slower where they are not
(2 % of 4x312). So the maker decides, not the clock: a run computes with the same bits every time. The gradient of the weights stays with
MKL, which is as fast there.

Notation: ``t`` rows, ``k`` wide, to rows ``n`` wide.
"""

import functools
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LANES = 16
_MAKER_OF_MKL = "GenuineIntel"


class Linear(torch.autograd.Function):
    """``x W^T + b`` of ``x`` ``(t, k)``, ``W`` ``(n, k)``, ``b`` ``(n,)`` or ``None``: ``(t, n)``, float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t(), None) if of_x else None,
            grad.t() @ x if of_weight else None,
            grad.sum(0) if of_bias else None,
        )


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is to compute this layer."""
    return x.ndim == 2 and not any(side % LANES for side in weight.shape) and not torch.is_autocast_enabled("cpu") and preferred()


@functools.cache
def preferred() -> bool:
    """Whether oneDNN is here, and faster than MKL: on processors that Intel did not make."""
    there = bool(torch.backends.mkldnn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]
    return there and _maker() not in ("", _MAKER_OF_MKL)


def _maker() -> str:
    """Of this x86 processor, in its own word (``AuthenticAMD``, ``HygonGenuine``); nothing where Linux does not tell it."""
    if platform.system() != "Linux":
        return ""
    told = (line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines())
    return next((value.strip() for name, _, value in told if name.strip() == "vendor_id"), "")


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x W^T + b`` by oneDNN, without gradients."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out
