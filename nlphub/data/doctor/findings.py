"""What the doctor says: findings, each with the cases behind it, and which checks there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CHECKS = {
    "unreadable": "rows that cannot be read at all",
    "empty": "texts with nothing to read in them",
    "unlabelled": "texts without a label",
    "garbled": "texts that were read in a wrong encoding at some time",
    "long": "texts with more tokens than the module takes",
    "personal": "phone numbers, ID cards, bank cards, e-mail addresses",
    "conflicts": "the same text under different labels",
    "near-conflicts": "nearly the same text under different labels",
    "duplicates": "the same text under the same label, again",
    "near-duplicates": "nearly the same text under the same label",
    "leakage": "texts of one split that are in another",
    "near-leakage": "texts of one split that are nearly in another",
    "labels": "labels that are written in several ways, cannot be shown, or stand alone",
    "unseen": "labels that training never sees",
    "few": "labels with too few examples",
    "imbalance": "a label with many times the examples of another",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row that a finding is about.

    Attributes:
        split: it stands in.
        line: of a text file or row of a table, from 1; ``None`` when the examples were made in memory.
        text: with personal data masked.
        label: as it was read.
    """

    split: str
    line: int | None
    text: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One instance of what was found: rows that belong together, or none when it is about a label.

    Attributes:
        rows: concerned.
        note: what is particular about them.
    """

    rows: tuple[Row, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: one of :data:`CHECKS`.
        count: rows concerned, or labels where it is about labels.
        summary: one sentence with the figures.
        advice: what to do about it.
        cases: all of them, in the order of the files.
    """

    check: str
    count: int
    summary: str
    advice: str
    cases: tuple[Case, ...]

    def as_dict(self, *, cases: bool = True) -> dict[str, Any]:
        """For JSON; ``cases=False`` leaves out the rows."""
        facts: dict[str, Any] = {"check": self.check, "count": self.count, "summary": self.summary, "advice": self.advice}
        return facts | ({"cases": [_case(case) for case in self.cases]} if cases else {})


def found(check: str, cases: Iterable[Case], what: tuple[str, str], advice: str, *, count: int | None = None) -> list[Finding]:
    """One finding, or none without cases.

    Args:
        what: what is counted (``"row"``) and what is the matter with it (``"without text"``): ``"2 rows without text"``.
        count: default: all rows of the cases.
    """
    cases = tuple(cases)
    if not cases:
        return []
    count = sum(len(case.rows) for case in cases) if count is None else count
    return [Finding(check, count, f"{counted(count, what[0])} {what[1]}", advice, cases)]


def counted(count: int, noun: str) -> str:
    """``"1 row"``, ``"2,000 rows"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str], most: int = 5) -> str:
    """The first words with commas between, and how many more there are."""
    rest = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + rest


def _case(case: Case) -> dict[str, Any]:
    rows = [{"split": row.split, "line": row.line, "text": row.text, "label": row.label} for row in case.rows]
    return {"note": case.note, "rows": rows}
