"""How commands print: facts on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Sequence
from typing import Any
from unicodedata import east_asian_width


def print_json(value: Any) -> None:
    """Print a fact as JSON that keeps Chinese readable."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print left-aligned columns; Chinese characters count as two cells."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(_cells(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        padded = (cell + " " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def note(message: str) -> None:
    """Say something that is not the answer, on standard error."""
    print(message, file=sys.stderr)


def _cells(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
