"""Long texts as windows: nothing is lost, nothing is there twice, and every token is seen where most is around it."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from nlphub.errors import InputError
from nlphub.text.tokenizers import load_tokenizer
from nlphub.text.windows import read_windows
from nlphub.text.wordpiece import WordPieceTokenizer

TOKENIZER = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
LONG = "張三\u200b在 ＢＥＩＪＩＮＧ，iPhone 15 Pro 很好。" * 60


@pytest.mark.parametrize("stride", [None, 1, 3, 8])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 40])
def test_tokens_are_those_of_the_whole_text_with_their_offsets(length: int, stride: int | None) -> None:
    text = LONG[:length]
    windows = read_windows(["短", text, ""], TOKENIZER, max_length=10, stride=stride)
    whole = TOKENIZER.encode(["短", text, ""])
    body = whole.offsets[:, 1] > whole.offsets[:, 0]
    np.testing.assert_array_equal(windows.offsets, whole.offsets[body])
    np.testing.assert_array_equal(windows.encoded.ids[windows.rows], whole.ids[body])
    np.testing.assert_array_equal(windows.encoded.offsets[windows.rows], whole.offsets[body])
    np.testing.assert_array_equal(windows.lengths, [np.sum(body[a:b]) for a, b in zip(whole.starts, whole.starts[1:], strict=False)])
    assert windows.encoded.lengths.max() <= 10
    assert not windows.cut.any()


@pytest.mark.parametrize("stride", [None, 1, 3, 7, 8])
def test_each_token_is_owned_by_the_window_in_whose_middle_it_stands_nearest(stride: int | None) -> None:
    windows = read_windows([LONG[:60], "好", LONG[:33]], TOKENIZER, max_length=10, stride=stride)
    base = np.cumsum(windows.lengths) - windows.lengths
    for token, owner in enumerate(windows.owners.tolist()):
        text = int(np.searchsorted(base, token, "right")) - 1
        place = token - base[text]
        ways = [w for w in range(len(windows.texts)) if windows.texts[w] == text]
        inside = [w for w in ways if windows.firsts[w] <= place < windows.firsts[w] + windows.encoded.lengths[w] - 2]
        away = {w: abs(windows.firsts[w] + (windows.encoded.lengths[w] - 2) / 2 - place - 0.5) for w in inside}
        assert owner == min(away, key=lambda w: (away[w], w))


def test_a_text_that_is_longer_than_a_tokenizer_looks_at_is_read_to_its_end() -> None:
    text = "一二三四五六七八九十" * 2000 + "\u200b" * 9000 + "完"
    windows = read_windows([text], TOKENIZER, max_length=512)
    assert windows.lengths.tolist() == [20001]
    assert windows.offsets[-1].tolist() == [len(text) - 1, len(text)]
    assert windows.encoded.lengths.max() <= 512


def test_without_a_stride_only_the_beginning_is_read_and_it_is_told() -> None:
    windows = read_windows([LONG[:60], "好"], TOKENIZER, max_length=10, stride=0)
    assert windows.cut.tolist() == [True, False]
    assert windows.lengths.tolist() == [8, 1]


@pytest.mark.parametrize("stride", [-1, 9, 2.0, True])
def test_a_stride_that_would_leave_out_tokens_is_refused(stride: object) -> None:
    with pytest.raises(InputError, match="from 1 to 8"):
        read_windows(["好"], TOKENIZER, max_length=10, stride=stride)  # type: ignore[arg-type]


def test_pieces_do_not_cut_words_where_a_subword_tokenizer_would_see_others() -> None:
    from nlphub.text.windows import _pieces

    text = "价格是123456789元 hello wonderful world"
    pieces = [text[a:b] for a, b in _pieces(text, 16)]
    assert "".join(pieces) == text
    assert all(len(piece) <= 16 for piece in pieces)
    assert not any(a[-1].isascii() and a[-1].isalnum() and b[0].isascii() and b[0].isalnum() for a, b in itertools.pairwise(pieces))


def test_words_of_a_wordpiece_tokenizer_are_those_of_the_whole_text() -> None:
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"价格是元很好，123", "##1", "##2", "##3", "good", "##ness", "phone", "##s")
    text = "价格是12332元，goodness很好，phones 好good，" * 40
    whole = WordPieceTokenizer(vocabulary, max_length=4096).encode([text])
    windows = read_windows([text, "好"], WordPieceTokenizer(vocabulary, max_length=64), max_length=32)
    body = slice(1, len(whole.ids) - 1)
    np.testing.assert_array_equal(windows.encoded.ids[windows.rows][:-1], whole.ids[body])
    np.testing.assert_array_equal(windows.offsets[:-1], whole.offsets[body])
