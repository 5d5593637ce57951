"""Cross-validation from a recipe: clean held-out probabilities, resuming by folds, and suspects that can be corrected and trained on."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.calibration import softmax
from nlphub.cli.app import app
from nlphub.data.folds import fold_numbers
from nlphub.data.splitting import split_off
from nlphub.errors import DataError, InputError, StoreError
from nlphub.evaluation.means import mean_interval
from nlphub.training.trainer import Trainer

MATTERS = {"余额": "还剩多少钱", "转账": "怎么汇款", "挂失": "卡丢了"}
PLACES = (
    "在北京",
    "上海那边",
    "公司楼下",
    "妈妈说过",
    "昨天半夜",
    "刚起床时",
    "手机里面",
    "老家村口",
    "五号线上",
    "雨下得大",
    "朋友问我",
    "会议中间",
)
TEXTS = [(f"{place}{matter}", label) for label, matter in MATTERS.items() for place in PLACES]  # alike in what matters, in little else
WRONG = 7  # row of train.csv, counted from 0


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with training data of which one label is wrong."""
    monkeypatch.chdir(tmp_path)
    rows = [*TEXTS]
    rows[WRONG] = (rows[WRONG][0], "挂失")
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return tmp_path


@pytest.fixture
def arguments(small_folder: Path, desk: Path) -> list[str]:
    data = ["data.train=train.csv", "data.test=null", "data.split={}", "export.folder=null", "calibration.aim=null"]
    return [
        *("intent", "module.name=null", f"module.directory={small_folder}", *data),
        *("train.method=finetune", "train.epochs=30", "train.batch_size=8", "train.learning_rate=3e-3"),
    ]


@pytest.fixture
def recipe(arguments: list[str]) -> Callable[..., hub.Recipe]:
    return lambda *more: hub.load_recipe(arguments[0], [*arguments[1:], *more])


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What the Trainer was given, one item for each training; nothing is trained."""
    seen: list[tuple[Any, Any]] = []

    def train(self: Trainer, examples: Any, eval_dataset: Any = None) -> Any:
        seen.append((examples, eval_dataset))
        self.module.trained = True
        return hub.Report(None, steps=3, seconds=0.5, examples_per_second=1.0)

    monkeypatch.setattr(Trainer, "train", train)
    return seen


def cli(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, hub.NlphubError):
        assert result.exception.exit_code == code, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_each_row_is_answered_by_a_module_that_never_saw_it(recipe: Callable[..., hub.Recipe]) -> None:
    """Against a loop over the folds with the public Trainer."""
    wanted = recipe("train.epochs=2")
    made = hub.cross_validate(wanted, folds=3, progress=False)
    examples = hub.load_data("train.csv")["train"]
    numbers = np.array(fold_numbers(examples, folds=3, seed=0))
    for fold in range(3):
        module = hub.Module(directory=wanted.module.directory, task="seq-cls", labels=examples.label_names, seed=0)
        Trainer(module, settings=wanted.train, progress=False).train(examples.take(np.flatnonzero(numbers != fold).tolist()))
        held = examples.take(np.flatnonzero(numbers == fold).tolist())
        assert made.probabilities[numbers == fold] == pytest.approx(softmax(module.logits(held.texts)), abs=1e-6)
        answers = [module.labels[number] for number in made.probabilities[numbers == fold].argmax(axis=1)]
        assert made.folds[fold].scores["accuracy"] == pytest.approx(np.mean(np.array(answers) == held.labels), abs=1e-6)
    assert made.fold_of.tolist() == numbers.tolist()
    assert made.metrics.support == len(examples)
    assert made.means["macro_f1"] == mean_interval([fold.scores["macro_f1"] for fold in made.folds])


def test_what_is_kept_is_what_was_given_back(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    from safetensors.numpy import load

    made = hub.cross_validate(recipe(), folds=3)
    kept = load((desk / "runs" / "intent-folds" / "folds" / "all.safetensors").read_bytes())
    assert (kept["probabilities"] == made.probabilities).all()
    assert kept["probabilities"].shape == (len(TEXTS), 3)
    assert (kept["fold_of"] == made.fold_of).all()
    facts = json.loads((desk / "runs" / "intent-folds" / "report" / "folds.json").read_text("utf-8"))
    assert facts == made.as_dict()
    assert facts["labels"] == sorted(MATTERS)
    assert "95 %" in made.table()
    assert not (desk / "runs" / "intent").exists(), "finetune finds its folder as it was"


def test_finished_folds_are_not_trained_again(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    told: list[int] = []

    def stop(fold: Any) -> None:
        told.append(fold.number)
        if fold.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.cross_validate(recipe(), folds=3, told=stop)
    assert len(trainings) == 2
    first = hub.cross_validate(recipe(), folds=3)
    assert len(trainings) == 3
    again = hub.cross_validate(recipe("export.folder=dist/x", "examples=[你好]"), folds=3, told=lambda fold: told.append(fold.number))
    assert len(trainings) == 3
    assert told == [1, 2, 1, 2, 3]
    assert (again.probabilities == first.probabilities).all()
    assert again.as_dict() == first.as_dict()
    hub.cross_validate(recipe(), folds=3, overwrite=True)
    assert len(trainings) == 6


def test_a_start_that_was_killed_at_once_begins_again(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    hub.cross_validate(recipe(), folds=2)
    (desk / "runs" / "intent-folds" / "recipe.yaml").unlink()
    hub.cross_validate(recipe(), folds=2)
    assert len(trainings) == 4


def test_a_dev_share_is_cut_off_each_training_part_and_a_dev_file_serves_all(
    recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path
) -> None:
    examples = hub.load_data("train.csv")["train"]
    made = hub.cross_validate(recipe("data.split={dev: 0.25, test: 0.1}"), folds=3)
    for fold, (train, dev) in enumerate(trainings):
        parts = split_off(examples.take(np.flatnonzero(made.fold_of != fold).tolist()), {"dev": 0.25}, seed=0)
        assert (train, dev) == (parts["train"], parts["dev"])
    trainings.clear()
    (desk / "dev.csv").write_text("text,label\n查余额,余额\n丢卡,挂失\n", "utf-8")
    hub.cross_validate(recipe("data.dev=dev.csv", "data.test=missing.csv", "run.folder=runs/b"), folds=3)
    assert [dev.texts for _, dev in trainings] == [["查余额", "丢卡"]] * 3


def test_a_label_with_one_example_is_held_out_too(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    with (desk / "train.csv").open("a", encoding="utf-8") as stream:
        stream.write("我要见你们经理,投诉\n")
    (desk / "dev.csv").write_text("text,label\n查余额,余额\n我不服,投诉\n", "utf-8")
    made = hub.cross_validate(recipe("data.dev=dev.csv"), folds=3)
    assert made.labels == tuple(sorted([*MATTERS, "投诉"]))
    sizes = [len(dev) for _, dev in trainings]
    assert sorted(sizes) == [1, 2, 2], "its dev row cannot be answered where its only example is held out"
    assert len(TEXTS) + 2 not in [suspect.row for suspect in made.suspects()]


def test_folds_are_trained_by_the_method_of_the_recipe(recipe: Callable[..., hub.Recipe], desk: Path) -> None:
    with (desk / "train.csv").open("a", encoding="utf-8") as stream:
        stream.write("我要见你们经理,投诉\n")
    made = hub.cross_validate(recipe("train={method: prototype}"), folds=2, progress=False)
    assert made.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    (desk / "train.csv").write_text("text,other,label\n一二,三,甲\n四五,六,乙\n", "utf-8")
    paired = recipe().data.model_copy(update={"pair": "other"})
    with pytest.raises(InputError, match="prototypes are of single texts"):
        hub.cross_validate(recipe("train={method: auto}").model_copy(update={"data": paired}))


def test_pairs_are_held_out_as_pairs(small_folder: Path, desk: Path, trainings: list[Any]) -> None:
    rows = [(text, f"{text}吗", label) for text, label in TEXTS]
    with (desk / "pairs.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "other", "label"), *rows])
    words = [
        "module.name=null",
        f"module.directory={small_folder}",
        "data.train=pairs.csv",
        "data.test=null",
        "data.split={}",
        "train.method=finetune",
    ]
    made = hub.cross_validate(hub.load_recipe("intent", [*words, "data.pair=other", "calibration.aim=null"]), folds=2)
    assert made.probabilities.sum(axis=1) == pytest.approx(1)
    assert made.suspects(by="joint")[0].pair is not None


def test_other_settings_data_or_folds_are_named(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    hub.cross_validate(recipe(), folds=3)
    with pytest.raises(InputError, match=r"train.epochs: 30 -> 5"):
        hub.cross_validate(recipe("train.epochs=5"), folds=3)
    with pytest.raises(InputError, match="the number of folds: 3 -> 4"):
        hub.cross_validate(recipe(), folds=4)
    with (desk / "train.csv").open("a", encoding="utf-8") as stream:
        stream.write("多的一行,余额\n")
    with pytest.raises(InputError, match="the examples"):
        hub.cross_validate(recipe(), folds=3)
    assert len(trainings) == 3
    hub.cross_validate(recipe(), folds=4, overwrite=True)


def test_a_damaged_fold_is_named(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    hub.cross_validate(recipe(), folds=2)
    path = desk / "runs" / "intent-folds" / "folds" / "1.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(StoreError, match=r"1\.safetensors is damaged.*trained again"):
        hub.cross_validate(recipe(), folds=2)
    path.write_bytes((path.parent / "2.safetensors").read_bytes())
    with pytest.raises(StoreError, match="is not the fold of these rows"):
        hub.cross_validate(recipe(), folds=2)
    path.unlink()
    hub.cross_validate(recipe(), folds=2)


def test_a_folder_of_somebody_else_is_left_alone(recipe: Callable[..., hub.Recipe], trainings: list[Any], desk: Path) -> None:
    (desk / "runs" / "intent-folds").mkdir(parents=True)
    (desk / "runs" / "intent-folds" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="left alone"):
        hub.cross_validate(recipe(), overwrite=True)


def test_what_cannot_be_cross_validated_is_refused_before_anything_is_written(recipe: Callable[..., hub.Recipe], desk: Path) -> None:
    with pytest.raises(InputError, match="folds=1 is not possible"):
        hub.cross_validate(recipe(), folds=1)
    with pytest.raises(InputError, match="class_weights names classes"):
        hub.cross_validate(recipe("train.class_weights={没有: 2}"))
    with pytest.raises(InputError, match="this recipe's task is token-cls"):
        hub.cross_validate(recipe("task=token-cls", "data.spans=label", "calibration={}"))
    (desk / "train.csv").write_text("text,label\n好,甲\n行,甲\n", "utf-8")
    with pytest.raises(DataError, match="one class only"):
        hub.cross_validate(recipe())
    assert not (desk / "runs").exists()


def test_from_suspects_to_a_corrected_training(arguments: list[str], desk: Path) -> None:
    output = cli("suspects", *arguments, "--folds", "3", "--out", "s.csv")
    assert output.splitlines()[-1].endswith(" train.learning_rate=3e-3 data.corrections=s.csv")
    rows = list(csv.DictReader(io.StringIO((desk / "s.csv").read_text("utf-8-sig"), newline="")))
    wrong = TEXTS[WRONG]
    (found,) = [row for row in rows if row["text"] == wrong[0]]
    assert (found["label"], found["suggested"], found["row"]) == ("挂失", wrong[1], str(WRONG + 2))
    text = (desk / "s.csv").read_text("utf-8-sig")
    (desk / "s.csv").write_text(
        "\n".join(line + wrong[1] if line.startswith(f"{WRONG + 2},") else line for line in text.split("\n")), "utf-8"
    )
    run = hub.finetune(hub.load_recipe(arguments[0], [*arguments[1:], "data.corrections=s.csv", "train.epochs=1"]))
    corrected = hub.load_data("train.csv", corrections="s.csv")["train"]
    assert corrected[WRONG].label == wrong[1]
    lock = json.loads((run.folder / "lock.json").read_text("utf-8"))
    assert lock["data_sha256"]["train"] == corrected.digest()


def test_the_run_of_the_same_data_gets_the_suspects_for_its_report(arguments: list[str], trainings: list[Any], desk: Path) -> None:
    run = desk / "runs" / "intent"
    run.mkdir(parents=True)
    examples = hub.load_data("train.csv")["train"]
    (run / "lock.json").write_text(json.dumps({"recipe_sha256": "", "data_sha256": {"train": examples.digest()}}), "utf-8")
    facts = json.loads(cli("suspects", *arguments, "--folds", "2", "--json", "--by", "joint"))
    assert [Path(path).relative_to(desk).parts[1] for path in facts["files"]] == ["intent-folds", "intent"]
    listed = json.loads((run / "report" / "suspects.json").read_text("utf-8"))
    assert listed == facts["suspects"]
    assert {"text", "label", "suggested", "score"} <= set(listed[0])
    (run / "lock.json").write_text(json.dumps({"recipe_sha256": "", "data_sha256": {"train": "other"}}), "utf-8")
    again = json.loads(cli("suspects", *arguments, "--folds", "2", "--json", "--out", "again.csv"))
    assert len(again["files"]) == 1


def test_folds_that_learned_nothing_are_told_about(arguments: list[str], trainings: list[Any], desk: Path) -> None:
    result = CliRunner().invoke(app, ["suspects", *arguments, "--folds", "2", "--by", "joint"])
    assert "their suspects mean little" in result.stderr
    assert "fold 2 of 2" in result.stderr


def test_options_that_cannot_be_are_said_before_any_training(arguments: list[str], trainings: list[Any], desk: Path) -> None:
    (desk / "edited.csv").write_text("mine", "utf-8")
    said = cli("suspects", *arguments, "--out", "edited.csv", "--by", "magic", "--fill", "x", "--ranked-by", "y", code=2)
    for part in ("is there already", "--by 'magic' is none of noise_rate", "--fill 'x'", "--ranked-by 'y'"):
        assert part in said
    assert "no suffix .csv" in cli("suspects", *arguments, "--out", "s.xlsx", code=2)
    assert (desk / "edited.csv").read_text() == "mine"
    assert trainings == []


def test_the_interval_of_a_mean_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    for count in (2, 3, 5, 10, 31):
        values = (0.5 + 0.05 * generator.random(count)).tolist()
        low, high = stats.t.interval(0.95, count - 1, np.mean(values), stats.sem(values))
        found = mean_interval(values)
        assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high), abs=2e-4)
    assert mean_interval([0.2, 1.0]).as_dict() == {"value": 0.6, "low": 0.0, "high": 1.0}, "scores end at 0 and 1"
    assert mean_interval([0.5]).as_dict() == {"value": 0.5, "low": 0.5, "high": 0.5}
    with pytest.raises(InputError):
        mean_interval([])
