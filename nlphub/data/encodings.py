"""Which encoding a text file is in, decided on the whole file and never by its first bytes.

The order is fixed: a byte order mark; strict UTF-8; GB18030. Valid UTF-8 is hardly ever anything else, while most short UTF-8 texts are
valid GB18030 too (measured: 95 % of two-character strings), so the other order garbles silently.
"""

import codecs
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from nlphub.errors import DataError

log = logging.getLogger(__name__)

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
TORN = "\udcff"  # what a tolerant reader finds in the place of bytes that are not of the encoding; no valid bytes make it
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_BLOCK = 1 << 20  # bytes decoded at a time
_UNKNOWN = "Python knows no text encoding of that name"
_TOLERANT = "nlphub.torn"


def _torn(wrong: UnicodeError) -> tuple[str, int]:
    if not isinstance(wrong, UnicodeDecodeError):
        raise wrong
    return TORN, wrong.end


codecs.register_error(_TOLERANT, _torn)


@contextmanager
def open_text(path: Path, encoding: str | None = None, *, tolerant: bool = False) -> Iterator[TextIO]:
    """Open a text file for reading, line ends untouched (for the csv module), byte order mark skipped.

    Args:
        encoding: any of Python's codecs; default is :func:`detect`.
        tolerant: read on where bytes are not of the encoding, with :data:`TORN` in their place; of a file that is in no encoding as a
            whole, the one in which fewer places are wrong is taken.

    Raises:
        DataError: the encoding is unknown or does not fit; the line of the first bad byte is named.
    """
    if encoding is None:
        encoding = _nearest(path) if tolerant else detect(path)
    elif (problem := _problem(path, encoding)) and (not tolerant or problem == _UNKNOWN):
        raise DataError(f"{path} is not {encoding}: {problem}. Leave encoding= out to have it found.")
    with path.open(encoding=encoding, newline="", errors=_TOLERANT if tolerant else "strict") as stream:
        if stream.read(1) != "\ufeff":
            stream.seek(0)
        yield stream


def decode(data: bytes, *, name: str) -> str:
    """Text that is in memory, by the same rule.

    Args:
        name: of where it came from, for messages.

    Raises:
        DataError: no encoding fits.
    """
    marked = next(((codec, len(mark)) for mark, codec in _MARKS.items() if data.startswith(mark)), None)
    for codec, skipped in (marked,) if marked else (("utf-8", 0), ("gb18030", 0)):
        try:
            return data[skipped:].decode(codec)
        except UnicodeDecodeError:
            continue
    raise DataError(f"The encoding of {name} is not known; it is neither UTF-8 nor GB18030")


def detect(path: Path) -> str:
    """The name of the codec that reads the whole file.

    Raises:
        DataError: no encoding fits; the line of the first bad byte is named for each that was tried.
    """
    with path.open("rb") as stream:
        start = stream.read(3)
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    tried: dict[str, str] = {}
    for name in (marked,) if marked else ("utf-8", "gb18030"):
        problem = _problem(path, name)
        if problem is None:
            log.info("%s is read as %s", path, name)
            return name
        tried[name] = problem
    raise DataError(
        f"The encoding of {path} is not known. Save it as UTF-8, or name its encoding (encoding=, --encoding, data.encoding).",
        [f"not {name}: {problem}" for name, problem in tried.items()],
    )


def _nearest(path: Path) -> str:
    """The encoding of the whole file, or else the one in which fewer of its lines are wrong.

    Raises:
        DataError: at least half of the lines are wrong in each.
    """
    try:
        return detect(path)
    except DataError:
        counts = {name: _torn_lines(path, name) for name in ("utf-8", "gb18030")}
        name = min(counts, key=lambda each: counts[each][0])
        torn, lines = counts[name]
        if 2 * torn >= lines:
            raise
        log.warning("%s is read as %s; %d of its %d lines are not", path, name, torn, lines)
        return name


def _torn_lines(path: Path, encoding: str) -> tuple[int, int]:
    """How many lines a file has that are not of an encoding, and how many in all."""
    torn = lines = 0
    with path.open(encoding=encoding, newline="", errors=_TOLERANT) as stream:
        for line in stream:
            lines += 1
            torn += TORN in line or (encoding == "gb18030" and _PRIVATE.search(line) is not None)
    return torn, lines


def _problem(path: Path, encoding: str) -> str | None:
    """Why the file is not in this encoding, or ``None`` when it is."""
    try:
        b" ".decode(encoding, "replace")  # refuses codecs that do not make text, such as "hex", too
        decoder = codecs.getincrementaldecoder(encoding)("strict")
    except LookupError:
        return _UNKNOWN
    lines = 1
    with path.open("rb") as stream:
        while True:
            block = stream.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
                if encoding == "gb18030" and (private := _PRIVATE.search(text)):
                    line = lines + text.count("\n", 0, private.start())
                    return f"line {line} would hold a private-use character, as Big5 read as GB18030 does"
                lines += text.count("\n")
            except UnicodeError as wrong:
                return _place(wrong, lines)
            if not block:
                return None


def _place(wrong: UnicodeError, lines: int) -> str:
    """Where decoding stopped; ``lines`` is the line at which the block began."""
    if not isinstance(wrong, UnicodeDecodeError):
        return str(wrong)
    before = wrong.object[: wrong.start].decode(wrong.encoding, "replace")
    return f"byte 0x{wrong.object[wrong.start]:02x} on line {lines + before.count(chr(10))} does not fit ({wrong.reason})"
