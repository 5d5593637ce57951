"""How commands print: facts on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from nlphub.aligned import aligned


def print_json(value: Any) -> None:
    """Print a fact as JSON that keeps Chinese readable."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print left-aligned columns; Chinese characters count as two cells."""
    print(aligned(header, rows))


def shown(text: str | Sequence[str]) -> str:
    """A text, or a pair of texts, in one cell."""
    return text if isinstance(text, str) else " ‖ ".join(text)


def note(message: str) -> None:
    """Say something that is not the answer, on standard error."""
    print(message, file=sys.stderr)
