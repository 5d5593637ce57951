import sys
import unicodedata

import numpy as np
import pytest

from nlphub.errors import WeightsError
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.normalize import CODE_POINTS, Table, code_points, from_code_points, render


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("ＡＢＣ１２３，：；？！（）％￥", "abc123,:;?!()%¥"),
        ("iPhone ÇA É", "iphonecae"),
        ("①⑤Ⅴ㊀²ª𝒜𝟛ﾊﾟ", "15v一2aa3ハ"),
        ("「着」“着”『着』‘着’", '"着""着""着"\'着\''),
        ("订單號還沒收到", "订单号还没收到"),
        ("臺灣裡著台湾里着", "台湾里着台湾里着"),
        ("発売読仮", "发卖读假"),
        ("芸欠予", "芸欠予"),  # Japan's 藝 缺 豫, but characters of their own in China
        ("饼餅绪緒", "饼饼绪绪"),
        ("a\u200bb\u200dc\ufeffd\u202ee\u2060\ufe0f", "abcde"),
        ("\x00\t\r\n \u3000\xa0\x7f\x85\u2028", ""),
        ("e\u0301ñå", "ena"),
        ("が\u3099й", "がй"),
        ("👍🏽❤️🇨🇳", "👍❤cn"),
        ("a\ud800b\udfff", "a\ufffdb\ufffd"),
        ("⑩ßłø—－–", "⑩slo—--"),
    ],
)
def test_zh_char_folds_what_people_type_to_one_form(zh_char: CharacterTokenizer, text: str, normalized: str) -> None:
    assert zh_char.table.normalize(text) == normalized


def test_normalising_twice_changes_nothing(zh_char: CharacterTokenizer) -> None:
    everything = "".join(map(chr, range(CODE_POINTS)))
    once = zh_char.table.normalize(everything)
    assert zh_char.table.normalize(once) == once
    once.encode("utf-8")  # no surrogate is left


def test_every_rule_is_what_the_slow_reading_of_the_file_says(zh_char: CharacterTokenizer, rules: dict[str, str]) -> None:
    changed = {code: "" if new == CODE_POINTS else chr(new) for code, new in enumerate(zh_char.table.codes.tolist()) if new != code}
    assert changed == {ord(source): result for source, result in rules.items()}


def test_white_space_controls_marks_and_format_characters_become_nothing(zh_char: CharacterTokenizer) -> None:
    for code in range(CODE_POINTS):
        old = unicodedata.ucd_3_2_0.category(chr(code)) != "Cn"  # so that newer Pythons, which know newer marks, say the same
        if chr(code).isspace() or (old and unicodedata.category(chr(code)) in ("Cc", "Cf", "Mn", "Me", "Mc", "Zs", "Zl", "Zp")):
            assert zh_char.table.codes[code] == CODE_POINTS, f"U+{code:04X}"


@pytest.mark.parametrize("config", ["t2s", "tw2s", "hk2s", "tw2t", "hk2t", "s2t", "s2tw", "s2hk", "t2tw", "t2hk"])
def test_the_table_is_closed_over_the_character_conversions_of_opencc(zh_char: CharacterTokenizer, config: str) -> None:
    from opencc import OpenCC

    han = [chr(code) for code in range(0x3400, 0x3FFFF) if unicodedata.name(chr(code), "").startswith("CJK UNIFIED")]
    converted = OpenCC(config).convert("\n".join(han)).split("\n")
    normalize = zh_char.table.normalize
    assert [(old, new) for old, new in zip(han, converted, strict=True) if normalize(old) != normalize(new)] == []


def test_traditional_full_width_upper_case_text_gets_the_ids_of_its_plain_form(zh_char: CharacterTokenizer) -> None:
    from opencc import OpenCC

    plain = "我的订单abc12还没到，帮我查一下物流信息"
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in OpenCC("s2t").convert(plain).upper())
    assert wide != plain
    assert zh_char.encode([wide]).lists() == zh_char.encode([plain]).lists()


def test_fold_tells_where_each_character_stood(zh_char: CharacterTokenizer) -> None:
    text = "  Ａ\u200b體\ud800 é"
    codes, places = zh_char.table.fold(code_points(text))
    assert from_code_points(codes) == "a体\ufffde"
    assert [text[place] for place in places] == ["Ａ", "體", "\ud800", "é"]


def test_a_rendered_table_parses_to_itself() -> None:
    codes = np.arange(CODE_POINTS, dtype=np.uint32)
    codes[0:33], codes[65], codes[0x3000] = CODE_POINTS, 97, CODE_POINTS
    text = render(codes)
    assert text == "0000..0020\tnothing\n0041\ta\n3000\tnothing\n"
    assert np.array_equal(Table.parse(text).codes, codes)
    assert render(np.arange(CODE_POINTS, dtype=np.uint32)) == ""


def test_the_shipped_table_is_in_canonical_form(zh_char: CharacterTokenizer) -> None:
    assert render(zh_char.table.codes) == zh_char.table.text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0041\n", "line 1: '0041' is not a rule"),
        ("0041\tab\n", "is not a rule"),
        ("xyz\ta\n", "is not a rule"),
        ("0041\ta\n0041\tb\n", "line 2: .* out of order"),
        ("0042..0041\ta\n", "out of order"),
        ("110000\ta\n", "out of order"),
        ("0041\ta\n0061\tb\n", "U\\+0041 becomes U\\+0061, which the table folds again"),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint):
        Table.parse(text)


def test_code_points_and_strings_are_inverse_for_every_code_point() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert from_code_points(code_points(everything)) == everything
