"""The sub-word tokenizer: its algorithm against a slow twin, on a SentencePiece model and a dictionary that are made here."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from nlphub import paths
from nlphub.checkpoints.foreign_tokenizer import find_tokenizer
from nlphub.errors import StoreError, WeightsError
from nlphub.nn.config import EncoderConfig
from nlphub.text.subword import SubwordTokenizer
from nlphub.text.tokenizers import load_tokenizer

DICTIONARY = {"今天", "天气", "退货", "物流", "人工客服", "我们", "他 的", "iPhone", "IPHON", "ab"}
SENTENCES = ["he was a puppeteer", "今天 天气 真 好", "我们 要 退货", "查 物流 转 人工客服", "iphone 15 ½ ﬁ", "hello world"] * 40


@pytest.fixture(scope="module")
def model() -> bytes:
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=stream, vocab_size=70, hard_vocab_limit=False, minloglevel=2, num_threads=1
    )
    return stream.getvalue()


@pytest.fixture(scope="module")
def vocabulary(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size())]
    return ["[PAD]", "[UNK]", "x", "[CLS]", "[MASK]", "[SEP]", *pieces[:-5]]  # five pieces are not known


@pytest.fixture(scope="module")
def tokenizer(model: bytes, vocabulary: list[str]) -> SubwordTokenizer:
    return SubwordTokenizer(vocabulary, model, dictionary=DICTIONARY, max_length=64)


def slow(text: str, model: bytes, vocabulary: list[str]) -> list[int]:
    """PaddleNLP's ErnieTinyTokenizer, step by step."""
    words, place = [], 0
    while place < len(text):
        for length in (5, 4, 3, 2, 1):
            if text[place : place + length] in DICTIONARY:
                words.append(text[place : place + length])
                place += len(words[-1])
                break
        else:
            words.append(text[place])
            place += 1
    joined = " ".join(word for word in words if word != " ").lower()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model).encode(joined, out_type=str)
    return [3, *(vocabulary.index(piece) if piece in vocabulary else 1 for piece in pieces), 5]


def texts(count: int) -> list[str]:
    chance = random.Random(1)
    parts = [*DICTIONARY, *"今天气真好我要退货abIPhone 15½ﬁ🙂é\t　", "  ", "he was", "PUPPETEER", "İ", "Σ"]
    return ["".join(chance.choice(parts) for _ in range(chance.randrange(12))) for _ in range(count)]


def test_ids_are_those_of_the_slow_twin(tokenizer, model, vocabulary):
    given = [*SENTENCES[:6], "", " ", *texts(400)]
    for text, ids in zip(given, tokenizer.encode(given).lists(), strict=True):
        assert ids == [*slow(text, model, vocabulary)[: len(ids) - 1], 5], ascii(text)


def test_every_token_spans_its_own_characters(tokenizer):
    given = ["今天天气ABIPHONE 15", "  退货 he was", "我们½🙂", "\t物流"]
    encoded = tokenizer.encode(given)
    for row, text in enumerate(given):
        spans = encoded.offsets[encoded.starts[row] + 1 : encoded.starts[row + 1] - 1].tolist()
        ids = encoded.ids[encoded.starts[row] + 1 : encoded.starts[row + 1] - 1].tolist()
        assert all(0 <= a < b <= len(text) for a, b in spans)
        assert [a for a, _ in spans] == sorted(a for a, _ in spans)
        assert {i for a, b in spans for i in range(a, b)} >= {i for i, c in enumerate(text) if not c.isspace()}
        for number, (a, b) in zip(ids, spans, strict=True):
            piece = tokenizer.vocabulary[number].strip("▁")
            assert number == tokenizer.unknown_id or piece in ("", "1", "2", "⁄") or piece == text[a:b].lower()


def test_spans_are_right_for_random_texts(tokenizer):
    given = texts(300)
    encoded = tokenizer.encode(given)
    assert (encoded.offsets[:, 1] > encoded.offsets[:, 0]).sum() == len(encoded.ids) - 2 * len(given)
    limit = np.repeat([len(text) for text in given], encoded.lengths)
    assert (encoded.offsets[:, 1] <= limit).all()


def test_a_long_word_of_the_dictionary_wins_and_capitals_count_there(tokenizer):
    assert tokenizer.cut("他 的人工客服iPhoneIPHON") == ["他 的", "人工客服", "i", "P", "h", "o", "n", "e", "IPHON"]  # a window of 5


def test_without_a_dictionary_it_is_sentencepiece_alone(model, vocabulary):
    plain = SubwordTokenizer(vocabulary, model, lowercase=False)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model).encode("今天 he was", out_type=str)
    known = [piece if piece in vocabulary else "[UNK]" for piece in pieces]
    assert [plain.vocabulary[i] for i in plain.encode(["今天 he was"]).ids[1:-1]] == known


def test_masks_pairs_words_and_decoding(tokenizer):
    encoded = tokenizer.encode_masked(["今天[MASK]退货[mask]"])
    assert (encoded.ids == tokenizer.mask_id).sum() == 2
    assert [4, 10] in encoded.offsets.tolist() or [2, 8] in encoded.offsets.tolist()
    assert tokenizer.mask_id not in tokenizer.encode(["今天[MASK]"]).ids
    pair = tokenizer.encode(["今天"], ["退货"])
    assert set(pair.types.tolist()) == {0, 1}
    starts = tokenizer.words(["今天天气真好"], tokenizer.encode(["今天天气真好"]))
    assert starts[0]
    assert tokenizer.decode(tokenizer.encode(["我们he was 退货"]).ids).startswith("我们")


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.digest == tokenizer.digest
    assert again.encode(SENTENCES[:6]).lists() == tokenizer.encode(SENTENCES[:6]).lists()


def test_a_changed_or_missing_file_is_refused_before_sentencepiece_sees_it(tokenizer, tmp_path, monkeypatch):
    tokenizer.save(tmp_path)
    monkeypatch.setattr("nlphub.text.subword._model", lambda data: pytest.fail("SentencePiece was given bytes of nobody knows whom"))
    for name, error in (("sentencepiece.model", WeightsError), ("words.txt", WeightsError)):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data + b"\n")
        with pytest.raises(error, match="promised"):
            load_tokenizer(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(StoreError, match="incomplete"):
            load_tokenizer(tmp_path)
        (tmp_path / name).write_bytes(data)


def test_bytes_that_are_no_model_and_words_with_line_ends_are_refused(model, vocabulary):
    with pytest.raises(WeightsError, match="no SentencePiece model"):
        SubwordTokenizer(vocabulary, b"nonsense")
    with pytest.raises(WeightsError, match="1 words of the dictionary"):
        SubwordTokenizer(vocabulary, model, dictionary=["a\nb", "c"])


@pytest.mark.real_data
def test_the_ids_of_baidus_own_files_hold():
    data = paths.real_data()
    folder = (data or Path()) / "ernie_tiny"
    if data is None or not (folder / "vocab.txt").is_file():
        pytest.skip("needs NLPHUB_DATA/ernie_tiny with Baidu's vocab.txt, spm_cased_simp_sampled.model and dict.wordseg.pickle")
    config = EncoderConfig(vocab=50006, layers=3, width=1024, heads=16, inner=4096, positions=600)
    found, _ = find_tokenizer(folder, family="ernie", config=config)
    assert found is not None
    assert found.encode(["He was a puppeteer"]).lists() == [[3, 941, 977, 16690, 269, 11346, 11364, 1337, 13742, 1684, 5]]
