"""The trie against every prefix of every place, and WordPiece on many words against one word after the other."""

import random

import numpy as np
import pytest

from nlphub.text import pieces
from nlphub.text.trie import Trie
from nlphub.text.wordpiece import WordPieceTokenizer


def test_the_longest_entry_at_each_place_is_found() -> None:
    chance = random.Random(0)
    known = [{"".join(chance.choices("abc𠀀", k=chance.randint(1, 5))): number for number in range(60)} for _ in range(2)]
    trie = Trie.of([(root, text, number) for root, entries in enumerate(known) for text, number in entries.items()], roots=2)
    text = "".join(chance.choices("abcd𠀀", k=3000))
    roots = [chance.randrange(2) for _ in text]
    left = [chance.randint(1, min(6, len(text) - place)) for place in range(len(text))]
    numbers, lengths = trie.longest(np.array([*map(ord, text)]), np.array(roots), np.array(left))
    for place, (root, most) in enumerate(zip(roots, left, strict=True)):
        sizes = [size for size in range(most, 0, -1) if text[place : place + size] in known[root]]
        expected = (known[root][text[place : place + sizes[0]]], sizes[0]) if sizes else (-1, 0)
        assert (numbers[place], lengths[place]) == expected


def test_a_trie_of_many_entries_has_them_all_and_one_of_none_has_none() -> None:
    entries = [(0, f"{number:x}", number) for number in range(20000)]
    trie = Trie.of(entries)
    for _, text, number in entries[::371]:
        codes = np.array([*map(ord, text)])
        found, sizes = trie.longest(codes, np.zeros(len(codes), np.int64), np.arange(len(codes), 0, -1))
        assert (found[0], sizes[0]) == (number, len(text))
    nothing, none = Trie.of([]).longest(np.array([97, 98]), np.zeros(2, np.int64), np.array([2, 1]))
    assert nothing.tolist() == [-1, -1]
    assert none.tolist() == [0, 0]


@pytest.mark.parametrize("lowercase", [True, False])
def test_many_words_at_once_fall_into_the_pieces_of_one_after_the_other(lowercase: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    some = ["".join(chance.choices("abcdé한", k=chance.randint(1, 4))) for _ in range(150)]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "我", *some, *(f"##{text}" for text in some[::2]), "##a", "##"]
    sizes = [1, 2, 3, 5, 9, 100, 101, 200]
    texts = [" ".join("".join(chance.choices("abcdeABé한我\u0301\u200b", k=chance.choice(sizes))) for _ in range(9)) for _ in range(200)]
    monkeypatch.setattr(pieces, "FEW", 0)
    at_once = WordPieceTokenizer(entries, lowercase=lowercase, max_length=1000).encode(texts)
    monkeypatch.setattr(pieces, "FEW", 1 << 30)
    one_by_one = WordPieceTokenizer(entries, lowercase=lowercase, max_length=1000).encode(texts)
    assert np.array_equal(at_once.ids, one_by_one.ids)
    assert np.array_equal(at_once.offsets, one_by_one.offsets)
    assert (at_once.ids == 1).any()
    assert (at_once.ids > 6).any()
