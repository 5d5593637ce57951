"""Attention kernels for one query a sequence (the last layer, where only [CLS] is wanted): sums over the keys, no matrix products.

A block of queries would be 15 parts padding of 16. Everything is float32 after the load, so these kernels are exact in every type.
Arguments as in :mod:`nlphub.kernels.triton.attention_rows`; the rows of queries, outputs and ``lse`` are numbers of sequences.
"""

import triton
import triton.language as tl

from nlphub.kernels.triton.attention_rows import LOG2_E, RUNTIME, tile
from nlphub.kernels.triton.hashing import column_keys, stays


@triton.jit(do_not_specialize=RUNTIME)
def single_forward_kernel(
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
    DROPOUT: tl.constexpr,
) -> None:
    """The output row of one sequence and head; zeros for a sequence of length 0."""
    sequence = tl.load(order + before + tl.program_id(0) // heads).to(tl.int64)
    if sequence >= rows:  # an unused place of a captured graph names a sequence behind the last one
        return
    head = tl.program_id(0) % heads
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    keys = tl.arange(0, KEYS)
    columns = tl.arange(0, PADDED)
    inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
    q = tl.load(q_rows + sequence * q_stride + head * WIDTH + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    k = tl.load(tile(k_rows, k_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0).to(tl.float32)
    v = tl.load(tile(v_rows, v_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0).to(tl.float32)
    scores = tl.where(keys < length, tl.sum(k * q[None, :], 1) * factor, -float("inf"))
    largest = tl.where(length > 0, tl.max(scores, 0), 0.0)
    weights = tl.exp2(scores - largest)
    total = tl.where(length > 0, tl.sum(weights, 0), 1.0)
    tl.store(lse + head * rows + sequence, (largest + tl.log2(total)) / LOG2_E)
    if DROPOUT:
        weights = tl.where(stays(tl.load(row_keys + sequence), column_keys((head << 16) | keys), threshold), weights * scale, 0.0)
    mixed = tl.sum(v * weights[:, None], 0) / total
    tl.store(out_rows + sequence * out_stride + head * WIDTH + columns, mixed.to(out_rows.dtype.element_ty), mask=columns < WIDTH)


@triton.jit(do_not_specialize=RUNTIME)
def single_backward_kernel(
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
    DROPOUT: tl.constexpr,
) -> None:
    """The three gradients of one sequence and head; the query's is 0 for a sequence of length 0."""
    sequence = tl.load(order + before + tl.program_id(0) // heads).to(tl.int64)
    if sequence >= rows:  # an unused place of a captured graph names a sequence behind the last one
        return
    head = tl.program_id(0) % heads
    start = tl.load(starts + sequence).to(tl.int64)
    length = tl.load(lengths + sequence)
    keys = tl.arange(0, KEYS)
    columns = tl.arange(0, PADDED)
    inside = (keys < length)[:, None] & (columns < WIDTH)[None, :]
    q = tl.load(q_rows + sequence * q_stride + head * WIDTH + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    grad = tl.load(grad_rows + sequence * grad_stride + head * WIDTH + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    v = tl.load(tile(v_rows, v_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0).to(tl.float32)
    slopes = tl.sum(v * grad[None, :], 1)
    k = tl.load(tile(k_rows, k_stride, start, head * WIDTH, keys, columns, ALIGNED), mask=inside, other=0.0).to(tl.float32)
    scores = tl.sum(k * q[None, :], 1) * factor
    weights = tl.where(keys < length, tl.exp2(scores - tl.load(lse + head * rows + sequence) * LOG2_E), 0.0)
    kept = weights
    if DROPOUT:
        stay = stays(tl.load(row_keys + sequence), column_keys((head << 16) | keys), threshold)
        kept = tl.where(stay, weights * scale, 0.0)
        slopes = tl.where(stay, slopes * scale, 0.0)
    dv = kept[:, None] * grad[None, :]
    tl.store(tile(dv_rows, dv_stride, start, head * WIDTH, keys, columns, ALIGNED), dv.to(dv_rows.dtype.element_ty), mask=inside)
    change = weights * (slopes - tl.sum(weights * slopes, 0)) * (factor / LOG2_E)
    dk = change[:, None] * q[None, :]
    tl.store(tile(dk_rows, dk_stride, start, head * WIDTH, keys, columns, ALIGNED), dk.to(dk_rows.dtype.element_ty), mask=inside)
    dq = tl.sum(change[:, None] * k, 0)
    tl.store(dq_rows + sequence * dq_stride + head * WIDTH + columns, dq.to(dq_rows.dtype.element_ty), mask=columns < WIDTH)
