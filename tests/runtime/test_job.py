"""Answers to files: what is written, what is refused, and that a killed job ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nlphub.data import stream
from nlphub.data.stream import TextFile, chunks
from nlphub.errors import InputError, StoreError
from nlphub.files import locked
from nlphub.runtime import job as jobs
from nlphub.runtime.job import Done, Job, here
from nlphub.runtime.predictor import Predictor

ROOT = Path(__file__).parents[2]
ASKED = {"model": "one", "top": 1}


@dataclass(frozen=True)
class Length:
    text: Any

    def as_dict(self) -> dict[str, Any]:
        return {"length": len(self.text)}


def lengths(texts: Sequence[Any]) -> list[Length]:
    return [Length(text) for text in texts]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of four rows."""
    monkeypatch.setattr(jobs, "chunks", lambda rows: chunks(rows, most=4))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    texts = ['"​"' if n % 5 == 4 else "退货" * (n % 3 + 1) + str(n) for n in range(23)]
    path.write_text("text\n" + "".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def make(
    table: Path, output: Path, *, asked: dict[str, Any] = ASKED, overwrite: bool = False, answer: Any = lengths, **reading: Any
) -> Done:
    return Job(TextFile(table, **reading), output, asked=asked).run(here(answer), overwrite=overwrite)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.endswith("jsonl")}


def test_answers_and_errors_keep_order_and_numbers(small: None, table: Path, tmp_path: Path) -> None:
    done = make(table, tmp_path / "out.jsonl")
    assert (done.rows, done.answered, done.bad, done.resumed) == (23, 19, 4, 0)
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["line"] for row in answers] == [n + 2 for n in range(23) if n % 5 != 4]
    assert all(row["length"] == len(row["text"]) for row in answers)
    errors = [json.loads(line) for line in (tmp_path / "out.errors.jsonl").read_text().splitlines()]
    assert errors == [{"line": n, "error": "the text is blank"} for n in (6, 11, 16, 21)]
    assert not list(tmp_path.glob("*.part"))


def test_no_file_of_errors_without_errors(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("好\n")
    assert make(tmp_path / "in.txt", tmp_path / "out.jsonl").errors is None
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_an_empty_file_has_no_answers(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("")
    assert make(tmp_path / "in.txt", tmp_path / "out.jsonl").rows == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_a_job_that_fails_at_any_group_goes_on_to_the_same_bytes(small: None, table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "whole" / "out.jsonl")
    for place in range(6):
        calls, folder = iter(range(100)), tmp_path / str(place)

        def fail(texts: Sequence[str], calls: Any = calls, place: int = place) -> list[Length]:
            if next(calls) == place:
                raise KeyboardInterrupt
            return lengths(texts)

        with pytest.raises(KeyboardInterrupt):
            make(table, folder / "out.jsonl", answer=fail)
        assert not (folder / "out.jsonl").exists(), "what has its name is complete"
        with (folder / "out.jsonl.part").open("ab") as torn:
            torn.write(b'{"line": 99, "te')
        assert make(table, folder / "out.jsonl").resumed == 4 * place
        assert files(folder) == files(tmp_path / "whole")


def test_what_is_complete_is_not_made_again(table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "out.jsonl")

    def never(texts: Sequence[str]) -> list[Length]:
        raise AssertionError

    done = make(table, tmp_path / "out.jsonl", answer=never)
    assert (done.resumed, done.rows, done.bad) == (23, 23, 4)


def test_a_crash_before_the_names_are_given_is_mended(table: Path, tmp_path: Path) -> None:
    make(table, tmp_path / "out.jsonl")
    expected = files(tmp_path)
    for name in ("out.jsonl", "out.errors.jsonl"):
        (tmp_path / name).rename(tmp_path / f"{name}.part")
        make(table, tmp_path / "out.jsonl")
        assert files(tmp_path) == expected
    (tmp_path / "out.jsonl").unlink()
    with pytest.raises(StoreError, match="it is gone"):
        make(table, tmp_path / "out.jsonl")


@pytest.mark.parametrize("finished", [True, False])
def test_another_input_model_or_option_is_refused_by_name(finished: bool, small: None, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    calls = iter(range(99))

    def answer(texts: Sequence[str]) -> list[Length]:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return lengths(texts)

    if finished:
        make(table, output)
    else:
        with pytest.raises(KeyboardInterrupt):
            make(table, output, answer=answer)
    with pytest.raises(InputError, match="model: one -> two"):
        make(table, output, asked={**ASKED, "model": "two"})
    with pytest.raises(InputError, match="quotes: True -> False"):
        make(table, output, quotes=False)
    table.write_text(table.read_text() + "好\n")
    with pytest.raises(InputError, match=r"--overwrite(.|\n)*input: "):
        make(table, output)
    assert make(table, output, overwrite=True).rows == 24


def test_a_changed_part_is_not_gone_on_with(small: None, table: Path, tmp_path: Path) -> None:
    calls = iter(range(9))

    def fail(texts: Sequence[str]) -> list[Length]:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return lengths(texts)

    with pytest.raises(KeyboardInterrupt):
        make(table, tmp_path / "out.jsonl", answer=fail)
    part = tmp_path / "out.jsonl.part"
    content = part.read_bytes()
    for changed in (content.replace(b"2", b"3", 1), content[:-5], None):
        part.unlink(missing_ok=True)
        if changed is not None:
            part.write_bytes(changed)
        with pytest.raises((StoreError, FileNotFoundError)):
            make(table, tmp_path / "out.jsonl")
    part.write_bytes(content)
    assert make(table, tmp_path / "out.jsonl").resumed == 8


def test_files_of_others_are_left_alone(table: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("precious")
    with pytest.raises(InputError, match="no job of ours"):
        make(table, tmp_path / "out.jsonl")
    (tmp_path / "out.job.json").write_text("{}")
    with pytest.raises(InputError, match="no note of a job"):
        make(table, tmp_path / "out.jsonl")
    with pytest.raises(InputError, match=r"name the file \.jsonl"):
        make(table, tmp_path / "out.csv")
    (tmp_path / "in.jsonl").write_text('{"text": "好"}\n')
    with pytest.raises(InputError, match="would replace"):
        make(tmp_path / "in.jsonl", tmp_path / "in.jsonl")


def test_two_processes_do_not_write_the_same_answers(table: Path, tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path / ".out.jsonl.lock"):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(60)
    try:
        with pytest.raises(InputError, match="Another process"):
            make(table, tmp_path / "out.jsonl")
    finally:
        leave.set()
        thread.join()


def test_a_file_without_one_good_row_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"question": "好"}\n' * 3)
    with pytest.raises(InputError, match=r"line 1: there is no 'text'"):
        make(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert {path.name for path in tmp_path.glob("out*")} == set()


def test_answers_are_asked_for_one_group_at_a_time(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays flat: no row behind a group is read before its answers are on the disk."""
    (tmp_path / "in.txt").write_text("好\n" * 40)
    checked, read = stream.row_of, list[int]()
    monkeypatch.setattr(stream, "row_of", lambda number, line, **how: (read.append(number), checked(number, line, **how))[1])

    def answer(texts: Sequence[str]) -> list[Length]:
        written = (tmp_path / "out.jsonl.part").read_bytes().count(b"\n")
        assert len(read) == written + 4
        return lengths(texts)

    assert make(tmp_path / "in.txt", tmp_path / "out.jsonl", answer=answer).answered == 40


def test_a_predictor_answers_files_as_it_answers_lists(exported: Path, tmp_path: Path) -> None:
    texts = [f"退货{n}" * (n % 4 + 1) for n in range(50)]
    (tmp_path / "in.txt").write_text("\n".join(texts), encoding="utf-8")
    predictor = Predictor(exported)
    predictor.predict_file(tmp_path / "in.txt", tmp_path / "out.jsonl", top_k=2)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"line": n, "text": text, **answer.as_dict()}
        for n, (text, answer) in enumerate(zip(texts, predictor(texts, top_k=2), strict=True), 1)
    ]


def test_a_command_that_is_killed_goes_on_to_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    text = "".join(f"{'' if n % 1000 == 17 else f'我要查第{n}个快递' * (n % 5 + 1)}\n" for n in range(12_000))
    (tmp_path / "in.txt").write_text(text, encoding="utf-8")
    predict(exported, tmp_path, "whole").wait()
    killed = 0
    for rows in (0, 1024, 5 * 1024, 9 * 1024):
        process = predict(exported, tmp_path, "killed")
        notes = tmp_path / "killed" / "out.job.json"
        while process.poll() is None and (not notes.exists() or json.loads(notes.read_text())["rows"] <= rows):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert (tmp_path / "killed" / "out.jsonl").exists() == json.loads(notes.read_text())["finished"]
    assert killed >= 2
    assert predict(exported, tmp_path, "killed").wait() == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert len(files(tmp_path / "whole")) == 2


def predict(exported: Path, folder: Path, name: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "nlphub", "predict", str(exported), "--input", str(folder / "in.txt"), "--threads", "1"]
    output = ["--output", str(folder / name / "out.jsonl")]
    return subprocess.Popen([*command, *output], cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"}, stderr=subprocess.DEVNULL)
