"""The slow twins of the text room: per character, in plain Python, sharing no code with what they check."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nlphub.text.characters import CharacterTokenizer

ZH_CHAR = Path(__file__).resolve().parents[2] / "tokenizers" / "zh_char"
SlowRow = tuple[list[int], list[int], list[tuple[int, int]], bool]


@pytest.fixture(scope="session")
def zh_char() -> CharacterTokenizer:
    return CharacterTokenizer.load(ZH_CHAR)


@pytest.fixture(scope="session")
def rules() -> dict[str, str]:
    """What zh_char's fold table changes: a character -> a character, or "" for nothing."""
    found = {}
    for line in (ZH_CHAR / "folds.tsv").read_text(encoding="utf-8").split("\n")[:-1]:
        source, result = line.split("\t")
        ends = [int(end, 16) for end in source.split("..")]
        for code in range(ends[0], ends[-1] + 1):
            found[chr(code)] = "" if result == "nothing" else result
    return found


@pytest.fixture(scope="session")
def slow_encode(rules: dict[str, str]) -> Callable[..., SlowRow]:
    """The slow twin of ``CharacterTokenizer.encode``: ids, types, offsets and whether text was cut, of one text or pair."""
    vocabulary = (ZH_CHAR / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    ids = {entry: i for i, entry in enumerate(vocabulary) if len(entry) == 1}

    def characters(text: str) -> list[tuple[int, int]]:
        kept = []
        for place, character in enumerate(text[: 16 * 512]):
            entry = rules.get(character, character)
            if entry:
                kept.append((ids.get(entry, 1), place))
        return kept

    def encode(text: str, pair: str | None = None, *, max_length: int = 512) -> SlowRow:
        segments = [characters(part) for part in (text, pair) if part is not None]
        cut = any(len(part) > 16 * 512 for part in (text, pair) if part is not None)
        while sum(map(len, segments)) > max_length - 1 - len(segments):
            longest = 0 if len(segments) == 1 or len(segments[0]) > len(segments[1]) else 1
            segments[longest].pop()
            cut = True
        row, types, offsets = [2], [0], [(0, 0)]
        for number, segment in enumerate(segments):
            row += [*(i for i, _ in segment), 3]
            types += [number] * (len(segment) + 1)
            offsets += [*((place, place + 1) for _, place in segment), (0, 0)]
        return row, types, offsets, cut

    return encode
