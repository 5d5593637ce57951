"""What the C library does with the memory that a training step on a CPU gives back.

A step asks for some hundred MB in blocks of MBs and frees them all. By default glibc returns such blocks, or the end of its heap, to the
system every time, and the next step waits for the kernel to clear thousands of fresh pages: 6,000 of them, 7 % of a step of a network of
4 layers. Here they are kept until the training ends. Source: mallopt(3), malloc_trim(3).
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_KEPT = 2**30  # bytes at the end of the heap: what a step of the largest networks asks for
_LARGEST = 2**25  # bytes of a block of the heap: the most that glibc takes, and what its own rule comes to after one such block
_AFTERWARDS = 2 * _LARGEST  # bytes: what that rule comes to


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Let the heap of this process keep what is freed (up to 1 GiB), for a training on a CPU; then give it back to the system.

    Nothing happens for other devices, and where the C library is not glibc.
    """
    if device.type != "cpu" or (libc := _glibc()) is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT)
    afterwards, mallopt, trim = (_TRIM_THRESHOLD, _AFTERWARDS), libc.mallopt, libc.malloc_trim  # this module may be gone by then, at exit
    try:
        yield
    finally:
        mallopt(*afterwards)
        trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        return None
    libc.malloc_trim.argtypes = [ctypes.c_size_t]
    return libc
