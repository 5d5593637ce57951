"""Cells of spreadsheets, JSON and Python as texts and labels."""

import datetime
import decimal
from typing import Any

import numpy as np
import pytest

from nlphub.data.cells import as_label, as_text, is_blank


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" 原样 ", " 原样 "),
        (3, "3"),
        (3.0, "3"),
        (-0.5, "-0.5"),
        (1e22, "10000000000000000000000"),
        (True, "True"),
        (np.int64(7), "7"),
        (np.float32(2), "2.0"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2026, 3, 1), "2026-03-01"),
        (None, None),
        (float("nan"), None),
        (float("inf"), "inf"),
    ],
)
def test_cells_become_text(value: Any, text: str | None) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"bytes", object()])
def test_what_is_no_text_is_refused_and_not_printed_as_python(value: Any) -> None:
    with pytest.raises(TypeError, match="neither text nor a number"):
        as_text(value)


@pytest.mark.parametrize(
    ("value", "label"), [(" 退货\u3000", "退货"), ("\t", None), ("", None), (3.0, "3"), (None, None), (0, "0"), (False, "False")]
)
def test_labels_lose_surrounding_spaces(value: Any, label: str | None) -> None:
    assert as_label(value) == label


def test_class_numbers_become_names_and_minus_one_is_hidden() -> None:
    assert [as_label(value, ["查余额", "挂失"]) for value in (0, 1, -1, 2, "挂失")] == ["查余额", "挂失", None, None, "挂失"]


@pytest.mark.parametrize("text", ["", " \t\n", "\u3000", "\u200b\ufeff\u202e", "\x00\x1f", "\ud800", "\u2028"])
def test_texts_without_a_visible_character_are_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["在", " ? ", "👋", "\u200bｘ", "\ufffd"])
def test_other_texts_are_not_blank(text: str) -> None:
    assert not is_blank(text)
