"""The one front door of every hard operation on packed rows; which route does the work is decided by the device, once.

``reference`` defines what is computed, ``cpu`` computes it fast.
"""

from typing import Protocol

import torch
from torch import Tensor

from nlphub.kernels import cpu
from nlphub.kernels.layout import Layout, Run
from nlphub.kernels.reference import ACTIVATIONS, Draws, Dropout, Noise, Site

__all__ = [
    "ACTIVATIONS",
    "Draws",
    "Dropout",
    "Layout",
    "Noise",
    "Route",
    "Run",
    "Site",
    "add_norm",
    "attention",
    "bias_gelu",
    "dropout",
    "explain",
]


class Route(Protocol):
    """What a route offers; modules of this package are routes."""

    __name__: str

    def attention(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor: ...

    def add_norm(
        self, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, *, eps: float, dropped: Dropout | None = None
    ) -> Tensor: ...

    def bias_gelu(self, x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor: ...

    def dropout(self, x: Tensor, dropped: Dropout | None) -> Tensor: ...


_ROUTES: dict[str, Route] = {"cpu": cpu}


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """Attention inside each sequence of a packed batch; arguments as :func:`nlphub.kernels.reference.attention`."""
    return _route(q.device.type).attention(q, k, v, layout, heads=heads, dropped=dropped)


def add_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, *, eps: float, dropped: Dropout | None = None) -> Tensor:
    """LayerNorm of ``residual + dropout(x)``, all ``(rows, d)``."""
    return _route(x.device.type).add_norm(x, residual, weight, bias, eps=eps, dropped=dropped)


def bias_gelu(x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """``activation(x + bias)`` of ``(rows, inner)``; ``gelu`` in its erf form, or ``relu``. ``x`` is scratch: it may be overwritten."""
    return _route(x.device.type).bias_gelu(x, bias, activation=activation)


def dropout(x: Tensor, dropped: Dropout | None) -> Tensor:
    """``x`` ``(rows, d)`` with values zeroed and the others scaled; ``x`` itself without dropout."""
    return _route(x.device.type).dropout(x, dropped)


def explain(device: str | torch.device = "cpu", *, dtype: torch.dtype = torch.float32) -> str:
    """The route that runs on ``device`` and why, as a few lines of text."""
    kind = torch.device(device).type
    route = _route(kind).__name__.rpartition(".")[2]
    why = "fused attention without padding or masks" if kind == "cpu" else f"no kernels of our own for {kind} in this version"
    return "\n".join(
        [
            f"route      {route}: equal-length neighbours as dense blocks through scaled_dot_product_attention ({why})",
            "dropout    masks by hash of (seed, layer, site, example, position, column); with attention dropout: bmm and softmax",
            f"device     {kind}, {str(dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads",
            f"torch      {torch.__version__}",
        ]
    )


def _route(device: str) -> Route:
    """The module that computes on a kind of device. The CPU's is correct on every device, so it also serves those without one."""
    return _ROUTES.get(device, cpu)
