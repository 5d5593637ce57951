"""Guessing columns: by names in both languages, by content where names say nothing, and refusing to guess where neither helps."""

from pathlib import Path
from typing import Any

import pytest

from nlphub.data.columns import LABELS, TEXTS, guess_columns, other_labels, rank_name
from nlphub.data.sheet import Sheet
from nlphub.errors import DataError

TEXT = ["我要退这双鞋", "能退钱吗", "不想要了怎么退", "转人工", "叫客服来", "人工服务谢谢", "快递到哪了", "查下物流"]
LABEL = ["退货", "退货", "退货", "转人工", "转人工", "转人工", "查物流", "查物流"]


def sheet(**columns: list[Any]) -> Sheet:
    rows = tuple((number, list(cells)) for number, cells in enumerate(zip(*columns.values(), strict=True), start=2))
    return Sheet(Path("x.csv"), "line", "utf-8", True, tuple(columns), rows, ())


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("text", "label"), ("问题", "意图"), ("sentence", "intent"), ("用户问题", "一级分类"), ("Query", "Category"),
        ("userQuestion", "intent_type"),
        ("内容", "标签"), ("客户留言", "业务类型"), ("a", "b"), ("b", "a"), ("列1", "列2"),
    ],
)  # fmt: skip
def test_both_are_found_in_either_order_among_other_columns(text: str, label: str) -> None:
    numbers, dates = list(range(8)), [f"2024-01-{day:02d}" for day in range(1, 9)]
    assert guess_columns(sheet(编号=numbers, **{text: TEXT, label: LABEL}, 时间=dates)) == (text, label)
    assert guess_columns(sheet(时间=dates, **{label: LABEL, text: TEXT}, 空=[None] * 8)) == (text, label)


def test_what_is_known_is_taken_and_the_rest_is_guessed() -> None:
    table = sheet(问题=TEXT, 改写=[text + "啊" for text in TEXT], 意图=LABEL, 大类=["售后"] * 4 + ["其他"] * 4)
    assert guess_columns(table) == ("问题", "意图")
    assert guess_columns(table, text="改写") == ("改写", "意图")
    assert guess_columns(table, label="大类") == ("问题", "大类")
    assert other_labels(table, "问题", "意图") == ["大类"]


def test_labels_that_people_can_read_go_before_numbers() -> None:
    numbers = [str(LABEL.index(label)) for label in LABEL]
    assert guess_columns(sheet(text=TEXT, label=numbers, label_zh=LABEL)) == ("text", "label_zh")
    assert guess_columns(sheet(text=TEXT, label=numbers)) == ("text", "label")


def test_a_name_is_believed_where_there_is_little_to_count() -> None:
    assert guess_columns(sheet(问题=TEXT[:4], 意图=["a", "b", "c", "c"])) == ("问题", "意图")
    assert guess_columns(sheet(问题=TEXT * 50, 意图=LABEL * 50)) == ("问题", "意图")
    with pytest.raises(DataError, match="no column looks like texts"):
        guess_columns(sheet(x=TEXT * 50, 意图=LABEL * 50))
    with pytest.raises(DataError, match="no column looks like labels"):
        guess_columns(sheet(问题=TEXT[:4], x=["a", "b", "c", "c"]))


def test_where_nothing_is_plausible_each_column_is_told_with_its_reason() -> None:
    with pytest.raises(DataError, match=r"no column looks like labels.*--text NAME and --label NAME") as wrong:
        guess_columns(sheet(编号=list(range(8)), 问题=TEXT, 渠道=["网页"] * 8, 列表=[["a"]] * 8))
    assert wrong.value.problems == (
        "'编号': as texts: numbers or dates; as labels: 8 different values in 8 rows",
        "'问题': taken as texts; as labels: 8 different values in 8 rows",
        "'渠道': as texts: one value only in 8 rows; as labels: one value only",
        "'列表': ['a'] is neither text nor a number",
    )


def test_a_file_apart_by_another_sign_is_told_by_it() -> None:
    with pytest.raises(DataError, match="looks separated by ';'"):
        guess_columns(sheet(**{"问题;意图": [f"{text};{label}" for text, label in zip(TEXT, LABEL, strict=True)]}))


def test_a_title_above_the_names_is_told() -> None:
    rows = tuple((number, [text, label]) for number, (text, label) in enumerate(zip(TEXT, LABEL, strict=True), start=2))
    with pytest.raises(DataError, match="if that one is a title, delete it"):
        guess_columns(Sheet(Path("x.xlsx"), "row", None, True, ("2024年语料",), rows, ()))


def test_a_file_without_a_header_is_refused() -> None:
    with pytest.raises(DataError, match=r"'退货' is also a value of its column \(line 2\).*Add a first row with names"):
        guess_columns(sheet(我要退货啊=TEXT, 退货=LABEL))


def test_a_column_that_is_not_there_or_there_twice_is_refused() -> None:
    with pytest.raises(DataError, match="Did you mean '问题'"):
        guess_columns(sheet(问题=TEXT, 意图=LABEL), text="问 题")
    rows = tuple((number, [text, label, label]) for number, (text, label) in enumerate(zip(TEXT, LABEL, strict=True), start=2))
    twice = Sheet(Path("x.csv"), "line", "utf-8", True, ("问题", "意图", "意图"), rows, ())
    with pytest.raises(DataError, match="2 columns of this name"):
        guess_columns(twice)


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("text", 3), ("ＴＥＸＴ", 3), ("user text", 2), ("userText", 2), ("text_a", 1), ("context", 0),
        ("用户问题", 3), ("常见问题", 2), ("问题编号", 1),
    ],
)  # fmt: skip
def test_names_are_ranked_by_the_word_that_they_end_in(name: str, rank: int) -> None:
    assert rank_name(name, TEXTS) == rank


def test_no_word_means_both() -> None:
    assert not set(TEXTS) & set(LABELS)
