"""Right answers that are no single label: cells of a table as sets of labels and as numbers, and what has to hold for them."""

import json
import math
import numbers
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nlphub.data.cells import as_label
from nlphub.errors import brief

Bounds = tuple[float, float]

_BETWEEN = re.compile(r"[|;；]")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LARGEST = 1e30  # numbers are learnt in float32


def to_labels(value: Any, names: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """The labels of one text from a cell of a file or of the caller: distinct, sorted by code point. ``None`` stays ``None``: not known.

    A cell is a list; or text in which labels stand between ``|`` or ``;``, or a JSON list, for labels that hold such signs. An empty list
    or an empty text is a text without labels.

    Args:
        names: the names behind class numbers, see :func:`nlphub.data.examples.class_names`.

    Raises:
        TypeError: it is something else, or one of the labels is empty or no text.
    """
    if value is None or value != value:
        return None
    items = _listed(value)
    labels = [as_label(item, names) for item in items]
    if wrong := [brief(item) for item, label in zip(items, labels, strict=True) if label is None]:
        raise TypeError(f"{', '.join(wrong)} in {brief(value)} is an empty label")
    return tuple(sorted({label for label in labels if label is not None}))


def to_value(value: Any) -> float | None:
    """A number from a cell of a file or of the caller; ``None``, NaN and empty text are missing.

    Raises:
        TypeError: it is none, or too large to be learnt.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    read = _NUMBER.fullmatch(value.strip()) is not None if isinstance(value, str) else isinstance(value, numbers.Real)
    if not read or isinstance(value, bool):
        raise TypeError(f"{brief(value)} is not a number")
    number = float(value)
    if not abs(number) <= _LARGEST:
        raise TypeError(f"{brief(value)} is too large a number: at most {_LARGEST:g}")
    return number


def labels_problems(labels: Sequence[str] | None) -> Iterator[str]:
    """What is wrong with the labels of one text, as sentences."""
    if labels is None:
        yield "the labels are missing; a text without any has an empty list, or an empty cell of a table"
        return
    for label in labels:
        if not label.strip() or not label.isprintable():
            yield f"the label {label!r} is empty or holds characters that cannot be shown"


def value_problems(value: float | None, bounds: Bounds | None = None) -> Iterator[str]:
    """What is wrong with the number of one text, as sentences.

    Args:
        bounds: the smallest and the largest that there may be.
    """
    if value is None:
        yield "the value is missing: the number that belongs to it, in the column 'value' or the one that is named by value="
    elif not math.isfinite(value):
        yield f"the value {value!r} is not a finite number"
    elif bounds is not None and not bounds[0] <= value <= bounds[1]:
        yield f"the value {value:g} is outside of {bounds[0]:g} to {bounds[1]:g}"


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return _split(value.strip())
    if isinstance(value, Iterable) and not isinstance(value, bytes | dict):
        return list(value)
    return [value]


def _split(text: str) -> list[Any]:
    if not text.startswith("["):
        return [part for part in _BETWEEN.split(text) if part.strip()]
    try:
        found = json.loads(text)
    except ValueError as wrong:
        raise TypeError(f"{brief(text)} begins like a JSON list of labels and is none: {wrong}") from wrong
    if not isinstance(found, list):
        raise TypeError(f"{brief(text)} is not a list of labels")
    return found
