"""How the kernels in C++ are called."""

import ctypes

from torch import Tensor

from nlphub.kernels.native import build

long = ctypes.c_long


def at(tensor: Tensor) -> ctypes.c_void_p:
    """Where its numbers begin."""
    return ctypes.c_void_p(tensor.data_ptr())


def library() -> ctypes.CDLL:
    """The kernels, which are there: only the route in C++ calls them, and it asks first."""
    found = build.library()
    assert found is not None
    return found
