"""Cells of the quality table and the folder they are kept in: one small JSON file each, so that sittings add up.

A cell is found again only by everything that decides it: set, column, seed, cap, hyper-parameters and weights. After a change of any
of them the old file is simply not asked for any more; ``--missing`` lists what is then to be done.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from judging.hyper import COLUMNS, hyper, seeds_of
from judging.sets import SETS
from nlphub.errors import DataError
from nlphub.files import publish_json

NO_WEIGHTS = "none"


@dataclass(frozen=True, slots=True)
class Key:
    """What decides a cell.

    Attributes:
        cap: tokens of an epoch, ``None`` = all rows. A frozen probe has no cap.
        hyper: digest of the hyper-parameters.
        weights: digest of the encoder's weights, or how random ones are made; ``"none"`` for linear models.
    """

    set: str
    column: str
    seed: int
    cap: int | None
    hyper: str
    weights: str

    @property
    def file(self) -> str:
        """Where the cell lies in the folder of results."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.set}/{self.column}-{self.cap or 'all'}-seed{self.seed}-{digest}.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """A finished cell.

    Attributes:
        scores: metric -> its values, 0 to 1: one, or one for each draw of a probe.
        facts: rows, seconds, versions: what a reader may want to know.
    """

    key: Key
    scores: Mapping[str, list[float]]
    facts: Mapping[str, Any]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The scores that the table has asked for since this cell was made."""
        return tuple(name for name in SETS[self.key.set].metrics if name not in self.scores)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of cells."""

    folder: Path

    def get(self, key: Key) -> Cell | None:
        """The cell of this key, ``None`` while there is none.

        Raises:
            DataError: the file of this key does not hold its cell.
        """
        path = self.folder / key.file
        if not path.is_file():
            return None
        try:
            value = json.loads(path.read_text("utf-8"))
            cell = Cell(Key(**value["key"]), value["scores"], value["facts"])
        except (ValueError, KeyError, TypeError) as broken:
            raise DataError(f"{path} is no cell of this benchmark ({broken}); delete it and run the benchmark again") from broken
        if cell.key != key:
            raise DataError(f"{path} holds the cell of another key; delete it and run the benchmark again")
        return cell

    def missing(self, keys: Iterable[Key]) -> dict[Key, tuple[str, ...]]:
        """The cells that are to be made, and of those that are there which scores they lack; these come last."""
        cells = {key: self.get(key) for key in keys}
        absent: dict[Key, tuple[str, ...]] = {key: () for key, cell in cells.items() if cell is None}
        return absent | {key: cell.lacking for key, cell in cells.items() if cell is not None and cell.lacking}

    def put(self, cell: Cell) -> None:
        """Keep a cell: its file is there whole or not at all."""
        facts = {"key": asdict(cell.key), "hyper": hyper(cell.key.column, SETS[cell.key.set])}
        publish_json(self.folder / cell.key.file, {**facts, "scores": dict(cell.scores), "facts": dict(cell.facts)})


def wanted(sets: Iterable[str], columns: Iterable[str], *, seeds: int, cap: int | None, weights: Mapping[str, str]) -> list[Key]:
    """The keys of a table, in the order in which they are made: a table with one seed is whole first.

    Args:
        weights: column -> digest of what it starts from; a column that starts from nothing has none, and ``pretrained`` is left out
            while it has none.
    """
    keys = [
        Key(name, column, seed, None if SETS[name].kind == "probe" else cap, hyper_digest(column, name), start(column, seed, weights))
        for name in sets
        for column in columns
        for seed in seeds_of(column, SETS[name], seeds)
        if column != "pretrained" or column in weights
    ]
    return sorted(keys, key=lambda key: (key.seed, list(SETS).index(key.set), COLUMNS.index(key.column)))


def start(column: str, seed: int, weights: Mapping[str, str]) -> str:
    """What a cell starts from: its part of the key."""
    if column == "random":
        return f"{weights['random']}, seed {seed}"
    return weights["pretrained"] if column == "pretrained" else NO_WEIGHTS


def hyper_digest(column: str, name: str) -> str:
    """Digest of a column's hyper-parameters on a set, 12 digits."""
    return hashlib.sha256(json.dumps(hyper(column, SETS[name]), sort_keys=True).encode()).hexdigest()[:12]


def same_rows(cells: Iterable[Cell]) -> None:
    """Check that all cells of a set and cap were made with the same rows.

    Raises:
        DataError: some were not: the folder of real data changed between sittings.
    """
    seen: dict[tuple[str, int | None], dict[str, str]] = {}
    for cell in cells:
        seen.setdefault((cell.key.set, cell.key.cap), {}).setdefault(str(cell.facts["rows_digest"]), cell.key.file)
    problems = [f"{name}: {' and '.join(files.values())}" for (name, _), files in seen.items() if len(files) > 1]
    if problems:
        raise DataError("These cells were made with other rows than their neighbours; delete the ones of the older data.", problems)
