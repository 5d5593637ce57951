"""The hub's commands: what they print, their exit codes, and that looking is light and offline."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from nlphub.cli import hub
from nlphub.errors import NlphubError
from nlphub.hub import store
from nlphub.hub.registry import find_module, list_modules

ROOT = Path(__file__).parent.parent.parent
VERSION = find_module("ernie_tiny").version
COMMANDS = ("list", "search", "show", "install", "verify", "remove")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("show", "ernie_tiny")`` -> (exit code, standard output, standard error), as ``nlphub.cli.app.main`` does it."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    hub.register(app)

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


def line_of(name: str, table: str) -> str:
    """The row of a module."""
    (row,) = [line for line in table.splitlines() if line.split()[0] == name]
    return row


def test_list_shows_a_table_and_marks_what_is_installed(run: Run) -> None:
    code, out, _ = run("list")
    header, row = out.splitlines()[0], line_of("ernie_tiny", out)
    assert code == 0
    assert header.split() == ["NAME", "VERSION", "PARAMETERS", "DIGESTS", "INSTALLED", "SUMMARY"]
    assert row[header.index("DIGESTS") :].startswith("known ")
    assert line_of("ernie_3_0_nano", out)[header.index("DIGESTS") :].startswith("pinned at install ")
    assert "not verified: pinned at first install" in run("show", "hfl/rbt3")[1]
    assert "hf://hfl/rbt3@main" in run("show", "hfl/rbt3")[1]
    assert row[header.index("INSTALLED")] == "-"
    assert find_module("ernie_tiny").summary in row
    run("install", "ernie_tiny")
    out = run("list")[1]
    header, row = out.splitlines()[0], line_of("ernie_tiny", out)
    assert row[header.index("INSTALLED") :].startswith(f"{VERSION} ")


def test_list_by_task(run: Run) -> None:
    assert "ernie_tiny" in run("list", "--task", "seq-cls")[1]
    code, out, err = run("list", "--task", "seq_cls")
    assert (code, out) == (2, "")
    assert "Did you mean 'seq-cls'?" in err


def test_list_search_and_show_print_the_cards_as_json(run: Run) -> None:
    store.install(find_module("ernie_tiny"))
    (card,) = [fact for fact in json.loads(run("list", "--json")[1]) if fact["name"] == "ernie_tiny"]
    assert card["installed"] == [VERSION]
    assert {entry["path"] for entry in card["files"]} >= {"vocab.txt"}
    assert json.loads(run("search", "ernie bootstrap", "--json")[1]) == [card]
    assert json.loads(run("show", "ernie-tiny", "--json")[1]) == card
    assert len(json.loads(run("list", "--json")[1])) == len(list_modules())


def test_search_without_a_hit_says_so(run: Run) -> None:
    code, out, err = run("search", "zzz")
    assert (code, out) == (0, "")
    assert "nothing matches 'zzz'; `nlphub list` shows all" in err
    assert run("search", "zzz", "--json")[1] == "[]\n"


def test_show_tells_every_fact_and_file(run: Run) -> None:
    code, out, _ = run("show", "ernie_tiny")
    assert code == 0
    for expected in (
        "licence:      Apache-2.0",
        "tokenizer:    zh_char",
        f"tasks:        {', '.join(find_module('ernie_tiny').tasks)}",
        "upstream:     -",
        "vocab.txt",
        "bundle:",
    ):
        assert expected in out
    lines = out.splitlines()
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["FILE", "BYTES", "SHA256", "FROM"]
    column = table[0].index("FROM")
    assert all(line[column:].startswith("bundle:") for line in table[1:])


@pytest.mark.parametrize("command", ["show", "install", "verify"])
def test_an_unknown_name_is_exit_code_2_with_the_nearest(run: Run, command: str) -> None:
    code, out, err = run(command, "erni_tiny")
    assert (code, out) == (2, "")
    assert "Did you mean 'ernie_tiny' or" in err
    assert run(command, "ernie_tiny", "--version", "9")[0] == 2
    assert run(command, "ernie_tiny", "--version", "new")[0] == 2


def test_install_verify_and_remove(run: Run, private_home: Path) -> None:
    folder = private_home / "modules" / "ernie_tiny" / VERSION
    assert run("install", "ernie-tiny", "--version", ">=0.1")[:2] == (0, f"ernie_tiny {VERSION} is installed in {folder}\n")
    assert json.loads(run("install", "ernie_tiny", "--json")[1]) == {"name": "ernie_tiny", "version": VERSION, "folder": str(folder)}
    assert run("verify", "ernie_tiny")[1].splitlines()[1].split() == ["ernie_tiny", VERSION, "-", "right"]
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    assert run("remove", "ernie-tiny")[:2] == (0, f"removed ernie-tiny: {size:,} bytes freed\n")
    assert run("remove", "ernie_tiny")[0] == 2
    run("install", "ernie_tiny")
    assert json.loads(run("remove", "ernie_tiny", "--version", VERSION, "--json")[1])["bytes_freed"] == size


def test_verify_finds_damage_and_install_mends_it(run: Run, private_home: Path) -> None:
    run("install", "ernie_tiny")
    vocabulary = private_home / "modules" / "ernie_tiny" / VERSION / "vocab.txt"
    vocabulary.chmod(0o600)
    vocabulary.write_bytes(vocabulary.read_bytes().replace(b"[PAD]", b"[DAP]"))
    for arguments in ([], ["ernie_tiny"]):
        code, out, err = run("verify", *arguments)
        assert code == 1
        assert out.splitlines()[1].split() == ["ernie_tiny", VERSION, "1", "wrong"]
        assert "vocab.txt: has sha256" in err
        assert f"to mend it: nlphub install ernie_tiny --version {VERSION}" in err
    code, out, _ = run("verify", "--json")
    assert code == 1
    assert len(json.loads(out)[0]["problems"]) == 1
    run("install", "ernie_tiny")
    assert run("verify")[0] == 0


def test_verify_of_what_is_not_installed_is_exit_code_1(run: Run) -> None:
    assert run("verify") == (0, "", "nothing is installed\n")
    code, _, err = run("verify", "ernie_tiny")
    assert code == 1
    assert "is not installed" in err


def test_a_module_that_no_registry_knows_any_more_is_judged_by_its_lock(run: Run, private_home: Path) -> None:
    run("install", "ernie_tiny")
    old = private_home / "modules" / "old_one" / "0.0.1"
    old.parent.mkdir(mode=0o700)
    (private_home / "modules" / "ernie_tiny" / VERSION).rename(old)
    assert run("verify")[0] == 0
    assert run("verify", "old-one")[1].splitlines()[1].split() == ["old_one", "0.0.1", "-", "right"]
    (old / "vocab.txt").unlink()
    assert run("verify")[0] == 1
    assert run("remove", "old-one")[0] == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: nlphub {command}" in out
    assert "--json" in out


@pytest.mark.parametrize(
    "arguments", [["show"], ["install"], ["remove"], ["search"], ["list", "extra"], ["show", "a", "--colour"]], ids=" ".join
)
def test_wrong_usage_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


LIGHT = """
import socket, sys, typer

def refuse(*_, **__):
    raise AssertionError("the network was touched")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
sys.addaudithook(lambda event, _: refuse() if event in ("socket.connect", "socket.getaddrinfo", "socket.bind") else None)
from nlphub.cli import hub
app = typer.Typer()
hub.register(app)
app(sys.argv[1:], standalone_mode=False)
heavy = {"torch", "datasets", "jieba", "numpy", "huggingface_hub", "onnxruntime", "transformers", "pandas"}
print("heavy:", sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["search", "ernie"], ["show", "ernie_tiny"]], ids=" ".join)
def test_looking_is_light_and_touches_no_network(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ernie_tiny" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_looking_writes_nothing(run: Run, private_home: Path) -> None:
    for arguments in (["list"], ["search", "ernie"], ["show", "ernie_tiny"], ["verify"]):
        run(*arguments)
    assert not private_home.exists()


def test_a_bar_is_drawn_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with hub._progress_bar("toy 1.0.0") as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with hub._progress_bar("toy 1.0.0") as progress:
        assert progress is not None
        progress(5_000, 10_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert "toy 1.0.0" in err
