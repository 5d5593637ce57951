"""Suspected labels as a csv file for a person to edit, and the edited file as corrections of the data.

::

    row,text,label,suggested,score,corrected
    17,卡丢了怎么办,查余额,挂失,0.0213,

An empty ``corrected`` leaves a row as it is; a label replaces the given one; ``-`` or ``drop`` leaves the row out. A word that is a label
of the data means that label. Rows are found again by text (and second text) and given label, since lines move when files are edited.
"""

import csv
import io
import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from nlphub.data.cells import as_label, as_text
from nlphub.data.examples import Example, Examples
from nlphub.data.sheet import Sheet, read_sheet
from nlphub.data.tables import separator_hint
from nlphub.errors import DataError, InputError, brief, did_you_mean

log = logging.getLogger(__name__)

DROP = ("-", "drop")
FILLS = ("nothing", "suggested", "drop")

_ACTIVE = "=+\\-@\t\r\n＝＋－＠"  # what makes a spreadsheet program calculate a cell (OWASP: CSV injection)
_TO_GUARD, _GUARDED = re.compile(f"'*[{_ACTIVE}]"), re.compile(f"'+[{_ACTIVE}]")


@dataclass(frozen=True, slots=True)
class Suspect:
    """An example whose label is probably wrong.

    Attributes:
        row: line or row of the file, from 1; ``None`` when the examples were made in memory.
        text: as it was read.
        pair: the second text, for tasks over two texts.
        label: the given one.
        suggested: the most probable one, according to modules that never saw the example.
        score: how believable the given label is, 0 to 1; lower is more suspicious.
    """

    row: int | None
    text: str
    pair: str | None
    label: str
    suggested: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``pair`` only where there is one."""
        pair = {} if self.pair is None else {"pair": self.pair}
        return {"row": self.row, "text": self.text, **pair, "label": self.label, "suggested": self.suggested, "score": self.score}


class _Key(NamedTuple):
    """What an example is found by, as it looks after a journey through a csv file."""

    text: str
    pair: str | None
    label: str | None


def suspects_csv(suspects: Sequence[Suspect], *, fill: str = "nothing") -> str:
    """The file for a person to edit, in the order given; of copies with the same text and label only the first one.

    It begins with a byte order mark, by which Excel knows UTF-8. A cell that a spreadsheet program would calculate is preceded by an
    apostrophe, which :func:`correct` takes away again.

    Args:
        fill: what stands in ``corrected``: ``nothing``, the ``suggested`` label, or ``drop``.

    Raises:
        InputError: ``fill`` is none of these.
    """
    if fill not in FILLS:
        raise InputError(f"fill={fill!r} is none of {', '.join(FILLS)}")
    paired = any(suspect.pair is not None for suspect in suspects)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row", "text", *["pair"] * paired, "label", "suggested", "score", "corrected"])
    written = set()
    for suspect in suspects:
        key = _key(suspect.text, suspect.pair, suspect.label)
        if key not in written:
            written.add(key)
            words = [key.text, *[key.pair or ""] * paired, suspect.label, suspect.suggested]
            corrected = {"nothing": "", "suggested": suspect.suggested, "drop": DROP[1]}[fill]
            row = "" if suspect.row is None else str(suspect.row)
            writer.writerow([row, *map(_guarded, words), f"{suspect.score:.4f}", _guarded(corrected)])
    return "\ufeff" + stream.getvalue()


def correct(examples: Examples, source: str | Path) -> Examples:
    """Examples with the corrections of an edited file.

    Args:
        source: a file with the columns text, label, corrected (and pair, where the examples have second texts); csv, but also what a
            spreadsheet program makes of it: xlsx, GB18030.

    Raises:
        DataError: the file cannot be read; it corrects texts that are not there, or not with that label; it corrects to a label that the
            data do not have, or one text in two ways; all at once.
    """
    sheet, data = read_sheet(source, rows_needed=False), _Data.of(examples)  # without a suspect there is nothing to correct
    columns = ("text", *["pair"] * (examples.pairs is not None), "label", "corrected")
    if missing := [name for name in columns if sheet.header.count(name) != 1]:
        there = ", ".join(map(repr, sheet.header[:20]))
        needed = [f"{name!r} has to be there once" for name in missing]
        raise DataError(f"{sheet.path} holds no corrections; its columns are {there}.{separator_hint(sheet.header)}", needed)
    wanted, problems = _wanted(sheet, {name: sheet.header.index(name) for name in columns})
    problems += [problem for key, given in wanted.items() for problem in data.problems(key, given, sheet.unit)]
    if problems:
        raise DataError(f"The corrections in {sheet.path} do not fit {examples.source or 'the data'}.", problems)
    return _corrected(examples, {key: data.meaning(given[0][1]) for key, given in wanted.items()}, sheet.path)


@dataclass(frozen=True, slots=True)
class _Data:
    """The examples that are corrected.

    Attributes:
        by_text: text and second text -> their examples.
        known: labels.
    """

    examples: Examples
    by_text: Mapping[tuple[str, str | None], Sequence[Example]]
    known: frozenset[str]

    @classmethod
    def of(cls, examples: Examples) -> "_Data":
        by_text: dict[tuple[str, str | None], list[Example]] = {}
        for example in examples:
            by_text.setdefault(_key_of(example)[:2], []).append(example)
        return cls(examples, by_text, frozenset(examples.label_names))

    def meaning(self, word: str) -> str | None:
        """The label that a word asks for, ``None`` to leave the row out. Full-width hyphens, which Chinese keyboards make, are hyphens."""
        drops = word not in self.known and unicodedata.normalize("NFKC", word).casefold() in DROP
        return None if drops else word

    def problems(self, key: _Key, given: Sequence[tuple[int, str]], unit: str) -> Iterator[str]:
        """What is wrong with the wishes ``(line, word)`` for one text and label."""
        where, text = f"{unit} {given[0][0]}", brief(key.text)
        same = self.by_text.get(key[:2], ())
        if not same:
            yield f"{where}: the data have no text {text}; has a spreadsheet program rewritten it, or was it edited or removed there?"
        elif all(example.label != key.label for example in same):
            labels = ", ".join(f"{example.label!r} ({self.examples.place(example)})" for example in same[:3])
            yield f"{where}: {text} is not labelled {key.label!r} in the data, but {labels}"
        for number, word in given:
            if (label := self.meaning(word)) is not None and label not in self.known:
                yield f"{unit} {number}: {word!r} is no label of the data, and not {' or '.join(DROP)}.{did_you_mean(word, self.known)}"
        if len({self.meaning(word) for _, word in given}) > 1:
            asked = " and ".join(f"{word!r} ({unit} {number})" for number, word in given[:3])
            yield f"{where}: {text} is corrected in two ways: {asked}"


def _wanted(sheet: Sheet, places: Mapping[str, int]) -> tuple[dict[_Key, list[tuple[int, str]]], list[str]]:
    """What each row with something in ``corrected`` asks for, as ``(line, word)``; and rows that cannot be read."""
    wanted: dict[_Key, list[tuple[int, str]]] = {}
    problems = [f"{sheet.unit} {number}: {wrong}" for number, wrong in sheet.complaints]
    for number, cells in sheet.rows:
        try:
            row = {name: _unguarded(as_text(cells[place]) or "") for name, place in places.items()}
        except TypeError as wrong:
            problems.append(f"{sheet.unit} {number}: {wrong}")
            continue
        if word := as_label(row["corrected"]):
            key = _key(row["text"], row.get("pair"), as_label(row["label"]))
            wanted.setdefault(key, []).append((number, word))
    return wanted, problems


def _corrected(examples: Examples, words: Mapping[_Key, str | None], path: Path) -> Examples:
    kept, dropped, changed = [], 0, 0
    for example in examples:
        key = _key_of(example)
        label = words.get(key, example.label)
        if key in words and label is None:
            dropped += 1
            continue
        changed += label != example.label
        kept.append(example if label == example.label else replace(example, label=label))
    if not words:
        log.warning("%s corrects nothing: no row has anything in its column 'corrected'", path)
    log.info("%s: %d labels replaced, %d rows left out", path, changed, dropped)
    return Examples(kept, source=examples.source, unit=examples.unit)


def _key_of(example: Example) -> _Key:
    return _key(example.text, example.pair, example.label)


def _key(text: str, pair: str | None, label: str | None) -> _Key:
    return _Key(_writable(text), _writable(pair) if pair is not None else None, label)


def _writable(text: str) -> str:
    """A text as a csv file can hold it: line ends as ``\\n``, NUL and lone surrogates as U+FFFD."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _guarded(cell: str) -> str:
    return f"'{cell}" if _TO_GUARD.match(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if _GUARDED.match(cell) else cell
