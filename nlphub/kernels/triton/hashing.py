"""The shared dropout hash inside kernels: the same bits as ``row_keys``, ``column_keys`` and ``keep`` of :mod:`nlphub.kernels.reference`.

Row keys come in as int32 tensors, computed once for a batch; column keys cost two multiplications a column and are made in registers.
"""

import triton
import triton.language as tl


@triton.jit
def mixed(word: tl.tensor) -> tl.tensor:
    """``lowbias32`` of uint32 words, as the reference makes its keys."""
    word = (word ^ (word >> 16)) * 0x7FEB352D
    word = (word ^ (word >> 15)) * 0x846CA68B
    return word ^ (word >> 16)


@triton.jit
def column_keys(columns: tl.tensor) -> tl.tensor:
    """int32 keys of whole numbers, of the same shape: :func:`nlphub.kernels.reference.column_keys`."""
    return mixed(columns.to(tl.uint32) + 0x9E3779B9).to(tl.int32, bitcast=True)


@triton.jit
def stays(rows: tl.tensor, columns: tl.tensor, threshold: tl.tensor) -> tl.tensor:
    """Which values are kept, of the broadcast shape of two int32 key tensors: :func:`nlphub.kernels.reference.keep`.

    ``threshold`` is :func:`nlphub.kernels.triton.plan.threshold` of the probability.
    """
    word = (rows ^ columns) * 0x7FEB352D
    word = (word ^ (word >> 15)) * -0x7B935975  # 0x846CA68B, read as a signed number
    return word >= threshold
