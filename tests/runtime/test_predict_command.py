"""``nlphub predict``: files, standard input as it comes, encodings, and what does not go together."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nlphub.cli.app import app
from nlphub.errors import InputError

ROOT = Path(__file__).parents[2]


def said(*words: Any, given: str | bytes | None = None) -> list[dict[str, Any]]:
    done = CliRunner().invoke(app, ["predict", *map(str, words)], input=given)
    assert done.exit_code == 0, (done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_blank_row_costs_one_answer(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes("问题,n\n退货,1\n,2\n转人工,3\n".encode("gb18030"))
    rows = said(exported, "--input", tmp_path / "in.csv", "--text", "问题")
    assert [row["text"] for row in rows] == ["退货", "转人工"]
    done = CliRunner().invoke(app, ["predict", str(exported), "--input", str(tmp_path / "in.csv"), "--text", "问题"])
    assert "line 3: the text is blank" in done.stderr
    assert rows == said(exported, "--input", tmp_path / "in.csv", "--text", "问题", "--encoding", "gb18030")
    with pytest.raises(InputError, match="utf-9"):
        raise CliRunner().invoke(app, ["predict", str(exported), "-", "--encoding", "utf-9"], input="好").exception or AssertionError


def test_a_file_of_answers_and_what_was_done(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("text\tx\n退货\t1\n \t2\n", encoding="utf-8")
    words = [exported, "--input", tmp_path / "in.tsv", "--output", tmp_path / "out.jsonl", "--top", 1]
    done = CliRunner().invoke(app, ["predict", *map(str, words), "--json"])
    facts = json.loads(done.stdout)
    assert (facts["rows"], facts["answered"], facts["bad"]) == (2, 1, 1)
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["line"] == 2
    assert isinstance(CliRunner().invoke(app, ["predict", *map(str, words), "--top", "2"]).exception, InputError)
    said(*words, "--top", 2, "--overwrite")


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "utf-16", "utf-8-sig"])
def test_standard_input_in_any_encoding(codec: str, exported: Path) -> None:
    rows = said(exported, "-", given="退货\r\n\n转人工".encode(codec))
    assert [row["text"] for row in rows] == ["退货", "", "转人工"]


def test_a_bad_line_of_standard_input_is_one_line_of_output(exported: Path) -> None:
    rows = said(exported, "-", given=b"a\n\xff\xff\nb\n")
    assert [row.get("line") or row["text"] for row in rows] == ["a", 2, "b"]
    assert "GB18030" in rows[1]["error"]


def test_standard_input_is_answered_line_by_line(exported: Path) -> None:
    command = [sys.executable, "-m", "nlphub", "predict", str(exported), "-"]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("退货", "转人工"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text, "before the next one is asked"
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["好", "--output", "out.jsonl"], "--output is of --input"),
        (["好", "--pair", "b"], "--pair is of --input"),
        (["--input", "in.csv", "--overwrite"], "--overwrite is of --output"),
        (["--input", "nowhere.csv"], "There is no file"),
        (["好", "--provider", "cuda"], "pip install onnxruntime-gpu"),
        (["--input", "hf://a/b", "--output", "out.jsonl"], "save its texts as a file"),
    ],
)
def test_what_does_not_go_together_is_said(words: list[str], message: str, exported: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(exported), *words])
    assert message in str(done.exception)


def test_providers_are_of_artefacts(small_folder: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(small_folder), "好", "--threads", "2"])
    assert "are of exported folders" in str(done.exception)
