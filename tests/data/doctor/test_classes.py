"""Labels: written in several ways, alone, unseen in training, too few examples, too many."""

from collections.abc import Callable

from nlphub.data.doctor import Limits, examine
from nlphub.data.examples import Examples

Make = Callable[..., Examples]


def notes(check: str, splits: dict[str, Examples], **limits: float) -> list[str]:
    found = examine(splits, only=[check], limits=Limits(**limits))  # type: ignore[arg-type]
    return [case.note for finding in found for case in finding.cases]


def test_labels_that_look_like_one_are_named_with_their_counts(examples: Make) -> None:
    part = examples([("a", "退货"), ("b", "退货"), ("c", "退 貨"), ("d", "ATM"), ("e", "ＡＴＭ"), ("f", "其他")])
    assert notes("labels", {"train": part}) == [
        "'退货' (2), '退 貨' (1) look like one label",
        "'ATM' (1), 'ＡＴＭ' (1) look like one label",
    ]


def test_labels_of_all_splits_are_compared(examples: Make) -> None:
    assert len(notes("labels", {"train": examples([("a", "退货"), ("b", "x")]), "dev": examples([("c", "退貨")])})) == 1


def test_a_single_label_and_one_that_cannot_be_shown(examples: Make) -> None:
    assert notes("labels", {"train": examples([("a", "退\u200b货")])}) == [
        "'退\\u200b货' holds characters that cannot be shown",
        "'退\\u200b货' is the only label; a classifier needs two or more",
    ]


def test_labels_that_training_never_sees(examples: Make) -> None:
    train, dev = examples([("a", "x"), ("b", "y")]), examples([("c", "z"), ("d", "z"), ("e", "x")])
    assert notes("unseen", {"train": train, "dev": dev}) == ["z: 2 examples in dev, none in train"]
    assert notes("unseen", {"train": train}) == []


def test_labels_with_few_examples_the_fewest_first(examples: Make) -> None:
    part = examples([(str(number), label) for number, label in enumerate("aaaabbbcc")])
    assert notes("few", {"train": part}, at_least=4) == ["c: 2 examples", "b: 3 examples"]
    assert notes("few", {"train": part}, at_least=0) == []


def test_imbalance_is_between_the_largest_and_the_smallest_label(examples: Make) -> None:
    part = examples([(str(number), label) for number, label in enumerate("a" * 20 + "bb" + "c")])
    assert notes("imbalance", {"train": part}, imbalance=19) == ["a: 20 examples; c: 1"]
    assert notes("imbalance", {"train": part}, imbalance=20) == []
    assert notes("imbalance", {"train": examples([("a", "x")])}, imbalance=1) == []
