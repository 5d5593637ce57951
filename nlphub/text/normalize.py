"""The normaliser: a table from one code point to one code point, or to nothing.

No rule sees two characters, so the same normalisation fits into numpy, into a Python loop and into a standard ONNX graph, and every
character that is kept keeps its place in the caller's text. What the table folds is decided by the builder of each tokenizer
(``tools/build_zh_char.py``); this file only reads and applies it.

A table is a text file, ``folds.tsv``, in ascending order of code points. Each line is a code point or an inclusive range in
hexadecimal, a tab, and the character it becomes, or the word ``nothing``; a code point that is not listed stays as it is::

    0000..0020	nothing
    0041	a
    9AD4	体
    D800..DFFF	�
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub import files
from nlphub.errors import WeightsError
from nlphub.text.encoding import Ints

CODE_POINTS = 0x110000
FILE_NAME = "folds.tsv"
NOTHING = "nothing"

_SPACES = (  # what str.isspace knows; a test compares
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

Codes = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A normaliser.

    Attributes:
        text: its canonical form, the content of ``folds.tsv``.
        codes: ``(0x110000,)`` uint32, the code point that each code point becomes; ``CODE_POINTS`` means nothing.
    """

    text: str
    codes: Codes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Table":
        """Read the canonical form. Tables of equal text share their array.

        Raises:
            WeightsError: a line is not a rule, rules are out of order, or a result would itself be folded again.
        """
        return cls(text, _parse(text))

    @classmethod
    def load(cls, folder: Path) -> "Table":
        """Read ``folds.tsv`` of a tokenizer's folder."""
        return cls.parse((folder / FILE_NAME).read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write ``folds.tsv``."""
        files.publish_text(folder / FILE_NAME, self.text)

    def fold(self, codes: Codes) -> tuple[Codes, Ints]:
        """Normalise code points.

        Args:
            codes: ``(n,)`` uint32.

        Returns:
            ``(m,)`` uint32 code points that are left, and ``(m,)`` int64 their places in ``codes``.
        """
        folded = self.codes[codes]
        kept = np.flatnonzero(folded != CODE_POINTS)
        return folded[kept], kept

    def normalize(self, text: str) -> str:
        """The normalised text; character ``i`` of it stands at ``fold(code_points(text))[1][i]`` in ``text``."""
        return from_code_points(self.fold(code_points(text))[0])


def code_points(text: str) -> Codes:
    """``(n,)`` uint32 code points of a string, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def from_code_points(codes: Codes) -> str:
    """The string of ``(n,)`` code points; the inverse of :func:`code_points`."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


@functools.cache
def spaces() -> NDArray[np.bool_]:
    """``(0x110000,)`` bool: the white space that str.isspace knows."""
    found = np.zeros(CODE_POINTS, np.bool_)
    found[code_points(_SPACES)] = True
    found.setflags(write=False)
    return found


def render(codes: Codes) -> str:
    """The canonical form of a table: ascending, neighbours with the same result joined into one range."""
    changed = np.flatnonzero(codes != np.arange(CODE_POINTS))
    breaks = np.flatnonzero((np.diff(changed) != 1) | (np.diff(codes[changed].astype(np.int64)) != 0)) + 1
    lines = []
    for run in np.split(changed, breaks) if len(changed) else []:
        source = f"{run[0]:04X}" if len(run) == 1 else f"{run[0]:04X}..{run[-1]:04X}"
        result = int(codes[run[0]])
        lines.append(f"{source}\t{NOTHING if result == CODE_POINTS else chr(result)}\n")
    return "".join(lines)


@functools.lru_cache(maxsize=8)
def _parse(text: str) -> Codes:
    codes = np.arange(CODE_POINTS + 1, dtype=np.uint32)  # one more row, so that a result of nothing is its own result
    end = 0
    for number, line in enumerate(text.split("\n")[:-1], 1):
        first, last, result = _rule(line, number)
        if not end <= first <= last < CODE_POINTS:
            raise WeightsError(f"{FILE_NAME} line {number}: {line!r} is out of order; rules stand in ascending order and never overlap")
        codes[first : last + 1] = result
        end = last + 1
    unstable = np.flatnonzero(codes[codes] != codes)
    if len(unstable):
        raise WeightsError(f"{FILE_NAME}: U+{unstable[0]:04X} becomes U+{codes[unstable[0]]:04X}, which the table folds again")
    codes.setflags(write=False)
    return codes[:-1]


def _rule(line: str, number: int) -> tuple[int, int, int]:
    source, _, result = line.partition("\t")
    first, _, last = source.partition("..")
    try:
        return int(first, 16), int(last or first, 16), CODE_POINTS if result == NOTHING else ord(result)
    except (TypeError, ValueError) as wrong:
        expected = "e.g. '9AD4<tab>体' or '0000..0020<tab>nothing'"
        raise WeightsError(f"{FILE_NAME} line {number}: {line!r} is not a rule; expected {expected}") from wrong
