from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nlphub.errors import InputError
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Encoded
from nlphub.text.masking import IGNORED, Masked

TEXTS = ["南京市长江大桥", "我的IPHONE15快遞還沒到", "", "好", "𠮷𠮷", "利率3.5%，年化多少呀", "長江\u200b大橋 和 ＡＢＣ" * 9]
Spans = list[list[tuple[int, int]]]


def units(encoded: Encoded, starts: np.ndarray[Any, Any], spans: Spans) -> Iterator[tuple[int, list[int]]]:
    """The slow twin's units: (sequence, its tokens), one after the other."""
    for i in range(len(encoded)):
        unit: list[int] = []
        owner: object = None
        for token in range(encoded.starts[i], encoded.starts[i + 1]):
            start, end = encoded.offsets[token].tolist()
            inside = [span for span in spans[i] if end > start and encoded.types[token] == 0 and span[0] <= start < span[1]]
            new = (inside[0] != owner) if inside else (starts[token] or owner is not None)
            if unit and new:
                yield i, unit
                unit = []
            unit.append(token)
            owner = inside[0] if inside else None
        if unit:
            yield i, unit


def slow_mask(tokenizer: CharacterTokenizer, encoded: Encoded, starts: Any, seed: int, rate: float, spans: Spans | None = None) -> Masked:
    """The slow twin: token by token, from the same draws."""
    generator = np.random.default_rng(seed)
    draws, lots = generator.random(len(encoded.ids)), generator.random(len(encoded.ids))
    randoms = generator.integers(tokenizer.ordinary, len(tokenizer), size=len(encoded.ids))
    ids, targets = encoded.ids.tolist(), [IGNORED] * len(encoded.ids)
    special = {tokenizer.pad_id, tokenizer.unknown_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    lowest: dict[int, float] = {}
    candidates = [
        (i, unit) for i, unit in units(encoded, starts, spans or [[] for _ in range(len(encoded))]) if {ids[t] for t in unit} - special
    ]
    for i, unit in candidates:
        lowest[i] = min(lowest.get(i, 1.0), draws[unit[0]])
    for i, unit in candidates:
        if draws[unit[0]] < rate or draws[unit[0]] == lowest[i]:
            for token in unit:
                if ids[token] not in special:
                    targets[token] = ids[token]
                    if lots[token] < 0.8:
                        ids[token] = tokenizer.mask_id
                    elif lots[token] >= 0.9:
                        ids[token] = int(randoms[token])
    return Masked(np.array(ids), np.array(targets))


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.5, 1.0])
def test_masking_agrees_with_the_slow_twin(zh_char: CharacterTokenizer, rate: float) -> None:
    encoded = zh_char.encode(TEXTS)
    starts = zh_char.words(TEXTS, encoded)
    spans: Spans = [[(0, 7)], [(2, 4), (4, 10)], [], [(0, 1)], [(1, 2)], [(3, 5), (2, 3)], [(1, 4), (10, 12), (2000, 2002)]]
    for seed in range(40):
        for given in (None, spans):
            fast = zh_char.mask(encoded, starts, generator=np.random.default_rng(seed), rate=rate, spans=given)
            slow = slow_mask(zh_char, encoded, starts, seed, rate, given)
            assert fast.ids.tolist() == slow.ids.tolist()
            assert fast.targets.tolist() == slow.targets.tolist()


def test_pairs_are_masked_in_both_texts_and_spans_belong_to_the_first(zh_char: CharacterTokenizer) -> None:
    first, second = ["长江大桥", "南京"] * 5, ["南京市好", ""] * 5
    encoded = zh_char.encode(first, second)
    starts = zh_char.words(first, encoded, second)
    spans: Spans = [[(1, 3)], [(0, 2)]] * 5
    for seed in range(40):
        fast = zh_char.mask(encoded, starts, generator=np.random.default_rng(seed), rate=0.3, spans=spans)
        assert fast.ids.tolist() == slow_mask(zh_char, encoded, starts, seed, 0.3, spans).ids.tolist()


def test_words_and_spans_are_masked_whole(zh_char: CharacterTokenizer) -> None:
    texts = ["南京市长江大桥开通了"] * 400
    encoded = zh_char.encode(texts)
    starts = zh_char.words(texts, encoded)
    chosen = zh_char.mask(encoded, starts, generator=np.random.default_rng(0)).targets.reshape(400, -1)[:, 1:-1] != IGNORED
    assert (chosen[:, 0:3].all(axis=1) == chosen[:, 0:3].any(axis=1)).all()
    assert (chosen[:, 3:7].all(axis=1) == chosen[:, 3:7].any(axis=1)).all()
    assert (chosen[:, 2] != chosen[:, 3]).any()
    spanned = (
        zh_char.mask(encoded, starts, generator=np.random.default_rng(0), spans=[[(1, 5)]] * 400).targets.reshape(400, -1)[:, 1:-1]
        != IGNORED
    )
    assert (spanned[:, 1:5].all(axis=1) == spanned[:, 1:5].any(axis=1)).all()
    assert (spanned[:, 0] != spanned[:, 1]).any()
    assert (spanned[:, 4] != spanned[:, 5]).any()


def test_shares_are_those_of_bert(zh_char: CharacterTokenizer) -> None:
    texts = ["我要退这双鞋可是找不到订单号在哪里查询呢请帮忙看看"[: 5 + i % 20] * 18 for i in range(600)]
    encoded = zh_char.encode(texts)
    starts = zh_char.words(texts, encoded)
    masked = zh_char.mask(encoded, starts, generator=np.random.default_rng(7))
    chosen = masked.targets != IGNORED
    tokens = (encoded.offsets[:, 1] > 0).sum()
    assert tokens > 100_000
    assert chosen.sum() / tokens == pytest.approx(0.15, abs=0.005)
    assert (masked.ids[chosen] == zh_char.mask_id).mean() == pytest.approx(0.8, abs=0.01)
    assert (masked.ids[chosen] == encoded.ids[chosen]).mean() == pytest.approx(0.1, abs=0.01)
    random = masked.ids[chosen & (masked.ids != zh_char.mask_id) & (masked.ids != encoded.ids)]
    assert len(random) / chosen.sum() == pytest.approx(0.1, abs=0.01)
    assert random.min() >= zh_char.ordinary
    assert random.mean() == pytest.approx((zh_char.ordinary + len(zh_char)) / 2, rel=0.05)
    assert np.array_equal(masked.ids[~chosen], encoded.ids[~chosen])
    assert np.array_equal(masked.targets[chosen], encoded.ids[chosen])


def test_masks_are_dynamic_and_decided_by_the_generator(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(TEXTS)
    starts = zh_char.words(TEXTS, encoded)
    generator = np.random.default_rng(3)
    first, second = (zh_char.mask(encoded, starts, generator=generator) for _ in range(2))
    again = zh_char.mask(encoded, starts, generator=np.random.default_rng(3))
    assert np.array_equal(first.ids, again.ids)
    assert not np.array_equal(first.targets, second.targets)


def test_special_and_unknown_tokens_are_never_masked_and_the_batch_is_left_alone(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(TEXTS)
    before, starts = encoded.ids.copy(), zh_char.words(TEXTS, encoded)
    kept = starts.copy()
    masked = zh_char.mask(encoded, starts, generator=np.random.default_rng(0), rate=1.0, spans=[[(0, 1)], [], [], [], [], [], []])
    special = encoded.ids < zh_char.ordinary
    assert np.array_equal(masked.ids[special], encoded.ids[special])
    assert (masked.targets[special] == IGNORED).all()
    assert (masked.targets[~special] != IGNORED).all()
    assert np.array_equal(encoded.ids, before)
    assert np.array_equal(starts, kept)


def test_every_text_with_a_character_has_something_to_predict(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(TEXTS)
    starts = zh_char.words(TEXTS, encoded)
    for seed in range(20):
        masked = zh_char.mask(encoded, starts, generator=np.random.default_rng(seed), rate=0.001)
        predicted = np.add.reduceat(masked.targets != IGNORED, encoded.starts[:-1])
        assert [bool(count) for count in predicted] == [True, True, False, True, False, True, True]


def test_an_empty_batch_is_masked_to_an_empty_batch(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode([])
    masked = zh_char.mask(encoded, np.zeros(0, dtype=np.bool_), generator=np.random.default_rng(0), spans=[])
    assert (len(masked.ids), len(masked.targets)) == (0, 0)


@pytest.mark.parametrize("rate", [0, -0.1, 1.01, float("nan")])
def test_a_rate_that_is_no_share_is_an_error(zh_char: CharacterTokenizer, rate: float) -> None:
    encoded = zh_char.encode(["好"])
    with pytest.raises(InputError, match="more than 0 and at most 1"):
        zh_char.mask(encoded, np.ones(3, dtype=np.bool_), generator=np.random.default_rng(0), rate=rate)


@pytest.mark.parametrize(
    ("spans", "problem"),
    [
        ([[(0, 2), (1, 3)], []], "spans\\[0\\]: \\(1, 3\\)"),
        ([[], [(2, 2)]], "spans\\[1\\]: \\(2, 2\\)"),
        ([[(-1, 2)], [(3, 1)]], "2 spans .*\n.*\\(-1, 2\\)\n.*\\(3, 1\\)"),
        ([[]], "1 lists of spans do not fit 2 sequences"),
    ],
)
def test_wrong_spans_are_named(zh_char: CharacterTokenizer, spans: Spans, problem: str) -> None:
    texts = ["长江大桥", "南京市"]
    encoded = zh_char.encode(texts)
    with pytest.raises(InputError, match=problem):
        zh_char.mask(encoded, zh_char.words(texts, encoded), generator=np.random.default_rng(0), spans=spans)


def test_word_starts_of_another_batch_are_an_error(zh_char: CharacterTokenizer) -> None:
    with pytest.raises(InputError, match="2 word starts do not fit 3 tokens"):
        zh_char.mask(zh_char.encode(["好"]), np.ones(2, dtype=np.bool_), generator=np.random.default_rng(0))
