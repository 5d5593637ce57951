"""Features of the linear models: hashed n-grams of texts, of pairs and of the surroundings of a character."""

import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack

from judging.sets import Row

BUCKETS = 1 << 20
_EDGE = "\x02"  # stands for every place outside the text
_WINDOW = ((1, range(-3, 4)), (2, range(-2, 2)), (3, range(-2, 1)))  # length of the gram: where it begins
_KINDS = ((1, range(-1, 2)), (3, range(-1, 0)))

Bag = tuple[int, ...]


def hashed(kind: str, gram: str) -> int:
    """The bucket of a feature: CRC-32 of its UTF-8, the same on every machine."""
    return zlib.crc32(f"{kind} {gram}".encode("utf-8", "surrogatepass")) % BUCKETS


def grams(text: str, words: Sequence[str] = ()) -> list[str]:
    """Character 1-3 grams and word 1-2 grams of a text, lower-cased."""
    text = text.lower()
    found = [text[start : start + n] for n in (1, 2, 3) for start in range(len(text) - n + 1)]
    found += [f"w {word}" for word in words]
    found += [f"w {one} {other}" for one, other in pairwise(words)]
    return found


def text_bags(rows: Sequence[Row], cut: Callable[[str], list[str]]) -> list[Bag]:
    """The bag of every row; of a pair what is in the first, in the second, in both, in one only.

    Args:
        cut: text -> words.
    """
    return [tuple(_row_features(row, cut)) for row in rows]


def character_bags(text: str) -> list[Bag]:
    """The bag of every character: grams around it with their places, and what kinds of characters are there."""
    padding = 3
    shown = _EDGE * padding + text.lower() + _EDGE * padding
    kinds = "".join(map(_kind, shown))
    bags = []
    for place in range(padding, padding + len(text)):
        bag = [_at(shown, place, n, offset, "c") for n, offsets in _WINDOW for offset in offsets]
        bag += [_at(kinds, place, n, offset, "k") for n, offsets in _KINDS for offset in offsets]
        bags.append(tuple(bag))
    return bags


def present(bags: Sequence[Bag]) -> Any:
    """``(n, BUCKETS)`` sparse float64: 1 where a bag has a feature."""
    columns = [sorted(set(bag)) for bag in bags]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in columns])])
    flat = np.fromiter((bucket for row in columns for bucket in row), np.int32, int(starts[-1]))
    return csr_matrix((np.ones(len(flat)), flat, starts), shape=(len(bags), BUCKETS))


def pair_matrix(first: Any, second: Any) -> Any:
    """``[u; v; |u-v|; u*v]`` of two sparse matrices of the same shape."""
    return hstack([first, second, abs(first - second), first.multiply(second)]).tocsr()


def _row_features(row: Row, cut: Callable[[str], list[str]]) -> Iterator[int]:
    first = grams(row.text, cut(row.text.lower()))
    if row.pair is None:
        yield from (hashed("t", gram) for gram in first)
        return
    second = grams(row.pair, cut(row.pair.lower()))
    groups = {"u": first, "v": second, "both": sorted({*first} & {*second}), "one": sorted({*first} ^ {*second})}
    yield from (hashed(name, gram) for name, members in groups.items() for gram in members)


def _at(text: str, place: int, length: int, offset: int, kind: str) -> int:
    return hashed(f"{kind}{length}@{offset}", text[place + offset : place + offset + length])


def _kind(character: str) -> str:
    """d digit, a Latin letter, h other letter (mostly Han), p punctuation and the rest, | outside the text."""
    if character == _EDGE:
        return "|"
    if character.isdigit():
        return "d"
    if character.isalpha():
        return "a" if character.isascii() else "h"
    return "s" if unicodedata.category(character).startswith("Z") else "p"
