"""Examples: labelled texts in order, and what has to hold before a training starts."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from nlphub.data.cells import as_label, as_text, is_blank
from nlphub.errors import DataError, brief, did_you_mean


@dataclass(frozen=True, slots=True)
class Example:
    """One text, with what is known about it.

    Attributes:
        text: as the user wrote it, unchanged.
        label: its class, or ``None`` when it is not known.
        pair: the second text, for tasks over two texts.
        line: where it came from: the line of a text file or the row of a table, counted from 1. Not part of equality.
    """

    text: str
    label: str | None = None
    pair: str | None = None
    line: int | None = field(default=None, compare=False)


class Examples(Sequence[Example]):
    """An immutable list of examples.

    Args:
        examples: the examples, in order.
        source: the file or data set they came from, for messages.
        unit: what ``Example.line`` counts, ``"line"`` or ``"row"``, for messages.
    """

    __slots__ = ("_items", "source", "unit")

    def __init__(self, examples: Iterable[Example], *, source: str = "", unit: str = "line") -> None:
        self._items = tuple(examples)
        self.source = source
        self.unit = unit

    @classmethod
    def of(cls, rows: Any) -> "Examples":
        """Examples from what callers have at hand.

        Args:
            rows: :class:`Examples`; an iterable of :class:`Example`, ``(text, label)`` pairs, or mappings with ``text`` and perhaps
                ``label`` and ``pair`` (a ``datasets.Dataset`` with such columns is one). Labels that are numbers become their digits.

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
        names = class_names(rows, "label")
        made, problems = [], []
        for number, row in enumerate(rows, start=1):
            try:
                made.append(_example(row, number, names))
            except TypeError as wrong:
                problems.append(f"row {number}: {wrong}")
        if problems:
            raise DataError("These rows are not examples.", problems)
        return cls(made, unit="row")

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
        return self._items == other._items if isinstance(other, Examples) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

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
    def labels(self) -> list[str]:
        """The label of every example.

        Raises:
            DataError: some have none; all are named.
        """
        labels = [example.label for example in self._items if example.label is not None]
        if len(labels) < len(self._items):
            missing = [example for example in self._items if example.label is None]
            raise DataError("Labels are missing.", [f"{self.place(example)}: the label is missing" for example in missing])
        return labels

    @property
    def label_names(self) -> tuple[str, ...]:
        """The distinct labels, sorted by code point."""
        return tuple(sorted({example.label for example in self._items if example.label is not None}))

    def take(self, numbers: Iterable[int]) -> "Examples":
        """The examples of these numbers, in the order given."""
        return self._like(self._items[number] for number in numbers)

    def place(self, example: Example) -> str:
        """Where an example came from, e.g. ``train.csv, line 7``."""
        line = f"{self.unit} {example.line}" if example.line is not None else f"text {brief(example.text)}"
        return f"{self.source}, {line}" if self.source else line

    def digest(self) -> str:
        """SHA-256 of texts, pairs and labels in their order (not of lines or sources), as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for example in self._items:
            digest.update(json.dumps([example.text, example.pair, example.label]).encode("ascii") + b"\n")
        return digest.hexdigest()

    def _like(self, items: Iterable[Example]) -> "Examples":
        return Examples(items, source=self.source, unit=self.unit)


def to_example(text: Any, label: Any, pair: Any = None, *, line: int | None = None, names: Sequence[str] | None = None) -> Example:
    """An example from the cells of a table. A missing text becomes an empty one, for the checks to report.

    Args:
        names: the names behind class numbers, see :func:`class_names`.

    Raises:
        TypeError: a cell holds neither text nor a number nor a date.
    """
    return Example(as_text(text) or "", as_label(label, names), as_text(pair), line)


def class_names(rows: Any, column: str) -> Sequence[str] | None:
    """The class names of a ``datasets.Dataset`` whose ``column`` is a ``ClassLabel``; ``None`` for all else."""
    features = getattr(rows, "features", None)
    return getattr(features[column], "names", None) if isinstance(features, Mapping) and column in features else None


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


def check_for_training(
    train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
) -> None:
    """Check that a classifier can be trained on ``train`` and judged on ``dev`` and ``test``.

    Args:
        labels: the labels that the classifier can answer, where they are fixed already; default is those of ``train``.

    Raises:
        DataError: a split without examples, empty texts, missing labels, one class only, labels that are unknown to the classifier
            or that training never saw; all at once.
    """
    given = {"train": train, "dev": dev, "test": test}
    splits = {name: examples for name, examples in given.items() if examples is not None}
    problems = [problem for name, examples in splits.items() for problem in problems_of(examples, name=name)]
    problems += _look_alikes(train.label_names)
    known = set(train.label_names)
    if len(known) == 1:
        problems.append(f"train has one class only, {next(iter(known))!r}; a classifier needs two or more")
    if labels is not None:
        problems += _strangers(train, set(labels), "is not one of the module's labels")
    for name in ("dev", "test"):
        if name in splits and known:
            problems += _strangers(splits[name], known, "never occurs in train")
    if problems:
        raise DataError("This data cannot be trained on.", problems)


def check_labels_known(examples: Examples, labels: Sequence[str]) -> None:
    """Check that a classifier with these labels can be judged on ``examples``.

    Raises:
        DataError: no examples, empty texts, missing labels or labels that the classifier does not know; all at once.
    """
    problems = problems_of(examples) + _strangers(examples, set(labels), "is not one of the module's labels")
    if problems:
        raise DataError("A module cannot be judged on this data.", problems)


def problems_of(examples: Examples, *, name: str = "", labelled: bool = True) -> list[str]:
    """What is wrong with each example by itself, as sentences: empty texts, empty second texts and (where ``labelled``) missing labels.

    Args:
        name: of the split, for the message about a split without examples.
    """
    place = f"{name} ({examples.source})" if name and examples.source else name or examples.source or "the data"
    problems = [] if len(examples) else [f"{place} holds no examples"]
    for example in examples:
        if is_blank(example.text):
            problems.append(f"{examples.place(example)}: the text is empty (nothing but spaces or invisible characters)")
        if example.pair is not None and is_blank(example.pair):
            problems.append(f"{examples.place(example)}: the second text is empty")
        if labelled and (example.label is None or not example.label.strip()):
            problems.append(f"{examples.place(example)}: the label is missing")
        if example.label is not None and not example.label.isprintable():
            problems.append(f"{examples.place(example)}: the label {example.label!r} holds characters that cannot be shown")
    return problems


def _example(row: Any, number: int, names: Sequence[str] | None) -> Example:
    if isinstance(row, Example):
        return row
    if isinstance(row, tuple | list) and len(row) == 2:
        return to_example(*row, line=number)
    if not isinstance(row, Mapping):
        raise TypeError(f"{brief(row)} is neither a (text, label) pair nor a mapping with 'text' and 'label'")
    if "text" not in row:
        raise TypeError(f"there is no 'text' among its keys {', '.join(map(repr, row))}.{did_you_mean('text', map(str, row))}")
    return to_example(row["text"], row.get("label"), row.get("pair"), line=number, names=names)


def _look_alikes(names: Sequence[str]) -> list[str]:
    """Labels that differ only in width or compatibility forms, which nobody means as two classes."""
    seen: dict[str, str] = {}
    twins = [(seen.setdefault(unicodedata.normalize("NFKC", name).strip(), name), name) for name in names]
    return [f"the labels {first!r} and {name!r} look the same; write both alike" for first, name in twins if first != name]


def _strangers(examples: Examples, known: set[str], complaint: str) -> list[str]:
    """One problem for each label of ``examples`` outside ``known``, with its first place and its count."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        if example.label is not None and example.label not in known:
            found.setdefault(example.label, []).append(example)
    return [
        f"{examples.place(rows[0])}: label {label!r} {complaint} ({len(rows)} example{'s' if len(rows) > 1 else ''})."
        f"{did_you_mean(label, known)}"
        for label, rows in found.items()
    ]
