"""Rows by themselves: empty, unlabelled, garbled, too long, unreadable; and the checks' own wrong input."""

from collections.abc import Callable

import pytest

from nlphub.data.doctor import CHECKS, Finding, Limits, examine
from nlphub.data.doctor.rows import repaired
from nlphub.data.examples import Examples
from nlphub.errors import DataError, InputError

Make = Callable[..., Examples]
GOOD = [
    "你好，我要退货",
    "Café 的余额",
    "naïve",
    "庞涓洞怎么走",
    "联通",
    "汉字",
    "ABC卡",
    "①②③",
    "２４小时",
    "déjà vu",
    "😀好的",
    "嗯",
    "łódź",
]


def only(check: str, part: Examples, **options: object) -> list[Finding]:
    return examine({"train": part}, only=[check], **options)  # type: ignore[arg-type]


def lines(findings: list[Finding]) -> list[int | None]:
    return [row.line for finding in findings for case in finding.cases for row in case.rows]


def test_empty_texts_and_missing_labels_are_named_by_line(examples: Make) -> None:
    part = examples([("余额", "a"), ("", "a"), (" \u3000", "b"), ("\u200b\ufeff", "b"), ("转账", None)])
    assert lines(only("empty", part)) == [3, 4, 5]
    assert lines(only("unlabelled", part)) == [6]
    assert only("unlabelled", part)[0].summary == "1 row without label"


def test_texts_longer_than_the_module_reads(examples: Make) -> None:
    part = examples([("长" * 510, "a"), ("长" * 511, "a"), ("长 " * 510, "b"), ("", "b")])
    assert lines(only("long", part)) == [3], "spaces are no tokens"
    assert lines(only("long", part, limits=Limits(max_length=10))) == [2, 3, 4]


@pytest.mark.parametrize("text", GOOD)
def test_good_text_is_not_taken_for_garbled(text: str, examples: Make) -> None:
    assert only("garbled", examples([(text, "a")])) == []
    assert repaired(text) is None


@pytest.mark.parametrize(("written", "read"), [("utf-8", "gb18030"), ("utf-8", "latin-1"), ("gb18030", "latin-1"), ("utf-8", "cp1252")])
def test_text_of_a_wrong_encoding_is_found_and_brought_back(written: str, read: str, examples: Make) -> None:
    text = "你好" * 3
    wrong = text.encode(written).decode(read)
    assert repaired(wrong) == text
    (finding,) = only("garbled", examples([("余额", "a"), (wrong, "a")]))
    assert (lines([finding]), finding.cases[0].note) == ([3], f"perhaps: {text}")


@pytest.mark.parametrize("text", ["你好�退货", "锟斤拷锟斤拷", "烫烫烫", "ï»¿问题", "è´§ä½ 退"])
def test_damage_that_cannot_be_brought_back_is_found(text: str, examples: Make) -> None:
    (finding,) = only("garbled", examples([(text, "a")]))
    assert finding.cases[0].note == ""


def test_a_character_that_was_cut_in_two_does_not_hide_the_rest() -> None:
    wrong = "你好，我要退货".encode().decode("gb18030", "ignore")
    assert repaired(wrong) == "你好，我要��"


def test_rows_that_could_not_be_read_are_findings(examples: Make) -> None:
    (finding,) = only("unreadable", examples([("余额", "a")]), complaints={"train": ((7, "3 fields, and the header has 2"),)})
    assert (lines([finding]), finding.cases[0].note) == ([7], "3 fields, and the header has 2")


def test_clean_data_has_no_findings(examples: Make) -> None:
    questions = {"查余额": "余额 查一下余额 我还有多少钱 卡里剩多少 账户结余 还剩几块 看看存款 钱够不够",
                 "转人工": "转人工 人工客服 我要找真人 换个活人来 叫你们经理 客服在哪 不想跟机器说 接线员"}  # fmt: skip
    assert examine({"train": examples([(text, label) for label, texts in questions.items() for text in texts.split()])}) == []


def test_findings_come_in_the_order_of_the_checks(examples: Make) -> None:
    found = examine({"train": examples([("", "a"), ("13800138000", None), ("x" * 600, "Ａ"), ("转人工", "a"), ("转人工", "b")])})
    checks = [finding.check for finding in found]
    assert checks == [check for check in CHECKS if check in checks]
    assert {"empty", "unlabelled", "long", "personal", "conflicts", "labels", "few"} == set(checks)
    assert found[0].as_dict(cases=False).keys() == {"check", "count", "summary", "advice"}


def test_no_examples_at_all_are_no_crash() -> None:
    assert examine({"train": [], "dev": []}) == []


def test_wrong_input_is_refused_with_all_mistakes() -> None:
    with pytest.raises(InputError, match=r"no check 'duplicate'\. Did you mean 'duplicates'"):
        examine({"train": []}, only=["duplicate"])
    with pytest.raises(InputError, match="no split"):
        examine({})
    with pytest.raises(DataError, match="not a list of examples"):
        examine({"train": "x.csv"})
    with pytest.raises(InputError) as wrong:
        Limits(at_least=-1, imbalance=0.5, max_length=2)
    assert len(wrong.value.problems) == 3
