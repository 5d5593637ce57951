"""Arrays in a file: written whole in the safetensors format, read by memory map behind a bounded header.

The safetensors library orders a file's metadata at random and maps nothing; here equal arrays give equal bytes, and opening a file of
gigabytes costs its header. Any reader of safetensors opens these files.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub import files
from nlphub.errors import DataError

Array = NDArray[Any]

MAX_HEADER = 1 << 16  # bytes
MAX_ARRAYS = 64
_ALIGNMENT = 8  # bytes; arrays start at multiples of their own item size
_NAMES = {"uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "int64": "I64"}
_TYPES = {name: np.dtype(kind).newbyteorder("<") for kind, name in _NAMES.items()}


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Publish arrays; equal arrays and metadata give equal bytes.

    Args:
        arrays: by name; of 8 to 64 bits, unsigned, or int64.
    """
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        header[name] = {"dtype": _NAMES[arrays[name].dtype.name], "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with files.publish(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            little = np.ascontiguousarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"))
            stream.write(little.reshape(-1).view(np.uint8).data)


def open_arrays(path: Path, expected: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, Array], dict[str, str]]:
    """Map the arrays of a file into memory, read-only, and read its metadata.

    Args:
        expected: name -> dtypes it may have, for every array of the file.

    Raises:
        DataError: the file is missing, damaged, or holds other arrays.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            text = stream.read(length) if 2 <= length <= MAX_HEADER else b""
        entries, metadata = _header(text)
        _check_names(entries, expected)
        size = _check_extents(entries)
        if path.stat().st_size != 8 + length + size:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, and by its header {8 + length + size:,}")
        raw = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length, shape=(size,)) if size else np.empty(0, np.uint8)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise DataError(f"{path} is not readable: {wrong}. Make it again with `nlphub pretrain-data`.") from wrong
    return {name: _view(raw, entry) for name, entry in entries.items()}, metadata


def _view(raw: Array, entry: Mapping[str, Any]) -> Array:
    begin, end = entry["data_offsets"]
    view: Array = np.asarray(raw[begin:end]).view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    view.setflags(write=False)
    return view


def _header(text: bytes) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    if not text:
        raise ValueError(f"it is no file of arrays: its header is empty or above {MAX_HEADER:,} bytes")
    header = json.loads(text.decode("utf-8"))
    if not isinstance(header, dict) or len(header) > MAX_ARRAYS:
        raise ValueError("its header is no table of arrays")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is no table of texts")
    if wrong := [name for name, entry in header.items() if not _is_entry(entry)]:
        raise ValueError(f"it describes {', '.join(map(repr, wrong[:5]))} wrongly")
    return header, metadata


def _check_names(entries: Mapping[str, Mapping[str, Any]], expected: Mapping[str, tuple[str, ...]]) -> None:
    if entries.keys() != expected.keys():
        raise ValueError(f"it holds the arrays {sorted(entries)}, not {sorted(expected)}")
    for name, kinds in expected.items():
        if entries[name]["dtype"] not in {_NAMES[kind] for kind in kinds}:
            raise ValueError(f"its {name} are {entries[name]['dtype']}, not {' or '.join(kinds)}")


def _check_extents(entries: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes of all arrays, which have to lie one behind the other from 0 on."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        if begin != end or stop - begin != math.prod(entry["shape"]) * _TYPES[entry["dtype"]].itemsize:
            raise ValueError(f"the bytes {begin} to {stop} of its {name} overlap, leave a gap or have another size")
        end = stop
    return end


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"dtype", "shape", "data_offsets"}
        and entry["dtype"] in _TYPES
        and all(
            isinstance(entry[key], list) and all(type(n) is int and 0 <= n < 1 << 48 for n in entry[key]) for key in entry if key != "dtype"
        )
        and len(entry["data_offsets"]) == 2
        and len(entry["shape"]) <= 2
    )
