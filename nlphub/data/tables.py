"""Files as rows: csv, tsv, jsonl, json, xlsx, parquet and conll, each as a generator of ``(number, cells)``, the header first.

Rows that cannot be read do not stop a generator: it reports them and goes on, so that all mistakes of a file come to light at once.
Rows are streamed; only a ``.json`` file, which is one value, is read whole.
"""

import csv
import itertools
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

from nlphub import paths
from nlphub.data.encodings import open_text
from nlphub.errors import DataError, brief, require

Report = Callable[[int, str], None]  # line or row, what is wrong with it
Rows = Iterator[tuple[int, Sequence[Any]]]

_FIELD_LIMIT = 10_000_000  # characters of one csv field; more means that a quote was never closed
_SENTENCE = 100_000  # tokens; more means that no empty line ends any sentence
_XLSX_LIMIT = 1 << 30  # bytes of a workbook when unpacked; more is not a table of texts


@dataclass(frozen=True, slots=True)
class Options:
    """How to read.

    Attributes:
        encoding: of text files; ``None`` = found out from the whole file.
        quotes: whether csv and tsv fields may be quoted.
        columns: the columns that will be asked for, so that a columnar file need not be read whole; ``None`` = all of them.
        tolerant: read on where bytes are not of the encoding, see :func:`nlphub.data.encodings.open_text`.
    """

    encoding: str | None
    quotes: bool
    columns: tuple[str, ...] | None
    tolerant: bool = False


def existing_file(source: str | Path) -> Path:
    """The path of a file that is there.

    Raises:
        DataError: there is none of that name; the nearest name is offered.
    """
    path = paths.resolve(str(source), base=Path.cwd())
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"{source} is a folder; name its files: load_data({{'train': '{source}/train.csv', 'dev': '{source}/dev.csv'}})")
    near = get_close_matches(path.name, [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else [], n=1)
    hint = f" Did you mean {str(path.with_name(near[0]))!r}?" if near else ""
    if re.fullmatch(r"[\w-]+/[\w.-]+", str(source)):
        hint += f" If it is a data set of the Hugging Face hub, write 'hf://{source}'."
    raise DataError(f"There is no file {str(source)!r} (looked for {path}).{hint}")


def read_rows(path: Path, options: Options, report: Report) -> Rows:
    """The rows of a file, by its suffix; the first one is the header, with stripped names.

    Raises:
        DataError: the suffix is unknown, or the file is not what its suffix says.
        MissingExtraError: an xlsx or parquet file, and its reader is not installed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        hint = " Save it as .xlsx." if path.suffix.lower() == ".xls" else ""
        raise DataError(f"{path} has the suffix {path.suffix!r}; nlphub reads {', '.join(sorted(_READERS))}.{hint}")
    return reader(path, options, report)


def unit_of(path: Path) -> str:
    """What the numbers of :func:`read_rows` count: lines of text, or rows of a table."""
    return "row" if path.suffix.lower() in (".xlsx", ".parquet") else "line"


def separator_hint(header: Sequence[str]) -> str:
    """What to do about a header that looks like several columns apart by another sign, to end a message with; or nothing."""
    other = next((sign for sign in ("\t", ";", "|", ",") if len(header) == 1 and sign in header[0]), None)
    return f" It looks separated by {other!r}: name it .tsv for tabs, or begin it with the line sep={other}." if other else ""


def read_dataset(dataset: Any, columns: Sequence[str]) -> Rows:
    """The rows of a ``datasets.Dataset`` (or ``IterableDataset``), the header first."""
    names = list(dataset.column_names or ())
    yield 0, names
    wanted = [name for name in names if name in columns]
    for number, row in enumerate(dataset.select_columns(wanted), start=1):
        yield number, [row.get(name) for name in names]


def _read_csv(path: Path, options: Options, report: Report) -> Rows:
    with open_text(path, options.encoding, tolerant=options.tolerant) as stream:
        delimiter, skipped = _delimiter(path, stream)
        quote = '"' if options.quotes else None
        records = csv.reader(
            stream, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE, strict=True
        )
        width, previous_limit = 0, csv.field_size_limit(_FIELD_LIMIT)
        try:
            for first, cells in _records(records, skipped, report):
                if not width:
                    width, cells = len(cells), [name.strip() for name in cells]
                if len(cells) == width:
                    yield first, cells
                else:
                    report(first, f"{len(cells)} fields, and the header has {width}; quote a text that holds {delimiter!r}")
        finally:
            csv.field_size_limit(previous_limit)


def _records(records: Any, skipped: int, report: Report) -> Rows:
    """The records of a csv reader with the number of their first physical line; unreadable and empty ones are left out."""
    while True:
        first = skipped + records.line_num + 1
        try:
            cells = next(records, None)
        except csv.Error as wrong:
            report(first, f"{wrong}; a field that begins with a quote ends with one, quotes inside are doubled (or read with quotes=False)")
            continue
        if cells is None:
            return
        if any("\0" in cell for cell in cells):
            report(first, "holds a NUL character; is this a text file?")
        elif any(cell.strip() for cell in cells):
            yield first, cells


def _delimiter(path: Path, stream: TextIO) -> tuple[str, int]:
    """The delimiter, and how many lines were read to find it: Excel's own ``sep=;`` line wins over the suffix."""
    start = stream.tell()
    if found := re.fullmatch(r"sep=(.)\s*", stream.readline(20)):
        return found[1], 1
    stream.seek(start)
    return ("\t" if path.suffix.lower() == ".tsv" else ","), 0


def json_values(path: Path, options: Options, report: Report) -> Iterator[tuple[int, Any]]:
    """The values of a ``.json`` file that is one list, or of a file with one on each line, with the lines where they begin."""
    with open_text(path, options.encoding, tolerant=options.tolerant) as stream:
        if path.suffix.lower() != ".json":
            yield from _json_lines(stream, report)
            return
        text = stream.read()
    if text.lstrip().startswith("["):
        yield from _json_items(text, report)
    else:
        yield from _json_lines(text.splitlines(), report)


def _read_jsonl(path: Path, options: Options, report: Report) -> Rows:
    yield from _objects(json_values(path, options, report), report)


def _json_lines(stream: Iterable[str], report: Report) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as wrong:
                report(number, f"not JSON: {wrong}")


def _json_items(text: str, report: Report) -> Iterator[tuple[int, Any]]:
    """The items of a JSON list with the lines at which they begin; a list with a syntax error gives none."""
    try:
        count = len(json.loads(text))
    except (ValueError, RecursionError) as wrong:
        report(getattr(wrong, "lineno", 1), f"not JSON: {wrong}")
        return
    decoder, gap = json.JSONDecoder(), re.compile(r"[\s,]*")
    line, counted, end = 1, 0, text.index("[") + 1
    for _ in range(count):
        start = gap.match(text, end).end()  # type: ignore[union-attr]  # it matches nothing, too
        line, counted = line + text.count("\n", counted, start), start
        item, end = decoder.raw_decode(text, start)
        yield line, item


def _objects(items: Iterable[tuple[int, Any]], report: Report) -> Rows:
    """JSON objects as rows; the keys of the first one are the header."""
    names: list[str] = []
    for number, item in items:
        if not isinstance(item, dict):
            report(number, f"{brief(item)} is not an object with keys")
            continue
        if not names:
            names = list(item)
            yield number, names
        yield number, [item.get(name) for name in names]


def _read_xlsx(path: Path, options: Options, report: Report) -> Rows:
    """The first sheet, values instead of formulas, without rows that are empty."""
    openpyxl = require("openpyxl", extra="train", purpose=f"Reading {path.name}")
    _check_size(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of styles and extensions that openpyxl does not know; values are not concerned
        workbook = _opened(openpyxl.load_workbook, path, "an xlsx workbook", read_only=True, data_only=True)
    with closing(workbook):
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some writers state wrong ones, and rows would be lost
        header: list[str] = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if not any(cell is not None for cell in cells):
                continue
            if not header:
                header = ["" if cell is None else str(cell).strip() for cell in cells]
                yield number, header
            else:
                yield number, [*cells, *[None] * (len(header) - len(cells))]


def _check_size(path: Path) -> None:
    archive = _opened(zipfile.ZipFile, path, "an xlsx workbook")
    with archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > _XLSX_LIMIT:
        raise DataError(f"{path} unpacks to {size:,} bytes, more than the {_XLSX_LIMIT:,} allowed; save the sheet as csv")


def _read_parquet(path: Path, options: Options, report: Report) -> Rows:
    parquet = require("pyarrow.parquet", extra="train", purpose=f"Reading {path.name}")
    with _opened(parquet.ParquetFile, path, "a parquet file") as file:
        names = list(file.schema_arrow.names)
        yield 0, [name.strip() for name in names]
        wanted = [name for name in names if options.columns is None or name.strip() in options.columns]
        number = 0
        for batch in file.iter_batches(columns=wanted):
            columns: Mapping[str, list[Any]] = dict(zip(batch.schema.names, (column.to_pylist() for column in batch.columns), strict=True))
            for index in range(batch.num_rows):
                number += 1
                yield number, [columns[name][index] if name in columns else None for name in names]


def _opened(opener: Callable[..., Any], path: Path, kind: str, **options: Any) -> Any:
    """Open a file with a library; whatever that raises about its content (KeyError, BadZipFile, ArrowInvalid, ...) is one clear error."""
    try:
        return opener(path, **options)
    except OSError:
        raise
    except Exception as wrong:
        raise DataError(f"{path} is not {kind}: {wrong}") from wrong


def read_conll(path: Path, options: Options, report: Report) -> Rows:
    """A token and its tag on each line, apart by white space, sentences apart by blank lines: one row for each sentence, at its line.

    Between more than two columns stand annotations that nobody asked for; the tag is the last, as in CoNLL 2003.
    """
    yield 0, ["tokens", "tags"]
    with open_text(path, options.encoding, tolerant=options.tolerant) as stream:
        lines = ((number, _fields(line)) for number, line in enumerate(stream, start=1))
        yield from sentences(((number, (fields[0], fields[-1]) if len(fields) > 1 else fields) for number, fields in lines), report)


def sentences(lines: Iterable[tuple[int, Sequence[str]]], report: Report) -> Rows:
    """Rows of tokens and their tags.

    Args:
        lines: number and ``(token, tag)`` of each line; one without, which ends a sentence; or one that is neither, which is reported.
    """
    first, tokens, tags = 1, list[str](), list[str]()
    for number, fields in itertools.chain(lines, [(0, ())]):
        if not fields:
            if tokens:
                yield first, [tokens, tags]
            first, tokens, tags = number + 1, [], []
        elif len(fields) < 2:
            report(number, f"{brief(fields[0])} is not a token and its tag")
        elif len(tokens) == _SENTENCE:
            report(number, f"a sentence of more than {_SENTENCE:,} tokens; an empty line ends a sentence")
            return
        else:
            tokens.append(fields[0])
            tags.append(fields[1].strip())


def _fields(line: str) -> Sequence[str]:
    """Of a line of tokens; none for an empty line or one between documents, one for a line that holds no tag."""
    fields = line.strip("\r\n").split("\t" if "\t" in line else None)
    if not any(field.strip() for field in fields) or fields[0] == "-DOCSTART-":
        return ()
    return fields if len(fields) > 1 else (line.rstrip(),)


_READERS: dict[str, Callable[[Path, Options, Report], Rows]] = {
    ".conll": read_conll,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".json": _read_jsonl,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".xlsx": _read_xlsx,
}
