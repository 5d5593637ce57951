"""A file as its columns and cells, before anybody has said which column is the text and which the label.

``load_data`` refuses files with bad rows; whoever wants to say what is wrong with them reads them through this file.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlphub.data.encodings import detect
from nlphub.data.examples import Examples, to_example
from nlphub.data.tables import Options, existing_file, read_rows, separator_hint, unit_of
from nlphub.errors import DataError, did_you_mean

Complaints = tuple[tuple[int, str], ...]  # line or row, what is wrong with it

_TEXT = (".csv", ".tsv", ".json", ".jsonl", ".conll")
_QUOTED = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table that was read whole.

    Attributes:
        path: of the file.
        unit: what the numbers count: ``"line"`` or ``"row"``.
        encoding: of a text file, given or found; ``None`` for xlsx and parquet.
        quotes: whether fields were read as quoted; False where a csv or tsv file could be read only so.
        header: the names of the columns.
        rows: ``(number, cells)``, the cells as the file's reader gave them.
        complaints: ``(number, what is wrong)`` for rows that could not be read.
    """

    path: Path
    unit: str
    encoding: str | None
    quotes: bool
    header: tuple[str, ...]
    rows: tuple[tuple[int, Sequence[Any]], ...]
    complaints: Complaints

    def examples(self, text: str, label: str) -> tuple[Examples, Complaints]:
        """The examples of two columns, and all rows that cannot be read; empty texts and missing labels stay in.

        Raises:
            DataError: there is no column of such a name, or there are two.
        """
        self.check_columns(text, label)
        places, made, complaints = (self.header.index(text), self.header.index(label)), [], list(self.complaints)
        for number, cells in self.rows:
            try:
                made.append(to_example(cells[places[0]], cells[places[1]], line=number))
            except TypeError as wrong:
                complaints.append((number, str(wrong)))
        return Examples(made, source=str(self.path), unit=self.unit), tuple(sorted(complaints))

    def check_columns(self, *names: str) -> None:
        """Raises DataError unless each name is that of exactly one column."""
        wrong = [f"there is no column {name!r}.{did_you_mean(name, self.header)}" for name in names if name not in self.header]
        wrong += [f"{self.header.count(name)} columns are called {name!r}" for name in names if self.header.count(name) > 1]
        if wrong:
            there = ", ".join(map(repr, self.header[:50]))
            hint = separator_hint(self.header)
            raise DataError(f"{self.path} cannot be read so. Its columns are: {there}.{hint} Choose with --text and --label.", wrong)


def read_sheet(source: str | Path, *, encoding: str | None = None, rows_needed: bool = True) -> Sheet:
    """Read a file whole. A csv or tsv file whose quotes do not pair is read without quoting if that makes every row readable.

    Args:
        encoding: of a text file; default: found out from the whole file.
        rows_needed: whether a file with nothing below its header is an error.

    Raises:
        DataError: there is no such file, it is of no kind that nlphub reads, its encoding is unknown, it is empty, or has a header only.
        MissingExtraError: an xlsx or parquet file, and its reader is not installed.
    """
    path = existing_file(source)
    suffix = path.suffix.lower()
    codec = encoding or detect(path) if suffix in _TEXT else None
    sheet = _read(path, codec, quotes=True)
    if sheet.complaints and suffix in _QUOTED:
        plain = _read(path, codec, quotes=False)
        sheet = sheet if plain.complaints else plain
    if not sheet.header and not sheet.complaints:
        raise DataError(f"{path} is empty. Its first row names the columns, each further row is an example.{other_sheets(path)}")
    if rows_needed and not sheet.rows and not sheet.complaints:
        names = ", ".join(map(repr, sheet.header[:20]))
        raise DataError(f"{path} has a first row with the names of columns, {names}, and no row below it.{other_sheets(path)}")
    return sheet


def other_sheets(path: Path) -> str:
    """A reminder for workbooks, to end a message with; nothing for other files."""
    return " Of a workbook only the first sheet is read." if path.suffix.lower() == ".xlsx" else ""


def _read(path: Path, encoding: str | None, *, quotes: bool) -> Sheet:
    complaints: list[tuple[int, str]] = []
    rows = read_rows(path, Options(encoding, quotes, None), lambda number, wrong: complaints.append((number, wrong)))
    with closing(rows):  # type: ignore[type-var]  # every reader is a generator
        header = tuple(str(name) for name in next(rows, (0, ()))[1])
        return Sheet(path, unit_of(path), encoding, quotes, header, tuple(rows), tuple(complaints))
