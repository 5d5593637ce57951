"""Texts of a file one after the other, in constant memory, with what is wrong with the others instead of stopping at them.

``load_data`` reads what is learnt from: whole, and refused for one bad row. Here is what answers are wanted for: files of any size, in
which a blank or broken row costs one answer. Only a ``.json`` file, which is one value, is read whole.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from nlphub.data.cells import as_text, is_blank
from nlphub.data.encodings import TORN, open_text
from nlphub.data.tables import Options, existing_file, json_values, read_rows, separator_hint, unit_of
from nlphub.errors import DataError, brief, did_you_mean

Given = str | tuple[str, str]

LONGEST = 10_000_000  # characters of a line or cell
CHUNK_ROWS = 1024
CHUNK_CHARACTERS = 4_000_000

_BAD_AT_ONCE = 100_000  # unreadable rows one behind the other: this is another kind of file
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file.

    Attributes:
        number: its line, or its row in a workbook or a columnar file, from 1.
        given: the text, or the two texts; ``None`` where there is a problem.
        problem: why there is none, as a sentence.
    """

    number: int
    given: Given | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file with texts to answer.

    Attributes:
        path: of a csv, tsv, jsonl, json, xlsx or parquet file, or of a .txt file with one text on each line.
        text: the column of the texts; not asked of .txt.
        pair: the column of the second texts, where two belong together; in .txt they stand behind a tab.
        encoding: of text files; default: UTF-8 or UTF-16 by its mark, else UTF-8 or GB18030, decided on the whole file.
        quotes: whether csv and tsv fields may be quoted.
    """

    path: Path
    text: str = "text"
    pair: str | None = None
    encoding: str | None = None
    quotes: bool = True

    @classmethod
    def named(cls, source: str | Path, **options: Any) -> "TextFile":
        """The file with this name; other arguments are the attributes.

        Raises:
            DataError: there is none; the nearest name is offered.
        """
        return cls(existing_file(source), **options)

    @property
    def unit(self) -> str:
        """What the numbers count: ``"line"`` or ``"row"``."""
        return unit_of(self.path)

    def rows(self) -> Iterator[Row]:
        """All rows in their order, good and bad. Empty rows of tables, and empty lines of JSON, are none.

        Raises:
            DataError: the file as a whole cannot be read: no such column, unknown suffix or encoding, not what its suffix says.
            MissingExtraError: an xlsx or parquet file, and its reader is not installed.
        """
        suffix = self.path.suffix.lower()
        if suffix == ".txt":
            return self._of_lines()
        return self._of_json() if suffix in (".jsonl", ".json") else self._of_table()

    def _options(self) -> Options:
        columns = (self.text,) if self.pair is None else (self.text, self.pair)
        return Options(self.encoding, self.quotes, columns, tolerant=True)

    def _of_lines(self) -> Iterator[Row]:
        with open_text(self.path, self.encoding, tolerant=True) as stream:
            for number, line in lines(stream):
                yield row_of(number, line, pairs=self.pair is not None)

    def _of_json(self) -> Iterator[Row]:
        if self.path.suffix.lower() == ".jsonl":
            with open_text(self.path, self.encoding, tolerant=True) as stream:
                yield from (self._of_json_line(number, line) for number, line in lines(stream) if line is None or line.strip())
            return
        complaints: list[Row] = []
        values = json_values(self.path, self._options(), lambda number, wrong: complaints.append(Row(number, None, wrong)))
        for number, value in values:
            yield self._of_object(number, value)
        yield from complaints

    def _of_json_line(self, number: int, line: str | None) -> Row:
        if line is None:
            return Row(number, None, _TOO_LONG)
        if TORN in line:
            return Row(number, None, _UNDECODABLE)
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            return Row(number, None, f"not JSON: {wrong}")
        if isinstance(value, dict):  # an escape may make a surrogate of its own, which is no torn byte
            value |= {name: _mended(value[name]) for name in (self.text, self.pair) if isinstance(value.get(name), str)}
        return self._of_object(number, value)

    def _of_object(self, number: int, value: Any) -> Row:
        if not isinstance(value, dict):
            return Row(number, None, f"{brief(value)} is not an object with keys")
        missing = [name for name in (self.text, self.pair) if name is not None and name not in value]
        if missing:
            return Row(number, None, " ".join(f"there is no {name!r}.{did_you_mean(name, map(str, value))}" for name in missing))
        return _checked(number, value[self.text], None if self.pair is None else value[self.pair], pairs=self.pair is not None)

    def _of_table(self) -> Iterator[Row]:
        complaints: list[Row] = []

        def report(number: int, wrong: str) -> None:
            complaints.append(Row(number, None, wrong))
            if len(complaints) > _BAD_AT_ONCE:
                first = complaints[0]
                raise DataError(f"{self.path} is no table: {_BAD_AT_ONCE:,} bad rows, from {self.unit} {first.number}: {first.problem}")

        with closing(read_rows(self.path, self._options(), report)) as rows:  # type: ignore[type-var]  # every reader is a generator
            places = self._places([str(name) for name in next(rows, (0, ()))[1]])
            for number, cells in rows:
                yield from complaints
                complaints.clear()
                text, *pair = (cells[place] for place in places)
                yield _checked(number, text, pair[0] if pair else None, pairs=bool(pair))
            yield from complaints

    def _places(self, header: list[str]) -> list[int]:
        wanted = [name for name in (self.text, self.pair) if name is not None]
        wrong = [f"there is no column {name!r}.{did_you_mean(name, header)}" for name in wanted if name not in header]
        wrong += [f"{header.count(name)} columns are called {name!r}" for name in wanted if header.count(name) > 1]
        if wrong:
            there = f"The columns are: {', '.join(map(repr, header[:50]))}." if header else "It is empty; the first row names the columns."
            raise DataError(f"{self.path} cannot be answered. {there}{separator_hint(header)} Choose with --text and --pair.", wrong)
        return [header.index(name) for name in wanted]


def chunks(rows: Iterable[Row], *, most: int = CHUNK_ROWS, characters: int = CHUNK_CHARACTERS) -> Iterator[list[Row]]:
    """Rows in groups, which depend on nothing but the rows; no row behind a group is asked for before the group is taken.

    Args:
        most: rows of a group.
        characters: after which a group ends early.
    """
    chunk, size = list[Row](), 0
    for row in rows:
        chunk.append(row)
        size += sum(map(len, row.given)) if isinstance(row.given, tuple) else len(row.given or "")
        if len(chunk) == most or size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def lines(stream: TextIO) -> Iterator[tuple[int, str | None]]:
    """The lines of a file without their ends, numbered from 1; ``None`` for one of more than :data:`LONGEST` characters."""
    number = 0
    while line := stream.readline(LONGEST):
        number += 1
        if len(line) < LONGEST or line.endswith("\n"):
            yield number, line.rstrip("\r\n")
            continue
        while (rest := stream.readline(LONGEST)) and not rest.endswith(("\n", "\r")):
            pass
        yield number, None


def row_of(number: int, line: str | None, *, pairs: bool, blank: bool = False) -> Row:
    """A line of text, or of two with a tab between them, as a row.

    Args:
        blank: whether a text without a visible character is welcome.
    """
    if line is None:
        return Row(number, None, _TOO_LONG)
    cells = line.split("\t") if pairs else [line]
    if len(cells) != 1 + pairs:
        return Row(number, None, f"line {number} has {len(cells) - 1} tabs; two texts stand on it with one tab between them")
    return _checked(number, cells[0], cells[1] if pairs else None, pairs=pairs, blank=blank)


_TOO_LONG = f"it has more than {LONGEST:,} characters"
_UNDECODABLE = "it holds bytes that are not of the file's encoding (choose with --encoding)"


def _checked(number: int, text: Any, pair: Any, *, pairs: bool, blank: bool = False) -> Row:
    try:
        texts = [as_text(cell) for cell in ((text, pair) if pairs else (text,))]
    except TypeError as wrong:
        return Row(number, None, str(wrong))
    found = ["" if each is None else each for each in texts]
    if problem := next(filter(None, (_problem(each, blank) for each in found)), None):
        return Row(number, None, problem)
    clean = [_mended(each) for each in found]
    return Row(number, (clean[0], clean[1]) if pairs else clean[0])


def _mended(text: str) -> str:
    """Lone surrogates as U+FFFD, as at every entrance; what is written out has a UTF-8 form then."""
    return _SURROGATE.sub("\ufffd", text)


def _problem(text: str, blank: bool) -> str | None:
    if TORN in text:
        return _UNDECODABLE
    if len(text) > LONGEST:
        return _TOO_LONG
    return "the text is blank" if not blank and is_blank(text) else None
