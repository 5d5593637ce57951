"""WordPiece against `tokenizers`, `transformers` and a slow twin of ERNIE's: ids and offsets, on real and random strings."""

import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from nlphub.errors import InputError, StoreError, WeightsError
from nlphub.text import pieces
from nlphub.text.basic import basic
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import load_tokenizer
from nlphub.text.wordpiece import WordPieceTokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

ROOT = Path(__file__).parents[2]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
LETTERS = [*map(chr, range(97, 123)), *map(chr, range(48, 58))]
VOCABULARY = [
    *SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *"!,.[]-$+，。！？：、《》©☆α",
    *"我爱中国今天气真好退货物流这双鞋订单号一二三",
    "he", "was", "pup", "##pet", "##eer", "hello", "##llo", "iphone", "mask", "##ᅡ", "ᄒ", "##ᆫ", "の", "##の", "カ",
]  # fmt: skip
TEXTS = [
    "我爱中国", "He was a puppeteer", "iPhone15 多少钱？", "ＡＢＣ　ｄ", "退货！物流$5+3", "é à Ñ", "한국", "のの カタ", "a\u200bb\u00adc",
    "x" * 100, "x" * 101, "", " \t\n", "[MASK] [unused1]", "ΑΣ ΣΑΣ", "©☆①½", "ab\u0301c", "\u226e \u1fef", "𠀀𪜀", "hello" * 30,
    "〇一µ²", "a\ufffdb\x00c",
]  # fmt: skip


@pytest.fixture(scope="module")
def strings() -> list[str]:
    """Real lines and random strings, as many as a quick run allows; `benchmarks/tokenizers_parity.py` takes 200,000."""
    return TEXTS + made(2000)


def made(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    near = "".join(VOCABULARY[5:]) + " \t　éÀÑ\u0301\u200b한ΑΣ©🙂\uf900ＡＢ①"
    planes = [range(0x3000), range(0x3000, 0xD800), range(0xE000, 0x110000)]
    return ["".join(_character(chance, near, planes) for _ in range(chance.randrange(25))) for _ in range(count)]


def _character(chance: random.Random, near: str, planes: list[range]) -> str:
    return chance.choice(near) if chance.random() < 0.7 else chr(chance.choice(chance.choice(planes)))


def oracle(*, lowercase: bool = True) -> Tokenizer:
    found = Tokenizer(models.WordPiece({entry: i for i, entry in enumerate(VOCABULARY)}, unk_token="[UNK]", max_input_chars_per_word=100))
    found.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return found


def body(encoded: Encoded) -> list[tuple[list[int], list[tuple[int, int]]]]:
    edges = zip(encoded.starts[:-1] + 1, encoded.starts[1:] - 1, strict=True)
    return [(encoded.ids[a:b].tolist(), [(x, y) for x, y in encoded.offsets[a:b].tolist()]) for a, b in edges]


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_and_offsets_are_those_of_the_library_tokenizers(strings, lowercase):
    found = body(WordPieceTokenizer(VOCABULARY, lowercase=lowercase).encode(strings))
    theirs = oracle(lowercase=lowercase).encode_batch(strings)
    for text, row, other in zip(strings, found, theirs, strict=True):
        assert row == (other.ids, other.offsets), ascii(text)


def test_ids_are_those_of_transformers(tmp_path, strings):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    other = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=True)
    plain = [text for text in strings if not any(entry in text for entry in SPECIAL)]  # they read special entries that stand in a text
    assert WordPieceTokenizer(VOCABULARY).encode(plain).lists() == other(plain)["input_ids"]


def slow_ernie(text: str) -> list[int]:
    """PaddleNLP's way, a character at a time."""
    cleaned = ""
    for character in text:
        kind = unicodedata.category(character)
        if character in "\t\n\r" or kind == "Zs":
            cleaned += " "
        elif kind[0] != "C" and character != "\ufffd":
            cleaned += f" {character} " if is_chinese(ord(character)) else character
    words: list[str] = []
    for word in cleaned.split():
        piece = ""
        for character in (c for c in unicodedata.normalize("NFD", "".join(c.lower() for c in word)) if unicodedata.category(c) != "Mn"):
            if is_split(character):
                words += [piece, character]
                piece = ""
            else:
                piece += character
        words.append(piece)
    return [number for word in words if word for number in slow_pieces(word)]


def is_chinese(code: int) -> bool:
    blocks = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return any(first <= code <= last for first, last in blocks)


def is_split(character: str) -> bool:
    ascii_mark = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return ascii_mark or unicodedata.category(character)[0] in "PS" or character in "²º〇µŋ"


def slow_pieces(word: str) -> list[int]:
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            entry = ("##" if start else "") + word[start:end]
            if entry in VOCABULARY:
                break
        else:
            return [VOCABULARY.index("[UNK]")]
        found.append(VOCABULARY.index(entry))
        start = end
    return found if len(word) <= 100 else [VOCABULARY.index("[UNK]")]


def test_ernie_splits_symbols_as_its_slow_twin_does(strings):
    known = [text for text in strings if all(settled(character) for character in text)]
    assert len(known) > 400
    found = body(WordPieceTokenizer(VOCABULARY, symbols=True).encode(known))
    for text, (ids, _) in zip(known, found, strict=True):
        assert ids == slow_ernie(text), ascii(text)


def settled(character: str) -> bool:
    """Unicode 9 and older: where the versions of Python and of the table agree. Marks that normalisation moves are left out too."""
    code = ord(character)
    return (
        code < 0x860
        or 0x1E00 <= code < 0x2E00
        or 0x3000 <= code < 0xA7AE
        or 0xAC00 <= code < 0xD7A4
        or 0xF900 <= code < 0xFB00
        or 0xFF01 <= code < 0xFFE7
    ) and (unicodedata.category(character) != "Cn" and character not in "\u302e\u302f\u166d")


def test_symbols_alone_make_the_difference_between_ernie_and_bert():
    ernie, bert = WordPieceTokenizer(VOCABULARY, symbols=True), WordPieceTokenizer(VOCABULARY)
    assert ernie.encode(["a☆b"]).lengths.tolist() == [5]
    assert bert.encode(["a☆b"]).lists() == [[1, 4, 2]]
    assert ernie.encode(["我a,b"]).lists() == bert.encode(["我a,b"]).lists()
    assert ernie.digest != bert.digest


def test_every_code_point_is_cleaned_as_its_own_text_is():
    ours, other = basic(lowercase=True, symbols=False), oracle()
    for start in range(0, 0x110000, 257):
        codes = [code for code in range(start, min(start + 7, 0x110000)) if not 0xD800 <= code < 0xE000]
        for text in (f"x{chr(code)}y" for code in codes):
            words = [word for word, _ in other.pre_tokenizer.pre_tokenize_str(other.normalizer.normalize_str(text))]
            assert ours.split(text) == words, ascii(text)


def test_surrogates_are_dropped_and_hangul_pieces_share_their_syllable():
    encoded = WordPieceTokenizer(VOCABULARY).encode(["\ud800我\udfff", "한"])
    assert body(encoded) == [([VOCABULARY.index("我")], [(1, 2)]), ([VOCABULARY.index(e) for e in ("ᄒ", "##ᅡ", "##ᆫ")], [(0, 1)] * 3)]


def test_pairs_are_cut_longest_first_and_a_batch_equals_its_texts(strings):
    tokenizer, texts = WordPieceTokenizer(VOCABULARY, max_length=16), strings[:200]
    pairs = list(reversed(texts))
    together = tokenizer.encode(texts, pairs, max_length=12)
    alone = [tokenizer.encode([a], [b], max_length=12) for a, b in zip(texts, pairs, strict=True)]
    assert together.lists() == [one.lists()[0] for one in alone]
    assert np.array_equal(together.offsets, np.concatenate([one.offsets for one in alone]))
    for (ids, _), a, b in zip(body(together), texts, pairs, strict=True):
        first, second = (body(tokenizer.encode([part], max_length=16))[0][0] for part in (a, b))
        full = WordPieceTokenizer(VOCABULARY).encode([a], [b]).lists()[0]
        assert len(ids) == min(len(full), 12) - 2 or len(first) == 14 or len(second) == 14


def test_decoded_text_becomes_the_same_ids():
    tokenizer = WordPieceTokenizer(VOCABULARY)
    for text in ("我爱中国", "he was a puppeteer", "iphone15退货!", "hello,我 he", "a b 一"):
        ids = tokenizer.encode([text]).lists()[0]
        assert tokenizer.encode([tokenizer.decode(ids)]).lists()[0] == ids
    assert tokenizer.decode(tokenizer.encode(["我爱 He was, 中国"]).ids) == "我爱he was,中国"
    with pytest.raises(InputError, match="is not an id"):
        tokenizer.decode([len(VOCABULARY)])


def test_words_are_whole_and_masked_whole():
    tokenizer, text = WordPieceTokenizer(VOCABULARY), "我爱中国puppeteer退货"
    encoded = tokenizer.encode([text])
    starts = tokenizer.words([text], encoded)
    units = "".join(
        " " * bool(start) + text[a:b] for start, (a, b) in zip(starts[1:-1], encoded.offsets[1:-1].tolist(), strict=True)
    ).split()
    assert "puppeteer" in units
    assert "中国" in units
    masked = tokenizer.mask(encoded, starts, generator=np.random.default_rng(0), rate=0.5)
    word = np.cumsum(starts)
    assert not set(word[masked.targets >= 0]) & set(word[masked.targets < 0])
    entity = tokenizer.mask(encoded, starts, generator=np.random.default_rng(0), rate=1.0, spans=[[(0, 4)]])
    assert (entity.targets[1:5] == encoded.ids[1:5]).all()


def test_words_of_other_texts_are_refused():
    tokenizer = WordPieceTokenizer(VOCABULARY)
    encoded = tokenizer.encode(["我爱中国"])
    for texts in (["我"], ["我爱中国"] * 2):
        with pytest.raises(InputError, match="the texts"):
            tokenizer.words(texts, encoded)


def test_a_mask_is_read_only_when_asked_for():
    tokenizer = WordPieceTokenizer(VOCABULARY)
    assert tokenizer.mask_id not in tokenizer.encode(["我[MASK]国"]).ids
    encoded = tokenizer.encode_masked(["我[MASK]国 [mask]he"])
    assert [VOCABULARY[i] for i in encoded.ids] == ["[CLS]", "我", "[MASK]", "国", "[MASK]", "he", "[SEP]"]
    assert encoded.offsets[1:-1].tolist() == [[0, 1], [1, 7], [7, 8], [9, 15], [15, 17]]


def test_the_memory_of_words_is_bounded_and_changes_nothing(monkeypatch):
    texts = [f"word{i} puppeteer" for i in range(50)]
    expected = WordPieceTokenizer(VOCABULARY).encode(texts).lists()
    monkeypatch.setattr(pieces, "REMEMBERED", 7)
    tokenizer = WordPieceTokenizer(VOCABULARY)
    assert tokenizer.encode(texts).lists() == expected
    assert len(tokenizer._pieces.memory) <= 7


def test_a_saved_tokenizer_is_the_same_and_old_vocabularies_carry_their_ids(tmp_path):
    tokenizer = WordPieceTokenizer(VOCABULARY, symbols=True, lowercase=False, max_length=64)
    tokenizer.save(tmp_path)
    again: Any = load_tokenizer(tmp_path)
    assert (again.digest, again.symbols, again.lowercase, again.max_length) == (tokenizer.digest, True, False, 64)
    lines = [f"{entry}\t{i}" for i, entry in enumerate(VOCABULARY)]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", "utf-8")
    assert load_tokenizer(tmp_path).vocabulary == tuple(VOCABULARY)
    (tmp_path / "vocab.txt").write_text("\n".join([*lines[:7], "x\t9", *lines[8:]]), "utf-8")
    with pytest.raises(StoreError, match=r"line 8: 'x\\t9' should end in its id, 7"):
        load_tokenizer(tmp_path)


def test_damaged_files_are_named(tmp_path):
    WordPieceTokenizer(VOCABULARY).save(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, "新"]), "utf-8")
    with pytest.raises(WeightsError, match="promised"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff")
    with pytest.raises(StoreError, match=r"vocab\.txt"):
        load_tokenizer(tmp_path)
    manifest = (tmp_path / "nlphub_tokenizer.json").read_text("utf-8")
    (tmp_path / "nlphub_tokenizer.json").write_text(manifest.replace('"symbols": false', '"symbols": 1'), "utf-8")
    with pytest.raises(StoreError, match="lowercase, symbols"):
        load_tokenizer(tmp_path)
    with pytest.raises(WeightsError, match=r"lacks \[MASK\]"):
        WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])


def test_a_vocabulary_extended_for_whole_words_keeps_its_ids():
    tokenizer = WordPieceTokenizer(VOCABULARY)
    extended = tokenizer.extended()
    assert extended.vocabulary[: len(VOCABULARY)] == tokenizer.vocabulary
    assert "##我" in extended.vocabulary
    assert extended.encode(TEXTS[:5]).lists() == tokenizer.encode(TEXTS[:5]).lists()


def test_the_table_is_what_its_tool_builds_on_a_sample():
    lines = (ROOT / "nlphub" / "text" / "wordpiece.tsv").read_text("utf-8").split("\n")[:-1]
    assert {line.split("\t")[0] for line in lines} == {"drop", "space", "cjk", "punctuation", "symbol", "fold"}
    folds = {int(code, 16): result for kind, code, result in (line.split("\t") for line in lines if line.startswith("fold"))}
    for code, result in list(folds.items())[::11]:
        assert oracle().normalizer.normalize_str(chr(code)).strip(" ") == result
