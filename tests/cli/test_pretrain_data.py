"""``nlphub pretrain-data``: facts on standard output, mistakes on standard error, exit codes, and that it needs no torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from nlphub.cli import pretraining
from nlphub.errors import NlphubError

ROOT = Path(__file__).parents[2]
TEXT = (
    "今天去银行办了一张新的信用卡。\n柜台的经理很耐心地讲解了年费。\n\n"
    "孩子们在公园里放风筝，老人坐在长椅上聊天。\n\n厨师先把土豆切成细丝，再用清水泡十分钟。\n"
)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("out", "texts")`` -> (exit code, standard output, standard error), as ``nlphub.cli.app.main`` does it."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    pretraining.register(app)
    app.callback()(lambda: None)

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            app(["pretrain-data", *map(str, arguments)])
            code = 0
        except NlphubError as error:
            print(f"nlphub: {error}", file=sys.stderr)
            code = error.exit_code
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "news.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "texts"


def test_it_says_what_was_made_and_where(run: Run, texts: Path, tmp_path: Path) -> None:
    code, out, err = run(tmp_path / "out", texts, "--cap", "news=1000", "--weight", "news=0.5")
    assert (code, err) == (0, "")
    header, news, every = out.splitlines()[:3]
    assert header.split() == ["SOURCE", "CHARACTERS", "READ", "TRAIN", "TOKENS", "DEV", "TOKENS"]
    assert news.split() == ["news", "71", "71", "0"]
    assert every.split() == ["all", "71", "71", "0"]
    assert f"data card  {tmp_path / 'out' / 'README.md'}" in out


def test_the_card_is_printed_as_json(run: Run, texts: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text\n孩子们在公园里放风筝，老人坐在哪里\n", encoding="utf-8")
    code, out, _ = run(tmp_path / "out", texts / "news.txt", "--exclude", tmp_path / "test.csv", "--json")
    card = json.loads(out)
    assert code == 0
    assert card == json.loads((tmp_path / "out" / "card.json").read_text("utf-8"))
    assert card["totals"]["steps"]["13-gram of evaluation data"] == [0, 1, 21]
    assert card["evaluation"]["files"][0]["name"].endswith("test.csv")


def test_mistakes_are_exit_code_2_and_nothing_is_written(run: Run, texts: Path, tmp_path: Path) -> None:
    for arguments, message in [
        ([tmp_path / "none"], "none does not exist"),
        ([texts, "--cap", "nwes=3"], "Did you mean 'news'?"),
        ([texts, "--tokenizer", "zh_chars"], "Did you mean 'zh_char'?"),
        ([texts, "--exclude", tmp_path / "nothing"], "nothing does not exist"),
        ([texts, "--held-out", "1.5"], "held_out=1.5 is a share"),
        ([texts, "--workers", "0"], "at least 1"),
    ]:
        code, out, err = run(tmp_path / "out", *arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err
    assert not (tmp_path / "out").exists()


def test_another_preparation_is_only_replaced_on_request(run: Run, texts: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "out", texts)[0] == 0
    code, _, err = run(tmp_path / "out", texts, "--seed", "1")
    assert code == 2
    assert "--overwrite it" in err
    assert run(tmp_path / "out", texts, "--seed", "1", "--overwrite")[0] == 0


def test_help_has_an_example(run: Run) -> None:
    assert "Example: nlphub pretrain-data corpus/" in run("--help")[1]


def test_a_bar_is_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pretraining._progress_bar() as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with pretraining._progress_bar() as progress:
        assert progress is not None
        progress("tokenising", 3, 9)
    out, err = capsys.readouterr()
    assert out == ""
    assert "tokenising" in err


def test_the_command_runs_with_workers_and_without_torch(texts: Path, tmp_path: Path) -> None:
    (texts / "more.txt").write_text(TEXT.replace("今天", "昨天"), encoding="utf-8")
    code = (
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    from nlphub.cli.app import app\n"
        f"    app(['pretrain-data', {str(tmp_path / 'out')!r}, {str(texts)!r}, '--workers', '2'], standalone_mode=False)\n"
        "    print('torch' in sys.modules)\n"
    )
    (tmp_path / "main.py").write_text(code, encoding="utf-8")
    environment = {"PYTHONPATH": str(ROOT), "NLPHUB_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, tmp_path / "main.py"], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert "all" in done.stdout
