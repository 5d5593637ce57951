"""numpy arrays in pickles, both ways: read as descriptions by :mod:`nlphub.checkpoints.pickles`, written opcode by opcode.

The forms are numpy's own ``ndarray.__reduce__`` of versions 1 and 2 (protocols 2 to 5). Arrays of objects are refused.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nlphub.checkpoints.pickles import Names, Unpickler
from nlphub.errors import WeightsError, brief

Array = NDArray[Any]

_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1")
_MOST_DIMENSIONS = 8
_PROTOCOL = 4


class Dtype:
    """A numpy dtype in the making."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in _TYPES:
            raise ValueError(f"the dtype {brief(code)} is none of plain numbers ({', '.join(_TYPES)})")
        self.code, self.order = code, "<"

    def build(self, state: Any) -> None:
        """Its byte order."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"a dtype with the state {brief(state)} is none of plain numbers")
        self.order = "<" if state[1] in ("|", "=") else state[1]

    @property
    def real(self) -> "np.dtype[Any]":
        """The dtype."""
        found: np.dtype[Any] = np.dtype(f"{self.order}{self.code}")
        return found


class Pickled:
    """A numpy array in the making."""

    def __init__(self, *_: Any) -> None:
        self.array: Array | None = None

    def build(self, state: Any) -> None:
        """``(version, shape, dtype, column-major, bytes)``."""
        _, shape, dtype, by_columns, data = state
        self.array = _array(data, dtype, shape, "F" if by_columns else "C")


def arrays_in(value: Any) -> Any:
    """An array for a description of one; anything else as it is."""
    if isinstance(value, Pickled):
        if value.array is None:
            raise ValueError("an array has no content")
        return value.array
    return value


def read_pickle(path: Path) -> Any:
    """The plain data of a pickle: numbers, texts, tables and arrays (as :class:`Pickled`, for :func:`arrays_in`).

    Raises:
        WeightsError: it is damaged or wants more than that; the opcode is named.
    """
    with path.open("rb") as stream:
        reader = Unpickler(stream, path, NAMES)
        value = reader.load()
        if stream.read(1):
            raise WeightsError(f"{path} is damaged: bytes stand behind the end of its pickle")
    return value


def write_pickle(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """A pickle (protocol 4) of a table of float32 arrays, as ``paddle.save`` of a state dict writes it. Equal arrays give equal bytes."""
    stream.write(struct.pack("<BB", 0x80, _PROTOCOL) + b"}(")  # PROTO, EMPTY_DICT, MARK
    for name, array in arrays.items():
        stream.write(_text(name))
        for part in _parts(array):
            stream.write(part)
    stream.write(b"u.")  # SETITEMS, STOP


def _parts(array: Array) -> Iterator[bytes]:
    """One array: _reconstruct(ndarray, (0,), b'b') with the state (1, shape, dtype, False, bytes)."""
    data = np.ascontiguousarray(array, "<f4").tobytes()
    yield b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    yield b"(K\x01(" + b"".join(struct.pack("<Bi", ord("J"), size) for size in array.shape) + b"t"
    yield b"cnumpy\ndtype\n(" + _text("f4") + b"\x89\x88tR(K\x03" + _text("<") + b"NNN" + struct.pack("<BiBi", ord("J"), -1, ord("J"), -1)
    yield b"K\x00tb\x89\x8e" + struct.pack("<Q", len(data))  # BUILD, False, BINBYTES8
    yield data
    yield b"tb"


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(data)) + data


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, Dtype) or not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"an array of {brief(dtype)} and the shape {brief(shape)} is none of plain numbers")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(raw, bytes | bytearray):
        raise ValueError(f"an array has {brief(type(raw).__name__)} instead of bytes as its content")
    sizes = all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
    if not sizes or math.prod(shape) * dtype.real.itemsize != len(raw):
        raise ValueError(f"an array of the shape {brief(shape)} and {dtype.code} has {len(raw):,} bytes")
    if order not in ("C", "F"):
        raise ValueError(f"an array has the order {brief(order)}")
    return np.frombuffer(raw, dtype.real).reshape(shape, order=order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Pickled:
    """numpy's form of protocol 5."""
    found = Pickled()
    found.array = _array(data, dtype, shape, order)
    return found


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, (), "C").item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes are given as {brief(text)} in {brief(encoding)}")
    return text.encode("latin-1")


def _no_bytes(*items: Any) -> bytes:
    if items:
        raise ValueError(f"bytes are made of {brief(items)}")
    return b""


def _table(*items: Any) -> dict[Any, Any]:
    if any(items):
        raise ValueError(f"a table is made of {brief(items)}")
    return {}


def _group(*items: Any) -> tuple[Any, ...]:
    if len(items) > 1 or (items and type(items[0]) not in (tuple, list)):
        raise ValueError(f"a group is made of {brief(items)}")
    return tuple(items[0]) if items else ()


def _unordered(*items: Any) -> set[Any]:
    members = _group(*items)
    if not all(type(member) in (str, int) for member in members):
        raise ValueError("a set holds something other than texts and numbers")
    return set(members)


NAMES: Names = {
    ("collections", "OrderedDict"): _table,
    ("builtins", "tuple"): _group,
    ("__builtin__", "tuple"): _group,
    ("builtins", "set"): _unordered,
    ("__builtin__", "set"): _unordered,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _no_bytes,  # how protocol 2 says b""
    ("numpy", "ndarray"): Pickled,
    ("numpy", "dtype"): Dtype,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", Pickled),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}
