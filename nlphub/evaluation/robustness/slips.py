"""Slips of whoever types: characters that sound or look alike, that change places, or that are missing."""

import functools
from pathlib import Path
from random import Random

from nlphub.errors import require
from nlphub.evaluation.robustness.places import replaced, some

SHARE = 0.1
"""Of the characters that a slip can strike; at least one."""

_LOOK_ALIKES = Path(__file__).with_name("look_alikes.txt")


def homophones(text: str, generator: Random, *, share: float = SHARE) -> str:
    """A share of the Chinese characters become common characters of the same syllable and tone.

    The syllable is the one that the character has in this text (行 in 银行 is háng), by pypinyin's dictionary of phrases. Common characters
    are the 3,755 of GB 2312's first level.

    Raises:
        MissingExtraError: pypinyin is not installed.
    """
    readings = _readings(text)
    sounding = [_by_sound().get(reading, "").replace(character, "") for character, reading in zip(text, readings, strict=True)]
    return replaced(text, sounding, generator, share=share)


def look_alikes(text: str, generator: Random) -> str:
    """A tenth of the characters that have look-alikes (``look_alikes.txt``) become one of them."""
    return replaced(text, [_by_look().get(character, "") for character in text], generator, share=SHARE)


def swapped_characters(text: str, generator: Random) -> str:
    """At a tenth of the places, two neighbouring characters, letters or digits that differ change places."""
    characters = list(text)
    pairs = [i for i in range(len(text) - 1) if text[i] != text[i + 1] and text[i].isalnum() and text[i + 1].isalnum()]
    for i in sorted(some(pairs, generator, share=SHARE)):
        characters[i], characters[i + 1] = characters[i + 1], characters[i]
    return "".join(characters)


def dropped_characters(text: str, generator: Random) -> str:
    """A tenth of the characters, letters and digits are missing; the only one of a text stays."""
    places = [i for i, character in enumerate(text) if character.isalnum()]
    struck = some(places, generator, share=SHARE) if len(places) > 1 else set()
    return "".join(character for i, character in enumerate(text) if i not in struck)


def _readings(text: str) -> list[str]:
    """The syllable of each Chinese character in this text, its tone as a digit behind it; ``""`` for every other character."""
    pinyin = require("pypinyin", extra="robust", purpose="Replacing characters by homophones")
    syllables = pinyin.lazy_pinyin(text, style=pinyin.Style.TONE3, errors=list)  # of what has none, each character as it is
    return [syllable if _is_chinese(character) else "" for character, syllable in zip(text, syllables, strict=True)]


@functools.cache
def _by_sound() -> dict[str, str]:
    common = (bytes([row, cell]).decode("gb2312", "ignore") for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    groups: dict[str, str] = {}
    for character in filter(None, common):
        (reading,) = _readings(character)
        groups[reading] = groups.get(reading, "") + character
    return groups


@functools.cache
def _by_look() -> dict[str, str]:
    lines = _LOOK_ALIKES.read_text(encoding="utf-8").splitlines()
    groups = [line for line in lines if line and not line.startswith("#")]
    return {character: group.replace(character, "") for group in groups for character in group}


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"
