"""``seq-cls`` between texts and logits: which forms of texts and pairs it takes."""

from pathlib import Path

import numpy as np
import pytest

from nlphub.data.examples import Examples
from nlphub.errors import DataError, InputError
from nlphub.tasks import task_named, task_of, trainable
from nlphub.tasks.predictions import best_columns
from nlphub.tasks.sequence import SequenceTask
from nlphub.text.tokenizers import load_tokenizer

TOKENIZER = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
TASK = SequenceTask()


def test_texts_and_pairs_are_told_apart() -> None:
    single = TASK.read(["甲乙", ["丙"]], TOKENIZER, max_length=16)
    assert (single.texts, single.pairs) == (["甲乙", "丙"], None)
    pairs = TASK.read([("甲乙", "丙"), ["丁", ""]], TOKENIZER, max_length=16)
    assert (pairs.texts, pairs.pairs) == (["甲乙", "丁"], ["丙", ""])
    assert pairs.encoded.types.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert TASK.read("甲", TOKENIZER, max_length=16).texts == ["甲"]


def test_long_pairs_are_cut_from_the_longer_text() -> None:
    encoded = TASK.read([("长" * 50, "短短"), ("长" * 50, "长" * 50)], TOKENIZER, max_length=13).encoded
    assert encoded.lengths.tolist() == [13, 13]
    assert [(encoded.types[a:b] == 1).sum() for a, b in ((0, 13), (13, 26))] == [3, 6], "second texts with their [SEP]"
    assert encoded.truncated.all()


@pytest.mark.parametrize("wrong", [["甲", ("乙", "丙")], [("甲", "乙", "丙")], [("甲", 3)], [("甲", None)]], ids=str)
def test_what_is_no_list_of_pairs_is_refused(wrong: list) -> None:
    with pytest.raises(InputError, match="a pair"):
        TASK.read(wrong, TOKENIZER, max_length=16)


def test_examples_with_one_text_among_others_with_two_are_refused() -> None:
    rows = Examples.of([{"text": "甲", "pair": "乙", "label": "是"}, {"text": "甲", "label": "否"}])
    with pytest.raises(DataError) as caught:
        TASK.check(rows)
    assert caught.value.problems == ("1 of 2 examples have no second text and the others have one, the first of them row 2",)
    with pytest.raises(DataError, match="no second text"):
        TASK.check(rows[:1], rows[1:])


def test_the_task_follows_from_the_examples() -> None:
    assert task_of(Examples.of([{"text": "甲", "spans": []}])) == "token-cls"
    assert task_of(Examples.of([("甲", "是")])) == "seq-cls"
    with pytest.raises(InputError, match="'choice' gives no answers"):
        task_named("choice")
    with pytest.raises(InputError, match="'choice' cannot be fine-tuned"):
        trainable("choice")


@pytest.mark.parametrize("shape", [(0, 100), (5, 100), (200, 50), (64, 1000), (3, 3)])
@pytest.mark.parametrize("top_k", [1, 3, 7])
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_the_best_of_many_labels_are_those_of_sorting_all(shape: tuple[int, int], top_k: int, levels: int) -> None:
    scores = np.random.default_rng(0).integers(0, levels, shape) / levels
    assert np.array_equal(best_columns(scores, top_k), np.argsort(-scores, axis=-1, kind="stable")[:, :top_k])
