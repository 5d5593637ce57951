"""``nlphub recipe``: facts on standard output, mistakes on standard error with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from nlphub.cli import recipes
from nlphub.errors import InputError, RecipeError, UnknownNameError
from nlphub.recipe import load_recipe, recipe_names, recipe_path


def run(*arguments: str) -> Result:
    """Run a command inside this process; errors come out as exceptions."""
    app = typer.Typer()
    recipes.register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["recipe", *arguments], catch_exceptions=False)


def test_list_names_every_shipped_recipe() -> None:
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == recipe_names()
    assert all(set(row) == {"name", "task", "module", "summary"} and len(row["summary"]) > 20 for row in rows)
    lines = [line.split()[:3] for line in run("list").stdout.splitlines()]
    assert ["intent", "seq-cls", "ernie_tiny"] in lines


def test_show_prints_a_recipe_that_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(run("show", "intent", "train.epochs=3").stdout, encoding="utf-8")
    assert load_recipe(path) == load_recipe("intent", ["train.epochs=3"])
    facts = json.loads(run("show", "intent", "train.epochs=3", "--json").stdout)
    assert facts["recipe"]["train"]["epochs"] == 3
    assert facts["sha256"] == load_recipe(path).digest()


def test_copy_keeps_the_comments_and_refuses_to_overwrite(tmp_path: Path) -> None:
    source = recipe_path("intent").read_bytes()
    run("copy", "intent", str(tmp_path))
    assert (tmp_path / "intent.yaml").read_bytes() == source
    with pytest.raises(InputError, match="is there already"):
        run("copy", "intent", str(tmp_path))
    (tmp_path / "intent.yaml").write_text("mine", encoding="utf-8")
    run("copy", "intent", str(tmp_path / "intent.yaml"), "--force")
    assert (tmp_path / "intent.yaml").read_bytes() == source
    assert run("copy", "intent", str(tmp_path / "new" / "my.yaml")).stdout == ""
    assert load_recipe(tmp_path / "new" / "my.yaml") == load_recipe("intent")


def test_copy_goes_to_the_current_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("copy", "intent")
    assert (tmp_path / "intent.yaml").is_file()


def test_copy_refuses_names_that_could_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.yaml"):
        run("copy", "intent", str(tmp_path / "mine"))
    with pytest.raises(UnknownNameError, match="Did you mean 'intent'"):
        run("copy", "intents")
    assert list(tmp_path.glob("mine*")) == []


def test_validate_says_what_is_valid_and_refuses_the_rest(tmp_path: Path) -> None:
    assert run("validate", "intent").stdout == "intent is valid: seq-cls with ernie_tiny\n"
    assert json.loads(run("validate", "intent", "--json").stdout)["valid"] is True
    with pytest.raises(RecipeError, match=r"train\.epoch is unknown"):
        run("validate", "intent", "train.epoch=3")


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["copy"], ["validate"]])
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    assert f"Example: nlphub recipe {command[0]}" in run(*command, "--help").stdout if command else run("--help").stdout


def test_a_wrong_recipe_is_exit_code_2_with_every_mistake_on_standard_error_and_nothing_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: seq\nrun: {folder: r}\nmodul: {}\n", encoding="utf-8")
    code = (
        "import sys, typer\nfrom nlphub.cli import recipes\nfrom nlphub.errors import NlphubError\napp = typer.Typer()\n"
        "recipes.register(app)\napp.callback()(lambda: None)\n"
        "try:\n    app(['recipe', 'validate', 'mine.yaml'])\n"
        "except NlphubError as error:\n    print(error, file=sys.stderr)\n    sys.exit(error.exit_code)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": root})
    assert (done.returncode, done.stdout) == (2, "")
    for part in (
        "mine.yaml:1: task should be",
        "mine.yaml:3: modul is unknown. Did you mean 'module'?",
        "data is missing",
        "module is missing",
    ):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert [other.name for other in tmp_path.iterdir()] == ["mine.yaml"]
