"""The profile: counts, lengths that are there, scripts as Unicode's names tell them."""

import unicodedata
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from nlphub.data.doctor import Profile, describe
from nlphub.data.doctor.collection import default_table
from nlphub.data.examples import Example, Examples

TEXTS = ["我要退货", "我要退貨", "NBA几点", "ok", "カード", "한국어", "привет", "123!", "", "我要退货"]


def slow_script(text: str) -> str:
    """By the names of the characters."""
    names = [unicodedata.name(character, "") for character in text]
    han = [character for character, name in zip(text, names, strict=True) if name.startswith("CJK UNIFIED") or character == "〇"]
    if any(name.startswith(("HIRAGANA LETTER", "KATAKANA LETTER")) for name in names):
        return "Japanese"
    if any(name.startswith("HANGUL") for name in names):
        return "Korean"
    if any(default_table().normalize(character) != character for character in han):
        return "Chinese with traditional characters"
    if han:
        return "Chinese"
    if any(name.startswith("LATIN") for name in names):
        return "Latin"
    return "other letters" if any(character.isalpha() for character in text) else "no letters"


def test_a_profile_counts_what_there_is(examples: Callable[..., Examples]) -> None:
    profile = describe(examples([(text, "b" if len(text) > 3 else "a") for text in TEXTS]))
    assert (profile.rows, profile.repeated, profile.mixed) == (10, 1, 1)
    assert list(profile.labels.items()) == [("b", 6), ("a", 4)]
    assert profile.lengths == {"shortest": 0, "median": 4, "mean": 3.5, "p95": 6, "longest": 6}
    assert profile.scripts == Counter(map(slow_script, TEXTS))


@given(st.lists(st.text(st.sampled_from("我退貨货a Zéカナ한国я1，!〇é😀"), max_size=4), max_size=6))
def test_scripts_are_those_of_the_slow_definition(texts: list[str]) -> None:
    profile = describe(Examples([Example(text) for text in texts]))
    assert profile.scripts == Counter(map(slow_script, texts))
    assert profile.mixed == sum(
        any("CJK UNIFIED" in unicodedata.name(c, "") or c == "〇" for c in text) and any("LATIN" in unicodedata.name(c, "") for c in text)
        for text in texts
    )


def test_nothing_has_a_profile_too() -> None:
    assert describe(Examples([])) == Profile(0, {}, {}, {}, 0, 0)
