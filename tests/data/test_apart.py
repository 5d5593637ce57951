"""Pairs whose texts are read each by itself, against the obvious way: every text tokenised and packed alone."""

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from nlphub.data.apart import Vectors, encode_apart, pack_apart, take, texts_of
from nlphub.data.batching import pack
from nlphub.errors import InputError
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import load_tokenizer

TOKENIZER = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
FIRST = ["怎么退货", "", "长" * 30, "a ｂ\u200b c"]
SECOND = ["如何把东西退掉", "空的另一边", "短", "長" * 30]


def encoded() -> Encoded:
    return encode_apart(TOKENIZER, FIRST, SECOND, max_length=12)


def alone(text: str) -> Encoded:
    return TOKENIZER.encode([text], max_length=12)


def test_every_text_has_its_own_tokens_offsets_and_room() -> None:
    pairs, texts = encoded(), texts_of(encoded())
    given = [text for pair in zip(FIRST, SECOND, strict=True) for text in pair]
    assert texts.lists() == [alone(text).ids.tolist() for text in given]
    for number, text in enumerate(given):
        assert take(texts, np.array([number])).offsets.tolist() == alone(text).offsets.tolist()
    assert pairs.truncated.tolist() == [False, False, True, True]
    assert pairs.lengths.tolist() == [len(alone(a).ids) + len(alone(b).ids) for a, b in zip(FIRST, SECOND, strict=True)]
    assert not texts.types.any()


def test_no_pairs_are_no_texts() -> None:
    assert len(texts_of(encode_apart(TOKENIZER, [], [], max_length=12))) == 0


@pytest.mark.parametrize("pairs", [None, ["一个"]])
def test_texts_without_second_ones_are_refused(pairs: list[str] | None) -> None:
    with pytest.raises(InputError, match=r"2 texts have [01] second ones"):
        encode_apart(TOKENIZER, ["甲", "乙"], pairs, max_length=12)


def test_a_packed_batch_holds_both_texts_of_every_pair_under_numbers_of_their_own() -> None:
    rows = np.array([2, 0, 2])
    packed, texts = pack_apart(pack(encoded(), rows)), texts_of(encoded())
    expected = pack(texts, np.array([4, 5, 0, 1, 4, 5]))
    for name in ("ids", "types", "positions", "lengths", "starts", "cls_rows", "examples"):
        assert getattr(packed, name).tolist() == getattr(expected, name).tolist(), name


class Reader:
    """Vectors that say which text they are of; counts what is read."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, texts: Encoded) -> np.ndarray:
        self.read += len(texts)
        return np.array([[sum(ids), len(ids)] for ids in texts.lists()], np.float32).reshape(-1, 2)


def test_a_text_is_read_once_however_often_it_is_asked_for() -> None:
    reader, vectors = Reader(), Vectors()
    texts = TOKENIZER.encode(["甲", "乙", "甲", "甲", "丙丙"])
    assert vectors.of(texts, reader).tolist() == Reader()(texts).tolist()
    assert reader.read == 3
    assert vectors.of(TOKENIZER.encode(["丙丙", "丁"]), reader).tolist() == Reader()(TOKENIZER.encode(["丙丙", "丁"])).tolist()
    assert (reader.read, len(vectors)) == (4, 4)
    assert vectors.of(TOKENIZER.encode([]), reader).shape == (0, 2)


def test_other_weights_forget_all_and_the_longest_unused_go_first() -> None:
    reader, vectors = Reader(), Vectors(most=2)
    for text in ("甲", "乙", "甲", "丙"):
        vectors.of(TOKENIZER.encode([text]), reader)
    assert (reader.read, len(vectors)) == (3, 2)
    vectors.of(TOKENIZER.encode(["甲"]), reader)
    assert reader.read == 3, "乙 went, not 甲, which was asked for again"
    vectors.of(TOKENIZER.encode(["甲"]), reader, stamp="other weights")
    assert (reader.read, len(vectors)) == (4, 1)
    many = TOKENIZER.encode(list("甲乙丙丁"))
    assert vectors.of(many, reader).tolist() == Reader()(many).tolist(), "more texts than are kept"
    assert len(pickle.loads(pickle.dumps(vectors))) == 0


def test_threads_share_the_vectors() -> None:
    vectors, wrong = Vectors(most=5), list[str]()

    def ask(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(50):
            texts = TOKENIZER.encode(list("甲乙丙丁戊己庚辛")[: chance.integers(1, 9)])
            if vectors.of(texts, Reader()).tolist() != Reader()(texts).tolist():
                wrong.append("another text's vector")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(vectors) <= 5
