"""A list that never changes, in little memory: a tuple while it is small, lines of JSON in a file without a name when it is large.

A labelled text of 22 characters is 340 bytes as an object and 100 as a line. Who reads such a list from one end to the other has a block of
it in memory at a time; an item that is asked for is read and made anew. So what one gets is equal to what was put in, and no more.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import numpy as np

from nlphub.data.growing import Growing
from nlphub.files import Scratch

MOST = 32 << 20  # bytes, by the estimate of `Form.size`, up to which items stay objects

_BLOCK = 512  # items that are read together
_STEP = 16  # items that are written together; where each such group begins is known
_WRITTEN = 1 << 16  # bytes that are written at once

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How an item is written.

    Attributes:
        size: estimate of the bytes that it takes as an object.
        plain: the item as what JSON knows.
        made: the item again.
    """

    size: Callable[[T], int]
    plain: Callable[[T], list[Any]]
    made: Callable[[list[Any]], T]


def kept(items: Iterable[T], form: Form[T]) -> Sequence[T]:
    """The items, taken one after the other: those of a large list are never in memory together.

    Raises:
        StoreError: they are too many for memory, and the disk of temporary files is full.
    """
    held, size, rest = list[T](), 0, iter(items)
    for item in rest:
        held.append(item)
        size += form.size(item)
        if size > MOST:
            return Kept(itertools.chain(_handed_over(held), rest), form)
    return tuple(held)


class Kept(Sequence[T]):
    """Items in a file without a name. Use :func:`kept`."""

    __slots__ = ("_count", "_edges", "_file", "_form", "_last")

    def __init__(self, items: Iterable[T], form: Form[T]) -> None:
        self._form, self._file, self._count = form, Scratch(), 0
        self._last: tuple[int, list[T]] = (-1, [])
        edges, written, rest = Growing(np.int64), bytearray(), iter(items)
        while group := [form.plain(item) for item in itertools.islice(rest, _STEP)]:
            edges.add(np.array([len(self._file) + len(written)]))
            written += f"{_encode(group)[1:-1]},".encode("utf-8", "surrogatepass")
            self._count += len(group)
            if len(written) > _WRITTEN:
                self._file.append(written)
                written = bytearray()
        self._file.append(written)
        edges.add(np.array([len(self._file)]))
        self._edges = edges.array()

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return self._one(numbers)
        return tuple(self[number] for number in numbers) if numbers.step != 1 else tuple(self._between(numbers.start, numbers.stop))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return self._between(0, len(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return kept, (tuple(self), self._form)

    def _one(self, number: int) -> T:
        """An item; its group is remembered, for the next one is often its neighbour."""
        group, last = number // _STEP, self._last
        if last[0] != group:
            self._last = last = group, self._read(group * _STEP, min((group + 1) * _STEP, len(self)))
        return last[1][number % _STEP]

    def _between(self, first: int, behind: int) -> Iterator[T]:
        for start in range(first, behind, _BLOCK):
            yield from self._read(start, min(start + _BLOCK, behind))

    def _read(self, first: int, behind: int) -> list[T]:
        step = first // _STEP
        text = self._file.read(int(self._edges[step]), int(self._edges[-(-behind // _STEP)])).decode("utf-8", "surrogatepass")
        lines = json.loads(f"[{text[:-1]}]")
        return [self._form.made(plain) for plain in lines[first - step * _STEP : behind - step * _STEP]]


def _handed_over(items: list[T]) -> Iterator[T]:
    """The items, each let go as it is taken."""
    items.reverse()
    while items:
        yield items.pop()
