"""Kernels in Triton for NVIDIA GPUs. This package needs no Triton to be imported; its modules do, and :mod:`nlphub.kernels.operators` alone
loads them.

Each file holds kernels and the functions that launch them, without autograd: plain tensors in, plain tensors out. Sums along columns are
made in two stages without atomics, so two runs give the same bits.
"""

WIDEST_ROW = 8192
"""Columns of a row that one program can hold."""
