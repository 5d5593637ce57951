"""What each perturbation does to a text, how much of it, and what it leaves alone."""

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from nlphub.errors import InputError, MissingExtraError, UnknownNameError
from nlphub.evaluation.robustness import PERTURBATIONS, selected, slips
from nlphub.evaluation.robustness.numerals import LARGEST, numeral, spelt_out
from nlphub.evaluation.robustness.places import some
from nlphub.paths import bundle
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.normalize import CODE_POINTS

EXACT = ("full-width", "case", "traditional")
LONG = 400  # characters: fits into the tokenizer's 512 tokens
SENTENCES = [
    "我的卡丢了，快帮我停掉！",
    "昨天还了3000咋还没到账",
    "看看2019年到2021年的帐，利率3.5%？",
    "lost my Card 怎么办?",
    "是的吗？",
    "学生可以开户吗 😀",
]


class Kth(Random):
    """Always chooses the k-th of what there is."""

    def __init__(self, k: int) -> None:
        super().__init__(0)
        self.k = k

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[self.k % len(seq)]


@pytest.fixture(scope="module")
def tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer.load(bundle() / "tokenizers" / "zh_char")


def perturbed(name: str, text: str, seeds: int = 20) -> set[str]:
    return {PERTURBATIONS[name](text, seed=seed) for seed in range(seeds)}


def assert_same_tokens(tokenizer: CharacterTokenizer, texts: list[str], others: list[str]) -> None:
    one, other = tokenizer.encode(texts), tokenizer.encode(others)
    for field in ("ids", "offsets", "starts", "truncated"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize(("name", "least"), [("full-width", 95), ("case", 2_000), ("traditional", 2_800)])
def test_width_case_and_script_keep_every_id_of_every_character_of_the_table(tokenizer: CharacterTokenizer, name: str, least: int) -> None:
    """Whatever is folded, whatever it is folded to, the vocabulary and ASCII, each with every form that it may be given."""
    codes = tokenizer.table.codes
    folded = np.flatnonzero(codes != np.arange(CODE_POINTS))
    results = codes[folded][codes[folded] < CODE_POINTS]
    characters = sorted({*map(chr, folded), *map(chr, results), *(c for c in tokenizer.vocabulary if len(c) == 1), *map(chr, range(128))})
    change, touched = PERTURBATIONS[name].change, set[str]()
    for k in range(5):  # no character has more forms
        others = [change(character, Kth(k)) for character in characters]
        assert_same_tokens(tokenizer, characters, others)
        touched |= {character for character, other in zip(characters, others, strict=True) if other != character}
    assert len(touched) >= least
    whole = "".join(characters)
    texts = [whole[start : start + LONG] for start in range(0, len(whole), LONG)]
    assert_same_tokens(tokenizer, texts, [PERTURBATIONS[name](text, seed=1) for text in texts])


def random_texts(count: int, seed: int) -> list[str]:
    source = Random(seed)
    alphabets = [range(128), range(0x4E00, 0x9FFF), range(0xC0, 0x250), range(0x3000, 0x3100), range(0xFF00, 0xFFF0), range(CODE_POINTS)]
    alphabets += [[ord(c) for c in "我的卡丢了转给银行，。！？12零百万年个 aZ.%"]] * 3
    return ["".join(chr(source.choice(source.choice(alphabets))) for _ in range(source.choice((0, 1, 2, 9, 40)))) for _ in range(count)]


@pytest.mark.parametrize("name", EXACT)
def test_width_case_and_script_keep_every_id_of_random_strings(tokenizer: CharacterTokenizer, name: str) -> None:
    texts = random_texts(2_000, seed=5)
    others = [PERTURBATIONS[name](text, seed=2) for text in texts]
    assert sum(text != other for text, other in zip(texts, others, strict=True)) > 500
    assert list(map(len, texts)) == list(map(len, others))
    assert_same_tokens(tokenizer, texts, others)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_any_string_can_be_perturbed_again_alike_and_never_becomes_blank(name: str) -> None:
    for text in [*random_texts(300, seed=6), *SENTENCES]:
        other = PERTURBATIONS[name](text, seed=3)
        assert other == PERTURBATIONS[name](text, seed=3)
        assert other.strip() or not text.strip()


@pytest.mark.parametrize("name", sorted(PERTURBATIONS.keys() - {*EXACT, "dropped-punctuation"}))
def test_another_seed_gives_other_texts(name: str) -> None:
    text = "我想查2019年的帐，昨天还了3000，转给我妈的钱怎么还没到啊"
    assert len(perturbed(name, text)) > 3


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_what_offers_no_place_stays_as_it_is(name: str) -> None:
    assert perturbed(name, "") == {""}
    assert perturbed(name, " ") == {" "}


def test_width_goes_to_full_width_and_case_to_the_other_case() -> None:
    assert perturbed("full-width", "iPhone 15！") == {"ｉＰｈｏｎｅ　１５！"}
    assert perturbed("case", "lost my Card, É ß 卡") == {"LOST MY cARD, é ß 卡"}


def test_traditional_is_by_characters_and_leaves_traditional_text_alone() -> None:
    assert perturbed("traditional", "怎么办转账") <= {f"怎{me}辦轉{zhang}" for me in "么麼" for zhang in "賬帳"}
    assert perturbed("traditional", "头发") == {"頭發", "頭髮"}
    assert perturbed("traditional", "後來轉賬銀行") == {"後來轉賬銀行"}


def test_a_share_is_rounded_and_at_least_one() -> None:
    assert [len(some(range(n), Random(0), share=0.1)) for n in (0, 1, 14, 16, 100)] == [0, 1, 1, 2, 10]


@pytest.mark.parametrize("name", ["homophones", "look-alikes"])
def test_a_tenth_of_the_characters_slips(name: str) -> None:
    text = "贷账借代是" * 20
    for other in perturbed(name, text):
        assert len(other) == len(text)
        assert sum(one != two for one, two in zip(text, other, strict=True)) == 10


def test_homophones_are_common_and_follow_the_reading_in_the_text() -> None:
    assert {other[1] for other in perturbed("homophones", "银行", 60)} & set("航杭") != set()
    assert {other[1] for other in perturbed("homophones", "步行", 60)} & set("形型刑邢") != set()
    assert all(
        len(c.encode("gb2312")) == 2 and c.encode("gb2312") < b"\xd8" for other in perturbed("homophones", "转账", 60) for c in other
    )
    assert perturbed("homophones", "a o e ōu ABC 12，") == {"a o e ōu ABC 12，"}


def test_homophones_sound_alike_and_no_character_replaces_itself() -> None:
    import pypinyin

    for character in "我的卡丢了转给行账还款密码":
        others = perturbed("homophones", character, 60)
        readings = {pypinyin.lazy_pinyin(other, style=pypinyin.Style.TONE3)[0] for other in {*others, character}}
        assert len(readings) == 1
        assert len(others) > 1 or others == {character}  # a sound of its own
        assert character not in others or len(others) == 1


def test_look_alikes_stand_in_one_group_and_are_other_entries_of_the_vocabulary(tokenizer: CharacterTokenizer) -> None:
    lines = Path(slips.__file__).with_name("look_alikes.txt").read_text("utf-8").splitlines()
    groups = [line for line in lines if not line.startswith("#")]
    characters = "".join(groups)
    assert len(groups) > 400
    assert len(set(characters)) == len(characters)
    assert set(characters) <= set(tokenizer.vocabulary)
    assert all(len(group) > 1 and perturbed("look-alikes", group[0], 40) == set(group[1:]) for group in groups)


def test_swapped_neighbours_keep_the_characters_and_dropped_ones_are_missing() -> None:
    assert perturbed("swapped-characters", "转账") == {"账转"}
    assert perturbed("swapped-characters", "哈哈，a") == {"哈哈，a"}
    assert perturbed("dropped-characters", "转账！") == {"转！", "账！"}
    assert perturbed("dropped-characters", "卡！") == {"卡！"}
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    for other in perturbed("swapped-characters", text):
        assert other != text
        assert sorted(other) == sorted(text)
    assert {len(other) for other in perturbed("dropped-characters", text)} == {90}


def test_punctuation_goes_but_not_from_numbers_and_latin_words() -> None:
    assert perturbed("dropped-punctuation", "“利率”3.5%，it's a@b.com。app，好吗？！") == {"利率3.5%it's a@b.comapp好吗"}
    assert perturbed("dropped-punctuation", "？！") == {"？！"}


def test_punctuation_comes_between_letters_and_at_the_end() -> None:
    assert perturbed("added-punctuation", "转账", 40) == {f"转，账{end}" for end in "。！？~"}
    assert perturbed("added-punctuation", "12。") == {"12。"}


def test_spaces_and_emoji_are_put_in_and_nothing_else_changes() -> None:
    text = "我的卡丢了，快停掉"
    for other in perturbed("spaces", text):
        assert other.replace(" ", "") == text
        assert other.count(" ") == 2
    places = {other.index(next(c for c in other if ord(c) > 0x1F000)) for other in perturbed("emoji", text, 60)}
    assert places == {0, text.index("，") + 1, len(text)}


def test_a_particle_comes_before_the_last_marks_or_gives_way_to_another() -> None:
    assert perturbed("particles", "转账？！", 60) == {f"转账{particle}？！" for particle in "吗呢啊吧呀哦啦嘛"}
    assert perturbed("particles", "到了吗", 80) == {"到了", *(f"到了{particle}" for particle in "呢啊吧呀哦啦嘛")}
    assert perturbed("particles", "？") == {"？"}


@pytest.mark.parametrize(
    ("text", "styles"),
    [
        ("还3000元", {"还３０００元", "还三千元"}),
        ("2024年5月", {f"{year}年{month}月" for year in ("２０２４", "二零二四") for month in ("５", "五")}),
        ("三百五十块", {"350块", "３５０块"}),
        ("两万元", {"20000元", "２００００元"}),
        ("十二", {"12", "１２"}),
        ("一个", {"1个", "１个"}),
        ("二〇二四年", {"2024年", "２０２４年"}),
    ],
)
def test_numbers_change_their_style(text: str, styles: set[str]) -> None:
    assert perturbed("digits", text, 40) == styles


@pytest.mark.parametrize("text", ["一样", "七八个", "三百五", "千万别", "万一", "十分", "一下", "好", "百万", "两两"])
def test_numerals_that_may_be_no_numbers_stay(text: str) -> None:
    assert perturbed("digits", text) == {text}


def test_a_numeral_reads_back_as_its_number() -> None:
    for value in [*range(2_100), 9_999, 10_000, 10_010, 100_010, 3_050_000, 20_002_000, LARGEST]:
        assert PERTURBATIONS["digits"].change(f"{numeral(value)}个", Kth(0)) == f"{value}个"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "零"), (10, "十"), (12, "十二"), (20, "二十"), (101, "一百零一"), (110, "一百一十"), (2_005, "二千零五"), (10_010, "一万零一十")],
)
def test_numerals_are_written_as_usual(value: int, written: str) -> None:
    assert numeral(value) == written


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("利率3.05%", "利率百分之三点零五"),
        ("2024年有366天", "二零二四年有三百六十六天"),
        ("打13800138000", "打一三八零零一三八零零零"),
        ("卡号0012", "卡号零零一二"),
        ("存100000", "存十万"),
        ("码482913", "码四八二九一三"),
    ],
)
def test_numbers_are_spelt_out_as_they_are_read_aloud(text: str, spoken: str) -> None:
    assert spelt_out(text) == spoken


def test_speech_has_no_punctuation_and_no_digits_and_begins_with_a_filler() -> None:
    for other in perturbed("speech", "我的卡丢了，快停掉！还了3.5元 。"):
        assert not set(other) & set("，！。. 0123456789")
        assert other.startswith(("嗯", "呃", "那个", "就是", "这个", "然后"))
    assert perturbed("speech", "？！") == {"？！"}


def test_without_pypinyin_homophones_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    for name in ("homophones", "speech"):
        with pytest.raises(MissingExtraError, match=r"pip install 'nlphub\[robust\]'"):
            PERTURBATIONS[name]("转账", seed=0)
    assert PERTURBATIONS["look-alikes"]("土地", seed=0) != "土地"


def test_names_are_chosen_in_the_order_of_the_catalogue() -> None:
    assert [one.name for one in selected()] == list(PERTURBATIONS)
    assert [one.name for one in selected(["speech", "case", "speech"])] == ["case", "speech"]
    assert [one.name for one in selected("case")] == ["case"]


def test_unknown_names_are_answered_with_the_list_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        selected(["homophone", "case", "xyz"])
    assert caught.value.problems == ("'homophone' is no perturbation. Did you mean 'homophones'?", "'xyz' is no perturbation.")
    assert "full-width, case, traditional" in str(caught.value)
    with pytest.raises(InputError, match="No perturbation is chosen"):
        selected([])
