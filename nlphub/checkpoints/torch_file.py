"""Weights that ``torch.save`` wrote (``pytorch_model.bin``), read without ``torch.load``: both forms, old and new.

``torch.load`` has twice run what a file wanted although it was told to read weights only (CVE-2025-32434, CVE-2026-24747). Here the pickle
goes through :mod:`nlphub.checkpoints.pickles` with a table of five names, and all sizes are compared with the bytes that are there.

The new form (torch 1.6 on) is a zip file with ``<root>/data.pkl`` and one stored member ``<root>/data/<key>`` for each storage; the old one
is five pickles and then the storages, each behind the number of its elements.
"""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from nlphub.checkpoints.pickles import Names, Unpickler
from nlphub.errors import WeightsError, brief

_STORAGES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "DoubleStorage": torch.float64,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the old form
_MOST_PICKLE = 1 << 24  # bytes of data.pkl
_MOST_TENSORS = 4096


@dataclass(frozen=True, slots=True)
class Storage:
    """A stretch of numbers that tensors share: its dtype, its key in the file, and how many numbers it has."""

    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class View:
    """A tensor in the making."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, each with memory of its own.

    Raises:
        WeightsError: the file is damaged, is no state dict, or wants more than tensors; the opcode is named.
    """
    with path.open("rb") as stream:
        found, data = _read_new(stream, path) if zipfile.is_zipfile(stream) else _read_old(stream, path)
        named = {name: view for name, view in found.items() if isinstance(view, View)} if isinstance(found, dict) else {}
        if not isinstance(found, dict) or len(named) != len(found) or not 0 < len(named) <= _MOST_TENSORS or not all(map(_is_name, named)):
            raise WeightsError(f"{path} is no state dict of torch: it has to hold a table of at most {_MOST_TENSORS} tensors by name")
        storages: dict[str, Tensor] = {}
        try:
            return {name: _tensor(view, storages, data) for name, view in named.items()}
        except (ValueError, KeyError, RuntimeError, OverflowError, EOFError, zipfile.BadZipFile, OSError) as damaged:
            raise WeightsError(f"{path} is damaged: {str(damaged)[:160]}") from damaged


def _read_new(stream: BinaryIO, path: Path) -> tuple[Any, Callable[[Storage], bytes]]:
    try:
        archive = zipfile.ZipFile(stream)
        members = {member.filename: member for member in archive.infolist()}
        (pickle,) = (name for name in members if name.endswith("/data.pkl"))
        root = pickle.removesuffix("data.pkl")
        packed = [name for name, member in members.items() if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1]
        if packed or members[pickle].file_size > _MOST_PICKLE or len(members) > 2 * _MOST_TENSORS:
            raise ValueError(f"its members are packed ({', '.join(packed[:3])[:80]}) or its data.pkl is too large")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are not little-endian")
        with archive.open(pickle) as data:
            found = Unpickler(data, path, _NAMES, _storage).load()  # type: ignore[arg-type]
    except (ValueError, KeyError, RuntimeError, OverflowError, EOFError, OSError, zipfile.BadZipFile) as damaged:
        raise WeightsError(f"{path} is damaged: no file of torch.save: {damaged}") from damaged
    return found, lambda storage: archive.read(f"{root}data/{storage.key}")


def _read_old(stream: BinaryIO, path: Path) -> tuple[Any, Callable[[Storage], bytes]]:
    reader = Unpickler(stream, path, _NAMES, _storage)
    stream.seek(0)
    head = [reader.load() for _ in range(3)] if stream.read(1) == b"\x80" and stream.seek(0) == 0 else []
    if head[:2] != [_MAGIC, _VERSION] or not isinstance(head[2], dict) or head[2].get("little_endian") is not True:
        raise WeightsError(f"{path} is no file of torch.save: neither a zip file nor its old form, little-endian")
    found, keys = reader.load(), reader.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(keys) > _MOST_TENSORS:
        raise WeightsError(f"{path} is damaged: it does not name its storages")
    places, sizes = _places(stream, keys, found)

    def data(storage: Storage) -> bytes:
        stream.seek(places[storage.key])
        return stream.read(sizes[storage.key])

    return found, data


def _places(stream: BinaryIO, keys: list[str], found: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Where each storage of the old form lies, and its bytes."""
    known = {view.storage.key: view.storage for view in found.values() if isinstance(view, View)} if isinstance(found, dict) else {}
    places, sizes, at = {}, {}, stream.tell()
    for key in (key for key in keys if key in known):
        places[key], sizes[key] = at + 8, known[key].count * known[key].dtype.itemsize
        at += 8 + sizes[key]
    return places, sizes


def _tensor(view: View, storages: dict[str, Tensor], data: Callable[[Storage], bytes]) -> Tensor:
    storage = view.storage
    if storage.key not in storages:
        raw = bytearray(data(storage))
        if len(raw) != storage.count * storage.dtype.itemsize:
            raise ValueError(f"storage {brief(storage.key)} has {len(raw):,} bytes, not {storage.count:,} of {storage.dtype}")
        storages[storage.key] = torch.frombuffer(raw, dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)
    last = view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
    if math.prod(view.shape) > storage.count or last >= max(storage.count, 1):
        raise ValueError(f"a tensor of the shape {brief(view.shape)} reaches over the {storage.count:,} numbers of its storage")
    return storages[storage.key].as_strided(view.shape, view.stride, view.offset).clone(memory_format=torch.contiguous_format)


def _view(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> View:
    """What stands for torch._utils._rebuild_tensor_v2."""
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers) or len(shape) > 8:
        raise ValueError(f"a tensor of {brief(storage)} with the shape {brief(shape)} and the stride {brief(stride)}")
    return View(storage, offset, tuple(shape), tuple(stride))


def _parameter(view: Any, *_: Any) -> Any:
    """What stands for torch._utils._rebuild_parameter."""
    return view


def _table(*items: Any) -> dict[Any, Any]:
    if any(items):
        raise ValueError(f"a table is made of {brief(items)}")
    return {}


def _storage(identity: Any) -> Storage:
    kind, make, key, _, count, *_ = identity
    if kind != "storage" or not isinstance(make, StorageType) or type(key) is not str or type(count) is not int or not 0 <= count < 1 << 40:
        raise ValueError(f"a storage is given as {brief(identity)}")
    return Storage(make.dtype, key, count)


@dataclass(frozen=True, slots=True)
class StorageType:
    """What stands for torch.FloatStorage and its like; it cannot be called."""

    dtype: torch.dtype

    def __call__(self, *_: Any) -> Any:
        """Refuse: a storage comes from the file's data only."""
        raise ValueError("a storage is made in the pickle itself")


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) < 256


_NAMES: Names = {
    ("collections", "OrderedDict"): _table,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): StorageType(dtype) for name, dtype in _STORAGES.items()},
}
