"""``nlphub check-robustness`` on a saved module: what it prints, what it writes, what it refuses."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from nlphub.checkpoints import native
from nlphub.cli import robustness, training
from nlphub.errors import NlphubError

Run = Callable[..., tuple[int, str, str]]
TEXTS = [
    "我的卡丢了，快帮我停掉！",
    "lost my Card 怎么办?",
    "昨天还了3000咋还没到账",
    "转给我妈的钱到了吗",
    "学生可以开户吗",
    "App 1.2 登不上",
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("check-robustness", ...)`` -> (exit code, standard output, standard error), as ``nlphub.cli.app.main`` does it."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    robustness.register(app)
    training.register(app)

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            app(list(arguments))
            code = 0
        except NlphubError as error:
            print(f"nlphub: {error}", file=sys.stderr)
            code = error.exit_code
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def saved(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small saved classifier whose answers depend on every character."""
    from nlphub.module import Module

    folder = tmp_path_factory.mktemp("saved") / "module"
    folder.mkdir()
    native.save_checkpoint(folder, encoder=parts["encoder"], head=None, tokenizer=parts["tokenizer"], config={"architecture": "ernie_tiny"})
    module = Module(directory=folder, task="seq-cls", labels=parts["labels"])
    assert module.head is not None
    module.head.load_state_dict(parts["head"].state_dict())
    module.trained = True
    module.save(folder.with_name("trained"))
    return folder.with_name("trained")


@pytest.fixture
def data(tmp_path: Path, parts: dict[str, Any]) -> Path:
    path = tmp_path / "new.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = [(text, parts["labels"][number % 3]) for number, text in enumerate(TEXTS)]
        csv.writer(stream).writerows([("问题", "意图"), *rows])
    return path


COLUMNS = ("--text", "问题", "--label", "意图")


def test_width_case_and_script_never_flip_a_real_module_and_flips_are_written(run: Run, saved: Path, data: Path, tmp_path: Path) -> None:
    flips = tmp_path / "flips.csv"
    code, out, err = run("check-robustness", str(saved), str(data), *COLUMNS, "--flips", str(flips), "--json", "--seed", "3")
    facts = json.loads(out)
    outcomes = facts["perturbations"]
    assert (code, facts["seed"], facts["texts"]) == (0, 3, len(TEXTS))
    assert {name: outcomes[name]["flips"] for name in ("full-width", "case", "traditional")} == {
        "full-width": 0,
        "case": 0,
        "traditional": 0,
    }
    assert all(outcomes[name]["changed"] >= 2 for name in ("full-width", "case", "traditional"))
    assert f"flips: {flips}" in err
    with flips.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(outcome["flips"] for outcome in outcomes.values()) > 0
    assert all(row["original"] in TEXTS and row["before"] != row["after"] for row in rows)


def test_accuracy_is_that_of_evaluate(run: Run, saved: Path, data: Path) -> None:
    scores = json.loads(run("evaluate", str(saved), str(data), *COLUMNS, "--json")[1])
    found = json.loads(run("check-robustness", str(saved), str(data), *COLUMNS, "--only", "case", "--json")[1])
    assert found["accuracy"] == scores["accuracy"]


def test_chosen_perturbations_are_printed_as_a_table(run: Run, saved: Path, data: Path) -> None:
    code, out, _ = run("check-robustness", str(saved), str(data), *COLUMNS, "--only", "speech, case")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line] == ["perturbation", "case", "speech", "accuracy"]


def test_unknown_names_are_refused_before_anything_is_opened(run: Run, tmp_path: Path) -> None:
    code, out, err = run("check-robustness", str(tmp_path / "no"), "no.csv", "--only", "homophone,case")
    assert (code, out) == (2, "")
    assert "'homophone' is no perturbation. Did you mean 'homophones'?" in err
    assert "look-alikes" in err


def test_labels_that_the_module_does_not_know_are_refused(run: Run, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("text,label\n转账,转帐\n", encoding="utf-8")
    code, out, err = run("check-robustness", str(saved), str(path))
    assert (code, out) == (2, "")
    assert "'转帐' is not one of the module's labels" in err


def test_a_module_that_finds_spans_is_refused(run: Run, small_folder: Path, data: Path, tmp_path: Path) -> None:
    from nlphub.module import Module

    module = Module(directory=small_folder, task="token-cls", labels=["company"])
    module.trained = True
    module.save(tmp_path / "spans")
    code, out, err = run("check-robustness", str(tmp_path / "spans"), str(data), *COLUMNS)
    assert (code, out) == (2, "")
    assert "has task token-cls" in err


def test_help_has_an_example(run: Run) -> None:
    assert "Example: nlphub check-robustness" in run("check-robustness", "--help")[1]
