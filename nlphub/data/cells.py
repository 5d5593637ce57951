"""Cells of a table as texts and labels: the same rules for spreadsheets, JSON, parquet and Python objects."""

import datetime
import numbers
import unicodedata
from collections.abc import Sequence
from typing import Any

from nlphub.errors import brief

_INVISIBLE = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp", "Zs"}  # Unicode categories without anything to read


def as_text(value: Any) -> str | None:
    """A cell as text, unchanged: ``None`` and NaN are missing, ``3.0`` is ``"3"`` (spreadsheets store all numbers as floats).

    Raises:
        TypeError: the cell holds neither text nor a number nor a date.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, numbers.Number | datetime.date | datetime.time):
        return str(value)
    raise TypeError(f"{brief(value)} is neither text nor a number")


def as_label(value: Any, names: Sequence[str] | None = None) -> str | None:
    """A cell as a label: text without surrounding spaces, ``None`` when nothing is left.

    Args:
        names: the names behind class numbers, where the data set has them; a negative number means that the label is hidden.

    Raises:
        TypeError: the cell holds neither text nor a number nor a date.
    """
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    text = as_text(value)
    return (text.strip() or None) if text is not None else None


def is_blank(text: str) -> bool:
    """Whether a text has no visible character: empty, spaces, control and zero-width characters."""
    return all(unicodedata.category(character) in _INVISIBLE for character in text)
