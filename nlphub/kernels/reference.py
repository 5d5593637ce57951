"""The slow obvious definition of every kernel, and of dropout: what all other routes are tested against.

Notation: ``t`` tokens of all sequences together, ``n`` tokens of one sequence, ``d`` width, ``h`` heads, ``k`` width of a head.

Dropout here is not a stream of random numbers but a hash of the place: (seed, layer, site, example, position, column). A mask therefore
follows its example wherever the packing puts it: batch order, batch mates and accumulation do not change a training step.
"""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.kernels.layout import Layout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}  # gelu is the erf form, as in BERT and ERNIE

Word = TypeVar("Word", int, Tensor)

_MASK = 0xFFFFFFFF
_HEAD_SHIFT = 16  # the column of an attention probability is head << 16 | key position: independent of the batch's longest sequence


class Site(enum.IntEnum):
    """The places of a layer where dropout acts."""

    EMBEDDINGS = 0
    ATTENTION = 1
    ATTENTION_OUTPUT = 2
    FEED_FORWARD_OUTPUT = 3
    HEAD = 4


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes one training step random: a seed of up to 63 bits. The probabilities are the model's.

    A seed that is a 0-d int64 tensor on the rows' device gives the same masks: a captured graph is given another one for each step.
    """

    seed: int | Tensor

    @classmethod
    def of_step(cls, seed: int, step: int) -> "Noise":
        """For step number ``step`` of a training with this seed: 31 well mixed bits."""
        return cls(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]) & 0x7FFFFFFF)


@dataclass(frozen=True, slots=True, eq=False)
class Dropout:
    """Dropout of one site, for given rows.

    Attributes:
        probability: of a zero; what is kept is scaled by ``1 / (1 - probability)``.
        keys: ``(rows,)`` int32 hash of (seed, layer, site, example, position) of each row.
    """

    probability: float
    keys: Tensor

    @property
    def scale(self) -> float:
        """The factor of what is kept."""
        return 1.0 / (1.0 - self.probability)


def row_keys(seed: int | Tensor, layer: int, site: int, examples: Tensor, positions: Tensor) -> Tensor:
    """``(rows,)`` int32 keys: the expensive, well mixed part of the hash, once for each row."""
    return _to_int32(_mix(_mix(examples.long() ^ site_word(seed, layer, site)) ^ positions.long()))


def site_word(seed: int | Tensor, layer: int, site: int) -> Any:
    """The part of :func:`row_keys` that all rows share: a number below 2^32, or a 0-d tensor where the seed is one."""
    word: Any = 0
    for part in (seed & _MASK, seed >> 32, layer, site):
        word = _mix(word ^ part)
    return word


def column_keys(columns: Tensor) -> Tensor:
    """int32 keys of column numbers, of the same shape."""
    return _to_int32(_mix(columns.long() + 0x9E3779B9))  # an offset, since _mix(0) is 0


def attention_columns(heads: int, length: int, device: torch.device) -> Tensor:
    """``(h, n)`` int32 keys of the attention probabilities of every head and key position."""
    head = torch.arange(heads, device=device)[:, None] << _HEAD_SHIFT
    return column_keys(head | torch.arange(length, device=device))


def keep(rows: Tensor, columns: Tensor, probability: float) -> Tensor:
    """Which values stay: bool of the broadcast shape of the two int32 key tensors.

    Two multiplications with a shift between them (the inner steps of C. Wellons' ``lowbias32``) in wrapping 32-bit arithmetic; the
    result is compared as a signed number. The shift is arithmetic: that costs one bit of 32 and saves a pass.
    """
    word = rows ^ columns
    word *= _signed(0x7FEB352D)
    word ^= word >> 15
    word *= _signed(0x846CA68B)
    return word >= round(probability * 2**32) - 2**31


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b``: rows ``k`` wide, of any shape, by a weight ``(n, k)`` to rows ``n`` wide."""
    return F.linear(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """``activation(x W^T + b)``: arguments as :func:`linear`, ``gelu`` in its erf form, or ``relu``."""
    return bias_gelu(linear(x, weight), bias, activation=activation)


def dropout(x: Tensor, dropped: Dropout | None) -> Tensor:
    """``x`` ``(rows, d)`` with values zeroed and the others scaled; ``x`` itself without dropout."""
    if dropped is None:
        return x
    columns = column_keys(torch.arange(x.shape[1], device=x.device))
    stays = keep(dropped.keys[:, None], columns, dropped.probability)
    return x * (stays.to(x.dtype).mul_(dropped.scale))


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor:
    """Every query attends to the keys of its own sequence (Vaswani et al., 2017), one sequence after the other.

    Args:
        q: ``(t, d)``, or ``(b, d)`` for one query a sequence.
        k, v: ``(t, d)``.
        layout: of the batch.
        heads: h, which divides d.
        dropped: dropout of the probabilities; ``keys`` follow the rows of ``q``.

    Returns:
        Of the shape of ``q``.
    """
    outputs, single = [], q.shape[0] != k.shape[0]
    for run in layout.runs:
        for i in range(run.count):
            first = run.row + i * run.length
            keys = slice(first, first + run.length)
            queries = slice(run.sequence + i, run.sequence + i + 1) if single else keys
            outputs.append(_attend(q[queries], k[keys], v[keys], heads, dropped and Dropout(dropped.probability, dropped.keys[queries])))
    return torch.cat(outputs)


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
    """LayerNorm of ``residual + dropout(x + shift)``: the seam after attention and feed-forward of a post-norm layer.

    Args:
        x, residual: ``(rows, d)``.
        weight, bias: ``(d,)`` of the norm.
        eps: added to the variance.
        dropped: dropout of ``x + shift``; default: none.
        shift: ``(d,)``, the bias of the linear layer that made ``x``, where its product left it out; default: none.
    """
    summed = residual + dropout(x if shift is None else x + shift, dropped)
    centred = summed - summed.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * weight + bias


def bias_gelu(x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor:
    """``activation(x + bias)``; ``gelu`` is x times the normal distribution function of x (Hendrycks and Gimpel, 2016)."""
    summed = x + bias
    if activation == "relu":
        return torch.where(summed > 0, summed, 0.0)
    return summed * 0.5 * (1.0 + torch.erf(summed / math.sqrt(2.0)))


@torch.no_grad()
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
) -> None:
    """One step of AdamW (Loshchilov and Hutter, 2019) in place, with decoupled weight decay as in ``torch.optim.AdamW``.

    Args:
        parameters, gradients, first, second: ``(n,)`` float32; the last two are the moments. ``gradients`` stay as they are.
        rate: the learning rate.
        beta1, beta2: decay of the moments.
        eps: added to the root of the second moment, after the correction of its bias.
        decay: of the weights, times ``rate``.
        step: number of this step, from 1.
        scale: what the gradients are multiplied with before anything else: clipping without a pass of its own.
    """
    scaled = gradients * scale
    parameters.mul_(1.0 - rate * decay)
    first.lerp_(scaled, 1.0 - beta1)
    second.mul_(beta2).addcmul_(scaled, scaled, value=1.0 - beta2)
    root = (second / (1.0 - beta2**step)).sqrt_().add_(eps)
    parameters.sub_(first / root * (rate / (1.0 - beta1**step)))


@torch.no_grad()
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
    """One step of :func:`adamw_` for each of many tensors, and a copy of what comes out; nothing at all where ``halted`` is not 0.

    Args:
        parameters, gradients, first, second: as there, of any shape, each four of one.
        steps: ``()`` float32, number of this step for each, from 1.
        rate, halted: ``()`` float32.
        beta1, beta2, eps, decay: as there.
        divisor: ``()`` float32 by which the gradients are divided before anything else; default: they are not.
        copies: of the shapes of ``parameters`` and of any floating type, which take the new values; default: none.
    """
    if float(halted):
        return
    options: dict[str, Any] = {"rate": float(rate), "beta1": beta1, "beta2": beta2, "eps": eps, "decay": decay}
    scale = 1.0 if divisor is None else 1.0 / float(divisor)
    for *buffers, step in zip(parameters, gradients, first, second, steps, strict=True):
        adamw_(*buffers, **options, step=int(step), scale=scale)
    for copy, parameter in zip(copies, parameters, strict=bool(copies)):
        copy.copy_(parameter)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, dropped: Dropout | None) -> Tensor:
    q, k, v = (part.view(len(part), heads, -1).transpose(0, 1) for part in (q, k, v))  # (h, n, k)
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)  # (h, queries, n)
    if dropped is not None:
        columns = attention_columns(heads, k.shape[1], k.device)
        stays = keep(dropped.keys[None, :, None], columns[:, None, :], dropped.probability)
        weights = weights * (stays.to(weights.dtype).mul_(dropped.scale))
    return (weights @ v).transpose(0, 1).flatten(1)


def _mix(word: Word) -> Word:
    """C. Wellons' ``lowbias32`` (hash-prospector): a bijection of 32 bits, on a number or on the low halves of int64."""
    word = word & _MASK
    word = ((word ^ (word >> 16)) * 0x7FEB352D) & _MASK
    word = ((word ^ (word >> 15)) * 0x846CA68B) & _MASK
    return word ^ (word >> 16)


def _to_int32(word: Tensor) -> Tensor:
    return (word - ((word >> 31) << 32)).to(torch.int32)  # the same 32 bits, read as a signed number


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
