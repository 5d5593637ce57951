"""Scores of sets of labels equal scikit-learn's, and thresholds are the best ones."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from nlphub.errors import InputError
from nlphub.evaluation.labelsets import RARE, THRESHOLD, choose_thresholds, indicators, label_set_report

LABELS = ("a", "b", "c", "d", "e")


def sets(table: np.ndarray) -> list[list[str]]:
    return [[label for label, there in zip(LABELS, row, strict=True) if there] for row in table.tolist()]


def random_case(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Texts with any number of labels, none among them; some labels may not occur at all."""
    shape, often = (int(generator.integers(1, 9)), len(LABELS)), generator.random((2, len(LABELS))) * generator.random()
    return tuple(generator.random(shape) < share for share in often)  # type: ignore[return-value]


def test_scores_are_scikit_learns_on_ten_thousand_random_inputs() -> None:
    generator, checked = np.random.default_rng(0), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what it cannot divide
        for number in range(10_000):
            true, given = random_case(generator)
            found = label_set_report(sets(true), sets(given), LABELS)
            whole, right = true.sum() + given.sum(), (true & given).sum()
            assert abs(found.subset_accuracy - (true == given).all(axis=1).mean()) < 1e-12
            assert abs(found.f1 - (2 * right / whole if whole else 0.0)) < 1e-12
            if number % 100:
                continue  # scikit-learn takes milliseconds for each; it checks every 100th, sums check all
            checked += 1
            assert found.subset_accuracy == pytest.approx(accuracy_score(true, given))
            micro = precision_recall_fscore_support(true, given, average="micro", zero_division=0)
            assert (found.precision, found.recall, found.f1) == pytest.approx(micro[:3])
            each = precision_recall_fscore_support(true, given, zero_division=0)
            for row, expected in zip(found.per_label, zip(*each, strict=True), strict=True):
                assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(expected)
            expected = f1_score(true, given, average="macro", zero_division=np.nan) if (true | given).any() else 0.0
            assert found.macro_f1 == pytest.approx(expected)
    assert checked == 100


def test_scores_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="2 texts cannot be scored against the true ones of 1"):
        label_set_report([["a"]], [[], []], LABELS)
    with pytest.raises(InputError, match="cannot be scored"):
        label_set_report([], [], LABELS)
    with pytest.raises(InputError, match="'x' is not one of the labels"):
        label_set_report([["x"]], [[]], LABELS)


def test_a_text_without_labels_is_right_when_it_gets_none() -> None:
    found = label_set_report([[], ["a"]], [[], []], LABELS)
    assert (found.subset_accuracy, found.f1, found.macro_f1) == (0.5, 0.0, 0.0)
    assert "all labels right" in found.table()


def slow_f1(probabilities: np.ndarray, true: np.ndarray, threshold: float) -> float:
    given = probabilities >= threshold
    return float(2 * (given & true).sum() / max(1, given.sum() + true.sum()))


def test_the_chosen_thresholds_have_the_best_f1_there_is() -> None:
    generator = np.random.default_rng(1)
    for _ in range(200):
        true = generator.random((40, 2)) < (0.4, 0.05)
        probabilities = np.round(np.clip(true * 0.3 + generator.random((40, 2)) * 0.7, 0, 1), int(generator.integers(1, 6)))
        chosen = choose_thresholds(probabilities, true, ("often", "seldom"))
        assert ("seldom" in chosen) == (true[:, 1].sum() >= RARE)
        for place, label in enumerate(("often", "seldom")):
            if label in chosen:
                every = {*probabilities[:, place].tolist(), THRESHOLD, 2.0}
                best = max(slow_f1(probabilities[:, place], true[:, place], threshold) for threshold in every)
                assert slow_f1(probabilities[:, place], true[:, place], chosen[label]) == best
                assert 0 <= chosen[label] <= 1


def test_of_equally_good_thresholds_the_one_in_the_middle_is_taken() -> None:
    probabilities, true = np.array([[0.9]] * 6 + [[0.1]] * 6), np.array([[True]] * 6 + [[False]] * 6)
    assert choose_thresholds(probabilities, true, ("a",)) == {"a": 0.5}
    close = np.array([[np.nextafter(0.3, 1)]] * 6 + [[0.3]] * 6)
    assert choose_thresholds(close, true, ("a",)) == {"a": float(np.nextafter(0.3, 1))}, "there is no middle"


def test_indicators_follow_the_order_of_the_labels() -> None:
    assert indicators([["c", "a"], []], ("a", "b", "c")).tolist() == [[True, False, True], [False, False, False]]
    with pytest.raises(KeyError):
        indicators([["x"]], ("a",))
