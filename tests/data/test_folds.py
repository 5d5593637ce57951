"""Folds: every label in every fold, nearly equal texts together, the same cut each time."""

from collections import Counter

import numpy as np
import pytest

import nlphub as hub
from nlphub.data.folds import fold_numbers, text_groups
from nlphub.errors import DataError, InputError

CHARACTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]


def unlike(count: int, *, seed: int = 0, labels: int = 4) -> list[tuple[str, str]]:
    """Random texts, none like another, with labels of very different sizes."""
    generator = np.random.default_rng(seed)
    names = generator.choice(labels, count, p=np.arange(1, labels + 1) / sum(range(1, labels + 1)))
    return [("".join(generator.choice(CHARACTERS, 12)), f"意图{name}") for name in names]


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_and_sizes_differ_by_little(folds: int, seed: int) -> None:
    examples = hub.Examples.of(unlike(203, seed=seed))
    numbers = fold_numbers(examples, folds=folds, seed=seed)
    counts = Counter(zip(examples.labels, numbers, strict=True))
    for label in examples.label_names:
        sizes = [counts[label, fold] for fold in range(folds)]
        assert max(sizes) - min(sizes) <= 1
    sizes = [numbers.count(fold) for fold in range(folds)]
    assert max(sizes) - min(sizes) <= 1


def test_the_cut_follows_seed_and_content_not_the_order_of_the_file() -> None:
    rows = unlike(80)
    cut = dict(zip(rows, fold_numbers(hub.Examples.of(rows), folds=4, seed=0), strict=True))
    backwards = rows[::-1]
    assert cut == dict(zip(backwards, fold_numbers(hub.Examples.of(backwards), folds=4, seed=0), strict=True))
    assert cut != dict(zip(rows, fold_numbers(hub.Examples.of(rows), folds=4, seed=1), strict=True))


def test_equal_and_nearly_equal_texts_are_in_one_fold_whatever_their_labels() -> None:
    rows = unlike(60)
    copies = [(f"{text}。", "意图0") for text, _ in rows[:10]] + [(text[:-1], label) for text, label in rows[10:20]] + rows[20:25]
    examples = hub.Examples.of(rows + copies)
    for seed in range(3):
        numbers = fold_numbers(examples, folds=5, seed=seed)
        assert numbers[60:] == numbers[:25]
    assert sorted(map(len, text_groups(examples))) == [1] * 35 + [2] * 25


def test_pairs_are_alike_only_with_both_texts() -> None:
    (first, _), *others = unlike(6)
    rows = [hub.Example(first, "是", second) for second, _ in others]
    assert sorted(map(len, text_groups(hub.Examples([*rows, rows[0]])))) == [1, 1, 1, 1, 2]


def test_a_label_whose_texts_are_all_alike_is_still_in_every_training() -> None:
    rows = [*unlike(40), *((f"转人工{end}", "转人工") for end in ("", "。", "！", "？", "吧"))]
    numbers = fold_numbers(hub.Examples.of(rows), folds=5, seed=0)
    assert sorted(numbers[40:]) == [0, 1, 2, 3, 4]


def test_labels_with_few_examples_and_texts_without_characters_have_a_fold_too() -> None:
    examples = hub.Examples([hub.Example("", "空"), hub.Example("…", "空"), hub.Example("甲乙丙", "一"), hub.Example("丁戊己", "二")])
    assert sorted(fold_numbers(examples, folds=4, seed=0)) == [0, 1, 2, 3]


@pytest.mark.parametrize("folds", [-1, 0, 1, 5])
def test_folds_that_cannot_be_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match=f"folds={folds} is not possible with 4 examples"):
        fold_numbers(hub.Examples.of(unlike(4)), folds=folds, seed=0)


def test_labels_are_needed() -> None:
    with pytest.raises(DataError, match="label is missing"):
        fold_numbers(hub.Examples([hub.Example("甲"), hub.Example("乙", "一")]), folds=2, seed=0)
