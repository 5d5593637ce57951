"""Suspects as a file that a person edits: what a spreadsheet program may do to it, what is read back, and what is refused."""

import csv
import io
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlphub as hub
from nlphub.data.corrections import FILLS, Suspect, correct, suspects_csv
from nlphub.errors import DataError, InputError, RecipeError

ROWS = [("卡丢了怎么办", "余额"), ("还剩多少钱", "余额"), ("怎么汇款", "转账"), ("卡丢了", "挂失"), ("卡丢了", "余额"), ("卡丢了", "余额")]
LABELS = ("余额", "转账", "挂失")


def suspect(text: str, label: str = "余额", *, pair: str | None = None, score: float = 0.0213) -> Suspect:
    return Suspect(17, text, pair, label, "挂失", score)


def edited(
    path: Path, *rows: tuple[str, ...], header: tuple[str, ...] = ("text", "label", "corrected"), encoding: str = "utf-8-sig"
) -> Path:
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def cells(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff"), "Excel knows UTF-8 by the byte order mark"
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.fixture
def examples() -> hub.Examples:
    return hub.Examples([hub.Example(text, label, line=number) for number, (text, label) in enumerate(ROWS, 2)], source="train.csv")


def test_the_file_has_a_row_for_each_suspect_and_an_empty_column_to_fill() -> None:
    (row,) = cells(suspects_csv([suspect("卡丢了怎么办")]))
    assert row == {"row": "17", "text": "卡丢了怎么办", "label": "余额", "suggested": "挂失", "score": "0.0213", "corrected": ""}
    assert [cells(suspects_csv([suspect("卡")], fill=fill))[0]["corrected"] for fill in FILLS] == ["", "挂失", "drop"]
    assert suspects_csv([]).splitlines() == ["\ufeffrow,text,label,suggested,score,corrected"]


def test_copies_with_one_label_are_asked_about_once() -> None:
    rows = cells(suspects_csv([suspect("卡", score=0.1), suspect("钱", score=0.2), suspect("卡", score=0.3), suspect("卡", "转账")]))
    assert [(row["text"], row["label"], row["score"]) for row in rows] == [
        ("卡", "余额", "0.1000"),
        ("钱", "余额", "0.2000"),
        ("卡", "转账", "0.0213"),
    ]


def test_labels_are_replaced_rows_left_out_and_the_others_stay(examples: hub.Examples, tmp_path: Path) -> None:
    path = edited(
        tmp_path / "s.csv",
        ("卡丢了怎么办", "余额", " 挂失 "),
        ("怎么汇款", "转账", "drop"),
        ("卡丢了", "余额", "－"),
        ("还剩多少钱", "余额", ""),
    )
    made = correct(examples, path)
    assert [(example.text, example.label, example.line) for example in made] == [
        ("卡丢了怎么办", "挂失", 2),
        ("还剩多少钱", "余额", 3),
        ("卡丢了", "挂失", 5),
    ]
    assert made.source == "train.csv"


@pytest.mark.parametrize("word", ["-", "drop", "Drop", "－", " - "])
def test_words_that_leave_a_row_out(word: str, examples: hub.Examples, tmp_path: Path) -> None:
    assert len(correct(examples, edited(tmp_path / "s.csv", ("怎么汇款", "转账", word)))) == len(ROWS) - 1


def test_a_word_that_is_a_label_means_that_label(tmp_path: Path) -> None:
    examples = hub.Examples.of([("取消", "drop"), ("算了", "保留")])
    assert correct(examples, edited(tmp_path / "s.csv", ("算了", "保留", "drop"))).labels == ["drop", "drop"]
    assert len(correct(examples, edited(tmp_path / "t.csv", ("算了", "保留", "-")))) == 1


def test_a_label_that_is_confirmed_changes_nothing(examples: hub.Examples, tmp_path: Path) -> None:
    assert correct(examples, edited(tmp_path / "s.csv", ("怎么汇款", "转账", "转账"))) == examples


def test_a_file_without_a_suspect_changes_nothing(examples: hub.Examples, tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    path.write_text(suspects_csv([]), encoding="utf-8")
    assert list(correct(examples, path)) == list(examples)


def test_a_file_that_nobody_filled_in_is_told_about(examples: hub.Examples, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert correct(examples, edited(tmp_path / "s.csv", ("早就没有了", "转账", ""))) == examples
    assert "corrects nothing" in caplog.text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "＝", "＋", "－", "＠", "'=", "''@", "\r\n="])
def test_no_cell_is_calculated_by_a_spreadsheet_program(start: str, tmp_path: Path) -> None:
    text = f"{start}HYPERLINK(A1)"
    written = suspects_csv([Suspect(1, text, text, start + "甲", start + "乙", 0.5)], fill="suggested")
    for row in cells(written):
        assert all(row[name].startswith("'") for name in ("text", "pair", "label", "suggested", "corrected"))
    (tmp_path / "s.csv").write_text(written, "utf-8")
    if start.isprintable():  # labels are
        made = correct(hub.Examples([hub.Example(text, start + "甲", text), hub.Example("x", start + "乙", "y")]), tmp_path / "s.csv")
        assert made.labels == [start + "乙"] * 2


@given(st.text(st.characters(codec=None, exclude_categories=()), min_size=1).filter(str.strip), st.sampled_from(LABELS))
def test_any_text_survives_the_journey(text: str, label: str) -> None:
    import tempfile

    examples = hub.Examples([hub.Example(text, label), hub.Example("别的", "挂失")])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.csv"
        path.write_text(suspects_csv([suspect(text, label)], fill="drop"), "utf-8", newline="\n")
        assert [example.text for example in correct(examples, path)] == ([] if (text, label) == ("别的", "挂失") else ["别的"])


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8"])
def test_what_a_spreadsheet_program_saves_is_read(encoding: str, examples: hub.Examples, tmp_path: Path) -> None:
    path = edited(tmp_path / "s.csv", ("卡丢了", "余额", "挂失"), encoding=encoding)
    assert correct(examples, path).labels.count("挂失") == 3


def test_a_workbook_is_read(examples: hub.Examples, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("row", "text", "label", "corrected"), (2, "怎么汇款", "转账", "drop"), (3, "还剩多少钱", "余额", None)):
        book.active.append(row)
    book.save(tmp_path / "s.xlsx")
    assert len(correct(examples, tmp_path / "s.xlsx")) == len(ROWS) - 1


def test_second_texts_tell_examples_apart(tmp_path: Path) -> None:
    examples = hub.Examples([hub.Example("甲", "是", "乙"), hub.Example("甲", "是", "丙"), hub.Example("丁", "否", "戊")])
    path = edited(tmp_path / "s.csv", ("甲", "丙", "是", "否"), header=("text", "pair", "label", "corrected"))
    assert correct(examples, path).labels == ["是", "否", "否"]
    with pytest.raises(DataError, match="'pair' has to be there once"):
        correct(examples, edited(tmp_path / "t.csv", ("甲", "是", "否")))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("卡丢了怎么办", "转账", "挂失"), "line 2: '卡丢了怎么办' is not labelled '转账' in the data, but '余额' (train.csv, line 2)"),
        (("卡丢掉了", "余额", "挂失"), "line 2: the data have no text '卡丢掉了'"),
        (("", "余额", "挂失"), "line 2: the data have no text ''"),
        (("怎么汇款", "转账", "挂矢"), "line 2: '挂矢' is no label of the data, and not - or drop."),
        (("怎么汇款", "", "挂失"), "is not labelled None in the data"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(row: tuple[str, ...], said: str, examples: hub.Examples, tmp_path: Path) -> None:
    with pytest.raises(DataError) as wrong:
        correct(examples, edited(tmp_path / "s.csv", row))
    assert said in str(wrong.value)
    assert "s.csv do not fit train.csv" in str(wrong.value)


def test_all_mistakes_are_said_at_once(examples: hub.Examples, tmp_path: Path) -> None:
    path = edited(
        tmp_path / "s.csv", ("没有", "余额", "挂失"), ("怎么汇款", "转账", "挂失"), ("怎么汇款", "转账", "drop"), ("卡丢了", "余额", "?")
    )
    with pytest.raises(DataError) as wrong:
        correct(examples, path)
    assert len(wrong.value.problems) == 3
    assert "corrected in two ways: '挂失' (line 3) and 'drop' (line 4)" in str(wrong.value)


def test_rows_that_cannot_be_read_are_named(examples: hub.Examples, tmp_path: Path) -> None:
    path = edited(tmp_path / "s.csv", ("卡丢了", "余额", "挂失", "more"))
    with pytest.raises(DataError, match="line 2: 4 fields, and the header has 3"):
        correct(examples, path)


@pytest.mark.parametrize(
    ("header", "said"),
    [(("text", "label"), "'corrected' has to be there once"), (("text;label;corrected",), "looks separated by ';'")],
    ids=["a column missing", "another separator"],
)
def test_a_file_without_the_columns_is_refused(header: tuple[str, ...], said: str, examples: hub.Examples, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no corrections") as wrong:
        correct(examples, edited(tmp_path / "s.csv", ("a",) * len(header), header=header))
    assert said in str(wrong.value)


def test_a_fill_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="nothing, suggested, drop"):
        suspects_csv([], fill="everything")


def test_load_data_corrects_train_before_it_is_split_and_nothing_else(tmp_path: Path) -> None:
    train = edited(tmp_path / "train.csv", *ROWS, header=("text", "label"))
    path = edited(tmp_path / "s.csv", ("卡丢了", "余额", "drop"), ("怎么汇款", "转账", "挂失"))
    splits = hub.load_data({"train": train, "test": train}, corrections=path, split={"dev": 0.25})
    assert sorted(example.text for part in ("train", "dev") for example in splits[part]) == [
        "卡丢了",
        "卡丢了怎么办",
        "怎么汇款",
        "还剩多少钱",
    ]
    assert len(splits["test"]) == len(ROWS)
    with pytest.raises(DataError, match="and there are none"):
        hub.load_data({"test": train}, corrections=path)
    with pytest.raises(DataError, match="and there are none"):
        hub.load_data(train, label=None, corrections=path)
    with pytest.raises(DataError, match="There is no file"):
        hub.load_data(train, corrections=tmp_path / "other.csv")


def test_a_recipe_names_its_corrections_beside_it(tmp_path: Path) -> None:
    edited(tmp_path / "train.csv", *ROWS, header=("text", "label"))
    edited(tmp_path / "s.csv", ("怎么汇款", "转账", "drop"))
    text = "module: {name: ernie_tiny}\ntask: seq-cls\ndata: {train: train.csv, corrections: s.csv}\nrun: {folder: runs/x}\n"
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    recipe = hub.load_recipe(tmp_path / "mine.yaml")
    assert recipe.data.corrections == str(tmp_path / "s.csv")
    from nlphub.data.read import load_splits

    assert len(load_splits(recipe.data)["train"]) == len(ROWS) - 1
    assert recipe.digest() != hub.load_recipe(tmp_path / "mine.yaml", ["data.corrections=null"]).digest()
    with pytest.raises(RecipeError, match="corrections are of texts with one label each"):
        hub.load_recipe(tmp_path / "mine.yaml", ["task=token-cls", "data.spans=spans"])
