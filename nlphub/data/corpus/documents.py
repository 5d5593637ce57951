"""Reading documents as a stream of lines, from plain or packed files, within bounds that no file can break.

``.txt`` holds one paragraph on a line and a blank line between documents; ``.jsonl`` one object on a line, its text under a key. Both may
be packed (``.zst``, ``.xz``, ``.gz``). A line of any length is read in pieces; a packed file that unpacks to more than 200 times its
size is refused; lone surrogates and bytes that are no UTF-8 become U+FFFD.
"""

import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from nlphub.data.encodings import open_text
from nlphub.errors import DataError, require

SUFFIXES = (".txt", ".jsonl")
MAX_RATIO = 200  # unpacked bytes for each packed one; text packs 3 to 30 times smaller
MAX_LINE = 4096  # characters; longer lines are cut, after a sentence where there is one
MAX_DOCUMENT = 1 << 15  # characters; longer documents are cut between lines
MAX_ROW = 1 << 26  # characters of a row of .jsonl

Document = list[str]
Report = Callable[[str], None]

_FREE = 1 << 24  # bytes that a file may always unpack to
_STEP = 1024  # packed bytes that are unpacked at a time: zstd makes at most 32 MiB of them
_MEMORY = 1 << 28  # bytes that an xz file may ask for
_SURROGATES = re.compile("[\ud800-\udfff]")
_SENTENCE = re.compile(r"[。！？；!?;…]+[”’」』）)\"']*")


def inner_suffix(path: Path) -> str:
    """``.txt`` of ``news.txt.zst`` and of ``news.txt``, in lower case."""
    return (path.with_suffix("") if path.suffix.lower() in _PACKED else path).suffix.lower()


def read_documents(path: Path, *, text: str = "text", report: Report = lambda _: None) -> Iterator[Document]:
    """The documents of a file, each a list of lines that are not blank, at most :data:`MAX_DOCUMENT` characters together.

    Args:
        text: the key of the text in rows of ``.jsonl``.
        report: is told what is wrong with each row that cannot be read; the others are read all the same.

    Raises:
        DataError: the suffix is unknown, the file is damaged or unpacks to too much, or no row has the key.
        MissingExtraError: the file is packed with zstd, and zstandard is not installed.
    """
    with open_lines(path) as stream:
        texts = _paragraphs(stream) if inner_suffix(path) == ".txt" else _rows(path, stream, text, report)
        yield from _limited(texts)


@contextmanager
def open_lines(path: Path) -> Iterator[TextIO]:
    """Open a text file, unpacking it on the way; a plain one may have any encoding that :mod:`nlphub.data.encodings` finds.

    Raises:
        DataError: the file is damaged or unpacks to too much.
    """
    unpacker = _PACKED.get(path.suffix.lower())
    if unpacker is None:
        with open_text(path) as stream:
            yield stream
        return
    with path.open("rb") as packed:
        buffered = io.BufferedReader(_Unpacked(path, packed, unpacker), 1 << 16)
        with io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="replace", newline="") as stream:
            yield stream


def rows_of(stream: TextIO, report: Report) -> Iterator[Any]:
    """The values of a ``.jsonl`` stream; lines that are no JSON or longer than :data:`MAX_ROW` are reported and left out."""
    while line := stream.readline(MAX_ROW):
        if len(line) == MAX_ROW and not line.endswith("\n"):
            while line and not line.endswith("\n"):
                line = stream.readline(MAX_ROW)
            report(f"a row of more than {MAX_ROW:,} characters")
        elif line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as wrong:
                report(f"not JSON: {wrong}")
            else:
                yield value


def cut(line: str, limit: int) -> Iterator[str]:
    """A line in pieces of at most ``limit`` characters, cut after the last sentence that ends in the second half, else at the limit."""
    start = 0
    while len(line) - start > limit:
        ends = [found.end() for found in _SENTENCE.finditer(line, start + limit // 2, start + limit)]
        end = ends[-1] if ends else start + limit
        yield line[start:end]
        start = end
    yield line[start:]


def _paragraphs(stream: TextIO) -> Iterator[str | None]:
    """Lines, and ``None`` where a document ends. A line without end comes in pieces."""
    while line := stream.readline(MAX_DOCUMENT):
        yield line if line.strip() or not line.endswith(("\n", "\r")) else None


def _rows(path: Path, stream: TextIO, key: str, report: Report) -> Iterator[str | None]:
    found, keys = False, None
    for row in rows_of(stream, report):
        if isinstance(row, dict) and isinstance(row.get(key), str):
            found = True
            yield from re.split(r"[\r\n]+", row[key])
            yield None
        else:
            keys = keys or (sorted(map(str, row))[:8] if isinstance(row, dict) else [f"no object: {type(row).__name__}"])
            report(f"no text under {key!r}")
    if keys and not found:
        raise DataError(f"No row of {path} has a text under {key!r}; its first row has {', '.join(keys)}. Name the key with --text.")


def _limited(lines: Iterator[str | None]) -> Iterator[Document]:
    document: Document = []
    size = 0
    for line in lines:
        for piece in cut(_SURROGATES.sub("\ufffd", line.strip()), MAX_LINE) if line is not None else ():
            if document and size + len(piece) > MAX_DOCUMENT:
                yield document
                document, size = [], 0
            if piece:
                document.append(piece)
                size += len(piece)
        if line is None and document:
            yield document
            document, size = [], 0
    if document:
        yield document


class _Unpacked(io.RawIOBase):
    """The bytes of a packed file, in bounded steps; several packed streams may stand one behind the other."""

    def __init__(self, path: Path, packed: io.BufferedReader, unpacker: Callable[[], Any]) -> None:
        self._path, self._packed, self._new = path, packed, unpacker
        self._unpacker, self._input, self._ready = unpacker(), b"", memoryview(b"")
        self._begun, self._size, self._allowed = False, 0, _FREE + MAX_RATIO * path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and self._more():
            pass
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _more(self) -> bool:
        """Unpack the next step; False at the end of the file."""
        self._input = self._input or self._packed.read(_STEP)
        if not self._input:
            if self._begun:
                raise DataError(f"{self._path} was cut off: its packed data end in the middle. Fetch it again.")
            return False
        try:
            self._ready = memoryview(self._unpacker.decompress(self._input))
        except Exception as broken:  # zstandard.ZstdError, LZMAError, zlib.error, MemoryError of a header that asks for too much
            raise DataError(f"{self._path} cannot be unpacked: {broken}. Fetch it again.") from broken
        self._input, self._begun = self._unpacker.unused_data, True
        if self._unpacker.eof:
            self._unpacker, self._begun = self._new(), False
        self._size += len(self._ready)
        if self._size > self._allowed:
            raise DataError(f"{self._path} unpacks to more than {MAX_RATIO} times its size, which text does not; it is refused")
        return True


def _zstd() -> Any:
    package = require("zstandard", extra="corpus", purpose="Reading .zst files")
    return package.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def _xz() -> Any:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


_PACKED: dict[str, Callable[[], Any]] = {".zst": _zstd, ".xz": _xz, ".gz": _gzip}
