"""Attention kernels for tiles that do not fit on the chip whole: wide heads, long sequences, float32. Keys come in blocks.

The forward pass keeps a running maximum (Dao et al., 2022). The backward pass is two kernels: gradients of the queries, which go over the
keys twice (the sum of probability times slope of a row is needed before the first gradient), and gradients of keys and values. Nothing is
added through memory here either. Any length will do. Arguments as in :mod:`nlphub.kernels.triton.attention_rows`, but ``KEYS`` is a block
of keys, and ``blocks`` programs share a sequence and head; those behind the end of a sequence return at once.
"""

import triton
import triton.language as tl

from nlphub.kernels.triton.attention_rows import LOG2_E, RUNTIME, block, tile
from nlphub.kernels.triton.hashing import column_keys, stays


@triton.jit(do_not_specialize=RUNTIME)
def forward_blocks_kernel(
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
    blocks: tl.tensor,
    factor: tl.tensor,
    threshold: tl.tensor,
    scale: tl.tensor,
    ALIGNED: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    KEYS: tl.constexpr,
    QUERIES: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Outputs and logarithms of sums of one block of queries."""
    sequence = tl.load(order + before + tl.program_id(0) // (heads * blocks))
    head = tl.program_id(0) // blocks % heads
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    begin = tl.program_id(0) % blocks * QUERIES
    if begin >= length:
        return
    queries = begin + tl.arange(0, QUERIES)
    columns = tl.arange(0, PADDED)
    asked = (queries < length)[:, None] & (columns < WIDTH)[None, :]
    q = tl.load(tile(q_rows, q_stride, start, head * WIDTH, queries, columns, ALIGNED), mask=asked, other=0.0)
    drawn = tl.load(row_keys + start + queries, mask=queries < length, other=0) if DROPOUT else queries
    largest = tl.full((QUERIES,), -float("inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    mixed = tl.zeros((QUERIES, PADDED), tl.float32)
    for first in range(0, length, KEYS):
        keys = first + tl.arange(0, KEYS)
        inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
        k = tl.load(tile(k_rows, k_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
        v = tl.load(tile(v_rows, v_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * factor
        scores = tl.where((keys < length)[None, :], scores, -float("inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp2(scores - larger[:, None])
        shrunk = tl.exp2(largest - larger)
        total = total * shrunk + tl.sum(weights, 1)
        if DROPOUT:
            weights = tl.where(stays(drawn[:, None], column_keys((head << 16) | keys)[None, :], threshold), weights * scale, 0.0)
        mixed = tl.dot(weights.to(v.dtype), v, mixed * shrunk[:, None], input_precision=PRECISION)
        largest = larger
    tl.store(lse + head * rows + start + queries, (largest + tl.log2(total)) / LOG2_E, mask=queries < length)
    target = tile(out_rows, out_stride, start, head * WIDTH, queries, columns, ALIGNED)
    tl.store(target, (mixed / total[:, None]).to(out_rows.dtype.element_ty), mask=asked)


@triton.jit(do_not_specialize=RUNTIME)
def queries_kernel(
    grad_rows: tl.tensor,
    q_rows: tl.tensor,
    k_rows: tl.tensor,
    v_rows: tl.tensor,
    lse: tl.tensor,
    means: tl.tensor,
    dq_rows: tl.tensor,
    starts: tl.tensor,
    lengths: tl.tensor,
    order: tl.tensor,
    row_keys: tl.tensor,
    grad_stride: tl.tensor,
    q_stride: tl.tensor,
    k_stride: tl.tensor,
    v_stride: tl.tensor,
    dq_stride: tl.tensor,
    before: tl.tensor,
    rows: tl.tensor,
    heads: tl.tensor,
    blocks: tl.tensor,
    factor: tl.tensor,
    threshold: tl.tensor,
    scale: tl.tensor,
    ALIGNED: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    KEYS: tl.constexpr,
    QUERIES: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Gradients of one block of queries; ``means`` ``(h, rows)`` for :func:`keys_kernel`."""
    sequence = tl.load(order + before + tl.program_id(0) // (heads * blocks))
    head = tl.program_id(0) // blocks % heads
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    begin = tl.program_id(0) % blocks * QUERIES
    if begin >= length:
        return
    queries = begin + tl.arange(0, QUERIES)
    columns = tl.arange(0, PADDED)
    asked = (queries < length)[:, None] & (columns < WIDTH)[None, :]
    q = tl.load(tile(q_rows, q_stride, start, head * WIDTH, queries, columns, ALIGNED), mask=asked, other=0.0)
    grad = tl.load(tile(grad_rows, grad_stride, start, head * WIDTH, queries, columns, ALIGNED), mask=asked, other=0.0)
    sums = tl.load(lse + head * rows + start + queries, mask=queries < length, other=float("inf"))
    drawn = tl.load(row_keys + start + queries, mask=queries < length, other=0) if DROPOUT else queries
    mean = tl.zeros((QUERIES,), tl.float32)
    dq = tl.zeros((QUERIES, PADDED), tl.float32)
    for turn in range(2):
        for first in range(0, length, KEYS):
            keys = first + tl.arange(0, KEYS)
            inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
            k = tl.load(tile(k_rows, k_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
            v = tl.load(tile(v_rows, v_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0)
            weights, _, slopes = block(
                q, k, v, grad, sums, drawn, column_keys((head << 16) | keys), keys < length, factor, threshold, scale, DROPOUT, PRECISION
            )
            if turn == 0:
                mean += tl.sum(weights * slopes, 1)
            else:
                change = (weights * (slopes - mean[:, None]) * (factor / LOG2_E)).to(q.dtype)
                dq = tl.dot(change, k, dq, input_precision=PRECISION)
    tl.store(means + head * rows + start + queries, mean, mask=queries < length)
    target = tile(dq_rows, dq_stride, start, head * WIDTH, queries, columns, ALIGNED)
    tl.store(target, dq.to(dq_rows.dtype.element_ty), mask=asked)


@triton.jit(do_not_specialize=RUNTIME)
def keys_kernel(
    grad_rows: tl.tensor,
    q_rows: tl.tensor,
    k_rows: tl.tensor,
    v_rows: tl.tensor,
    lse: tl.tensor,
    means: tl.tensor,
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
    dk_stride: tl.tensor,
    dv_stride: tl.tensor,
    before: tl.tensor,
    rows: tl.tensor,
    heads: tl.tensor,
    blocks: tl.tensor,
    factor: tl.tensor,
    threshold: tl.tensor,
    scale: tl.tensor,
    ALIGNED: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    KEYS: tl.constexpr,
    QUERIES: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Gradients of one block of keys and values; ``means`` of :func:`queries_kernel`."""
    sequence = tl.load(order + before + tl.program_id(0) // (heads * blocks))
    head = tl.program_id(0) // blocks % heads
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    begin = tl.program_id(0) % blocks * KEYS
    if begin >= length:
        return
    keys = begin + tl.arange(0, KEYS)
    columns = tl.arange(0, PADDED)
    inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
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
        mean = tl.load(means + head * rows + start + queries, mask=queries < length, other=0.0)
        drawn = tl.load(row_keys + start + queries, mask=queries < length, other=0) if DROPOUT else queries
        weights, kept, slopes = block(
            q, k, v, grad, sums, drawn, column_keys((head << 16) | keys), keys < length, factor, threshold, scale, DROPOUT, PRECISION
        )
        dv = tl.dot(tl.trans(kept.to(grad.dtype)), grad, dv, input_precision=PRECISION)
        change = (weights * (slopes - mean[:, None]) * (factor / LOG2_E)).to(q.dtype)
        dk = tl.dot(tl.trans(change), q, dk, input_precision=PRECISION)
    tl.store(tile(dk_rows, dk_stride, start, head * WIDTH, keys, columns, ALIGNED), dk.to(dk_rows.dtype.element_ty), mask=inside)
    tl.store(tile(dv_rows, dv_stride, start, head * WIDTH, keys, columns, ALIGNED), dv.to(dv_rows.dtype.element_ty), mask=inside)
