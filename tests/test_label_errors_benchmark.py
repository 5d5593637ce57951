"""The label-error benchmark on invented rows: flips are what they claim, both columns take equal steps, and figures are kept."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import label_errors

MATTERS = {"余额": "还剩多少钱", "转账": "怎么汇款", "挂失": "卡丢了"}
PLACES = ("在北京", "上海那边", "公司楼下", "妈妈说过", "昨天半夜", "刚起床时", "手机里面", "老家村口", "五号线上", "雨下得大")
ROWS = [(f"{place}{matter}", label) for label, matter in MATTERS.items() for place in PLACES]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_folder: Path) -> Any:
    """Options of a run on invented rows, two folds and one epoch."""
    monkeypatch.setattr(label_errors, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(label_errors, "FOLDS", 2)
    monkeypatch.setattr(label_errors, "pairs", lambda part, most: (ROWS[: most or len(ROWS)], ROWS[::3], "digest"))
    monkeypatch.setattr(label_errors, "hyper", lambda *_: {"epochs": 1, "batch_size": 8, "learning_rate": 3e-3})
    options = {"part": ["flips", "cic"], "kinds": ["uniform", "confused"], "columns": ["given", "dropped", "random"], "seeds": 1}
    return SimpleNamespace(method="finetune", **options, rows=None, cic_epochs=1, module=small_folder, device="cpu", work=tmp_path / "work")


@pytest.mark.parametrize("kind", ["uniform", "confused"])
def test_a_tenth_of_the_labels_is_flipped_by_seed(kind: str) -> None:
    labels = [label for _, label in ROWS]
    confused = {"余额": "转账", "转账": "挂失", "挂失": "余额"}
    given, flipped = label_errors.flip(labels, kind, seed=1, confused=confused)
    assert flipped.sum() == 3
    assert [a != b for a, b in zip(given, labels, strict=True)] == flipped.tolist()
    assert (given, flipped.tolist()) == (lambda again: (again[0], again[1].tolist()))(
        label_errors.flip(labels, kind, seed=1, confused=confused)
    )
    if kind == "confused":
        assert all(given[row] == confused[labels[row]] for row in np.flatnonzero(flipped))


def test_the_most_confused_label_is_the_one_that_shares_words() -> None:
    rows = [(text, label) for text, label in ROWS if label != "转账"] + [(f"{place}还剩多少汇款", "转账") for place in PLACES]
    assert label_errors.most_confused(rows)["转账"] == "余额"
    assert label_errors.most_confused(rows)["余额"] == "转账"


@pytest.mark.parametrize("kept", [25, 4])
def test_rows_are_filled_up_to_the_same_number_of_steps(kept: int) -> None:
    filled = label_errors.filled_up(np.arange(kept), 30, seed=0)
    assert len(filled) == 30
    assert set(filled) == set(range(kept))
    assert max(Counter(filled).values()) <= (2 if kept == 25 else 30)


def test_every_figure_is_made_kept_and_shown(tiny: Any, tmp_path: Path) -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is the peer: extra 'dev'")
    assert [value for _, value in label_errors.cells(tiny, make=False)] == [None] * 5
    results = dict(label_errors.cells(tiny, make=True))
    assert len(list((tmp_path / "kept").glob("*.json"))) == 5
    for cell, value in results.items():
        if cell.part == "flips":
            assert value["flipped"] == 3
            assert all(value["found"][rule]["shared"] <= value["found"][rule]["ours"]["count"] for rule in label_errors.RULES)
        elif cell.kind != "given":
            assert value["dropped"] > 0
    assert len({value["steps"] for cell, value in results.items() if cell.part == "cic"}) == 1
    assert dict(label_errors.cells(tiny, make=True)) == results, "nothing is measured twice"
    assert dict(label_errors.read_kept(tmp_path / "kept")) == results
    assert json.loads(json.dumps(list(results.values()))) == list(results.values())
    flips, cic = label_errors.flips_table(results), label_errors.cic_table(results)
    assert flips.count("uniform") == flips.count("confused") == 6
    assert [line.split()[1] for line in cic.splitlines()[1:4]] == ["given", "dropped", "random"]
    assert "72.78" in cic


def test_prototypes_learn_only_the_rows_that_are_kept(tiny: Any) -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is the peer: extra 'dev'")
    tiny.method = "prototype"
    results = dict(label_errors.cells(tiny, make=True))
    assert {value["method"] for value in results.values()} == {"prototype"}
    assert label_errors.flips_table(results).count("prototype") == 12


def test_a_module_that_knows_the_truth_finds_every_flip() -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is the peer: extra 'dev'")
    names, labels = sorted(MATTERS), [label for _, label in ROWS]
    given, flipped = label_errors.flip(labels, "uniform", seed=0)
    probabilities = 0.04 + 0.88 * np.eye(3)[[names.index(label) for label in labels]]
    found = label_errors.found_flips(probabilities, np.array([names.index(label) for label in given]), flipped)
    assert set(found) == {*label_errors.RULES, "argmax", "ranking"}
    for rule in found.values():
        assert rule["ours"] == {"count": 3, "precision": 1.0, "recall": 1.0}
        assert rule.get("cleanlab", rule["ours"]) == rule["ours"]
        assert rule.get("shared", 3) == 3


def test_tables_of_nothing_say_so() -> None:
    assert "nothing is kept yet" in label_errors.flips_table({})
    assert "nothing is kept yet" in label_errors.cic_table({})
