"""Attention kernels for sequences of up to 256 tokens: every program has all keys of one sequence and head on the chip.

One product of a block of queries with all keys gives whole rows of scores, so the softmax is the plain one: no running maximum, nothing
rescaled. Sums have one order, nothing is added through memory: the same input gives the same bits. Products are of the input's type with
float32 sums; scores, softmax and the gradients' sums are float32. Dropout is the hash of the place (:mod:`nlphub.kernels.triton.hashing`).

Notation of shapes: ``[Q, N]`` a block of queries by all keys, ``[N, K]`` all keys by the width of a head; both rounded up to powers of two,
and masked where they exceed ``length`` and ``WIDTH``.

Arguments that all kernels share: ``starts``, ``lengths``, ``order`` of :class:`nlphub.kernels.layout.Places`, where ``before`` entries of
``order`` belong to shorter sequences; a ``..._stride`` is elements from one row to the next, all multiples of ``ALIGNED``; ``rows`` are the
rows of all queries; ``factor`` is ``log2(e) / sqrt(width)``; ``threshold`` and ``scale`` belong to dropout; ``KEYS``, ``QUERIES``, ``EACH``
come from :mod:`nlphub.kernels.triton.plan`; ``PADDED`` is ``WIDTH`` rounded up.
"""

import triton
import triton.language as tl

from nlphub.kernels.triton.hashing import column_keys, stays

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)
RUNTIME = ("before", "rows", "threshold")  # whole numbers that change from step to step: no kernel is compiled anew for a value


@triton.jit
def tile(
    rows: tl.tensor, stride: tl.tensor, start: tl.tensor, first: tl.tensor, places: tl.tensor, columns: tl.tensor, ALIGNED: tl.constexpr
) -> tl.tensor:
    """Pointers ``[places, columns]`` to one head of one sequence: only the first row's offset can exceed 31 bits."""
    begin = tl.multiple_of(start * stride, ALIGNED)
    return rows + begin + first + tl.multiple_of(places[:, None] * stride, (ALIGNED, ALIGNED)) + columns[None, :]


@triton.jit(do_not_specialize=RUNTIME)
def forward_kernel(
    q_rows: tl.tensor,
    k_rows: tl.tensor,
    v_rows: tl.tensor,
    out_rows: tl.tensor,
    lse: tl.tensor,
    starts: tl.tensor,
    lengths: tl.tensor,
    order: tl.tensor,
    row_keys: tl.tensor,
    q_stride: tl.tensor,
    k_stride: tl.tensor,
    v_stride: tl.tensor,
    out_stride: tl.tensor,
    before: tl.tensor,
    rows: tl.tensor,
    heads: tl.tensor,
    factor: tl.tensor,
    threshold: tl.tensor,
    scale: tl.tensor,
    ALIGNED: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    KEYS: tl.constexpr,
    QUERIES: tl.constexpr,
    EACH: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``softmax(q k^T / sqrt(width)) v`` and its logarithms of sums, ``EACH`` heads of one sequence after the other."""
    groups = tl.cdiv(heads, EACH)
    sequence = tl.load(order + before + tl.program_id(0) // groups)
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    keys = tl.arange(0, KEYS)
    columns = tl.arange(0, PADDED)
    inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
    for i in range(EACH):
        head = (tl.program_id(0) % groups) * EACH + i
        if head < heads:
            k = tl.load(tile(k_rows, k_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
            v = tl.load(tile(v_rows, v_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
            for first in range(0, length, QUERIES):
                queries = first + tl.arange(0, QUERIES)
                asked = (queries < length)[:, None] & (columns < WIDTH)[None, :]
                q = tl.load(tile(q_rows, q_stride, start, head * WIDTH, queries, columns, ALIGNED), mask=asked, other=0.0)
                scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * factor
                scores = tl.where((keys < length)[None, :], scores, -float("inf"))
                largest = tl.max(scores, 1)
                weights = tl.exp2(scores - largest[:, None])
                total = tl.sum(weights, 1)
                tl.store(lse + head * rows + start + queries, (largest + tl.log2(total)) / LOG2_E, mask=queries < length)
                inverse = 1.0 / total
                if DROPOUT:
                    drawn = tl.load(row_keys + start + queries, mask=queries < length, other=0)
                    weights = tl.where(stays(drawn[:, None], column_keys((head << 16) | keys)[None, :], threshold), weights, 0.0)
                    inverse = inverse * scale
                mixed = tl.dot(weights.to(v.dtype), v, input_precision=PRECISION) * inverse[:, None]
                target = tile(out_rows, out_stride, start, head * WIDTH, queries, columns, ALIGNED)
                tl.store(target, mixed.to(out_rows.dtype.element_ty), mask=asked)


@triton.jit
def block(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    grad: tl.tensor,
    lse: tl.tensor,
    drawn: tl.tensor,
    columns: tl.tensor,
    inside: tl.tensor,
    factor: tl.tensor,
    threshold: tl.tensor,
    scale: tl.tensor,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """Of a block ``[Q, N]``: the probabilities, the same after dropout, and the gradient of the latter carried back through dropout."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * factor
    weights = tl.where(inside[None, :], tl.exp2(scores - lse[:, None] * LOG2_E), 0.0)
    slopes = tl.dot(grad, tl.trans(v), input_precision=PRECISION)
    if DROPOUT:
        kept = stays(drawn[:, None], columns[None, :], threshold)
        return weights, tl.where(kept, weights * scale, 0.0), tl.where(kept, slopes * scale, 0.0)
    return weights, weights, slopes


@triton.jit(do_not_specialize=RUNTIME)
def backward_kernel(
    grad_rows: tl.tensor,
    q_rows: tl.tensor,
    k_rows: tl.tensor,
    v_rows: tl.tensor,
    lse: tl.tensor,
    dq_rows: tl.tensor,
    dk_rows: tl.tensor,
    dv_rows: tl.tensor,
    starts: tl.tensor,
    lengths: tl.tensor,
    order: tl.tensor,
    row_keys: tl.tensor,
    grad_stride: tl.tensor,
    q_stride: tl.tensor,
    k_stride: tl.tensor,
    v_stride: tl.tensor,
    dq_stride: tl.tensor,
    dk_stride: tl.tensor,
    dv_stride: tl.tensor,
    before: tl.tensor,
    rows: tl.tensor,
    heads: tl.tensor,
    factor: tl.tensor,
    threshold: tl.tensor,
    scale: tl.tensor,
    ALIGNED: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    KEYS: tl.constexpr,
    QUERIES: tl.constexpr,
    EACH: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """All three gradients in one pass: those of keys and values are summed in registers over the blocks of queries and written once.

    The sum of probability times slope of a row is taken in registers (the whole row is there), so neither the output nor a first pass is
    needed.
    """
    groups = tl.cdiv(heads, EACH)
    sequence = tl.load(order + before + tl.program_id(0) // groups)
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    keys = tl.arange(0, KEYS)
    columns = tl.arange(0, PADDED)
    inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
    for i in range(EACH):
        head = (tl.program_id(0) % groups) * EACH + i
        if head < heads:
            k = tl.load(tile(k_rows, k_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
            v = tl.load(tile(v_rows, v_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
            dk = tl.zeros((KEYS, PADDED), tl.float32)
            dv = tl.zeros((KEYS, PADDED), tl.float32)
            for first in range(0, length, QUERIES):
                queries = first + tl.arange(0, QUERIES)
                asked = (queries < length)[:, None] & (columns < WIDTH)[None, :]
                q = tl.load(tile(q_rows, q_stride, start, head * WIDTH, queries, columns, ALIGNED), mask=asked, other=0.0)
                grad = tl.load(tile(grad_rows, grad_stride, start, head * WIDTH, queries, columns, ALIGNED), mask=asked, other=0.0)
                sums = tl.load(lse + head * rows + start + queries, mask=queries < length, other=float("inf"))
                drawn = tl.load(row_keys + start + queries, mask=queries < length, other=0) if DROPOUT else queries
                weights, kept, slopes = block(
                    q,
                    k,
                    v,
                    grad,
                    sums,
                    drawn,
                    column_keys((head << 16) | keys),
                    keys < length,
                    factor,
                    threshold,
                    scale,
                    DROPOUT,
                    PRECISION,
                )
                dv = tl.dot(tl.trans(kept.to(grad.dtype)), grad, dv, input_precision=PRECISION)
                mean = tl.sum(weights * slopes, 1)
                change = (weights * (slopes - mean[:, None]) * (factor / LOG2_E)).to(q.dtype)
                dk = tl.dot(tl.trans(change), q, dk, input_precision=PRECISION)
                dq = tl.dot(change, k, input_precision=PRECISION)
                target = tile(dq_rows, dq_stride, start, head * WIDTH, queries, columns, ALIGNED)
                tl.store(target, dq.to(dq_rows.dtype.element_ty), mask=asked)
            target = tile(dk_rows, dk_stride, start, head * WIDTH, keys, columns, ALIGNED)
            tl.store(target, dk.to(dk_rows.dtype.element_ty), mask=inside)
            target = tile(dv_rows, dv_stride, start, head * WIDTH, keys, columns, ALIGNED)
            tl.store(target, dv.to(dv_rows.dtype.element_ty), mask=inside)
