"""What tracing and autograd have to know of each operator of :mod:`nlphub.kernels.operators`: shapes and types, and gradients.

:func:`register` is called once, when the operators are defined.
"""

from typing import Any

import torch
from torch import Tensor

_ops = torch.ops.nlphub


def register() -> None:
    """Give every operator its shapes, and its gradient where it has one."""
    for name, shapes in _SHAPES.items():
        torch.library.register_fake(f"nlphub::{name}", shapes)
    for name, (saved, gradient) in _GRADIENTS.items():
        torch.library.register_autograd(f"nlphub::{name}", gradient, setup_context=saved)


def _attention_shapes(qkv: Tensor, starts: Tensor, lengths: Tensor, order: Tensor, counts: Any, heads: int, *rest: Any) -> Any:
    return qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3), _lse(qkv, heads)


def _single_shapes(q: Tensor, kv: Tensor, starts: Tensor, lengths: Tensor, order: Tensor, counts: Any, heads: int, *rest: Any) -> Any:
    return torch.empty_like(q), _lse(q, heads)


def _norm_shapes(x: Tensor, residual: Tensor, *rest: Any) -> Any:
    wide = torch.promote_types(x.dtype, residual.dtype)
    numbers = torch.promote_types(wide, torch.float32)
    return x.new_empty(x.shape, dtype=wide), x.new_empty(x.shape[0], dtype=numbers), x.new_empty(x.shape[0], dtype=numbers)


def _norm_gradient_shapes(
    grad: Tensor,
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    means: Tensor,
    factors: Tensor,
    shift: Tensor | None,
    keys: Tensor | None,
    probability: float,
) -> Any:
    same = keys is None and x.dtype == residual.dtype
    dx, dshift = x.new_empty(0) if same else torch.empty_like(x), x.new_empty(0) if shift is None else torch.empty_like(shift)
    return dx, torch.empty_like(residual), torch.empty_like(weight), torch.empty_like(weight), dshift


def _lse(q: Tensor, heads: int) -> Tensor:
    return q.new_empty(heads, q.shape[0], dtype=torch.promote_types(q.dtype, torch.float32))


_SHAPES: dict[str, Any] = {
    "attention": _attention_shapes,
    "attention_backward": lambda grad, qkv, *rest: torch.empty_like(qkv),
    "attention_single": _single_shapes,
    "attention_single_backward": lambda grad, q, kv, *rest: (torch.empty_like(q), torch.empty_like(kv)),
    "add_norm": _norm_shapes,
    "add_norm_backward": _norm_gradient_shapes,
    "bias_gelu": lambda x, bias, activation: torch.empty_like(x),
    "bias_gelu_backward": lambda grad, x, bias, activation: (torch.empty_like(x), torch.empty_like(bias)),
    "dropout": lambda x, keys, probability: torch.empty_like(x),
    "adamw_": lambda *arguments: None,
    "adamw_rows_": lambda *arguments: None,
    "adamw_all_": lambda *arguments: None,
    "row_keys": lambda seed, examples, positions, first, layers: examples.new_empty(layers, 5, examples.shape[0], dtype=torch.int32),
}


def _save_attention(ctx: Any, inputs: Any, output: Any) -> None:
    *rows, starts, lengths, order, counts, heads, keys, probability = inputs
    ctx.save_for_backward(*rows, output[1], starts, lengths, order, keys)
    ctx.numbers, ctx.probability = (counts, heads), probability
    ctx.set_materialize_grads(False)


def _attention_gradient(ctx: Any, grad: Tensor, _: None) -> Any:
    qkv, lse, *places, keys = ctx.saved_tensors
    return _ops.attention_backward(grad, qkv, lse, *places, *ctx.numbers, keys, ctx.probability), *[None] * 7


def _single_gradient(ctx: Any, grad: Tensor, _: None) -> Any:
    q, kv, lse, *places, keys = ctx.saved_tensors
    found = _ops.attention_single_backward(grad, q, kv, lse, *places, *ctx.numbers, keys, ctx.probability)
    return *found, *[None] * 7


def _save_norm(ctx: Any, inputs: Any, output: Any) -> None:
    x, residual, weight, _, shift, keys, probability, _ = inputs
    ctx.save_for_backward(x, residual, weight, *output[1:], shift, keys)
    ctx.probability = probability
    ctx.set_materialize_grads(False)


def _norm_gradient(ctx: Any, grad: Tensor, *_: None) -> Any:
    x, residual, *_, shift, keys = saved = ctx.saved_tensors
    dx, dresidual, dweight, dbias, dshift = _ops.add_norm_backward(grad, *saved, ctx.probability)
    same = keys is None and x.dtype == residual.dtype
    return dresidual if same else dx, dresidual, dweight, dbias, None if shift is None else dshift, None, None, None


def _save_gelu(ctx: Any, inputs: Any, output: Any) -> None:
    x, bias, ctx.activation = inputs
    ctx.save_for_backward(x, bias)


def _gelu_gradient(ctx: Any, grad: Tensor) -> Any:
    return *_ops.bias_gelu_backward(grad, *ctx.saved_tensors, ctx.activation), None


def _save_dropout(ctx: Any, inputs: Any, output: Any) -> None:
    _, keys, ctx.probability = inputs
    ctx.save_for_backward(keys)


def _dropout_gradient(ctx: Any, grad: Tensor) -> Any:
    return _ops.dropout(grad, *ctx.saved_tensors, ctx.probability), None, None


_GRADIENTS: dict[str, Any] = {
    "attention": (_save_attention, _attention_gradient),
    "attention_single": (_save_attention, _single_gradient),
    "add_norm": (_save_norm, _norm_gradient),
    "bias_gelu": (_save_gelu, _gelu_gradient),
    "dropout": (_save_dropout, _dropout_gradient),
}
