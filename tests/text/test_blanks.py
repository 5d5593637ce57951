"""[MASK] written in a text becomes one mask token; everything else is encoded as without it, and offsets stay those of the caller."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

from nlphub.errors import InputError
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.tokenizers import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> CharacterTokenizer:
    return load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")


def piece_by_piece(tokenizer: CharacterTokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The slow obvious twin: encode what stands between the masks, each piece alone."""
    ids, spans, place = [tokenizer.cls_id], [(0, 0)], 0
    for piece in re.split(r"(\[[Mm][Aa][Ss][Kk]\])", text):
        if piece.isascii() and piece.upper() == "[MASK]":
            ids.append(tokenizer.mask_id)
            spans.append((place, place + 6))
        elif piece:
            encoded = tokenizer.encode([piece])
            ids += encoded.ids[1:-1].tolist()
            spans += [(a + place, b + place) for a, b in encoded.offsets[1:-1].tolist()]
        place += len(piece)
    return [*ids, tokenizer.sep_id], [*spans, (0, 0)]


def test_a_mask_is_one_token_with_its_own_span(tokenizer):
    encoded = tokenizer.encode_masked(["今天天[MASK]真好"])
    assert tokenizer.decode(encoded.ids) == "今天天[MASK]真好"
    assert len(encoded.ids) == 8
    assert encoded.offsets.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3], [3, 9], [9, 10], [10, 11], [0, 0]]


def test_random_texts_are_encoded_as_piece_by_piece(tokenizer):
    generator = random.Random(0)
    pieces = [
        "[MASK]",
        "[mask]",
        "[Mask]",
        "[MASK",
        "MASK]",
        "[",
        "]",
        "气",
        "Ａ",
        "體",
        " ",
        "\u200b",
        "\ud800",
        "\U0010ffff",
        "😀",
        "[ſask]",
        "[MAſK]",
    ]
    texts = ["".join(generator.choices(pieces, k=generator.randrange(12))) for _ in range(300)]
    encoded = tokenizer.encode_masked(texts)
    for row, text in enumerate(texts):
        tokens = slice(encoded.starts[row], encoded.starts[row + 1])
        ids, spans = piece_by_piece(tokenizer, text)
        assert encoded.ids[tokens].tolist() == ids, text
        assert [tuple(span) for span in encoded.offsets[tokens].tolist()] == spans, text


def test_texts_without_masks_are_encoded_as_ever(tokenizer):
    texts = ["我要退这双鞋", "", "長" * 600]
    ours, plain = tokenizer.encode_masked(texts, max_length=32), tokenizer.encode(texts, max_length=32)
    for name in ("ids", "types", "offsets", "starts", "truncated"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name))


def test_a_mask_counts_as_one_token_when_a_text_is_cut(tokenizer):
    encoded = tokenizer.encode_masked(["[MASK]" * 20], max_length=10)
    assert encoded.ids.tolist() == [tokenizer.cls_id, *[tokenizer.mask_id] * 8, tokenizer.sep_id]
    assert encoded.truncated.tolist() == [True]


def test_plain_encoding_still_sees_six_characters(tokenizer):
    assert tokenizer.mask_id not in tokenizer.encode(["今天天[MASK]真好"]).ids


@pytest.mark.parametrize("texts", ["今天", [None], [["今天"]], 7], ids=str)
def test_what_is_no_list_of_strings_is_refused(tokenizer, texts):
    with pytest.raises(InputError):
        tokenizer.encode_masked(texts)
