"""The proof of ten thousand strings: no exception, every offset points at its character, ids equal those of the slow twin.

Run it alone with ``python -m pytest tests/text/test_random_unicode.py``.
"""

import random
from collections.abc import Callable
from typing import Any

from nlphub.text.characters import CharacterTokenizer
from nlphub.text.normalize import code_points, from_code_points

STRINGS = 10_000
LONG = 100_000  # characters of the long lines
ALPHABETS: dict[str, list[str]] = {
    "han": list(map(chr, range(0x4E00, 0x9FFF))),
    "han of other planes": list(map(chr, range(0x20000, 0x2A6DF))),
    "kana and full width": list(map(chr, [*range(0x3040, 0x3100), *range(0xFF00, 0xFFF0)])),
    "ascii": list(map(chr, range(128))),
    "latin with accents": [*map(chr, range(0xC0, 0x250)), "\u0301", "\u0308", "\u0323"],
    "emoji": [*map(chr, range(0x1F300, 0x1FAFF)), "\u200d", "\ufe0f", "🏽", "👨‍👩‍👧‍👦", "🇨🇳"],
    "right to left": [*map(chr, range(0x5D0, 0x700)), "\u202e", "\u202b", "\u200f", "\u2067", "\u2069"],
    "zero width": [*"\u200b\u200c\u200d\u2060\ufeff\u00ad", *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0))],
    "white space and controls": [*map(chr, range(33)), *"\x7f\x85\xa0\u1680\u2003\u2028\u2029\u3000"],
    "surrogates": list(map(chr, range(0xD800, 0xE000))),
    "anything": list(map(chr, range(0, 0x110000, 7))),
}


def random_strings(seed: int) -> list[str]:
    """Seeded: short ones and longer ones from one to three alphabets, and a line of 100,000 characters from every alphabet."""
    source = random.Random(seed)
    everything = [character for alphabet in ALPHABETS.values() for character in alphabet]
    strings = ["".join(source.choices(alphabet, k=LONG))[:LONG] for alphabet in [*ALPHABETS.values(), everything]]
    while len(strings) < STRINGS:
        letters = [source.choice(list(ALPHABETS.values())) for _ in range(source.randint(1, 3))]
        length = source.choice([0, 1, 2, 8, 30, 60, 200])
        strings.append("".join(source.choice(source.choice(letters)) for _ in range(length)))
    source.shuffle(strings)
    return strings


def test_ten_thousand_random_strings_encode_like_the_slow_twin(
    zh_char: CharacterTokenizer, slow_encode: Callable[..., Any], rules: dict[str, str]
) -> None:
    texts = random_strings(seed=20)
    assert len(texts) == STRINGS
    assert sum(len(text) >= LONG for text in texts) >= 10
    encoded = zh_char.encode(texts)
    for i, text in enumerate(texts):
        part = slice(encoded.starts[i], encoded.starts[i + 1])
        ids, offsets = encoded.ids[part].tolist(), encoded.offsets[part].tolist()
        slow_ids, slow_types, slow_offsets, cut = slow_encode(text)
        assert ids == slow_ids
        assert encoded.types[part].tolist() == slow_types
        assert offsets == [list(pair) for pair in slow_offsets]
        assert bool(encoded.truncated[i]) == cut
        for token, (start, end) in zip(ids[1:-1], offsets[1:-1], strict=True):
            character = rules.get(text[start:end], text[start:end])
            assert end == start + 1
            assert zh_char.vocabulary[token] == (character if token != zh_char.unknown_id else "[UNK]")


def test_random_pairs_encode_like_the_slow_twin(zh_char: CharacterTokenizer, slow_encode: Callable[..., Any]) -> None:
    texts = random_strings(seed=21)[:4000]
    encoded = zh_char.encode(texts[::2], texts[1::2], max_length=64)
    for i, (text, pair) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        part = slice(encoded.starts[i], encoded.starts[i + 1])
        offsets = list(map(tuple, encoded.offsets[part].tolist()))
        row = encoded.ids[part].tolist(), encoded.types[part].tolist(), offsets, bool(encoded.truncated[i])
        assert row == slow_encode(text, pair, max_length=64)


def test_random_strings_normalise_like_the_slow_twin_to_the_last_character(zh_char: CharacterTokenizer, rules: dict[str, str]) -> None:
    for text in random_strings(seed=22):
        codes, places = zh_char.table.fold(code_points(text))
        slow = [(rules.get(character, character), place) for place, character in enumerate(text)]
        kept = [(character, place) for character, place in slow if character]
        assert from_code_points(codes) == "".join(character for character, _ in kept)
        assert places.tolist() == [place for _, place in kept]
        from_code_points(codes).encode("utf-8")
