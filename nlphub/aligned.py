"""Text tables whose columns line up in a terminal, Chinese included."""

import unicodedata
from collections.abc import Sequence
from typing import Any


def aligned(header: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: bool = False) -> str:
    """A table as lines of text, columns two spaces apart.

    Args:
        numbers: align all columns but the first to the right.
    """
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(_line(line, widths, numbers) for line in lines)


def cells(text: str) -> int:
    """How many cells of a terminal a text takes: two for a Chinese character, none for a combining or invisible one."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _line(line: Sequence[str], widths: Sequence[int], numbers: bool) -> str:
    filled = []
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        space = " " * (width - cells(cell))
        filled.append(space + cell if numbers and column else cell + space)
    return "  ".join(filled).rstrip()
