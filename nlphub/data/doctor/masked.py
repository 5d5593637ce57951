"""A copy of a table with personal data masked: every cell of every column, since a phone number hides in remarks too."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nlphub.data.cells import as_text
from nlphub.data.doctor.personal import find_personal, mask_personal
from nlphub.data.sheet import Sheet
from nlphub.errors import InputError
from nlphub.files import publish_text

_WRITTEN = (".csv", ".tsv", ".jsonl")


def check_target(target: Path, sheet: Sheet, *, overwrite: bool) -> None:
    """Check that a masked copy can be written there.

    Raises:
        InputError: another suffix than .csv, .tsv and .jsonl; it is the file itself, or is there already; columns of one name, which
            .jsonl cannot hold; all at once.
    """
    problems = []
    if target.suffix.lower() not in _WRITTEN:
        problems.append(f"its suffix is {target.suffix!r}, and what can be written is {', '.join(_WRITTEN)}")
    if target.exists() and target.samefile(sheet.path):
        problems.append("it is the file that is read; give the copy a name of its own")
    elif target.exists() and not overwrite:
        problems.append("it is there already; --overwrite replaces it")
    twice = sorted({name for name in sheet.header if sheet.header.count(name) > 1})
    if twice and target.suffix.lower() == ".jsonl":
        problems.append(f"several columns are called {', '.join(map(repr, twice))}; write it as .csv")
    if problems:
        raise InputError(f"The masked copy cannot be written to {target}.", problems)


def write_masked(sheet: Sheet, target: Path) -> dict[str, dict[str, int]]:
    """Write a copy, as UTF-8 (csv and tsv with a byte order mark, for Excel). Rows that could not be read are not in it.

    Returns:
        column -> kind of personal data -> how many were masked, without columns that have none.

    Raises:
        InputError: cells hold lists or objects, which have no place in csv or tsv.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in sheet.header}
    rows = [[_masked(cell, counts[name]) for name, cell in zip(sheet.header, cells, strict=False)] for _, cells in sheet.rows]
    if target.suffix.lower() == ".jsonl":
        publish_text(target, _writable("".join(_json_lines(sheet, rows))))
    else:
        publish_text(target, "\ufeff" + _writable(_table(sheet, rows, "\t" if target.suffix.lower() == ".tsv" else ",")))
    return {name: dict(found) for name, found in counts.items() if found}


def _masked(cell: Any, counts: Counter[str]) -> Any:
    """A cell without personal data; numbers stay numbers unless they hold some. What is in lists and objects is masked too."""
    if isinstance(cell, list):
        return [_masked(item, counts) for item in cell]
    if isinstance(cell, dict):
        return {key: _masked(item, counts) for key, item in cell.items()}
    text = None if isinstance(cell, bytes) else as_text(cell)
    items = find_personal(text) if text else []
    counts.update(item.kind.name for item in items)
    return mask_personal(text) if text and items else cell


def _writable(text: str) -> str:
    """Lone surrogates, which JSON can hold and UTF-8 cannot, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json_lines(sheet: Sheet, rows: list[list[Any]]) -> Iterator[str]:
    for cells in rows:
        yield json.dumps(dict(zip(sheet.header, cells, strict=False)), ensure_ascii=False, default=str) + "\n"


def _table(sheet: Sheet, rows: list[list[Any]], delimiter: str) -> str:
    nested = [name for place, name in enumerate(sheet.header) if any(isinstance(row[place], list | dict | bytes) for row in rows)]
    if nested:
        raise InputError(f"The columns {', '.join(map(repr, nested))} hold lists or objects; write the masked copy as .jsonl")
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(sheet.header)
    writer.writerows([as_text(cell) for cell in row] for row in rows)
    return stream.getvalue()
