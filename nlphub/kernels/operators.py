"""``torch.library`` operators (``torch.ops.nlphub.*``) for every operation, and the route that calls them.

On CUDA they are the Triton kernels, on other devices the plain formulas; both have the same signatures, so what autograd, tracing and
the schemas say of an operator is proven without a card. Under Triton's interpreter (``TRITON_INTERPRET=1``) the kernels run on a CPU too.

Notation: ``t`` rows of all sequences, ``b`` sequences, ``r`` rows, ``d`` width, ``h`` heads.
"""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nlphub import paths
from nlphub.kernels import formulas, rules
from nlphub.kernels.joining import joined
from nlphub.kernels.layout import Layout
from nlphub.kernels.reference import Dropout, linear

__all__ = ["adamw_", "adamw_all_", "add_norm", "attention", "bias_gelu", "dropout", "linear", "linear_gelu", "row_keys"]

_LAYERS = 8  # whose keys are made in one launch

_PLACES = "Tensor starts, Tensor lengths, Tensor order, int[] counts, int heads, Tensor? keys, float probability"
_NORM = "Tensor x, Tensor residual, Tensor weight"
_NOISE = "Tensor? shift, Tensor? keys, float probability"
_MOMENTS = "Tensor gradients, Tensor(b!) first, Tensor(c!) second, Tensor(d!)? copy"
_EACH = "Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] first, Tensor(c!)[] second, Tensor(d!)[] copies, Tensor[] steps"
_NUMBERS = "Tensor rate, Tensor step, Tensor scale, float beta1, float beta2, float eps, float decay"
_SCHEMAS = {
    "attention": f"(Tensor qkv, {_PLACES}) -> (Tensor, Tensor)",
    "attention_backward": f"(Tensor grad, Tensor qkv, Tensor lse, {_PLACES}) -> Tensor",
    "attention_single": f"(Tensor q, Tensor kv, {_PLACES}) -> (Tensor, Tensor)",
    "attention_single_backward": f"(Tensor grad, Tensor q, Tensor kv, Tensor lse, {_PLACES}) -> (Tensor, Tensor)",
    "add_norm": f"({_NORM}, Tensor bias, {_NOISE}, float eps) -> (Tensor, Tensor, Tensor)",
    "add_norm_backward": f"(Tensor grad, {_NORM}, Tensor means, Tensor factors, {_NOISE}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "bias_gelu": "(Tensor x, Tensor bias, str activation) -> Tensor",
    "bias_gelu_backward": "(Tensor grad, Tensor x, Tensor bias, str activation) -> (Tensor, Tensor)",
    "dropout": "(Tensor x, Tensor keys, float probability) -> Tensor",
    "adamw_": f"(Tensor(a!) parameters, {_MOMENTS}, {_NUMBERS}) -> ()",
    "adamw_rows_": f"(Tensor(a!) parameters, Tensor rows, {_MOMENTS}, {_NUMBERS}) -> ()",
    "adamw_all_": f"({_EACH}, Tensor rate, Tensor scale, Tensor halted, float beta1, float beta2, float eps, float decay) -> ()",
    "row_keys": "(Tensor seed, Tensor examples, Tensor positions, int first, int layers) -> Tensor",
}
_ops = torch.ops.nlphub


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """As :func:`nlphub.kernels.reference.attention`. Where q, k and v are columns of one tensor, its gradient is made in one piece."""
    places = layout.places(q.device)
    rest = (places.starts, places.lengths, places.order, places.counts, heads, *_noise(dropped))
    single = len(q) != len(k)
    out: Tensor = (_ops.attention_single(q, joined(k, v), *rest) if single else _ops.attention(joined(q, k, v), *rest))[0]
    return out


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
    """As :func:`nlphub.kernels.reference.add_norm`; the result has the wider type of ``x`` and ``residual``."""
    out: Tensor = _ops.add_norm(x, residual, weight, bias, shift, *_noise(dropped), eps)[0]
    return out


def bias_gelu(x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """As :func:`nlphub.kernels.reference.bias_gelu`."""
    out: Tensor = _ops.bias_gelu(x, bias, activation)
    return out


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """As :func:`nlphub.kernels.reference.linear_gelu`: torch's product, and our pass behind it."""
    return bias_gelu(linear(x, weight), bias, activation=activation)


def dropout(x: Tensor, dropped: Dropout | None) -> Tensor:
    """As :func:`nlphub.kernels.reference.dropout`."""
    out: Tensor = x if dropped is None else _ops.dropout(x, dropped.keys, dropped.probability)
    return out


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
    """As :func:`nlphub.kernels.adamw.adamw_`."""
    numbers = [_number(value, parameters.device) for value in (rate, step, scale)]
    with torch.no_grad():
        if rows is None:
            _ops.adamw_(parameters, gradients, first, second, copy, *numbers, beta1, beta2, eps, decay)
        else:
            _ops.adamw_rows_(parameters, rows, gradients, first, second, copy, *numbers, beta1, beta2, eps, decay)


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
    """As :func:`nlphub.kernels.adamw.adamw_all_`."""
    scale = torch.ones_like(halted) if divisor is None else 1.0 / divisor
    with torch.no_grad():
        _ops.adamw_all_(parameters, gradients, first, second, copies, steps, rate, scale, halted, beta1, beta2, eps, decay)


def row_keys(
    seed: int | Tensor, layer: int, site: int, examples: Tensor, positions: Tensor, *, made: dict[int, Tensor] | None = None
) -> Tensor:
    """As :func:`nlphub.kernels.reference.row_keys`; those of all sites of some layers are made at once where ``made`` keeps them."""
    layers = 1 if made is None else _LAYERS
    made, first = {} if made is None else made, layer - layer % layers
    if first not in made:
        there = seed if isinstance(seed, Tensor) else torch.full((), seed, dtype=torch.int64, device=examples.device)
        made[first] = _ops.row_keys(there, examples, positions, first, layers)
    return made[first][layer - first, site]


def _number(value: float | Tensor, device: torch.device) -> Tensor:
    """One float32 on the device. A number of the host is written there by a kernel: nobody waits for that, as for a copy."""
    if isinstance(value, Tensor):
        return value.to(device, torch.float32)
    return torch.full((), value, dtype=torch.float32, device=device)


def _noise(dropped: Dropout | None) -> tuple[Tensor | None, float]:
    return (None, 0.0) if dropped is None else (dropped.keys, dropped.probability)


def _module(kind: str) -> ModuleType:
    """Where operators are computed on a kind of device. Only here is Triton imported."""
    if kind == "cuda" or paths.triton_interpreted():
        from nlphub.kernels.triton import launchers

        return launchers
    return formulas


def _attention(kind: str, qkv: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    out, lse = _module(kind).attention(*qkv.chunk(3, 1), *rest)
    return out, lse


def _attention_backward(kind: str, grad: Tensor, qkv: Tensor, lse: Tensor, *rest: Any) -> Tensor:
    gradient = torch.empty_like(qkv)
    _module(kind).attention_backward(grad, *qkv.chunk(3, 1), lse, *rest, out=gradient.chunk(3, 1))
    return gradient


def _attention_single(kind: str, q: Tensor, kv: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    out, lse = _module(kind).attention(q, *kv.chunk(2, 1), *rest)
    return out, lse


def _attention_single_backward(kind: str, grad: Tensor, q: Tensor, kv: Tensor, lse: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    dq, dkv = torch.empty_like(q), torch.empty_like(kv)
    _module(kind).attention_backward(grad, q, *kv.chunk(2, 1), lse, *rest, out=(dq, *dkv.chunk(2, 1)))
    return dq, dkv


def _same(name: str) -> Callable[..., Any]:
    """An operator that is a function of the same name and arguments."""

    def computed(kind: str, *arguments: Any) -> Any:
        return getattr(_module(kind), name)(*arguments)

    return computed


_COMPUTED: dict[str, Callable[..., Any]] = {name: _same(name) for name in _SCHEMAS} | {
    "attention": _attention,
    "attention_backward": _attention_backward,
    "attention_single": _attention_single,
    "attention_single_backward": _attention_single_backward,
}
for _name, _schema in _SCHEMAS.items():
    torch.library.define(f"nlphub::{_name}", _schema, tags=torch.Tag.pt2_compliant_tag)
    for _kind in ("cpu", "cuda"):
        torch.library.impl(f"nlphub::{_name}", _kind, functools.partial(_COMPUTED[_name], _kind))
rules.register()
