"""The one front door of every hard operation on packed rows; which route does the work is decided once for each case (``dispatch``).

``reference`` defines what is computed, ``cpu`` computes it fast, on any device. On an NVIDIA GPU ``operators`` bring kernels in Triton, and
``builtin`` what PyTorch has. :func:`explain` says what was chosen and why; ``NLPHUB_KERNELS`` (:mod:`nlphub.paths`) asks for another.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nlphub.kernels import dispatch, probes, reference
from nlphub.kernels.adamw import adamw_, adamw_all_
from nlphub.kernels.draws import Draws
from nlphub.kernels.explaining import computing, explain
from nlphub.kernels.layout import Layout, Run
from nlphub.kernels.probes import Case
from nlphub.kernels.reference import ACTIVATIONS, Dropout, Noise, Site
from nlphub.kernels.route import Route

__all__ = [
    "ACTIVATIONS",
    "Draws",
    "Dropout",
    "Layout",
    "Noise",
    "Route",
    "Run",
    "Site",
    "adamw_",
    "adamw_all_",
    "add_norm",
    "attention",
    "bias_gelu",
    "computing",
    "dropout",
    "explain",
    "linear",
    "linear_gelu",
    "takes_shift",
]


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """Attention inside each sequence of a packed batch; arguments as :func:`nlphub.kernels.reference.attention`."""
    if k.is_cpu:
        return dispatch.on_cpu().attention(q, k, v, layout, heads=heads, dropped=dropped)
    case = Case(k.device.type, k.dtype, k.shape[1] // heads, dropped is not None, probes.bucket(layout.longest))
    return _elsewhere("attention", case)(q, k, v, layout, heads=heads, dropped=dropped)


def add_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    dropped: Dropout | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """LayerNorm of ``residual + dropout(x + shift)``; arguments as :func:`nlphub.kernels.reference.add_norm`."""
    if x.is_cpu:
        return dispatch.on_cpu().add_norm(x, residual, weight, bias, eps=eps, dropped=dropped, shift=shift)
    return _elsewhere("add_norm", _norm_case(x, x.shape[1], dropped))(x, residual, weight, bias, eps=eps, dropped=dropped, shift=shift)


def takes_shift(x: Tensor, width: int, *, dropped: Dropout | None) -> bool:
    """Whether :func:`add_norm` adds the bias of the product before it in its own pass, and its gradient too: then the product need not.

    On a CPU, and with torch's own calls on a GPU, a product adds its bias for nothing, and this is false.

    Args:
        x: what goes into the product, of the type of what comes out.
        width: of what comes out.
        dropped: dropout of that.
    """
    if torch.compiler.is_exporting() and not x.is_cpu:
        return False
    function = dispatch.on_cpu().add_norm if x.is_cpu else dispatch.choose("add_norm", _norm_case(x, width, dropped)).function
    return function.__module__ == "nlphub.kernels.operators"


def bias_gelu(x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """``activation(x + bias)`` of ``(rows, inner)``; ``gelu`` in its erf form, or ``relu``. ``x`` is scratch: it may be overwritten."""
    if x.is_cpu:
        return dispatch.on_cpu().bias_gelu(x, bias, activation=activation)
    return _elsewhere("bias_gelu", Case(x.device.type, x.dtype, x.shape[1], False))(x, bias, activation=activation)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b``; arguments as :func:`nlphub.kernels.reference.linear`."""
    if x.is_cpu and not torch.compiler.is_exporting():
        return dispatch.on_cpu().linear(x, weight, bias)
    return reference.linear(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """``activation(x W^T + b)``; arguments as :func:`nlphub.kernels.reference.linear_gelu`."""
    if x.is_cpu:
        return dispatch.on_cpu().linear_gelu(x, weight, bias, activation=activation)
    return bias_gelu(reference.linear(x, weight), bias, activation=activation)


def dropout(x: Tensor, dropped: Dropout | None) -> Tensor:
    """``x`` ``(rows, d)`` with values zeroed and the others scaled; ``x`` itself without dropout."""
    if dropped is None:
        return x
    if x.is_cpu:
        return dispatch.on_cpu().dropout(x, dropped)
    return _elsewhere("dropout", Case(x.device.type, x.dtype, x.shape[1], True))(x, dropped)


def _norm_case(x: Tensor, width: int, dropped: Dropout | None) -> Case:
    return Case(x.device.type, x.dtype, width, dropped is not None)


def _elsewhere(operation: str, case: Case) -> Callable[..., Tensor]:
    """The function for a device other than a CPU; what is exported is made of torch's own operators."""
    function: Callable[..., Tensor] = getattr(reference, operation)
    return function if torch.compiler.is_exporting() else dispatch.choose(operation, case).function
