"""MinHash: the arrays agree with the definition written out, the estimate with true similarities, the pairs with the promised rates."""

from collections.abc import Callable

import numpy as np
import pytest

from nlphub.data.corpus import minhash
from nlphub.data.corpus.batch import edges_of, ngrams
from nlphub.data.corpus.minhash import BANDS, MINIMA, ROWS, near_duplicates, near_partners, signatures
from nlphub.text.normalize import code_points

Make = Callable[..., list[str]]


def arrays(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return code_points("".join(texts)), edges_of(np.array([len(text) for text in texts]))


def slow_signature(text: str) -> list[int]:
    """The definition: for each hash function the smallest value over the set of 5-grams."""
    grams = {text[i : i + 5] for i in range(len(text) - 4)}
    hashed = [int(ngrams(code_points(gram), 5)[0]) >> 32 for gram in grams]
    pairs = zip(minhash._FACTORS.tolist(), minhash._TERMS.tolist(), strict=True)
    return [min(((a * x + b) % 2**32 for x in hashed), default=2**32 - 1) for a, b in pairs]


def slow_near_duplicates(rows: list[list[int]]) -> list[bool]:
    """In every band, each document against the first of its bucket and the last one before it."""
    drop = [False] * len(rows)
    for band in range(BANDS):
        buckets: dict[tuple[int, ...], list[int]] = {}
        for i, row in enumerate(rows):
            bucket = buckets.setdefault(tuple(row[band * ROWS : (band + 1) * ROWS]), [])
            for j in {bucket[0], bucket[-1]} if bucket else ():
                drop[i] |= sum(a == b for a, b in zip(rows[i], rows[j], strict=True)) >= 0.8 * MINIMA
            bucket.append(i)
    return drop


def jaccard(a: str, b: str) -> float:
    x, y = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (a, b))
    return len(x & y) / len(x | y)


def changed(text: str, changes: int, generator: np.random.Generator) -> str:
    """The text with so many characters replaced by ones that it does not have."""
    characters = list(text)
    for place in generator.choice(len(characters), changes, replace=False).tolist():
        characters[place] = chr(0x9000 + int(generator.integers(500)))
    return "".join(characters)


def test_ngrams_are_hashes_of_their_characters() -> None:
    text = "今天天气很好，今天天气很好。"
    grams = ngrams(code_points(text), 4).tolist()
    assert grams == [int(ngrams(code_points(text[i : i + 4]), 4)[0]) for i in range(len(text) - 3)]
    assert len(set(grams)) == len({text[i : i + 4] for i in range(len(text) - 3)})
    assert len(ngrams(code_points("三个字"), 4)) == 0


def test_ngrams_do_not_collide(sentences: Make) -> None:
    text = "".join(sentences(20_000))
    for n in (5, 13):
        assert len(np.unique(ngrams(code_points(text), n))) == len({text[i : i + n] for i in range(len(text) - n + 1)})


def test_signatures_are_what_the_definition_says(sentences: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*sentences(30, words=7), "", "四个字啊", "正好五个字", "哈" * 300, *sentences(5, seed=9, words=90), ""]
    expected = [slow_signature(text) for text in texts]
    for chunk in (1, 50, 1 << 16):
        monkeypatch.setattr(minhash, "_CHUNK", chunk)
        assert signatures(*arrays(texts)).tolist() == expected
    assert signatures(*arrays([])).shape == (0, MINIMA)


def test_near_duplicates_are_what_the_definition_says(sentences: Make) -> None:
    generator = np.random.default_rng(0)
    texts = sentences(40, words=20)
    texts += [changed(text, int(generator.integers(0, 4)), generator) for text in texts * 4]
    order = generator.permutation(len(texts)).tolist()
    rows = signatures(*arrays([texts[i] for i in order]))
    found = near_duplicates(rows)
    assert found.tolist() == slow_near_duplicates(rows.tolist())
    assert 40 < found.sum() < 160


def test_a_partner_is_an_earlier_document_that_is_near_equal(sentences: Make) -> None:
    generator = np.random.default_rng(3)
    texts = sentences(30, words=60)
    rows = signatures(*arrays(texts + [changed(text, int(generator.integers(0, 3)), generator) for text in texts]))
    partners = near_partners(rows)
    assert ((partners >= 0) == near_duplicates(rows)).all()
    later = np.flatnonzero(partners >= 0)
    assert len(later) > 20
    assert (partners[later] < later).all()
    assert ((rows[partners[later]] == rows[later]).mean(axis=1) >= 0.8).all()


def test_shingles_of_another_length() -> None:
    texts = ["余额查询", "查询余额", "余", "余额"]
    rows = signatures(*arrays(texts), shingle=2)
    assert (rows[0] == rows[1]).mean() < 1
    assert (rows[2] == 2**32 - 1).all()
    assert not (rows[3] == 2**32 - 1).any()
    assert (signatures(*arrays(texts), shingle=5) == 2**32 - 1).all()


def test_the_share_of_equal_minima_estimates_the_similarity(sentences: Make) -> None:
    generator = np.random.default_rng(1)
    errors = []
    for text in sentences(300, words=60):
        other = changed(text, int(generator.integers(0, 12)), generator)
        a, b = signatures(*arrays([text, other]))
        errors.append(float((a == b).mean()) - jaccard(text, other))
    assert abs(np.mean(errors)) < 0.01, "biased"
    assert np.std(errors) < 0.045, "it scatters by sqrt(s (1 - s) / 112), 0.047 at most"


def test_the_promised_rates(sentences: Make) -> None:
    generator = np.random.default_rng(2)
    pairs = [(text, changed(text, int(generator.integers(0, 16)), generator)) for text in sentences(800, words=120)]
    similarity = np.array([jaccard(a, b) for a, b in pairs])
    found = np.array([near_duplicates(signatures(*arrays([a, b])))[1] for a, b in pairs])
    assert found[similarity >= 0.9].mean() > 0.99
    assert (similarity >= 0.9).sum() > 100
    assert 0.25 < found[(similarity > 0.78) & (similarity < 0.82)].mean() < 0.75
    assert found[similarity < 0.7].mean() < 0.02
    assert (similarity < 0.7).sum() > 100


def test_a_bucket_of_any_size_costs_two_comparisons_a_document() -> None:
    rows = np.zeros((20_000, MINIMA), np.uint32)
    found = near_duplicates(rows)
    assert not found[0]
    assert found[1:].all()
