"""Examples: labelled texts in order."""

import hashlib
import json
import operator
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, overload

from nlphub.data.answers import to_labels, to_value
from nlphub.data.cells import as_label, as_text
from nlphub.data.kept import Form, kept
from nlphub.data.slots import to_slots
from nlphub.data.spans import Span, to_spans
from nlphub.errors import DataError, brief, did_you_mean


@dataclass(frozen=True, slots=True)
class Example:
    """One text, with what is known about it.

    Attributes:
        text: as the user wrote it, unchanged.
        label: its class, or ``None`` when it is not known.
        pair: the second text, for tasks over two texts.
        line: where it came from: the line of a text file or the row of a table, counted from 1. Not part of equality.
        spans: its labelled stretches, for tasks over tokens: ``()`` when it has none, ``None`` when they are not known.
        labels: its labels, sorted, for tasks in which a text has any number of them: ``()`` when it has none, ``None`` when not known.
        value: its number, for tasks that estimate one, or ``None`` when it is not known.
    """

    text: str
    label: str | None = None
    pair: str | None = None
    line: int | None = field(default=None, compare=False)
    spans: tuple[Span, ...] | None = None
    labels: tuple[str, ...] | None = None
    value: float | None = None

    @property
    def names(self) -> set[str]:
        """The labels of the text and of its spans."""
        return {name for name in (self.label, *(self.labels or ()), *(span.label for span in self.spans or ())) if name is not None}

    @property
    def content(self) -> list[Any]:
        """Text, pair and right answers as plain values. Answers that are not there leave no trace: older digests stay what they were."""
        spans = [] if self.spans is None else [[astuple(span) for span in self.spans]]
        other = {"labels": self.labels, "value": self.value}
        told = {name: answer for name, answer in other.items() if answer is not None}
        return [self.text, self.pair, self.label, *spans, *([told] if told else [])]


class Examples(Sequence[Example]):
    """An immutable list of examples. Many of them (:data:`nlphub.data.kept.MOST`) lie in a temporary file instead of in memory.

    Args:
        examples: the examples, in order; they are taken one after the other.
        source: the file or data set they came from, for messages.
        unit: what ``Example.line`` counts, ``"line"`` or ``"row"``, for messages.
    """

    __slots__ = ("_digest", "_items", "source", "unit")

    def __init__(self, examples: Iterable[Example], *, source: str = "", unit: str = "line") -> None:
        self._items, self._digest = kept(examples, _FORM), ""
        self.source = source
        self.unit = unit

    @classmethod
    def of(cls, rows: Any) -> "Examples":
        """Examples from what callers have at hand.

        Args:
            rows: :class:`Examples`; an iterable of :class:`Example`, ``(text, label)`` pairs, ``(text, [label, label])`` pairs, or mappings
                with ``text`` and perhaps ``label``, ``pair``, ``spans``, ``labels`` and ``value``, or ``intent`` and ``slots`` (a
                ``datasets.Dataset`` with such columns is one). Labels that are numbers become their digits; spans are what
                :func:`nlphub.data.spans.to_spans` takes, slots what :func:`nlphub.data.slots.to_slots` takes, labels and value what
                :func:`nlphub.data.answers.to_labels` and ``to_value`` take.

        Raises:
            DataError: anything else; all bad rows at once.
        """
        if isinstance(rows, cls):
            return rows
        if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
            raise DataError(
                f"{brief(rows)} is not a list of examples. Read files and hub ids with nlphub.load_data(...) and pass one split, "
                "e.g. data['train']; in memory use a list of (text, label) pairs."
            )
        names = class_names(rows, "label") or class_names(rows, "labels")
        problems: list[str] = []
        made = cls(_examples(rows, names, problems), unit="row")
        if problems:
            raise DataError("These rows are not examples.", problems)
        return made

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index: int | slice) -> "Example | Examples":
        return self._like(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Example]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Examples):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    def __hash__(self) -> int:
        return hash((len(self), tuple(self._items[:_HASHED])))

    def __repr__(self) -> str:
        return f"Examples({len(self)} examples, {len(self.label_names)} labels{', ' + self.source if self.source else ''})"

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [example.text for example in self._items]

    @property
    def pairs(self) -> list[str] | None:
        """The second texts (empty where one is missing), or ``None`` when no example has one."""
        pairs = [example.pair for example in self._items]
        return None if all(pair is None for pair in pairs) else [pair or "" for pair in pairs]

    @property
    def paired(self) -> bool:
        """Whether some example has a second text."""
        return any(example.pair is not None for example in self._items)

    @property
    def labels(self) -> list[str]:
        """The label of every example.

        Raises:
            DataError: some have none; all are named.
        """
        return self._known("label", "Labels are missing.", "the label is missing")

    @property
    def spans(self) -> list[tuple[Span, ...]]:
        """The spans of every example.

        Raises:
            DataError: those of some are not known; all are named.
        """
        return self._known("spans", "Spans are missing.", "the spans are missing")

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """The labels of every example, of tasks in which a text has any number of them. Raises as :attr:`spans`."""
        return self._known("labels", "Labels are missing.", "the labels are missing")

    @property
    def values(self) -> list[float]:
        """The number of every example. Raises as :attr:`spans`."""
        return self._known("value", "Values are missing.", "the value is missing")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The distinct labels of texts and spans, sorted by code point."""
        return tuple(sorted({name for example in self._items for name in example.names}))

    def take(self, numbers: Iterable[int]) -> "Examples":
        """The examples of these numbers, in the order given."""
        return self._like(self._items[number] for number in numbers)

    def pieces(self, characters: int) -> Iterator["Examples"]:
        """The examples in pieces of so many characters or little more; no examples are one piece."""
        piece, size = list[Example](), 0
        for example in self._items:
            piece.append(example)
            size += len(example.text) + len(example.pair or "")
            if size >= characters:
                yield self._like(piece)
                piece, size = [], 0
        if piece or not len(self):
            yield self._like(piece)

    def place(self, example: Example) -> str:
        """Where an example came from, e.g. ``train.csv, line 7``."""
        line = f"{self.unit} {example.line}" if example.line is not None else f"text {brief(example.text)}"
        return f"{self.source}, {line}" if self.source else line

    def digest(self) -> str:
        """SHA-256 of texts, pairs and right answers in their order (not of lines or sources), as 64 hexadecimal digits."""
        if not self._digest:
            digest = hashlib.sha256()
            for example in self._items:
                digest.update(json.dumps(example.content).encode("ascii") + b"\n")
            self._digest = digest.hexdigest()
        return self._digest

    def _known(self, name: str, what: str, complaint: str) -> list[Any]:
        found = [getattr(example, name) for example in self._items]
        if any(answer is None for answer in found):
            missing = (example for example, answer in zip(self._items, found, strict=True) if answer is None)
            raise DataError(what, [f"{self.place(example)}: {complaint}" for example in missing])
        return found

    def _like(self, items: Iterable[Example]) -> "Examples":
        return Examples(items, source=self.source, unit=self.unit)


def to_example(
    text: Any,
    label: Any = None,
    pair: Any = None,
    *,
    spans: Any = None,
    labels: Any = None,
    value: Any = None,
    line: int | None = None,
    names: Sequence[str] | None = None,
) -> Example:
    """An example from the cells of a table. A missing text becomes an empty one, for the checks to report.

    Args:
        names: the names behind class numbers, see :func:`class_names`.

    Raises:
        TypeError: a cell holds neither text nor a number nor a date, or ``spans``, ``labels`` or ``value`` are none.
    """
    return Example(
        as_text(text) or "", as_label(label, names), as_text(pair), line, to_spans(spans), to_labels(labels, names), to_value(value)
    )


def class_names(rows: Any, column: str) -> Sequence[str] | None:
    """The class names of a ``datasets.Dataset`` whose ``column`` is a ``ClassLabel``, or a list of them; ``None`` for all else."""
    features = getattr(rows, "features", None)
    if not isinstance(features, Mapping) or column not in features:
        return None
    found: Sequence[str] | None = getattr(getattr(features[column], "feature", features[column]), "names", None)
    return found


class UnknownSplitError(DataError, KeyError):
    """There is no split of that name. A ``KeyError`` too, as mappings promise."""

    __str__ = Exception.__str__


class Splits(Mapping[str, Examples]):
    """The parts of a data set by name: ``data["train"]``, ``data["dev"]``, ``data["test"]``."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Examples]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> Examples:
        if name not in self._parts:
            raise UnknownSplitError(
                f"There is no split {name!r}; there are: {', '.join(self._parts) or 'none'}."
                f"{did_you_mean(str(name), self._parts)} load_data(..., split={{'dev': 0.1}}) makes one from 'train'."
            )
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Splits({', '.join(f'{name}: {len(part)}' for name, part in self._parts.items())})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The sorted label names of ``train``: what a classifier of this data can answer."""
        return self["train"].label_names


def _examples(rows: Iterable[Any], names: Sequence[str] | None, problems: list[str]) -> Iterator[Example]:
    """Examples of the rows that are some; what is wrong with the others joins ``problems``."""
    for number, row in enumerate(rows, start=1):
        try:
            yield _example(row, number, names)
        except TypeError as wrong:
            problems.append(f"row {number}: {wrong}")


def _example(row: Any, number: int, names: Sequence[str] | None) -> Example:
    if isinstance(row, Example):
        return row
    if isinstance(row, tuple | list) and len(row) == 2:
        several = isinstance(row[1], list | tuple | set | frozenset)
        return to_example(row[0], labels=row[1], line=number) if several else to_example(*row, line=number)
    if not isinstance(row, Mapping):
        raise TypeError(f"{brief(row)} is neither a (text, label) pair nor a mapping with 'text' and 'label'")
    if "text" not in row:
        raise TypeError(f"there is no 'text' among its keys {', '.join(map(repr, row))}.{did_you_mean('text', map(str, row))}")
    answers = {name: row.get(name) for name in ("spans", "labels", "value")}
    if "slots" in row:
        answers["spans"] = to_slots(as_text(row["text"]) or "", row["slots"])
    return to_example(row["text"], row.get("label", row.get("intent")), row.get("pair"), **answers, line=number, names=names)


def _size(example: Example) -> int:
    """Bytes that it takes in memory, about: objects of 250 bytes, two bytes a character."""
    return 250 + 2 * (len(example.text) + len(example.pair or "")) + 150 * len(example.spans or ())


def _plain(example: Example) -> list[Any]:
    spans = None if example.spans is None else [astuple(span) for span in example.spans]
    line = None if example.line is None else int(example.line)
    return [example.text, example.label, example.pair, line, spans, example.labels, example.value]


def _made(plain: list[Any]) -> Example:
    text, label, pair, line, spans, labels, value = plain
    label = sys.intern(label) if label is not None else None
    spans = tuple(Span(*span) for span in spans) if spans is not None else None
    return Example(text, label, pair, line, spans, tuple(labels) if labels is not None else None, value)


_FORM = Form(_size, _plain, _made)
_HASHED = 100
