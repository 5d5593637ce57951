"""The table of verbs says what the commands themselves say, and only the asked one is imported."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import typer
from typer.main import get_command, get_group

from nlphub.cli import app, lazy

ROOM = Path(lazy.__file__).parent


def test_every_verb_stands_in_the_table_with_the_first_sentence_of_its_help() -> None:
    found = {}
    for path in sorted(ROOM.glob("*.py")):
        home = import_module(f"nlphub.cli.{path.stem}")
        if not hasattr(home, "register"):
            continue
        part = typer.Typer()
        home.register(part)
        for name, command in get_group(part).commands.items():
            found[name] = (path.stem, " ".join((command.help or "").split("\n\n")[0].split()))
    assert found == lazy.VERBS


def test_the_help_is_that_of_a_group_that_holds_all_commands(capsys) -> None:
    whole = get_command(app.app)
    whole.main(["--help"], prog_name="nlphub", standalone_mode=False)
    quick = capsys.readouterr().out
    lazy.TyperGroup.format_commands(whole, context := whole.make_context("nlphub", ["list"]), made := context.make_formatter())
    assert made.getvalue() in quick
    assert list(whole.commands) == list(lazy.VERBS)


def test_only_the_file_of_the_verb_is_imported() -> None:
    code = (
        "import sys\nfrom nlphub.cli import app\nsys.argv = ['nlphub', *{}]\ntry: app.main()\nexcept SystemExit: pass\n"
        "print('|', *sys.modules)"
    )
    loaded = {}
    for words in (["--help"], ["find-rate", "--help"]):
        told = subprocess.run([sys.executable, "-c", code.format(words)], check=True, capture_output=True, text=True).stdout
        names = told.rpartition("|")[2].split()
        loaded[words[0]] = {name.rpartition(".")[2] for name in names if name.startswith("nlphub.cli.")}
    assert loaded["--help"] == {"app", "lazy"}
    assert loaded["find-rate"] >= {"tuning"}
    assert not loaded["find-rate"] & {"hub", "training", "inference", "export"}


def test_an_unknown_verb_is_answered_with_the_nearest_one() -> None:
    done = subprocess.run([sys.executable, "-m", "nlphub", "expert"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "No such command 'expert'" in done.stderr
