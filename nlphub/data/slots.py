"""Slots of a text: as places, or as values that are looked up in the text, as many dialogue corpora have them.

``{"origin": "北京", "city": ["上海", "天津"]}`` says which values a text has and not where. They are given the one choice of places in
which no two overlap: in ``从北京到北京西站`` with ``{"origin": "北京", "goal": "北京西站"}`` the goal can stand in one place only, so the
origin is the first 北京. Where there are several such choices, or none, the row is a mistake that somebody has to decide.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nlphub.data.cells import as_text, is_blank
from nlphub.data.spans import Span, to_spans
from nlphub.errors import brief

_STEPS = 10_000  # places tried for one text; texts that need more repeat their values so often that nobody could tell them apart
_MOST = 200  # values in one text

Item = tuple[str, str]  # label and value


def to_slots(text: str, value: Any) -> tuple[Span, ...] | None:
    """The slots of one text, sorted by place, from a cell of a file or of the caller.

    A cell is what :func:`~nlphub.data.spans.to_spans` takes; or a mapping from a label to its value, or to a list of values; or either
    of them as JSON, for tables. An empty mapping, list or text is a text without slots. ``None`` stays ``None``: not known.

    Raises:
        TypeError: it is something else; or values do not stand in the text, stand there more than once, or only on top of each other;
            all that is wrong with the text at once.
    """
    if isinstance(value, str):
        value = _from_json(value)
    if not isinstance(value, Mapping):
        return to_spans(value)
    items, problems = _items(value)
    problems += [f"the value {found!r} of slot {label!r} is not in the text" for label, found in items if found not in text]
    if problems:
        raise TypeError("; ".join(problems))
    return _placed(text, items)


def _from_json(cell: str) -> Any:
    if not cell.strip():
        return ()
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as wrong:
        raise TypeError(f'{brief(cell)} is no JSON of slots such as {{"city": "北京"}}: {wrong}') from wrong


def _items(slots: Mapping[Any, Any]) -> tuple[list[Item], list[str]]:
    """Labels and values, and what is wrong with them. Slots without a value (``None`` or an empty list) are not there."""
    items, problems = list[Item](), list[str]()
    for label, given in slots.items():
        for value in given if isinstance(given, list | tuple) else [] if given is None else [given]:
            try:
                found = as_text(value)
            except TypeError:
                found = None
            if found is None or is_blank(found):
                problems.append(f"slot {str(label)!r} has {brief(value)} for a value, which is not a piece of text")
            else:
                items.append((str(label).strip(), found))
    return items, problems


def _placed(text: str, items: Sequence[Item]) -> tuple[Span, ...]:
    if len(items) > _MOST:
        raise TypeError(f"{len(items)} values of slots in one text are more than the {_MOST} that are looked up; give places instead")
    places = {item: [*_occurrences(text, item[1])] for item in items}
    order = sorted(items, key=lambda item: (len(places[item]), item))
    steps = iter(range(_STEPS))
    ways = [*itertools.islice(_ways(order, places, (), 0, steps), 2)]
    if len(ways) == 1 and next(steps, None) is not None:
        return tuple(sorted(ways[0]))
    if not ways and next(steps, None) is not None:
        named = ", ".join(f"{value!r} ({label})" for label, value in items)
        raise TypeError(f"the slots {named} can only stand on top of each other in the text: slots do not overlap")
    several = [(value, label, len(places[label, value])) for label, value in dict.fromkeys(order) if len(places[label, value]) > 1]
    told = ", ".join(f"{value!r} ({label}) stands {count} times" for value, label, count in several)
    raise TypeError(f"{told} in the text, and which is meant is not clear; give places: [{{'start': 0, 'end': 2, 'label': 'city'}}]")


def _occurrences(text: str, value: str) -> Iterator[int]:
    start = text.find(value)
    while start >= 0:
        yield start
        start = text.find(value, start + 1)


def _ways(
    items: Sequence[Item], places: Mapping[Item, Sequence[int]], taken: tuple[Span, ...], least: int, steps: Iterator[int]
) -> Iterator[tuple[Span, ...]]:
    """Choices of places without an overlap, item after item; equal items stand in their order, so that no choice comes twice.

    Args:
        least: where the first item may begin.
    """
    if not items:
        yield taken
        return
    label, value = items[0]
    for start in places[label, value]:
        span = Span(start, start + len(value), label)
        if start < least or any(span.start < other.end and other.start < span.end for other in taken):
            continue
        if next(steps, None) is None:
            return
        yield from _ways(items[1:], places, (*taken, span), start + 1 if items[1:2] == items[:1] else 0, steps)
