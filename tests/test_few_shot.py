"""The few-shot benchmark on invented rows: cells are made once, kept whole, and shown as what they are."""

import json
import lzma
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import few_shot
from judging.sets import Row

from nlphub.errors import DataError
from nlphub.recipe import TrainSettings

MATTERS = {"余额": "还剩多少钱", "转账": "怎么汇款", "挂失": "卡丢了"}
ROWS = [
    (f"{opening}{what}{end}", label) for label, what in MATTERS.items() for opening in ("请问", "你好", "喂") for end in ("", "啊", "呢")
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for _, place, _ in few_shot.SETS.values():
        for part in ("train", "test"):
            path = tmp_path / "data" / "labelled" / place / f"{part}.jsonl.xz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lzma.compress("\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS).encode()))
    return tmp_path / "data"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings_of(column: str, examples: int, *, seed: int) -> TrainSettings:
        method = column if column in ("prototype", "contrastive", "auto") else "finetune"
        return TrainSettings(method=method, epochs=1, batch_size=6, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr(few_shot, "settings_of", settings_of)


def test_a_sitting_makes_what_is_missing_and_nothing_twice(
    small_folder: Path, data: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, wanted = tmp_path / "kept", few_shot.keys(["smp2017"], [4], list(few_shot.COLUMNS), 1, weights="w")
    few_shot.measure(wanted, data=data, kept=kept, directory=small_folder)
    assert len(list(kept.glob("smp2017/4-*.json"))) == len(wanted) == 5
    monkeypatch.setattr(few_shot, "make", lambda *given, **named: pytest.fail("a kept cell was made again"))
    few_shot.measure(wanted, data=data, kept=kept, directory=small_folder)
    (line,) = few_shot.lines(wanted, kept)
    assert set(line["columns"]) == set(few_shot.COLUMNS)
    assert line["columns"]["prototype"]["mean"] > 0.9
    assert sum(line["columns"]["auto"]["chosen"].values()) == 1
    assert few_shot.last_weights(kept) == "w"
    cell = json.loads((kept / wanted[0].file).read_text("utf-8"))
    (kept / wanted[0].file).write_text(json.dumps(cell | {"rows_digest": "other"}), "utf-8")
    with pytest.raises(DataError, match="other rows"):
        few_shot.measure(wanted, data=data, kept=kept, directory=small_folder)


def test_the_score_of_auto_is_that_of_a_training_with_auto(small_folder: Path, data: Path, tmp_path: Path, tiny: None) -> None:
    (key,) = few_shot.keys(["smp2017"], [4], ["auto"], 1, weights="w")
    train, test, _ = few_shot.load("smp2017", data)
    cell = few_shot.make(key, train, test, kept=tmp_path, directory=small_folder)
    answers = few_shot.learnt("auto", few_shot.draw(train, 4, 0), test, seed=0, directory=small_folder)
    right = sum(given == label for given, label in zip(answers, test.labels, strict=True))
    assert cell["scores"]["accuracy"] == round(right / len(answers), 4)


def test_cells_of_other_weights_or_settings_are_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = few_shot.keys(["cic30"], [8], ["finetune"], 1, weights="a")
    (other,) = few_shot.keys(["cic30"], [8], ["finetune"], 1, weights="b")
    assert one.file != other.file
    monkeypatch.setattr(few_shot, "STEPS", 50)
    assert few_shot.keys(["cic30"], [8], ["finetune"], 1, weights="a")[0].file != one.file
    (linear,) = few_shot.keys(["cic30"], [8], ["tfidf"], 1, weights="a")
    assert linear.weights == few_shot.NO_WEIGHTS, "TF-IDF has no weights to be made again with"


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    (key,) = few_shot.keys(["cic30"], [8], ["tfidf"], 1, weights="a")
    path = tmp_path / key.file
    path.parent.mkdir(parents=True)
    for content in ("{", json.dumps({"key": {}})):
        path.write_text(content, "utf-8")
        with pytest.raises(DataError, match="delete it"):
            few_shot.read(key, tmp_path)


def test_what_is_not_kept_is_a_dash(tmp_path: Path) -> None:
    wanted = few_shot.keys(["smp2017"], [4], ["tfidf", "prototype"], 2, weights="w")
    for number, key in enumerate(key for key in wanted if key.column == "tfidf"):
        path = tmp_path / key.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"key": few_shot.asdict(key), "scores": {"macro_f1": 0.5 + number / 100}}), "utf-8")
    rows = few_shot.cells_of(few_shot.lines(wanted, tmp_path))
    assert rows[1][:4] == ("SMP2017-ECDT", "4", "50.5 ±6.4", "-")
    assert few_shot.markdown(rows).splitlines()[1].count("---") == len(rows[0])


def test_the_most_frequent_intents_are_kept_and_of_equals_the_first_by_name() -> None:
    rows = [Row("一", label=label) for label in ("丙", "丙", "乙", "甲", "丁")]
    assert few_shot.most_frequent(rows, 2) == {"丙", min("乙", "甲", "丁")}
    assert few_shot.most_frequent(rows, None) == {"甲", "乙", "丙", "丁"}


def test_the_same_number_of_steps_is_trained_whatever_the_number_of_examples() -> None:
    for examples in (90, 248, 496):
        settings = few_shot.settings_of("finetune", examples, seed=0)
        assert few_shot.STEPS * few_shot.BATCH <= settings.epochs * examples < few_shot.STEPS * few_shot.BATCH + examples
