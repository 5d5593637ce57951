"""Whole runs from a recipe: what they leave behind, that they repeat to the bit, and what they refuse to touch."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner

import nlphub as hub
from nlphub.cli.app import app
from nlphub.errors import InputError


@pytest.fixture
def desk(rows: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with training and test data."""
    monkeypatch.chdir(tmp_path)
    return with_data(tmp_path, rows)


def with_data(folder: Path, rows: list[tuple[str, str]]) -> Path:
    for name in ("train", "test"):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    return folder


@pytest.fixture
def arguments(recipe: list[str], desk: Path) -> list[str]:
    return recipe


@pytest.fixture(scope="module")
def recipe(small_folder: Path) -> list[str]:
    small = ["module.name=null", f"module.directory={small_folder}", "data.train=train.csv", "data.test=test.csv", "data.split={dev: 0.25}"]
    return ["intent", *small, "train.method=finetune", "train.epochs=2", "train.batch_size=8", "train.learning_rate=3e-3"]


@pytest.fixture(scope="module")
def finished(recipe: list[str], rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the recipe was carried out, and what the command printed; once, for tests of what comes after."""
    folder = with_data(tmp_path_factory.mktemp("finished"), rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLPHUB_HOME", str(tmp_path_factory.mktemp("home")))
        patch.chdir(folder)
        return folder, run("finetune", *recipe)


@pytest.fixture
def output(finished: tuple[Path, str], desk: Path) -> str:
    """What the command printed whose run and artefact are in the current folder."""
    shutil.copytree(finished[0], desk, dirs_exist_ok=True)
    return finished[1]


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, hub.NlphubError):
        assert result.exception.exit_code == code, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_a_run_leaves_everything_that_is_promised(output: str, desk: Path) -> None:
    folder = desk / "runs" / "intent"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    promised = {"recipe.yaml", "lock.json", "metrics.jsonl", "best/model.safetensors", "best/config.json", "last/training_state.json"}
    assert promised | {"report/metrics.json", "report/confusion.svg"} <= names
    assert ElementTree.parse(folder / "report" / "confusion.svg").getroot().tag.endswith("svg")
    lock = json.loads((folder / "lock.json").read_text("utf-8"))
    assert set(lock["data_sha256"]) == {"train", "dev", "test"}
    assert (lock["device"], lock["kernels"]) == ("cpu", "builtin"), "tests run without the kernels in C++"
    assert re.fullmatch("[0-9a-f]{64}", lock["result"]["weights_sha256"])
    assert hub.load_recipe(folder / "recipe.yaml").train.epochs == 2
    assert "macro" in output
    assert output.count("0.") > 3, "scores and predictions are printed"
    assert hub.Module(directory=folder).predict(["卡丢了"])[0] == hub.Module(directory=folder / "best").predict(["卡丢了"])[0]


def test_a_gpu_that_is_not_there_is_an_error_before_anything_is_written(arguments: list[str], desk: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match=r"train\.device=cuda, but torch sees no GPU here"):
        hub.finetune(hub.load_recipe(arguments[0], [*arguments[1:], "train.device=cuda"]))
    assert not (desk / "runs").exists()


def test_the_same_recipe_twice_gives_the_same_weights_digest(arguments: list[str]) -> None:
    first = json.loads(run("finetune", *arguments, "run.folder=runs/a", "export.folder=null", "--json"))
    second = json.loads(run("finetune", *arguments, "run.folder=runs/b", "export.folder=null", "--json"))
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["metrics"] == second["metrics"]


@pytest.mark.usefixtures("output")
def test_the_resolved_recipe_of_a_run_repeats_it(desk: Path) -> None:
    again = json.loads(run("finetune", "runs/intent/recipe.yaml", "run.folder=runs/again", "export.folder=null", "--json"))
    lock = json.loads((desk / "runs" / "intent" / "lock.json").read_text("utf-8"))
    assert again["weights_sha256"] == lock["result"]["weights_sha256"]


@pytest.mark.usefixtures("output")
def test_artefact_run_and_module_answer_alike(desk: Path) -> None:
    texts = ["请问还剩多少钱", "卡丢了", "", "怎么汇款" * 60]
    answers = [[json.loads(line) for line in run("predict", folder, *texts).splitlines()] for folder in ("dist/intent", "runs/intent")]
    assert [answer["label"] for answer in answers[0]] == [answer["label"] for answer in answers[1]]
    assert [answer["score"] for answer in answers[0]] == pytest.approx([answer["score"] for answer in answers[1]], abs=1e-5)
    scores = json.loads(run("evaluate", "dist/intent", "test.csv", "--json", "--picture", "again.svg"))
    assert scores["support"] == 48
    assert (desk / "again.svg").is_file()


def test_a_run_is_not_overwritten_without_being_told(arguments: list[str]) -> None:
    run("finetune", *arguments, "export.folder=null")
    assert "--overwrite" in run("finetune", *arguments, code=2)
    run("finetune", *arguments, "export.folder=null", "--overwrite")
    assert "give one of them" in run("finetune", *arguments, "--overwrite", "--resume", code=2)


@pytest.mark.usefixtures("output")
def test_nothing_of_the_users_is_overwritten(arguments: list[str], desk: Path) -> None:
    assert "dist/intent" in run("finetune", *arguments, "run.folder=runs/other", code=2), "the artefact of the first run"
    run("finetune", *arguments, "run.folder=runs/other", "--overwrite")
    (desk / "runs" / "intent" / "notes.md").write_text("precious")
    assert "notes.md" in run("finetune", *arguments, "--overwrite", code=2)
    (desk / "runs" / "intent" / "notes.md").unlink()
    base = f"module.directory={desk / 'runs' / 'intent' / 'best'}"
    assert "would delete" in run("finetune", *arguments, base, "--overwrite", code=2)
    (desk / "dist" / "intent" / "app.py").write_text("precious")
    result = CliRunner().invoke(app, ["finetune", *arguments, "--overwrite"])
    assert "app.py" in str(result.exception)


def test_two_processes_do_not_share_a_run(arguments: list[str], desk: Path) -> None:
    from nlphub.training import run_folder

    with run_folder.alone(desk / "runs" / "intent"):
        assert "Another process" in run("finetune", *arguments, code=2)


def test_a_resume_with_other_values_names_them(arguments: list[str]) -> None:
    run("finetune", *arguments, "export.folder=null")
    message = run("finetune", *arguments, "train.learning_rate=0.5", "data.max_length=7", "--resume", code=2)
    assert "train.learning_rate: 0.003 -> 0.5" in message
    assert "data.max_length: None -> 7" in message


def test_a_folder_that_is_no_run_is_left_alone(arguments: list[str], desk: Path) -> None:
    (desk / "runs" / "intent").mkdir(parents=True)
    (desk / "runs" / "intent" / "thesis.txt").write_text("precious")
    assert "left alone" in run("finetune", *arguments, "--overwrite", code=2)
    assert (desk / "runs" / "intent" / "thesis.txt").read_text() == "precious"


def test_an_ended_run_can_be_resumed_without_harm(arguments: list[str]) -> None:
    first = json.loads(run("finetune", *arguments, "--json"))
    again = json.loads(run("finetune", *arguments, "--resume", "--json"))
    assert again["weights_sha256"] == first["weights_sha256"]
    assert "no run to resume" in run("finetune", *arguments, "run.folder=runs/other", "--resume", code=2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("text", "label"), ("", "甲"), ("好", "乙"), ("行", "")], "line 2"),
        ([("text", "label"), ("好", "甲"), ("行", "甲")], "one class only"),
        ([("text", "意图"), ("好", "甲")], "label"),
        ([("text", "label")], "no examples"),
    ],
    ids=["bad rows", "one class", "no such column", "empty"],
)
def test_bad_data_is_exit_code_2_and_writes_nothing(rows: list[tuple[str, str]], message: str, arguments: list[str], desk: Path) -> None:
    with (desk / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    assert message in run("finetune", *arguments, code=2)
    assert not (desk / "runs").exists()
    assert not (desk / "dist").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [("train.class_weights={没有: 2}", "没有"), ("export.folder=runs", "export.folder"), ("export.folder=full", "something other than")],
)
def test_what_would_fail_after_the_training_fails_before_it(change: str, message: str, arguments: list[str], desk: Path) -> None:
    (desk / "full").mkdir()
    (desk / "full" / "thesis.txt").touch()
    result = CliRunner().invoke(app, ["finetune", *arguments, change])
    assert message in str(result.exception)
    assert not (desk / "runs").exists()


def test_the_code_of_a_folder_that_a_recipe_or_command_names_is_never_run(arguments: list[str], small_folder: Path, desk: Path) -> None:
    theirs = desk / "theirs"
    shutil.copytree(small_folder, theirs)
    (theirs / "transformer.py").write_text("raise SystemExit('executed')")
    for words in (
        ["finetune", *arguments, f"module.directory={theirs}"],
        ["predict", str(theirs), "好"],
        ["export", str(theirs), "dist/theirs"],
        ["evaluate", str(theirs), "test.csv"],
    ):
        assert "never run" in run(*words, code=2)
    with pytest.raises(hub.NlphubError, match="never run"):
        hub.Module(directory=small_folder, load_checkpoint=theirs)


def test_a_run_killed_while_it_begins_can_be_started_again(arguments: list[str], desk: Path) -> None:
    (desk / "runs" / "intent").mkdir(parents=True)
    (desk / "runs" / "intent" / ".lock.json.abc.part").touch()
    run("finetune", *arguments, "export.folder=null")


def test_a_run_killed_before_its_first_checkpoint_begins_again_on_resume(arguments: list[str], desk: Path) -> None:
    whole = json.loads(run("finetune", *arguments, "export.folder=null", "--json"))
    for name in ("best", "last", "report"):
        shutil.rmtree(desk / "runs" / "intent" / name)
    again = json.loads(run("finetune", *arguments, "export.folder=null", "--resume", "--json"))
    assert again["weights_sha256"] == whole["weights_sha256"]


def test_a_test_label_that_training_never_saw_is_refused(arguments: list[str], desk: Path) -> None:
    (desk / "test.csv").write_text("text,label\n好,没见过\n", "utf-8")
    assert "没见过" in run("finetune", *arguments, code=2)
    assert not (desk / "runs").exists()


def test_mistakes_in_a_recipe_are_exit_code_2_before_torch_is_loaded(desk: Path) -> None:
    code = (
        "import sys\nfrom nlphub.cli.app import app\nfrom nlphub.errors import RecipeError\n"
        "try:\n    app(['finetune', 'intent', 'train.epoch=3', 'train.batch_size=many'], standalone_mode=False)\n"
        "except RecipeError as error:\n    print(error)\nprint('torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Did you mean 'epochs'" in output
    assert "train.batch_size" in output
    assert output.strip().endswith("False")


def test_commands_end_with_their_exit_codes(desk: Path) -> None:
    for words, code in ((["finetune", "intnt"], 2), (["predict", "nowhere", "你好"], 2), (["nonsense"], 2), (["--version"], 0)):
        done = subprocess.run([sys.executable, "-m", "nlphub", *words], capture_output=True, text=True)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("output")
def test_predicting_reads_standard_input_and_files() -> None:
    result = CliRunner().invoke(app, ["predict", "dist/intent", "-"], input="卡丢了\n还剩多少钱\n")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines() if line.startswith("{")] == ["卡丢了", "还剩多少钱"]
    result = CliRunner().invoke(app, ["predict", "dist/intent", "-"], input="卡丢了\r\n还剩多少钱".encode("gb18030"))
    assert [json.loads(line)["text"] for line in result.stdout.splitlines() if line.startswith("{")] == ["卡丢了", "还剩多少钱"]
    assert len(run("predict", "dist/intent", "--input", "test.csv").splitlines()) == 48
    assert "either" in run("predict", "dist/intent", code=2)
