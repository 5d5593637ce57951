"""Launches the attention kernels on packed rows, one launch for each bucket of lengths that a batch has.

Plain tensors in and out, no autograd. Saved between the passes are ``q``, ``k``, ``v`` and one float32 number a row and head. Inputs may be
columns of a wider tensor (the parts of one QKV product): only neighbouring columns have to be neighbours in memory.

Notation: ``t`` tokens of all sequences together, ``b`` sequences, ``d`` width, ``h`` heads; ``rows`` is ``t``, or ``b`` for one query a
sequence.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from nlphub.kernels.layout import BUCKETS
from nlphub.kernels.triton import plan, tuned
from nlphub.kernels.triton.attention_blocks import forward_blocks_kernel, keys_kernel, queries_kernel
from nlphub.kernels.triton.attention_rows import backward_kernel, forward_kernel
from nlphub.kernels.triton.attention_single import single_backward_kernel, single_forward_kernel

__all__ = ["backward", "forward"]

_LOG2_E = 1.0 / math.log(2.0)
_OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    lengths: Tensor,
    order: Tensor,
    *,
    counts: Sequence[int],
    heads: int,
    probability: float = 0.0,
    row_keys: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As :func:`nlphub.kernels.reference.attention`.

    Args:
        q: ``(t, d)``, or ``(b, d)`` for one query a sequence; any distance between rows.
        k, v: ``(t, d)``.
        starts, lengths, order, counts: of :class:`nlphub.kernels.layout.Places`. Sequences that ``counts`` leaves out are not computed, and
            their rows are not written.
        heads: h, which divides d; d / h up to :data:`nlphub.kernels.triton.plan.WIDEST`.
        probability: of dropout.
        row_keys: ``(rows,)`` int32, with dropout.

    Returns:
        ``(rows, d)`` outputs, and ``(h, rows)`` float32 natural logarithms of the sums of the softmax.
    """
    q, k, v = (_dense_rows(part) for part in (q, k, v))
    out, lse = torch.empty(q.shape, dtype=q.dtype, device=q.device), torch.empty(heads, len(q), dtype=torch.float32, device=q.device)
    parts = {"q": q, "k": k, "v": v, "out": out}
    call = _Call.of(parts, lse, starts, lengths, order, heads=heads, probability=probability, row_keys=row_keys)
    with call.device():
        for bucket, before, count in _buckets(counts):
            if len(q) != len(k):
                call.single(single_forward_kernel, bucket, before, count)
            elif tile := call.tile("forward", bucket):
                call.whole(forward_kernel, tile, bucket, before, count)
            else:
                call.blocks(forward_blocks_kernel, "forward", bucket, before, count)
    return out, lse


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lse: Tensor,
    starts: Tensor,
    lengths: Tensor,
    order: Tensor,
    *,
    counts: Sequence[int],
    heads: int,
    probability: float = 0.0,
    row_keys: Tensor | None = None,
    into: tuple[Tensor, Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``q``, ``k`` and ``v`` for ``grad``, the gradient of the outputs.

    Args:
        grad: of the shape of ``q``.
        lse: of :func:`forward`.
        into: three tensors to write the gradients to, any distance between rows: the thirds of a ``(t, 3d)`` tensor make the gradient of
            one QKV product, which then is one matrix product.

    Returns:
        ``into``, or thirds of one new tensor ``(t, 3d)``; for one query a sequence a new tensor, and halves of one.

    Raises:
        ValueError: a tensor of ``into`` whose neighbouring columns are apart in memory.
    """
    grad, q, k, v = (_dense_rows(part) for part in (grad, q, k, v))
    dq, dk, dv = into or _fresh(q, k)
    if any(part.stride(1) != 1 for part in (dq, dk, dv)):
        raise ValueError(f"gradients are written to neighbouring columns, not to strides {[part.stride() for part in (dq, dk, dv)]}")
    parts = {"grad": grad, "q": q, "k": k, "v": v, "dq": dq, "dk": dk, "dv": dv}
    call = _Call.of(parts, lse, starts, lengths, order, heads=heads, probability=probability, row_keys=row_keys)
    means = None
    with call.device():
        for bucket, before, count in _buckets(counts):
            if len(q) != len(k):
                call.single(single_backward_kernel, bucket, before, count)
            elif tile := call.tile("backward", bucket):
                call.whole(backward_kernel, tile, bucket, before, count)
            else:
                means = torch.empty_like(lse) if means is None else means
                call.blocks(queries_kernel, "queries", bucket, before, count, means=means)
                call.blocks(keys_kernel, "keys", bucket, before, count, means=means)
    return dq, dk, dv


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What all launches of one pass share."""

    arguments: dict[str, Any]
    like: Tensor
    heads: int
    width: int

    @classmethod
    def of(
        cls,
        parts: dict[str, Tensor],
        lse: Tensor,
        starts: Tensor,
        lengths: Tensor,
        order: Tensor,
        *,
        heads: int,
        probability: float,
        row_keys: Tensor | None,
    ) -> "_Call":
        q, strides = parts["q"], {f"{name}_stride": part.stride(0) for name, part in parts.items()}
        width = q.shape[1] // heads
        arguments: dict[str, Any] = {f"{name}_rows": part for name, part in parts.items()} | strides
        arguments |= {"lse": lse, "starts": starts, "lengths": lengths, "order": order, "rows": len(q), "heads": heads}
        arguments |= {"row_keys": starts if row_keys is None else row_keys, "DROPOUT": row_keys is not None and probability > 0.0}
        arguments |= {"threshold": plan.threshold(probability), "scale": 1.0 / (1.0 - probability), "factor": _LOG2_E / math.sqrt(width)}
        arguments |= {"ALIGNED": math.gcd(16, *strides.values()), "WIDTH": width, "PADDED": plan.padded(width)}
        return cls(arguments, q, heads, width)

    def device(self) -> contextlib.AbstractContextManager[Any]:
        """Triton launches on the current device, which need not be that of the tensors."""
        return torch.cuda.device(self.like.device) if self.like.device.type == "cuda" else contextlib.nullcontext()

    def tile(self, name: str, bucket: int) -> plan.Tile | None:
        table = tuned.table(name, card(self.like.device))
        return plan.whole(table, bucket, self.width, self.like.element_size(), shared_memory(self.like.device))

    def whole(self, kernel: Any, tile: plan.Tile, bucket: int, before: int, count: int) -> None:
        """All keys of a sequence and head in one program, for ``count`` sequences."""
        grid = (count * triton.cdiv(self.heads, tile.heads),)
        shape = {"KEYS": bucket, "QUERIES": tile.queries, "EACH": tile.heads, "PRECISION": self._precision()}
        kernel[grid](**self.arguments, **shape, before=before, num_warps=tile.warps, **_OPTIONS)

    def blocks(self, kernel: Any, name: str, bucket: int, before: int, count: int, **more: Tensor) -> None:
        """Blocks of keys; as many programs for a sequence and head as the longest of the bucket has blocks."""
        tile = plan.blocks(name, self.width, self.like.element_size())
        blocks = triton.cdiv(bucket, tile.keys if name == "keys" else tile.queries)
        shape = {"KEYS": tile.keys, "QUERIES": tile.queries, "PRECISION": self._precision()}
        grid = (count * self.heads * blocks,)
        taken = {name: value for name, value in self.arguments.items() if name in kernel.arg_names}  # each writes a part of the gradients
        kernel[grid](**taken, **more, **shape, before=before, blocks=blocks, num_warps=tile.warps, **_OPTIONS)

    def single(self, kernel: Any, bucket: int, before: int, count: int) -> None:
        """One query a sequence."""
        warps = plan.single_warps(bucket, self.width)
        kernel[(count * self.heads,)](**self.arguments, KEYS=bucket, before=before, num_warps=warps, **_OPTIONS)

    def _precision(self) -> str:
        """Of products of float32: three of halves of its digits on the matrix units, nearly float32; other types have one kind."""
        if self.like.dtype == torch.bfloat16 and triton.knobs.runtime.interpret:
            raise ValueError("products of bfloat16 are wrong in Triton's interpreter: run the kernels there in float32 or float16")
        return "tf32x3" if self.like.dtype == torch.float32 else "ieee"


@functools.lru_cache(maxsize=16)
def card(device: torch.device) -> str:
    """The name of a GPU; of the interpreter's CPU a word that no card has."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "none"


@functools.lru_cache(maxsize=16)
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a program may have; without a GPU (the interpreter) there is no limit."""
    if device.type != "cuda":
        return 1 << 30
    return int(triton.runtime.driver.active.utils.get_device_properties(device.index)["max_shared_mem"])


def _buckets(counts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Length, number of entries of ``order`` before it, number of its own, for each bucket that has any."""
    before = 0
    for bucket, count in zip(BUCKETS, counts, strict=True):
        if count:
            yield bucket, before, count
        before += count


def _dense_rows(part: Tensor) -> Tensor:
    """The tensor itself unless neighbouring columns are apart, as in an expanded gradient."""
    return part if part.stride(1) == 1 else part.contiguous()


def _fresh(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    width = q.shape[1]
    if len(q) != len(k):
        dk, dv = k.new_empty(len(k), 2 * width).chunk(2, dim=1)
        return q.new_empty(q.shape), dk, dv
    dq, dk, dv = k.new_empty(len(k), 3 * width).chunk(3, dim=1)
    return dq, dk, dv
