"""Personal data: found by form and check digits, left alone where the digits are something else, masked without a trace."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nlphub.data.doctor import examine, find_personal, mask_personal
from nlphub.data.doctor.masked import check_target, write_masked
from nlphub.data.doctor.personal import is_card_number, is_id_number
from nlphub.data.examples import Examples
from nlphub.data.read import load_data
from nlphub.data.sheet import read_sheet
from nlphub.errors import InputError

ID = "11010519491231002X"  # the example of GB 11643-1999
CARD = "6222021234567890128"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("打13800138000找我", "mobile phone"), ("１３８００１３８０００", "mobile phone"), ("138 0013 8000", "mobile phone"),
        ("138-0013-8000", "mobile phone"), ("+8613800138000", "mobile phone"), ("0086 13800138000", "mobile phone"),
        ("座机010-88886666", "landline"), ("（0571）88886666", "landline"), ("02188886666", "landline"),
        (ID, "ID card"), (ID.lower(), "ID card"), (f"号码是{ID}。", "ID card"),
        (CARD, "bank card"), ("6222 0212 3456 7890 128", "bank card"), ("4111-1111-1111-1111", "bank card"),
        ("邮箱zhang.san@example.com.cn谢谢", "e-mail"), ("ａ＠ｂ．ｃｏｍ", "e-mail"),
    ],
)  # fmt: skip
def test_it_is_found_whole_and_masked(text: str, kind: str) -> None:
    (item,) = find_personal(text)
    assert item.kind.name == kind
    rest = text[: item.start] + text[item.end :]
    assert not any(character.isdecimal() for character in rest), "nothing is left over"
    assert mask_personal(text) == text[: item.start] + item.kind.mask + text[item.end :]
    assert find_personal(mask_personal(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "转账10000元", "订单号1234567890123456", "12345678901", "23800138000", "138001380001", "2024-01-02", "400-820-8888",
        "110105194912310021", "110105194913310029", CARD[:-1] + "9", "4" + "0" * 15 + "1", "0000000000000000", "a@b", "@转人工", "95588",
    ],
)  # fmt: skip
def test_other_digits_are_left_alone(text: str) -> None:
    assert find_personal(text) == []
    assert mask_personal(text) == text


def test_several_kinds_in_one_text_keep_their_order() -> None:
    text = f"我13800138000，卡{CARD}，证{ID}"
    assert [item.kind.name for item in find_personal(text)] == ["mobile phone", "bank card", "ID card"]
    assert mask_personal(text) == "我[手机号]，卡[银行卡号]，证[身份证号]"


def test_check_digits_are_those_of_the_standards() -> None:
    """Each wrong last character is refused; each single wrong digit of a card, too."""
    assert is_id_number(ID)
    assert sum(is_id_number(ID[:17] + last) for last in "0123456789X") == 1
    assert not is_id_number("110105194902300020"), "there is no 30 February"
    assert is_card_number("4111111111111111")
    for place in range(16):
        wrong = ["4111111111111111"[:place] + digit + "4111111111111111"[place + 1 :] for digit in "0123456789"]
        assert sum(map(is_card_number, wrong)) == 1


def test_a_report_never_repeats_personal_data() -> None:
    part = Examples.of([("我的手机13800138000", "a"), ("我的手机13800138000", "b"), ("余额", "a")])
    told = json.dumps([finding.as_dict() for finding in examine({"train": part})], ensure_ascii=False)
    assert "我的手机[手机号]" in told
    assert "13800138000" not in told


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl"])
def test_a_masked_copy_has_every_row_and_column_and_no_personal_data(name: str, tmp_path: Path, csv_file: Callable[..., Path]) -> None:
    rows = [("问题", "意图", "备注"), ("打13800138000", "转人工", ID), ("余额", "查余额", 13800138000), ("=1+1", "其他", "")]
    sheet, target = read_sheet(csv_file("in.csv", rows)), tmp_path / name
    assert write_masked(sheet, target) == {"问题": {"mobile phone": 1}, "备注": {"ID card": 1, "mobile phone": 1}}
    assert load_data(target, text="问题", label="意图")["train"].labels == ["转人工", "查余额", "其他"]
    text = target.read_text("utf-8")
    assert "打[手机号]" in text
    assert "[身份证号]" in text
    assert "13800138000" not in text
    assert target.read_bytes().startswith(b"\xef\xbb\xbf") is not name.endswith(".jsonl"), "Excel reads UTF-8 by its mark"


def test_lists_and_lone_surrogates_of_json_are_masked_too(tmp_path: Path) -> None:
    path, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"text": "a\\ud800", "label": "b", "more": [{"tel": 13800138000}, "a@b.cn"]}\n', encoding="utf-8")
    assert write_masked(read_sheet(path), target) == {"more": {"mobile phone": 1, "e-mail": 1}}
    assert json.loads(target.read_text("utf-8")) == {"text": "a\ufffd", "label": "b", "more": [{"tel": "[手机号]"}, "[邮箱]"]}
    with pytest.raises(InputError, match="'more' hold lists"):
        write_masked(read_sheet(path), tmp_path / "out.csv")


def test_a_masked_copy_never_replaces_what_is_there(tmp_path: Path, csv_file: Callable[..., Path]) -> None:
    sheet = read_sheet(csv_file("in.csv", [("text", "label"), ("a", "b")]))
    (tmp_path / "out.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="--overwrite"):
        check_target(tmp_path / "out.csv", sheet, overwrite=False)
    check_target(tmp_path / "out.csv", sheet, overwrite=True)
    with pytest.raises(InputError, match="the file that is read"):
        check_target(tmp_path / "in.csv", sheet, overwrite=True)
    with pytest.raises(InputError, match=r"suffix is '\.xlsx'"):
        check_target(tmp_path / "out.xlsx", sheet, overwrite=True)
    twice = read_sheet(csv_file("twice.csv", [("text", "x", "x"), ("a", "b", "c")]))
    check_target(tmp_path / "new.csv", twice, overwrite=False)
    with pytest.raises(InputError, match="several columns are called 'x'"):
        check_target(tmp_path / "new.jsonl", twice, overwrite=False)
