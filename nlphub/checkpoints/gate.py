"""The gate before a weights file: its header is read and judged by us before any tensor is made.

A safetensors file is 8 bytes of header length, a JSON header ``{name: {dtype, shape, data_offsets}}`` and the data, little-endian. Only of
a file that holds exactly the expected tensors, without gaps, overlaps or anything behind them, is the data read: into tensors whose sizes
the network has asked for, whatever the file says of others. (The safetensors library would read all of it; a test compares with it.)
Files in a compact form (:mod:`nlphub.checkpoints.compact`) pass the same way and are expanded behind it.

:func:`fill_tensors` needs no memory besides the network's own: the file is mapped, judged piece by piece and then copied piece by piece,
and pages that were read are given back. The network does not keep the mapping: a file that is cut off later would end the process, and
products of unaligned weights may round otherwise.
"""

import io
import json
import math
import mmap
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nlphub.checkpoints.compact import Shape, Stored, dtypes, expand, form_of, layout
from nlphub.errors import WeightsError, brief

_MAX_HEADER = 1 << 20  # bytes; the header of a 24-layer encoder has about 40,000
_MAX_TENSORS = 4096
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I8": torch.int8, "I64": torch.int64}
_SHOWN = 8  # names listed in a message
_PIECE = 1 << 16  # elements of a plain tensor that are looked at together

_BAIDU_SHAPE = (50006, 1024)  # the word embedding of Baidu's ernie-tiny
_PADDLE = re.compile(r"(^|\.)(self_attn\.q_proj|layers\.\d+\.linear1|layer_norm)\.|^(word_embedding|encoder_layer_\d+_)")
_HUGGING_FACE = re.compile(r"(^|\.)(embeddings\.word_embeddings|encoder\.layer\.\d+)\.")
Header = dict[str, dict[str, Any]]


def read_tensors(
    path: Path, expected: Mapping[str, Shape], *, ignore: tuple[str, ...] = (), strict: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The tensors ``expected`` of a safetensors file; float32 when it is in a compact form, else as they are stored.

    Args:
        expected: name -> shape of every tensor that has to be there.
        ignore: beginnings of the names of further tensors that may be there; they are not returned.
        strict: beginnings within those of ``ignore`` that are not ignored.

    Raises:
        WeightsError: the file is damaged or is another model's; the message names missing, extra and misshapen tensors.
    """
    with _judged(path, expected, ignore, strict) as source:
        stored = {name: _read_tensor(source.stream, source.start, source.header[name], path) for name in layout(expected, source.form)}
    try:
        tensors = expand(stored, expected, source.form)
    except ValueError as wrong:
        raise _damaged(path, wrong) from wrong
    _check_finite(path, tensors)
    return tensors


def fill_tensors(path: Path, targets: Mapping[str, Tensor], *, ignore: tuple[str, ...] = (), strict: tuple[str, ...] = ()) -> None:
    """Copy the tensors of a safetensors file into ``targets``, which are untouched when anything does not fit.

    Args:
        targets: name -> contiguous tensor on any device.
        ignore, strict: as :func:`read_tensors`.

    Raises:
        WeightsError: as :func:`read_tensors`.
    """
    expected: dict[str, Shape] = {name: tuple(tensor.shape) for name, tensor in targets.items()}
    with _judged(path, expected, ignore, strict) as source, torch.no_grad():
        found = source.mapped(expected)
        wild = {name for name, _, piece in found if not piece.isfinite().all()}
        _refuse_wild(path, [name for name in expected if name in wild])
        for name, first, piece in source.mapped(expected):
            targets[name].view(-1)[first : first + piece.numel()].copy_(piece)


def read_foreign(path: Path, *, skip: re.Pattern[str]) -> dict[str, Tensor]:
    """All tensors of another library's safetensors file, as they are stored: never more bytes than the file has.

    Args:
        skip: names of buffers that are not read; they alone may be whole numbers.

    Raises:
        WeightsError: the file is damaged or in a form of ours.
    """
    with path.open("rb") as stream:
        header, start, form = _read_header(stream, path, buffers=skip)
        if form is not None:
            raise WeightsError(f"{path} holds weights of nlphub in the form {form}, not another library's: open it with hub.Module")
        _check_data(stream, path, header, start)
        tensors = {name: _read_tensor(stream, start, header[name], path) for name in header if not skip.search(name)}
    _check_finite(path, tensors)
    return tensors


def names_in(path: Path, *, buffers: re.Pattern[str] | None = None) -> set[str]:
    """The names of all tensors of a safetensors file, by its header alone.

    Args:
        buffers: names of those that may be whole numbers.

    Raises:
        WeightsError: the header is damaged.
    """
    with path.open("rb") as stream:
        return set(_read_header(stream, path, buffers=buffers)[0])


def check_shapes(path: Path, found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
    """Compare names and shapes of tensors that were converted.

    Raises:
        WeightsError: they differ; the message names missing, extra and misshapen tensors.
    """
    _check_names(path, {name: {"shape": shape} for name, shape in found.items()}, layout(expected, None))


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """An open file whose header fits.

    Attributes:
        start: byte of the file where the data begin.
    """

    path: Path
    stream: io.BufferedReader
    header: Header
    start: int
    form: str | None

    def mapped(self, expected: Mapping[str, Shape]) -> Iterator[tuple[str, int, Tensor]]:
        """Name, number of the first element and the elements, flat, of one piece after another; a piece lasts until the next one."""
        with mmap.mmap(self.stream.fileno(), 0, access=mmap.ACCESS_COPY) as mapping:
            for name, shape in expected.items():
                yield from self._plain(mapping, name) if self.form is None else self._expanded(name, shape)

    def _plain(self, mapping: mmap.mmap, name: str) -> Iterator[tuple[str, int, Tensor]]:
        dtype, (begin, end) = _DTYPES[self.header[name]["dtype"]], self.header[name]["data_offsets"]
        for first in range(0, (end - begin) // dtype.itemsize, _PIECE):
            at = self.start + begin + first * dtype.itemsize
            size = min(_PIECE * dtype.itemsize, self.start + end - at)
            # a copy where the file's elements do not lie on multiples of their size, and so that nothing points into the mapping later
            yield name, first, torch.frombuffer(bytearray(mapping[at : at + size]), dtype=dtype)
            _forget(mapping, at, size)

    def _expanded(self, name: str, shape: Shape) -> Iterator[tuple[str, int, Tensor]]:
        parts = {part: _read_tensor(self.stream, self.start, self.header[part], self.path) for part in layout({name: shape}, self.form)}
        try:
            yield name, 0, expand(parts, {name: shape}, self.form)[name].flatten()
        except ValueError as wrong:
            raise _damaged(self.path, wrong) from wrong


@contextmanager
def _judged(path: Path, expected: Mapping[str, Shape], ignore: tuple[str, ...], strict: tuple[str, ...]) -> Iterator[_Source]:
    """The file, opened once: what was judged is what is loaded. Arguments as :func:`read_tensors`."""
    with path.open("rb") as stream:
        header, start, form = _read_header(stream, path)
        wanted = layout(expected, form)
        ignored = {name for name in header.keys() - wanted.keys() if name.startswith(ignore) and not (strict and name.startswith(strict))}
        _check_names(path, {name: entry for name, entry in header.items() if name not in ignored}, wanted)
        _check_data(stream, path, header, start)
        yield _Source(path, stream, header, start, form)


def _forget(mapping: mmap.mmap, at: int, size: int) -> None:
    """Give the pages that lie wholly in front of the end of a piece back, where the system takes them."""
    if hasattr(mapping, "madvise"):
        first, last = -(-at // mmap.PAGESIZE), (at + size) // mmap.PAGESIZE
        if last > first:
            mapping.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)


def _damaged(path: Path, wrong: ValueError) -> WeightsError:
    return WeightsError(f"{path} is damaged: {wrong}. Fetch or make these weights again.")


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    _refuse_wild(path, [name for name, tensor in tensors.items() if not tensor.isfinite().all()])


def _refuse_wild(path: Path, wild: list[str]) -> None:
    if wild:
        raise WeightsError(f"{path} holds values that are not finite in {_listed(wild)}. Train or fetch these weights again.")


def _read_header(stream: io.BufferedReader, path: Path, *, buffers: re.Pattern[str] | None = None) -> tuple[Header, int, str | None]:
    """Descriptions of all tensors, where the data start, and the form in which they are stored. ``buffers`` may be whole numbers."""
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= _MAX_HEADER:
        raise WeightsError(f"{path} is no safetensors file: it announces a header of {length:,} bytes (at most {_MAX_HEADER:,} are read)")
    raw = stream.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as broken:
        raise WeightsError(f"{path} is no safetensors file: its header is not valid JSON ({broken})") from broken
    if not isinstance(header, dict) or len(header) > _MAX_TENSORS:
        raise WeightsError(f"{path} is no weights file of ours: the header must be a table of at most {_MAX_TENSORS} tensors")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise WeightsError(f"{path} gives its texts about the file wrongly: __metadata__ is {brief(metadata)}")
    try:
        form = form_of(metadata)
    except ValueError as unknown:
        raise WeightsError(f"{path} cannot be read: {unknown}") from unknown
    allowed = [name for name, dtype in _DTYPES.items() if dtype in dtypes(form)]
    whole = [*allowed, "I64"]
    if wrong := [name for name, entry in header.items() if not _is_entry(entry, whole if buffers and buffers.search(name) else allowed)]:
        raise WeightsError(f"{path} describes tensors wrongly: {_listed(wrong)} (dtypes are {', '.join(sorted(allowed))})")
    return header, 8 + length, form


def _check_names(path: Path, header: Header, expected: Stored) -> None:
    found: dict[str, Shape] = {name: tuple(entry["shape"]) for name, entry in header.items()}
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    both = [(name, *expected[name]) for name in sorted(expected) if name in found]
    differing = [f"{name} {found[name]} instead of {shape}" for name, shape, _ in both if found[name] != shape]
    others = [f"{name} {header[name]['dtype']}" for name, _, dtype in both if dtype and _DTYPES[header[name]["dtype"]] != dtype]
    if not (missing or extra or differing or others):
        return
    kinds = (("missing", missing), ("not expected", extra), ("of another shape", differing), ("of another dtype than its form's", others))
    lines = [f"  - {kind}: {_listed(names)}" for kind, names in kinds if names]
    raise WeightsError("\n".join([f"{path} does not fit this network:", *lines, *_origin(found)]))


def _check_data(stream: io.BufferedReader, path: Path, header: Header, start: int) -> None:
    """All tensors have to lie one behind the other from ``start`` to the end of the file."""
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: (item[1]["data_offsets"], item[0])):
        begin, stop = entry["data_offsets"]
        if begin != end or stop - begin != math.prod(entry["shape"]) * _DTYPES[entry["dtype"]].itemsize:
            raise WeightsError(f"{path} is damaged: the bytes {begin} to {stop} of {name[:80]!r} overlap, leave a gap or have another size")
        end = stop
    if os.fstat(stream.fileno()).st_size != start + end:
        raise WeightsError(f"{path} must end after {start + end:,} bytes by its header, and does not: it was cut off or appended to")


def _read_tensor(stream: io.BufferedReader, start: int, entry: Mapping[str, Any], path: Path) -> Tensor:
    """One tensor of a file whose data start at ``start``."""
    begin, stop = entry["data_offsets"]
    tensor = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]])
    memory = tensor.flatten().view(torch.uint8).numpy().data
    stream.seek(start + begin)
    if stream.readinto(memory) != stop - begin:
        raise WeightsError(f"{path} was changed while it was read; run the command again")
    return tensor


def _origin(found: Mapping[str, Shape]) -> list[str]:
    """Where weights with such names come from, when we can tell, and what to do with them."""
    if _BAIDU_SHAPE in found.values():
        return [baidu_hint()]
    if any(map(_HUGGING_FACE.search, found)):
        return ["These are names of Hugging Face's BERT or ERNIE: `nlphub convert FOLDER --to native --out OTHER` converts them."]
    if any(map(_PADDLE.search, found)):
        return ["These are names of a PaddlePaddle checkpoint: `nlphub convert FILE.pdparams --to native --out OTHER` converts one."]
    return []


def baidu_hint() -> str:
    """The line for those who bring the weights of Baidu's module of the same name."""
    return (
        "These are the weights of Baidu's ernie-tiny (50,006 sub-words x 1,024). `ernie_tiny` is nlphub's own module; "
        "Baidu's becomes a module of its own: nlphub convert FILE.pdparams --numbers ernie_tiny_baidu --to native --out FOLDER"
    )


def _is_entry(entry: Any, allowed: Collection[str]) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    return (
        isinstance(entry["dtype"], str)
        and entry["dtype"] in allowed
        and _are_sizes(shape)
        and len(shape) <= 4
        and _are_sizes(offsets)
        and len(offsets) == 2
    )


def _are_sizes(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(number) is int and 0 <= number < 1 << 48 for number in numbers)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:80] if name.isprintable() else ascii(name[:80]) for name in names[:_SHOWN]) + more


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name stands twice")
    return table


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
