"""Cells as sets of labels and as numbers, in files and in memory; everything that is wrong at once."""

import json
from pathlib import Path

import numpy as np
import pytest

from nlphub.data.answers import to_labels, to_value
from nlphub.data.examples import Example, Examples
from nlphub.data.read import load_data
from nlphub.data.splitting import split_off
from nlphub.errors import DataError


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("退货|物流", ("物流", "退货")),
        ("退货; 物流；退货", ("物流", "退货")),
        ('["a|b", "c"]', ("a|b", "c")),
        ("退货", ("退货",)),
        ("", ()),
        (" ", ()),
        ([], ()),
        (["b", "a"], ("a", "b")),
        ({"a"}, ("a",)),
        ([3, 1.0], ("1", "3")),
        (np.array(["x"]), ("x",)),
        (None, None),
    ],
)
def test_labels_of_a_cell(cell: object, labels: tuple[str, ...] | None) -> None:
    assert to_labels(cell) == labels


@pytest.mark.parametrize(("cell", "complaint"), [("[a, b", "is none"), (["a", " "], "empty label"), ([["a"]], "neither text")])
def test_cells_that_hold_no_labels(cell: object, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        to_labels(cell)


@pytest.mark.parametrize(("cell", "value"), [("3.5", 3.5), (" -2 ", -2.0), ("1e-3", 0.001), (4, 4.0), (np.float32(0.5), 0.5), ("", None)])
def test_numbers_of_a_cell(cell: object, value: float | None) -> None:
    assert to_value(cell) == value


@pytest.mark.parametrize("cell", ["high", "nan", "inf", "1_000", "3,5", True, [1.0], 1e38])
def test_cells_that_hold_no_number(cell: object) -> None:
    with pytest.raises(TypeError, match="number"):
        to_value(cell)


def test_a_file_of_label_sets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,tags\n快递没到还要退货,物流|退货\n你好,\n", "utf-8")
    examples = load_data(tmp_path / "a.csv", labels="tags")["train"]
    assert examples.label_sets == [("物流", "退货"), ()]
    assert examples.label_names == ("物流", "退货")
    rows = [{"text": "好", "tags": ["a", "b"]}, {"text": "坏", "tags": []}, {"text": "空"}, {"text": "错", "tags": {"a": 1}}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(DataError) as caught:
        load_data(tmp_path / "b.jsonl", labels="tags")
    assert any("line 3: the labels are missing" in problem for problem in caught.value.problems)
    assert any("line 4" in problem for problem in caught.value.problems)
    assert len(caught.value.problems) == 2


def test_empty_cells_of_a_spreadsheet_are_empty_sets(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("text", "tags"), ("退货", "退货"), ("你好", None)):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert load_data(tmp_path / "a.xlsx", labels="tags")["train"].label_sets == [("退货",), ()]


def test_wrong_numbers_of_a_file_are_reported_by_line_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\tscore\n甲\t乙\t4.5\n甲\t丙\thigh\n甲\t丁\t7\n甲\t戊\t\n甲\t己\t-1\n", "utf-8")
    with pytest.raises(DataError) as caught:
        load_data(tmp_path / "a.tsv", text="a", pair="b", value="score", bounds=(0, 5))
    found = "\n".join(caught.value.problems)
    for line, complaint in (
        (3, "'high' is not a number"),
        (4, "7 is outside of 0 to 5"),
        (5, "the value is missing"),
        (6, "-1 is outside"),
    ):
        assert f"line {line}: " in found
        assert complaint in found
    assert len(caught.value.problems) == 4
    with pytest.raises(DataError, match="Give one of"):
        load_data(tmp_path / "a.tsv", text="a", value="score", labels="b")
    with pytest.raises(DataError, match="bounds"):
        load_data(tmp_path / "a.tsv", text="a", label="b", bounds=(0, 5))


def test_lists_in_memory_are_sets_of_labels() -> None:
    examples = Examples.of([("好", ["b", "a"]), ("坏", []), {"text": "x", "value": "2"}, ("y", "label")])
    assert [example.labels for example in examples] == [("a", "b"), (), None, None]
    assert examples[2].value == 2.0
    with pytest.raises(DataError, match="the labels are missing"):
        _ = examples.label_sets
    with pytest.raises(DataError, match="the value is missing"):
        _ = examples.values


def test_answers_decide_the_digest_and_their_absence_leaves_it_as_it_was() -> None:
    texts = [Example("好"), Example("好", labels=()), Example("好", labels=("a",)), Example("好", value=1.0), Example("好", value=2.0)]
    assert len({Examples([one]).digest() for one in texts}) == len(texts)
    assert Examples([Example("好", "x")]).digest() == "f3aa3915f862db61726cf46341a127b47ea9fee4caa6333ea2850c851b0c35fe"


def test_train_keeps_an_example_of_every_label_when_sets_are_split() -> None:
    generator = np.random.default_rng(0)
    for seed in range(30):
        rows = [(f"text {n}", [name for name in "abcdefgh" if generator.random() < 0.15]) for n in range(40)]
        examples = Examples.of(rows)
        parts = split_off(examples, {"dev": 0.3, "test": 0.2}, seed=seed)
        assert parts["train"].label_names == examples.label_names
        assert sorted(text for part in parts.values() for text in part.texts) == sorted(examples.texts)


def test_numbers_are_split_as_one_group() -> None:
    examples = Examples.of([{"text": f"text {n}", "value": n / 7} for n in range(50)])
    assert len(split_off(examples, {"dev": 0.2}, seed=0)["dev"]) == 10
