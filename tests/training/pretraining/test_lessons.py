"""Pairs and views: made of the text's own passages, learnt with the gradients of an obvious twin."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

import nlphub as hub
from nlphub.data.shards import Corpus
from nlphub.errors import InputError
from nlphub.recipe import PretrainSettings
from nlphub.text.encoding import Encoded
from nlphub.text.masking import IGNORED, join_words
from nlphub.training.pretraining.lessons import Lessons
from nlphub.training.pretraining.loop import Pretraining
from nlphub.training.pretraining.passages import breaks, long_words, passages, replaced, reworded, sequences
from nlphub.training.pretraining.sampling import Batch, Sampler

TEXT = "我要查信用卡的账单,请帮我把信用卡挂失。转账为什么还没有到账?今天天气真好,我们去公园。"


@pytest.fixture
def sampler(tmp_path: Path, write: Any, tokenizer: Any) -> Sampler:
    write(tmp_path / "text" / "a.safetensors", [TEXT, TEXT[::-1], TEXT[9:] + TEXT[:9], "手机没电了,怎么办?" * 3] * 4)
    return Sampler(Corpus.open(tmp_path / "text", tokenizer_digest=tokenizer.digest), tokenizer, max_length=40, seed=0)


@pytest.fixture
def batch(sampler: Sampler) -> Batch:
    return sampler.batch(1, tokens=600)


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def flat(passage: list[list[int]]) -> list[int]:
    return [token for word in passage for token in word]


def test_passages_are_whole_clauses_in_the_order_of_the_text(batch: Batch, tokenizer: Any) -> None:
    ends = breaks(tokenizer)
    found = passages(batch, range(len(batch.encoded)), ends, generator=generator())
    assert sum(len(parts) for parts in found) > len(found) / 2
    for row, parts in enumerate(found):
        text = batch.encoded.lists()[row][1:-1]
        place = 0
        for number, passage in enumerate(parts):
            tokens = flat(passage)
            assert 5 <= len(tokens) <= 36
            begin = next(at for at in range(place, len(text)) if text[at : at + len(tokens)] == tokens)
            assert begin == place  # nothing is skipped between passages
            place = begin + len(tokens)
            whole = text[place - 1] in ends or place == len(text) or len(tokens) >= 35  # a clause may be longer than a passage
            assert whole, f"passage {number} of row {row} ends inside a clause"


def test_rewording_keeps_most_of_the_longer_words_and_invents_none(batch: Batch, tokenizer: Any) -> None:
    draws, ends = generator(), breaks(tokenizer)
    kept = total = 0
    for parts in passages(batch, range(len(batch.encoded)), ends, generator=draws):
        for passage in parts:
            changed = reworded(passage, ends, generator=draws)
            before, after = Counter(map(tuple, passage)), Counter(map(tuple, changed))
            assert changed
            assert not after - before
            kept += sum(count for word, count in after.items() if len(word) > 1)
            total += sum(count for word, count in before.items() if len(word) > 1)
    assert 0.9 < kept / total < 1.0


def test_exchanging_touches_from_one_to_all_of_the_longer_words_only() -> None:
    passage, draws, counts = [[7], [8, 9], [10], [11, 12], [13, 14]], generator(), set()
    for _ in range(50):
        changed = replaced(passage, [[70, 71]], generator=draws)
        places = [place for place, (old, new) in enumerate(zip(passage, changed, strict=True)) if old != new]
        counts.add(len(places))
        assert {tuple(changed[place]) for place in places} == {(70, 71)}
        assert not {0, 2} & set(places)
    assert counts == {1, 2, 3}
    assert replaced([[7], [8]], [[70, 71]], generator=draws) != [[7], [8]]


def test_sequences_have_types_words_and_separators_of_bert(tokenizer: Any) -> None:
    made = sequences([([[7], [8, 9]], [[10, 11]]), ([[12]],)], tokenizer)
    first, last = tokenizer.cls_id, tokenizer.sep_id
    assert made.encoded.lists() == [[first, 7, 8, 9, last, 10, 11, last], [first, 12, last]]
    assert made.encoded.types.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert made.word_starts.tolist() == [True, True, True, False, True, True, False, True, True, True, True]


def test_without_pairs_and_views_a_lesson_is_the_masked_batch(batch: Batch, tokenizer: Any) -> None:
    settings = PretrainSettings(steps=1, seed=4)
    lesson = Lessons(tokenizer, settings).of(batch, step=9, rate=0.2)
    draws = np.random.default_rng([4, 9, 1])
    units = join_words(batch.word_starts, generator=draws, share=settings.phrases)
    masked = tokenizer.mask(batch.encoded, units, generator=draws, rate=0.2)
    np.testing.assert_array_equal(lesson.encoded.ids, masked.ids)
    np.testing.assert_array_equal(lesson.targets, masked.targets)
    assert lesson.views is None
    assert (lesson.pairs, lesson.words, lesson.tokens) == (0, int((masked.targets != IGNORED).sum()), len(masked.ids))


def test_a_pair_is_answered_at_its_first_token(batch: Batch, tokenizer: Any) -> None:
    lesson = Lessons(tokenizer, PretrainSettings(steps=1, pairs=0.6, views=0.2)).of(batch, step=1, rate=0.15)
    lengths = lesson.encoded.lengths.tolist()
    assert lengths == sorted(lengths)
    two = np.array([1 in lesson.encoded.types[a:b] for a, b in zip(lesson.encoded.starts[:-1], lesson.encoded.starts[1:], strict=True)])
    assert 0 < two.sum() < len(two)
    np.testing.assert_array_equal(np.flatnonzero(lesson.decisions), lesson.encoded.starts[:-1][two])
    answers = [tokenizer.decode([token]) for token in lesson.targets[lesson.decisions]]
    assert set(answers) == {"是", "否"}
    assert 0.2 < answers.count("是") / len(answers) < 0.8
    assert lesson.views is not None
    assert len(lesson.views) % 2 == 0


def test_lessons_follow_seed_and_step_alone(batch: Batch, tokenizer: Any) -> None:
    def ids(seed: int, step: int) -> list[int]:
        lesson = Lessons(tokenizer, PretrainSettings(steps=1, pairs=0.4, views=0.3, seed=seed)).of(batch, step=step, rate=0.15)
        assert lesson.views is not None
        return [*lesson.encoded.ids.tolist(), *lesson.views.ids.tolist()]

    assert ids(0, 1) == ids(0, 1)
    assert ids(0, 1) != ids(0, 2)
    assert ids(0, 1) != ids(1, 1)


def test_gradients_equal_those_of_the_obvious_losses(sampler: Sampler, small_module: Path) -> None:
    module = hub.Module(directory=small_module, task="mlm")
    settings = PretrainSettings(steps=1, pairs=0.5, views=0.3, max_tokens=100, precision="fp32")
    training = Pretraining(module, settings, sampler)
    lesson = training.lessons.of(sampler.batch(3, tokens=500), step=1, rate=0.2)
    learnt = training._backward(lesson, 1)
    fast = {name: parameter.grad.clone() for name, parameter in module.named_parameters() if parameter.grad is not None}
    module.zero_grad()
    loss, obvious = obvious_loss(module, lesson)
    torch.autograd.backward(loss)
    assert obvious == pytest.approx((learnt.loss, learnt.accuracy, learnt.pairs, learnt.views), abs=1e-5)
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(fast[name], parameter.grad, rtol=1e-3, atol=1e-5)


def obvious_loss(module: hub.Module, lesson: Any) -> tuple[torch.Tensor, tuple[float, float, float, float]]:
    """The three losses sequence by sequence, from the definition."""
    words, pairs, right, told = [], [], 0, 0
    for hidden, begin in each(module, lesson.encoded):
        logits = module.task_head(hidden)
        for place in range(len(hidden)):
            target = int(lesson.targets[begin + place])
            if target == IGNORED:
                continue
            decides = bool(lesson.decisions[begin + place])
            (pairs if decides else words).append(-logits[place].log_softmax(0)[target])
            hit = int(logits[place].argmax()) == target
            right, told = right + (hit and not decides), told + (hit and decides)
    vectors = [F.normalize(hidden.mean(0), dim=0) for hidden, _ in each(module, lesson.views)]
    n = len(vectors) // 2
    likeness = torch.stack([torch.stack([vectors[i] @ vectors[n + j] for j in range(n)]) for i in range(n)]) / 0.05
    contrast = sum(-likeness[i].log_softmax(0)[i] - likeness[:, i].log_softmax(0)[i] for i in range(n)) / (2 * n)
    found = sum(int(likeness[i].argmax()) == i for i in range(n)) / n
    mean = torch.stack(words).mean()
    total = mean + torch.stack(pairs).mean() + 0.3 * contrast
    return total, (float(mean.detach()), right / len(words), told / len(pairs), found)


def each(module: hub.Module, encoded: Encoded) -> list[tuple[torch.Tensor, int]]:
    from nlphub.data.batching import pack
    from nlphub.nn.encoder import to_tensors

    rows = [(to_tensors(pack(encoded, np.array([row])), module.device), int(encoded.starts[row])) for row in range(len(encoded))]
    return [(module.encoder(packed), begin) for packed, begin in rows]


def test_pairs_need_words_for_their_answers(tokenizer: Any) -> None:
    class Poor:
        unknown_id = 1

        def encode(self, texts: Any) -> Encoded:
            found = tokenizer.encode(texts)
            return Encoded(np.where(found.ids == tokenizer.encode(["是"]).ids[1], 1, found.ids), *(None,) * 2, found.starts, None)  # type: ignore[arg-type]

    with pytest.raises(InputError, match=r"use train\.pairs=0"):
        Lessons(Poor(), PretrainSettings(steps=1, pairs=0.5))  # type: ignore[arg-type]


def test_something_is_left_as_it_is() -> None:
    with pytest.raises(ValidationError, match=r"pairs=0\.6 and views=0\.4 leave no sequence as it is"):
        PretrainSettings(steps=1, pairs=0.6, views=0.4)


def test_long_words_are_those_of_two_tokens_or_more() -> None:
    assert long_words([[[[1], [2, 3]]], [[[4, 5, 6]], [[7]]]]) == [[2, 3], [4, 5, 6]]
