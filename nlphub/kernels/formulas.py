"""The operators of :mod:`nlphub.kernels.operators` written out in plain torch, results and gradients, for devices without kernels of ours.

The results are those of :mod:`nlphub.kernels.reference`; the gradients are formulas instead of autograd's, which does not look into an
operator. Everything is computed in float32 or, for float64, in float64. Slow and obvious, for proofs; signatures are those of the launchers
in :mod:`nlphub.kernels.triton`.

Notation: ``t`` rows of all sequences, ``b`` sequences, ``r`` rows, ``d`` width, ``h`` heads, ``k`` width of a head, ``n`` tokens of one.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nlphub.kernels import adamw, reference
from nlphub.kernels.reference import Dropout


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
    """The result, of the shape of ``q``, and ``(h, rows of q)`` logarithms of the sums of exponentials.

    Args:
        q: ``(t, d)``, or ``(b, d)`` for one query a sequence; k, v: ``(t, d)``.
        starts, lengths, order, counts: of :class:`nlphub.kernels.layout.Places`; the last two say only how kernels go about it.
        heads: h.
        keys: int32 row keys of dropout, for the rows of ``q``; no dropout without.
        probability: of a zero.
    """
    out, lse = torch.zeros_like(q), torch.zeros(heads, len(q), dtype=_wide(q), device=q.device)
    for queries, rows in _sequences(q, k, starts, lengths):
        scores = _heads(q[queries], heads) @ _heads(k[rows], heads).transpose(1, 2) / math.sqrt(q.shape[1] // heads)
        kept = torch.softmax(scores, -1) * _kept(scores, queries, keys, probability)
        out[queries] = (kept @ _heads(v[rows], heads)).transpose(0, 1).flatten(1).to(q.dtype)
        lse[:, queries] = torch.logsumexp(scores, -1)
    return out, lse


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
    """Gradients of ``q``, ``k`` and ``v``, into ``out``; 0 for rows of no sequence, and for the query of one without tokens."""
    for result in out:
        result.zero_()
    factor = 1.0 / math.sqrt(q.shape[1] // heads)
    for queries, rows in _sequences(q, k, starts, lengths):
        slope, asked, key, value = (_heads(part, heads) for part in (grad[queries], q[queries], k[rows], v[rows]))
        weights = torch.exp(asked @ key.transpose(1, 2) * factor - lse[:, queries, None])
        stays = _kept(weights, queries, keys, probability)
        change = slope @ value.transpose(1, 2) * stays
        change = weights * (change - (weights * change).sum(-1, keepdim=True)) * factor
        found = (change @ key, change.transpose(1, 2) @ asked, (weights * stays).transpose(1, 2) @ slope)
        for result, place, part in zip(out, (queries, rows, rows), found, strict=True):
            result[place] = part.transpose(0, 1).flatten(1).to(result.dtype)


def add_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor | None,
    keys: Tensor | None,
    probability: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The result ``(r, d)``, and ``(r,)`` means and ``1 / sqrt(variance + eps)`` of ``residual + dropout(x + shift)``."""
    summed = _summed(x, residual, shift, keys, probability)
    means = summed.mean(-1)
    factors = 1.0 / torch.sqrt((summed - means[:, None]).square().mean(-1) + eps)
    out = (summed - means[:, None]) * factors[:, None] * weight + bias
    return out.to(torch.promote_types(x.dtype, residual.dtype)), means, factors


def add_norm_backward(
    grad: Tensor,
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    means: Tensor,
    factors: Tensor,
    shift: Tensor | None,
    keys: Tensor | None,
    probability: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``x``, ``residual``, ``weight``, ``bias`` and ``shift``.

    That of ``x`` has no elements where it is that of the residual: without dropout, and of one type. Nor has that of no shift.
    """
    grad = grad.to(_wide(grad))
    normed = (_summed(x, residual, shift, keys, probability) - means[:, None]) * factors[:, None]
    slope = grad * weight
    slope = factors[:, None] * (slope - slope.mean(-1, keepdim=True) - normed * (slope * normed).mean(-1, keepdim=True))
    same = keys is None and x.dtype == residual.dtype
    kept = _dropped(slope, keys, probability)
    dx = x.new_empty(0) if same else kept.to(x.dtype)
    dshift = x.new_empty(0) if shift is None else kept.sum(0).to(shift.dtype)
    return dx, slope.to(residual.dtype), (grad * normed).sum(0).to(weight.dtype), grad.sum(0).to(weight.dtype), dshift


def bias_gelu(x: Tensor, bias: Tensor, activation: str) -> Tensor:
    """``activation(x + bias)``, of the type of ``x``."""
    return reference.bias_gelu(x.to(_wide(x)), bias, activation=activation).to(x.dtype)


def bias_gelu_backward(grad: Tensor, x: Tensor, bias: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Gradients of ``x`` and ``bias``."""
    summed = x.to(_wide(x)) + bias
    if activation == "relu":
        slope = (summed > 0).to(summed.dtype)
    else:
        density = torch.exp(-0.5 * summed * summed) / math.sqrt(2.0 * math.pi)
        slope = 0.5 * (1.0 + torch.erf(summed / math.sqrt(2.0))) + summed * density
    slope = slope * grad
    return slope.to(x.dtype), slope.sum(0).to(bias.dtype)


def dropout(x: Tensor, keys: Tensor, probability: float) -> Tensor:
    """``x`` ``(r, d)`` with values zeroed and the others scaled; its own gradient."""
    return _dropped(x.to(_wide(x)), keys, probability).to(x.dtype)


def row_keys(seed: Tensor, examples: Tensor, positions: Tensor, first: int, layers: int) -> Tensor:
    """``(layers, 5, r)`` int32 keys of every site of ``layers`` layers from ``first`` on."""
    places = [(layer, site) for layer in range(first, first + layers) for site in reference.Site]
    found = [reference.row_keys(seed, *place, examples, positions) for place in places]
    return torch.stack(found).view(layers, len(reference.Site), len(examples))


def adamw_(parameters: Tensor, *rest: Any) -> None:
    """A step of AdamW on flat buffers: gradients, both moments, a copy for the new values; rate, step, scale; beta1, beta2, eps, decay."""
    _adamw_(parameters, None, *rest)


def adamw_rows_(parameters: Tensor, rows: Tensor, *rest: Any) -> None:
    """The same on the rows of these numbers; gradients and moments have a row for each of them."""
    _adamw_(parameters, rows, *rest)


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
    *rest: float,
) -> None:
    """A step for each of many tensors; ``rest``: beta1, beta2, eps, decay."""
    numbers = dict(zip(("beta1", "beta2", "eps", "decay"), rest, strict=True))
    given: dict[str, Any] = {"steps": steps, "rate": rate, "halted": halted, "copies": copies, **numbers}
    reference.adamw_all_(parameters, gradients, first, second, **given, divisor=1.0 / scale)


def _adamw_(parameters: Tensor, rows: Tensor | None, *rest: Any) -> None:
    *tensors, copy, rate, step, scale, beta1, beta2, eps, decay = rest
    numbers: dict[str, Any] = {"rate": float(rate), "step": int(step), "scale": float(scale)}
    adamw.plain_(parameters, *tensors, copy=copy, rows=rows, beta1=beta1, beta2=beta2, eps=eps, decay=decay, **numbers)


def _summed(x: Tensor, residual: Tensor, shift: Tensor | None, keys: Tensor | None, probability: float) -> Tensor:
    wide = x.to(_wide(x))
    return residual + _dropped(wide if shift is None else wide + shift, keys, probability)


def _dropped(x: Tensor, keys: Tensor | None, probability: float) -> Tensor:
    return reference.dropout(x, None if keys is None else Dropout(probability, keys))


def _kept(scores: Tensor, queries: slice, keys: Tensor | None, probability: float) -> Tensor:
    """What probabilities ``(h, queries, n)`` are multiplied with by dropout."""
    if keys is None:
        return scores.new_ones(())
    columns = reference.attention_columns(len(scores), scores.shape[2], scores.device)
    stays = reference.keep(keys[queries][None, :, None], columns[:, None, :], probability)
    return stays.to(scores.dtype) / (1.0 - probability)


def _heads(rows: Tensor, heads: int) -> Tensor:
    """``(n, d)`` to ``(h, n, k)``."""
    return rows.to(_wide(rows)).view(len(rows), heads, -1).transpose(0, 1)


def _sequences(q: Tensor, k: Tensor, starts: Tensor, lengths: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows of the queries and of the keys of each sequence that has any."""
    single = len(q) != len(k)
    for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        if length:
            rows = slice(start, start + length)
            yield (slice(number, number + 1) if single else rows), rows


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
