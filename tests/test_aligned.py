"""Tables line up in a terminal, Chinese included."""

from nlphub.aligned import aligned, cells


def test_chinese_takes_two_cells_and_marks_take_none() -> None:
    assert [cells(text) for text in ("", "ab", "余额", "ａ", "e\u0301", "\u200b", "👋")] == [0, 2, 4, 2, 1, 0, 2]


def test_columns_line_up_by_cells_without_trailing_spaces() -> None:
    assert aligned(("名", "b"), [("余额", 1), ("x", "")]).split("\n") == ["名    b", "余额  1", "x"]


def test_numbers_are_aligned_to_the_right() -> None:
    assert aligned(("a", "n"), [("x", 5), ("yy", 123)], numbers=True).split("\n") == ["a     n", "x     5", "yy  123"]


def test_a_table_without_rows_is_its_header() -> None:
    assert aligned(("a", "b"), []) == "a  b"
