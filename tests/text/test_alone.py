"""One text alone takes another way than a batch: both give the same, for every tokenizer, with real, random and long strings."""

import io
import json
import lzma
import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
import sentencepiece

from nlphub import paths
from nlphub.errors import InputError
from nlphub.text import alone, assembly
from nlphub.text.alone import SHORT, Meanings
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Encoded
from nlphub.text.pieces import Memory
from nlphub.text.subword import SubwordTokenizer
from nlphub.text.wordpiece import WordPieceTokenizer

SIGNS = "我爱中国今天天气真好退货，！。abcxyz019.-  \t　éÀÑ\u0301\u200b한ΑΣİ©🙂ＡＢ①½ﬁﷺ▁\ud800[MASK]"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = ["characters", "WordPiece", "cased", "ERNIE", "sub-words", "words and sub-words", "cased sub-words"]


@pytest.fixture(scope="module")
def tokenizers(zh_char: CharacterTokenizer) -> dict[str, Any]:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789é한α"
    entries = [
        *SPECIAL,
        *sorted(set(SIGNS) - {" ", "\ud800"}),
        *letters,
        *(f"##{letter}" for letter in letters),
        "ab",
        "##bc",
        "xyz",
        "##19",
    ]
    entries = list(dict.fromkeys(entries))
    stream = io.BytesIO()
    sentences = ["今天 天气 真 好", "我们 要 退货，今天！", "iphone 15 ½ abc xyz", "我爱中国。019"] * 30
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=stream, vocab_size=90, hard_vocab_limit=False, minloglevel=2, num_threads=1
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue())
    pieces = [*SPECIAL, *(model.id_to_piece(number) for number in range(3, model.get_piece_size() - 4))]
    words = {"今天", "天气", "我爱", "中国", "退货", "ab", "a b"}
    return {
        "characters": zh_char, "WordPiece": WordPieceTokenizer(entries), "cased": WordPieceTokenizer(entries, lowercase=False),
        "ERNIE": WordPieceTokenizer(entries, symbols=True), "sub-words": SubwordTokenizer(pieces, stream.getvalue()),
        "words and sub-words": SubwordTokenizer(pieces, stream.getvalue(), dictionary=words),
        "cased sub-words": SubwordTokenizer(pieces, stream.getvalue(), lowercase=False),
    }  # fmt: skip


def strings(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    parts = [*SIGNS, "[MASK]", "今天天气", "  ", "abc19"]
    made = ["".join(chance.choices(parts, k=chance.choice([0, 1, 2, 5, 12, 40]))) for _ in range(count)]
    anywhere = ["".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(8))) for _ in range(count // 4)]
    return [*made, *anywhere, *real(200), "一" * (SHORT - 1), "一" * SHORT, "一" * (SHORT + 1), "ﷺ" * 60]


def real(count: int) -> list[str]:
    folder = paths.real_data()
    if folder is None:
        return []
    with lzma.open(folder / "labelled" / "cic" / "test.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in islice(lines, count)]


def assert_equal(one: Encoded, other: Encoded) -> None:
    for name in ("ids", "types", "offsets", "starts", "truncated"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name
        assert a.flags.writeable


@pytest.mark.parametrize("name", NAMES)
def test_a_text_alone_becomes_what_it_is_in_a_batch(name: str, tokenizers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, texts = tokenizers[name], strings(300, seed=1)
    short = [tokenizer.encode([text]) for text in texts]
    cut = [tokenizer.encode([text], max_length=7) for text in texts]
    masked = [tokenizer.encode_masked([text]) for text in texts]
    together = tokenizer.encode(texts)
    monkeypatch.setattr(assembly, "SHORT", -1)
    for number, text in enumerate(texts):
        assert_equal(short[number], tokenizer.encode([text]))
        assert_equal(cut[number], tokenizer.encode([text], max_length=7))
        assert_equal(masked[number], tokenizer.encode_masked([text]))
    for field in ("ids", "types", "offsets", "truncated"):
        assert np.array_equal(getattr(together, field), np.concatenate([getattr(one, field) for one in short])), field


@pytest.mark.parametrize("name", ["sub-words", "words and sub-words", "cased sub-words"])
def test_aligned_pieces_are_where_sentencepiece_says(name: str, tokenizers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, texts = tokenizers[name], strings(300, seed=2)
    quick = tokenizer.encode(texts)
    aligned = tokenizer._aligner.many(["今天 天气 真 好", "iphone 15 ½", "一一一", "", "我们 要 退货，今天！"]).aligned
    assert aligned.tolist() == [True, False, False, False, True]
    monkeypatch.setattr(tokenizer._aligner, "one", lambda text, places: None)
    monkeypatch.setattr(tokenizer._aligner, "_aligned", lambda pieces, counts, target, lengths: np.zeros(len(counts), np.bool_))
    assert_equal(quick, tokenizer.encode(texts))


def test_tuples_wrong_types_and_lengths_are_judged_as_in_a_batch(zh_char: CharacterTokenizer) -> None:
    assert_equal(zh_char.encode(["我要"]), zh_char.encode(("我要",)))
    for texts, limit in (([3], None), (["我"], 2), (["我"], True), (["我"], 513)):
        with pytest.raises(InputError, match=r"not strings|out of range"):
            zh_char.encode(texts, max_length=limit)  # type: ignore[arg-type]


def test_meanings_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "KEPT", 2)
    asked: list[str] = []
    meanings = Meanings[str, int](lambda sign: asked.append(sign) or ord(sign))
    assert [meanings[sign] for sign in "abcabc"] == [97, 98, 99] * 2
    assert asked == ["a", "b", "c", "c"]


def test_a_memory_keeps_what_is_asked_for() -> None:
    memory = Memory[int](6)
    for number in range(100):
        memory.put(f"w{number}", number)
        memory.put("often", -1) if memory.get("often") is None else None
        assert memory.get("often") == -1
        assert len(memory) <= 6
    assert memory.get("w99") == 99
    assert memory.get("w1") is None
