"""Answers to a whole file: in constant memory, in its order, and to be gone on with after a crash.

out.jsonl         one JSON line for each row that can be answered; has this name only when it is complete
out.jsonl.part    the same while it grows
out.errors.jsonl  number and reason of each row that cannot, where there are any (also .part while it grows)
out.job.json      what was asked, by digests, and how far the two files are known to be right

Rows are taken in groups whose borders depend on the file alone. After each group both files are forced to disk and the position behind
them is published, so a killed job goes on at a border: what stands behind the position is cut off and made again, from the same rows in
the same batches. Therefore the result is, byte for byte, that of a job that was never killed.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from nlphub import __version__
from nlphub.data.stream import CHUNK_ROWS, Row, TextFile, chunks
from nlphub.errors import InputError, StoreError
from nlphub.files import alone, grow, publish_file, publish_json, sync

SCHEMA = 1
_BLOCK = 1 << 20  # bytes read at a time

Chunk = list[Row]
Answered = Iterator[tuple[Chunk, Sequence[Any]]]  # rows, and the answers to the good ones among them
Progress = Callable[[int, int | None], None]  # rows done, rows in all (None: unknown)


class Engine(Protocol):
    """What computes the answers of many groups of rows, in their order."""

    def __call__(self, groups: Iterable[Chunk]) -> Answered: ...


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has ended.

    Attributes:
        output: the answers.
        errors: the rows without, or ``None`` where there are none.
        rows: of the input.
        answered, bad: how many of them have an answer, and how many have none.
        resumed: rows that an earlier, stopped job had done; all of them where nothing was left to do.
        seconds: of this one.
    """

    output: Path
    errors: Path | None
    rows: int
    answered: int
    bad: int
    resumed: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"output": str(self.output), "errors": str(self.errors) if self.errors else None}


@dataclass(slots=True)
class _Growing:
    """A file that grows, with the digest of what is in it."""

    path: Path
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    stream: IO[bytes] | None = None

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def facts(self) -> dict[str, Any]:
        return {"bytes": self.size, "sha256": self.digest.hexdigest()}

    def recover(self, known: Mapping[str, Any]) -> None:
        """Take over the first bytes, which have to be those that are known.

        Raises:
            StoreError: they are not there, or others.
        """
        with self.part.open("rb") if known["bytes"] else nullcontext() as stream:
            self.size = _read_into(self.digest, stream, known["bytes"])
        if self.facts != {"bytes": known["bytes"], "sha256": known["sha256"]}:
            raise StoreError(f"{self.part} was changed since its job stopped: begin again with --overwrite (overwrite=True)")

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        if data and self.stream is not None:
            self.stream.write(data)
            self.digest.update(data)
            self.size += len(data)


class Job:
    """The answers to one file.

    Args:
        source: what to answer.
        output: the file of answers; its name ends in .jsonl.
        asked: what else decides the answers, as plain values: the digest of the artefact, options.
    """

    def __init__(self, source: TextFile, output: Path, *, asked: Mapping[str, Any]) -> None:
        if output.suffix.lower() != ".jsonl":
            raise InputError(f"{output}: answers are written as JSON lines; name the file .jsonl")
        self.source, self.output = source, _Growing(output)
        self.errors = _Growing(output.with_name(f"{output.stem}.errors.jsonl"))
        self.notes = output.with_name(f"{output.stem}.job.json")
        if source.path.resolve() in (each.resolve() for each in (output, self.output.part, self.errors.path, self.errors.part)):
            raise InputError(f"{output} would replace what is to be answered; choose another --output")
        self._asked = dict(asked)
        self._total: int | None = None

    def run(self, engine: Engine, *, overwrite: bool = False, progress: Progress | None = None) -> Done:
        """Make the files, or what is missing of them.

        Args:
            overwrite: begin again, whatever lies there.
            progress: told after every group of rows.

        Raises:
            InputError: there are answers already, of another input, artefact or options (they are named), or another process writes them.
            StoreError: what a stopped job left was changed.
            DataError: the input as a whole cannot be read; or not one of its rows can.
        """
        started = time.monotonic()
        path = self.output.path
        with alone(path, otherwise=f"Another process is writing {path}; wait for it or choose another --output"):
            identity, self._total = self._identity()
            position = self._position(identity, overwrite=overwrite)
            if not position["finished"]:
                position = self._answer(engine, identity, dict(position), progress)
            self._settle(position)
        made = {name: position[name] for name in ("rows", "answered", "bad")}
        errors = self.errors.path if position["bad"] else None
        return Done(self.output.path, errors, **made, resumed=position["resumed"], seconds=time.monotonic() - started)

    def _identity(self) -> tuple[dict[str, Any], int | None]:
        """What decides the answers, by digests, and the number of lines of a text file."""
        digest, size, newlines = hashlib.sha256(), 0, 0
        with self.source.path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size, newlines = size + len(block), newlines + block.count(b"\n")
        reading = {name: getattr(self.source, name) for name in ("text", "pair", "encoding", "quotes")}
        facts = {"input": digest.hexdigest(), "bytes": size, "kind": self.source.path.suffix.lower(), "rows at once": CHUNK_ROWS}
        return {**facts, **reading, **self._asked, "nlphub": __version__}, newlines if self.source.unit == "line" else None

    def _position(self, identity: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any]:
        """Where to begin."""
        beginning = {"rows": 0, "answered": 0, "bad": 0, "resumed": 0, "finished": False}
        notes = _read_notes(self.notes)
        if overwrite:
            self.notes.unlink(missing_ok=True)  # first: what it says of the other files is about to be wrong
            return beginning
        if notes is None:
            if there := [each for each in (self.output.path, self.errors.path) if each.exists()]:
                raise InputError(f"{there[0]} is there already, and no job of ours made it; add --overwrite or choose another --output")
            return beginning
        before = notes["asked"]
        changed = [f"{key}: {before.get(key)!s:.50} -> {value!s:.50}" for key, value in identity.items() if before.get(key) != value]
        if changed:
            what = "were made from" if notes["finished"] else "were begun with"
            raise InputError(
                f"The answers in {self.output.path} {what} something else; add --overwrite to make them again, or choose another --output.",
                changed,
            )
        if not notes["finished"]:
            for growing, name in ((self.output, "output"), (self.errors, "errors")):
                growing.recover(notes[name])
        return {name: notes[name] for name in beginning if name != "resumed"} | {"resumed": notes["rows"]}

    def _answer(self, engine: Engine, identity: Mapping[str, Any], position: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        rows = self.source.rows()
        for _ in islice(rows, position["rows"]):  # read again, which takes a thousandth of the time of answering
            pass
        with grow(self.output.part, kept=self.output.size) as out, grow(self.errors.part, kept=self.errors.size) as errors:
            self.output.stream, self.errors.stream = out, errors
            for group, answers in engine(chunks(rows)):
                self._write(group, answers)
                good = len(answers)
                position |= {"rows": position["rows"] + len(group), "answered": position["answered"] + good}
                position["bad"] += len(group) - good
                self._note(identity, position)
                if progress:
                    progress(position["rows"], self._total)
        if position["rows"] and not position["answered"]:
            raise self._nothing_to_answer()
        position["finished"] = True
        self._note(identity, position)
        return position

    def _write(self, group: Chunk, answers: Sequence[Any]) -> None:
        good = [row for row in group if row.given is not None]
        self.output.write(line_of(row, answer, unit=self.source.unit) for row, answer in zip(good, answers, strict=True))
        self.errors.write({self.source.unit: row.number, "error": row.problem} for row in group if row.given is None)

    def _note(self, identity: Mapping[str, Any], position: Mapping[str, Any]) -> None:
        """Publish how far the files are right; they are on the disk before."""
        for growing in (self.output, self.errors):
            if growing.stream is not None and not growing.stream.closed:
                sync(growing.stream)
        known = {name: value for name, value in position.items() if name != "resumed"}
        publish_json(
            self.notes, {"asked": dict(identity), "output": self.output.facts, "errors": self.errors.facts, "schema": SCHEMA, **known}
        )

    def _settle(self, position: Mapping[str, Any]) -> None:
        """Give finished files their names; again, where a crash came between."""
        for growing, wanted in ((self.errors, position["bad"] > 0), (self.output, True)):
            if growing.part.exists() and wanted:
                publish_file(growing.part, growing.path)
            growing.part.unlink(missing_ok=True)
            if not wanted:
                growing.path.unlink(missing_ok=True)  # of an earlier job
        if not self.output.path.exists():
            raise StoreError(f"{self.notes} says that {self.output.path} is complete, and it is gone; make it again with --overwrite")

    def _nothing_to_answer(self) -> InputError:
        first = list(islice(self.source.rows(), 20))
        lines = [f"{self.source.unit} {row.number}: {row.problem}" for row in first]
        for path in (self.notes, self.output.part, self.errors.part):
            path.unlink(missing_ok=True)
        return InputError(f"Not one row of {self.source.path} can be answered. Name the column of the texts with --text.", lines)


def line_of(row: Row, answer: Any, *, unit: str | None = None) -> dict[str, Any]:
    """A row and its answer as a line of JSON.

    Args:
        unit: how the row's number is called, or ``None`` to leave it out.
    """
    number = {} if unit is None else {unit: row.number}
    said = {"text": row.given} if isinstance(row.given, str) else dict(zip(("text", "pair"), row.given or (), strict=True))
    return {**number, **said, **answer.as_dict()}


def here(answer: Callable[[list[Any]], list[Any]]) -> Engine:
    """An engine that answers in this process."""

    def engine(groups: Iterable[Chunk]) -> Answered:
        for group in groups:
            good = [row.given for row in group if row.given is not None]
            yield group, answer(good) if good else []

    return engine


def _read_notes(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if notes["schema"] == SCHEMA and {"asked", "rows", "answered", "bad", "finished", "output", "errors"} <= set(notes):
            return dict(notes)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError):
        pass
    raise InputError(f"{path} is no note of a job that this nlphub understands; add --overwrite or choose another --output")


def _read_into(digest: Any, stream: IO[bytes] | None, size: int) -> int:
    done = 0
    while stream is not None and done < size and (block := stream.read(min(_BLOCK, size - done))):
        digest.update(block)
        done += len(block)
    return done
