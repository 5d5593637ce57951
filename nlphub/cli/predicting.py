"""What ``nlphub predict`` answers: texts of the command line, lines of standard input as they come, files of any size."""

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nlphub.cli.output import note
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.data.stream import Row, TextFile
    from nlphub.runtime.job import Done, Engine, Progress

_BLOCK = 1 << 16  # bytes of standard input that are answered together, if they are there
_TOLD = 20  # bad rows that are told one by one
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Opened:
    """What answers.

    Attributes:
        answer: texts or pairs -> one answer each.
        task: of its head.
        digest: what its answers depend on, asked for only where it is needed.
        cluster: an engine of other machines for whole files; without it this process answers.
    """

    answer: Callable[[list[Any]], list[Any]]
    task: str
    digest: Callable[[], str]
    cluster: "AbstractContextManager[Engine] | None" = None


def answer_texts(opened: Opened, given: Sequence[str], *, two: bool, encoding: str | None) -> None:
    """Print answers to the texts of the command line; ``-`` stands for standard input."""
    if list(given) == ["-"]:
        answer_lines(opened, sys.stdin.buffer, two=two, encoding=encoding)
    elif two and len(given) % 2:
        raise InputError(f"The number of texts, {len(given)}, is odd: give pairs, e.g. nlphub predict FOLDER 怎么退货 如何把东西退掉")
    else:
        _answer_all(opened, list(zip(given[::2], given[1::2], strict=True)) if two else list(given))


def answer_input(
    opened: Opened, reference: str, output: Path | None, options: Mapping[str, Any], *, top: int, overwrite: bool
) -> "Done | None":
    """Answer a file or a data set of the hub: printed, or into a file.

    Args:
        options: attributes of :class:`nlphub.data.stream.TextFile`.
    """
    if reference.startswith("hf://"):
        if output:
            raise InputError(f"{reference} can change while a job is stopped: save its texts as a file for --output")
        _answer_all(opened, hub_rows(reference, options["text"], options["pair"]))
        return None
    from nlphub.data.stream import TextFile

    source = TextFile.named(reference, **options)
    if output is None:
        answer_rows(opened, source)
        return None
    return answer_file(opened, source, output, top=top, overwrite=overwrite)


def _answer_all(opened: Opened, wanted: list[Any]) -> None:
    for text, answer in zip(wanted, opened.answer(wanted), strict=True):
        said = {"text": text} if isinstance(text, str) else dict(zip(("text", "pair"), text, strict=True))
        _say({**said, **answer.as_dict()})


def answer_lines(opened: Opened, stream: IO[bytes], *, two: bool, encoding: str | None) -> None:
    """Print one line for each line of a stream as soon as it is there: the answer, or the number of the line and what is wrong with it.

    Lines that are there together are answered together, so that a pipe from a file is as fast as a file.
    """
    from nlphub.data.stream import row_of
    from nlphub.runtime.job import line_of

    note(f"reading {'two texts with a tab between' if two else 'one text'} a line from standard input")
    number = 0
    for lines in _blocks(stream, encoding):
        rows = [_undecodable(n) if line is None else row_of(n, line, pairs=two, blank=True) for n, line in enumerate(lines, number + 1)]
        number += len(rows)
        good = [row.given for row in rows if row.given is not None]
        answers = iter(opened.answer(good) if good else [])
        for row in rows:
            _say({"line": row.number, "error": row.problem} if row.given is None else line_of(row, next(answers)))
        sys.stdout.flush()


def answer_rows(opened: Opened, source: "TextFile") -> None:
    """Print answers to the rows of a file; those that have none are told on standard error."""
    from nlphub.data.stream import chunks
    from nlphub.runtime.job import here, line_of

    bad = done = 0
    for group, answers in here(opened.answer)(chunks(source.rows())):
        left = iter(answers)
        for row in group:
            done += 1
            if row.given is not None:
                _say(line_of(row, next(left)))
                continue
            bad += 1
            if bad <= _TOLD:
                note(f"{source.path}, {source.unit} {row.number}: {row.problem}")
    if bad:
        note(f"{bad:,} of {done:,} rows have no answer")
    if done and bad == done:
        raise InputError(f"Not one row of {source.path} can be answered. Name the column of the texts with --text.")


def answer_file(opened: Opened, source: "TextFile", output: Path, *, top: int, overwrite: bool) -> "Done":
    """Write answers to the rows of a file into another; a stopped job goes on."""
    from nlphub.runtime.job import Job, here

    job = Job(source, output, asked={"model": opened.digest(), "top": top})
    with opened.cluster or nullcontext(here(opened.answer)) as engine, progress_bar() as progress:
        done = job.run(engine, overwrite=overwrite, progress=progress)
    fresh = done.rows - done.resumed
    if done.resumed:
        note(f"{done.resumed:,} rows were done before" + ("" if fresh else ": the answers are complete; --overwrite makes them again"))
    if fresh:
        note(f"{fresh:,} rows in {done.seconds:.1f} s, {fresh / max(done.seconds, 1e-9):,.0f} a second")
    if done.errors:
        note(f"{done.bad:,} of {done.rows:,} rows have no answer; {done.errors} says why")
    return done


@contextmanager
def progress_bar() -> "Iterator[Progress | None]":
    """A bar with the rate on standard error; nothing when that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.completed:,.0f} rows"), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    started, first = time.monotonic(), list[int]()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int | None) -> None:
            first[:] = first or [done]  # the rate leaves out what an earlier job has done
            rate = (done - first[0]) / max(time.monotonic() - started, 1e-9)
            bar.update(task, completed=done, total=total, description=f"{rate:,.0f} a second")

        yield show


def hub_rows(reference: str, text: str, pair: str | None) -> list[Any]:
    """The texts of a data set of the Hugging Face hub, read whole."""
    from nlphub.data.read import load_data

    examples = load_data(reference, text=text, pair=pair, label=None)["train"]
    return list(examples.texts) if examples.pairs is None else list(zip(examples.texts, examples.pairs, strict=True))


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False))


def _undecodable(number: int) -> "Row":
    from nlphub.data.stream import Row

    return Row(number, None, "it is neither UTF-8 nor GB18030, or not of --encoding")


def _blocks(stream: IO[bytes], encoding: str | None) -> Iterator[list[str | None]]:
    """The lines that are there, decoded; ``None`` for one that cannot be.

    Raises:
        InputError: a line has no end, or there is no such encoding.
    """
    _check(encoding)
    wide = (encoding or "").lower().replace("-", "").replace("_", "").startswith(("utf16", "utf32"))
    rest = start = _read(stream)
    if wide or (encoding is None and start.startswith(_MARKS)):
        yield _whole(start + stream.read(), encoding)
        return
    rest = rest.removeprefix(codecs.BOM_UTF8)
    while True:
        *whole, rest = rest.split(b"\n")
        if whole:
            yield [_decoded(line, encoding) for line in whole]
        if len(rest) > _LONGEST:
            raise InputError(f"A line of standard input has more than {_LONGEST:,} bytes")
        more = _read(stream)
        if not more:
            break
        rest += more
    if rest:
        yield [_decoded(rest, encoding)]


_LONGEST = 40_000_000  # bytes of a line


def _read(stream: IO[bytes]) -> bytes:
    """What is there, without waiting for more."""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    return read(_BLOCK)


def _whole(data: bytes, encoding: str | None) -> list[str | None]:
    from nlphub.data.encodings import decode

    return list(data.decode(encoding, "replace").splitlines() if encoding else decode(data, name="standard input").splitlines())


def _check(encoding: str | None) -> None:
    try:
        b" ".decode(encoding or "utf-8", "replace")
    except LookupError as wrong:
        raise InputError(f"--encoding {encoding}: Python knows no text encoding of that name") from wrong


def _decoded(line: bytes, encoding: str | None) -> str | None:
    tried: Iterable[str] = (encoding,) if encoding else ("utf-8", "gb18030")
    for name in tried:
        try:
            return line.decode(name).rstrip("\r")
        except UnicodeDecodeError:
            continue
    return None
