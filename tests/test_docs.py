"""The documents tell the truth: their Python runs as it stands, their commands parse, the twins say the same."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh.md")
GUIDES = ("docs/guide.md", "docs/guide.zh.md")
TASKS = ("docs/tasks.md", "docs/tasks.zh.md")
CONVERT = ("docs/convert.md", "docs/convert.zh.md")  # of files that are not here: tests/checkpoints/test_convert.py runs such commands
HUB = ("docs/hub.md", "docs/hub.zh.md")  # tests/hub/test_own_hub.py runs its commands
SMALLER = ("docs/smaller.md", "docs/smaller.zh.md")  # tests/compress runs such commands on small modules
EXPORT = ("docs/export.md", "docs/export.zh.md")  # tests/export runs such commands on small modules
PERFORMANCE = ("docs/performance.md", "docs/performance.zh.md")  # tests/test_speed_benchmark.py runs such commands on toy networks
SHORT = {
    **{verb: ["train.epochs=1"] for verb in ("finetune", "suspects", "repeat", "tune")},
    "pretrain": ["train.minutes=null", "train.steps=1", "train.batch_tokens=512"],
}
ROWS = [
    *((text, "退货") for text in ("我要退这双鞋", "能退钱吗", "不想要了怎么退", "退货运费谁出", "衣服想退掉", "申请退款")),
    *((text, "转人工") for text in ("转人工", "叫客服来", "人工服务", "我要找真人", "接线员在吗", "别让机器人回我")),
    *((text, "查物流") for text in ("快递到哪了", "查下物流", "货几时到", "包裹怎么还没来", "物流单号多少", "什么时候发货")),
]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[list[str]]:
    lines = "".join(blocks(name, "bash")).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("nlphub ")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents speak of, in GB18030 as Chinese Excel writes it."""
    monkeypatch.chdir(tmp_path)
    text = "问题,意图\n" + "".join(f"{question},{intent}\n" for question, intent in ROWS)
    (tmp_path / "questions.csv").write_bytes(text.encode("gb18030"))
    rows = [row.split(",")[0] for row in (ROOT / "recipes/data/bank_intents/train.csv").read_text("utf-8").splitlines()[1:]]
    (tmp_path / "tickets.txt").write_text("\n".join("，".join(rows[i : i + 6]) + "。" for i in range(0, 600, 6)), "utf-8")
    (tmp_path / "chats.jsonl").write_text("\n".join(json.dumps({"text": "，".join(rows[i : i + 6])}) for i in range(600, 900, 6)), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "made"),
    [
        (READMES[0], "dist/mine/nlphub.json"),
        (GUIDES[0], "runs/more/config.json"),
        (TASKS[0], "runs/names/config.json"),
        (SMALLER[0], "runs/small/config.json"),
    ],
)
def test_python_in_the_documents_runs_as_it_stands(name: str, made: str, desk: Path) -> None:
    code = "\n".join(blocks(name, "python"))
    assert code
    exec(compile(code, name, "exec"), {})
    assert (desk / made).is_file()


@pytest.mark.parametrize("name", [READMES[0], GUIDES[0]], ids=["readme", "guide"])
def test_commands_in_the_documents_run_as_they_stand(name: str, desk: Path) -> None:
    import openpyxl

    from nlphub.cli.app import app

    book = openpyxl.Workbook()
    for row in [("问题", "意图"), *ROWS]:
        book.active.append(row)
    book.save(desk / "new_questions.xlsx")
    for command in commands(name):
        extra = SHORT.get(command[0], [])
        result = CliRunner().invoke(app, [*command, *extra])
        assert result.exit_code == 0, (command, result.output, result.exception)


def test_every_recipe_of_the_tasks_runs_and_its_run_answers(desk: Path) -> None:
    """Without the exports, which the tests of each task make: the run's folder answers in place of the artefact."""
    from nlphub.cli.app import app

    for command in commands(TASKS[0]):
        words = [word.replace("dist/", "runs/") for word in command]
        extra = ["train.epochs=1", "export.folder=null"] if command[0] == "finetune" else []
        result = CliRunner().invoke(app, [*words, *extra])
        assert result.exit_code == 0, (command, result.output, result.exception)


@pytest.mark.parametrize(
    "twins",
    [READMES, GUIDES, TASKS, CONVERT, EXPORT, HUB, SMALLER, PERFORMANCE],
    ids=["readme", "guide", "tasks", "convert", "export", "hub", "smaller", "performance"],
)
def test_the_twins_have_the_same_code(twins: tuple[str, str]) -> None:
    for language in ("python", "bash", "yaml"):
        english, chinese = (blocks(name, language) for name in twins)
        assert [_code(block) for block in english] == [_code(block) for block in chinese]


def test_every_command_is_in_both_readmes() -> None:
    from typer.main import get_command

    from nlphub.cli.app import app

    for name in READMES:
        text = (ROOT / name).read_text("utf-8")
        assert [verb for verb in get_command(app).commands if not re.search(rf"`(nlphub )?{verb}\b", text)] == []


def test_every_help_has_an_example() -> None:
    from typer.main import get_command

    from nlphub.cli.app import app

    def walk(command, words):
        for verb, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*words, verb])
        if not getattr(command, "commands", None):
            yield words

    for words in walk(get_command(app), []):
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0
        assert "Example" in result.output, words


@pytest.mark.parametrize("name", [*READMES, *GUIDES, *TASKS, *CONVERT, *EXPORT, *HUB, *SMALLER, *PERFORMANCE, "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    linked = {(ROOT / name).parent / path for path in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text)}
    named = {ROOT / path for path in re.findall(r"\b(?:benchmarks|tools|scripts|tests)/[\w./]*\w", text)}
    assert [path for path in sorted(linked | named) if not path.exists()] == []


def _code(block: str) -> list[str]:
    """Without comments, whose language differs."""
    return [line.partition("  #")[0].rstrip() for line in block.splitlines() if line.strip()]
