"""``nlphub report`` and what ``nlphub finetune`` leaves for it."""

import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.cli.app import app

ROWS = [
    (f"{opening}{middle}{end}", label)
    for label, middle in (("余额", "还剩多少钱"), ("转账", "怎么汇款"), ("挂失", "卡丢了"))
    for opening in ("请问", "你好", "喂")
    for end in ("", "啊", "？")
]


@pytest.fixture
def arguments(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *ROWS])
    small = ["module.name=null", f"module.directory={small_folder}", "data.train=train.csv", "data.test=train.csv", "data.split={dev: 0.3}"]
    return ["finetune", "intent", *small, "train.epochs=1", "train.learning_rate=3e-3", "export.folder=null"]


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_ends_with_its_report_and_the_command_makes_it_again(arguments: list[str], tmp_path: Path) -> None:
    output = run(*arguments)
    page = tmp_path / "runs" / "intent" / "report" / "report.html"
    assert "report            runs/intent/report/report.html" in output
    assert run("check-robustness", "runs/intent", "train.csv", "--only", "full-width,emoji")
    before = page.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "nlphub", "report", "runs/intent", "--out", "mine/again.html"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "mine/again.html\n"), done.stderr
    again = (tmp_path / "mine" / "again.html").read_text("utf-8")
    assert page.read_bytes() == before
    assert "语气词" not in again
    assert "表情" in again, "the robustness check of a run comes into its report"
    (page.parent / "robustness.json").unlink()
    assert run("report", "runs/intent").strip() == "runs/intent/report/report.html"
    assert page.read_bytes() == before, "equal files give equal bytes, in whichever process"
    rows = [json.loads(line) for line in (page.parent / "judged.jsonl").read_text("utf-8").splitlines()]
    assert [(row["text"], row["label"]) for row in rows] == ROWS
    answers = hub.Module(directory=page.parents[1]).predict([row["text"] for row in rows])
    assert [row["accepted"] for row in rows] == [answer.accepted for answer in answers]
    assert [row["top"][0][1] for row in rows] == pytest.approx([answer.score for answer in answers], abs=1e-5)


def test_a_training_does_not_fail_for_its_report(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with caplog.at_level(logging.WARNING):
        output = run(*arguments, "--json")
    assert json.loads(output)["report"] is None
    assert "pip install 'nlphub[train]'" in caplog.text
    assert "nlphub report runs/intent" in caplog.text
    monkeypatch.delitem(sys.modules, "jinja2")
    assert run("report", "runs/intent").strip() == "runs/intent/report/report.html"


def test_what_is_no_run_is_exit_code_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(result.exception, hub.NlphubError)
    assert result.exception.exit_code == 2
    assert "is no run" in str(result.exception)
