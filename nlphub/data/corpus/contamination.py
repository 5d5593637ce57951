"""Keeping evaluation data out of training text.

A line goes when it holds any part of 13 normalised characters that a text of the evaluation data holds too (the rule of Brown et al. 2020,
appendix C, in characters), also when those 13 span several lines of a document; and a shorter line goes when it equals a shorter text of
the evaluation data. Parts without any Chinese character do not count: ``international`` alone has 13.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.arrays import open_arrays, write_arrays
from nlphub.data.corpus import counts
from nlphub.data.corpus.batch import Batch, Flags, Hashes, edges_of, hashes, ngrams, sums
from nlphub.data.corpus.counts import Counts
from nlphub.data.corpus.documents import inner_suffix, open_lines, rows_of
from nlphub.data.corpus.quality import is_han
from nlphub.data.tables import Options, read_rows
from nlphub.errors import DataError, InputError
from nlphub.text.encoding import Ints
from nlphub.text.normalize import Codes, Table

GRAM = 13  # characters
SPLITS = ("dev", "test", "valid", "val", "eval", "out_of_scope")  # beginnings of names that a folder's evaluation files have

_TEXT = (".jsonl", ".txt")
_TABLES = (".csv", ".tsv", ".json", ".xlsx", ".parquet")
_FILTER_BITS = 29  # 64 MiB of bits: of ten million parts, two in a hundred strangers pass and are looked up exactly
_ARRAYS = {"grams": ("uint64",), "short": ("uint64",), "filter": ("uint8",)}


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """What must not appear.

    Attributes:
        grams: ``(g,)`` ascending hashes of all parts of 13 characters.
        short: ``(s,)`` ascending hashes of the texts under 13 characters.
        filter: a bit for the first bits of a hash that is set if any of ``grams`` begins so.
    """

    grams: Hashes
    short: Hashes
    filter: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Iterable[str], table: Table) -> "Index":
        """Index evaluation texts."""
        grams, short = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
        for group in _groups(texts):
            batch = Batch.of([[text] for text in group], table)
            found, _ = _grams(batch.codes, batch.edges)
            grams.append(np.unique(found))
            brief = (batch.characters > 0) & (batch.characters < GRAM)
            short.append(np.unique(hashes(batch.codes, batch.edges)[brief]))
        every = np.unique(np.concatenate(grams))
        return cls(every, np.unique(np.concatenate(short)), _filter(every))

    def save(self, path: Path) -> None:
        """Publish the index as one file."""
        write_arrays(path, {"grams": self.grams, "short": self.short, "filter": self.filter}, {})

    @classmethod
    def open(cls, path: Path) -> "Index":
        """Map a saved index into memory, which all processes share."""
        return cls(**open_arrays(path, _ARRAYS)[0])

    def known(self, grams: Hashes) -> Flags:
        """``(n,)`` which hashes are in the index."""
        place = grams >> np.uint64(64 - _FILTER_BITS)
        result = ((self.filter[(place >> np.uint64(3)).astype(np.int64)] >> (place & np.uint64(7)).astype(np.uint8)) & 1).astype(np.bool_)
        maybe = np.flatnonzero(result)
        result[maybe] = _contains(self.grams, grams[maybe])
        return result


def decontaminate(batch: Batch, index: Index, tally: Counts) -> tuple[Batch, Ints]:
    """Take out lines of evaluation data, until none is left: what stood on both sides of a line that went is looked at as neighbours.

    Returns:
        The rest, and ``(l,)`` the numbers of its lines in ``batch``.
    """
    left = np.arange(len(batch.lines))
    reason, wrong = counts.EVALUATION_LINE, (batch.characters < GRAM) & _contains(index.short, hashes(batch.codes, batch.edges))
    while True:
        tally.add(reason, lines=wrong.sum(), characters=batch.characters[wrong].sum())
        left, batch = left[~wrong], batch.take(~wrong)
        reason, wrong = counts.EVALUATION_GRAM, _touched(batch, index)
        if not wrong.any():
            return batch, left


def evaluation_files(paths: Sequence[Path]) -> list[Path]:
    """The files that ``--exclude`` means: a file itself, and of a folder every file whose name begins like a split of evaluation data.

    Raises:
        InputError: a path does not exist, is of no kind that can be read, or is a folder without such files.
    """
    found: list[Path] = []
    problems: list[str] = []
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if _is_evaluation(file)) if path.is_dir() else [path]
        if not path.exists():
            problems.append(f"{path} does not exist")
        elif not inside:
            problems.append(f"{path} holds no files named {', '.join(SPLITS)}... with a suffix that is read")
        elif inside == [path] and inner_suffix(path) not in _TEXT + _TABLES:
            problems.append(f"{path} has the suffix {path.suffix!r}; {', '.join(_TEXT + _TABLES)} are read")
        found += inside
    if problems:
        raise InputError("The evaluation data to exclude is incomplete", problems)
    return list(dict.fromkeys(found))


def evaluation_texts(path: Path) -> Iterator[str]:
    """Every text in a file: all strings of every row, wherever they are, and lists of strings (tokens) joined, too.

    Raises:
        DataError: a row cannot be read: what is not read cannot be kept out.
    """
    bad: list[str] = []
    if inner_suffix(path) in _TABLES:
        for _, cells in read_rows(path, Options(None, True, ()), lambda number, wrong: bad.append(f"row {number}: {wrong}")):
            yield from _strings(list(cells))
    else:
        with open_lines(path) as stream:
            rows = rows_of(stream, bad.append) if inner_suffix(path) == ".jsonl" else iter(stream)
            for row in rows:
                yield from _strings(row)
    if bad:
        raise DataError(f"{path} cannot be read whole, so it could not be kept out of the text", bad)


def _is_evaluation(path: Path) -> bool:
    return path.is_file() and path.name.lower().startswith(SPLITS) and inner_suffix(path) in _TEXT + _TABLES


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        if value and all(isinstance(part, str) for part in value):
            yield "".join(value)
        for part in value:
            yield from _strings(part)


def _groups(texts: Iterable[str], size: int = 1 << 20) -> Iterator[list[str]]:
    """Different texts in groups of about ``size`` characters."""
    group: dict[str, None] = {}  # once each: tokens and labels come again and again
    total = 0
    for text in texts:
        if text not in group:
            group[text] = None
            total += len(text)
        if total >= size:
            yield list(group)
            group, total = {}, 0
    if group:
        yield list(group)


def _grams(codes: Codes, edges: Ints) -> tuple[Hashes, Ints]:
    """Hashes of the parts of 13 characters that hold a Chinese one and do not cross an edge, and their places."""
    owner = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    count = max(len(codes) - GRAM + 1, 0)
    han = edges_of(is_han(codes))
    inside = (owner[:count] == owner[len(owner) - count :]) & (han[len(han) - count :] > han[:count])
    places = np.flatnonzero(inside)
    return ngrams(codes, GRAM)[places], places


def _touched(batch: Batch, index: Index) -> Flags:
    """``(l,)`` lines that hold a character of a known part of their document."""
    found, places = _grams(batch.codes, batch.document_edges)
    hits = places[index.known(found)]
    touched = np.zeros(len(batch.codes) + 1, np.int64)
    np.add.at(touched, hits, 1)
    np.add.at(touched, hits + GRAM, -1)
    return sums(np.cumsum(touched)[:-1] > 0, batch.edges) > 0


def _contains(ascending: Hashes, values: Hashes) -> Flags:
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    result: Flags = ascending[place] == values
    return result


def _filter(grams: Hashes) -> NDArray[np.uint8]:
    place = (grams >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)
    result = np.zeros(1 << (_FILTER_BITS - 3), np.uint8)
    np.bitwise_or.at(result, place >> 3, np.left_shift(1, place & 7).astype(np.uint8))
    return result
