"""Scores of sets of labels equal scikit-learn's, and thresholds are the best ones."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from nlphub.errors import InputError
from nlphub.evaluation.labelsets import RARE, THRESHOLD, choose_thresholds, indicators, label_set_report

LABELS = ("a", "b", "c", "d", "e")


def sets(table: np.ndarray) -> list[list[str]]:
    return [[label for label, there in zip(LABELS, row, strict=True) if there] for row in table.tolist()]


def many(oracle: Callable[..., Any], true: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Scikit-learn's precision, recall and F1 ``(3, columns)`` of each column by itself."""
    return np.array(oracle(true, given, zero_division=0)[:3])


def test_scores_are_scikit_learns_on_ten_thousand_random_inputs() -> None:
    """Scikit-learn scores the columns of a table one by one: so many inputs stand beside one another, by their labels or flattened."""
    generator, checked, oracle = np.random.default_rng(0), 0, precision_recall_fscore_support
    for size in range(1, 9):
        often = generator.random((2, 1250, 1, len(LABELS))) * generator.random((2, 1250, 1, 1))  # some labels occur nowhere
        true, given = (generator.random((1250, size, len(LABELS))) < share for share in often)
        ours = [label_set_report(sets(one), sets(other), LABELS) for one, other in zip(true, given, strict=True)]
        beside = [np.moveaxis(table, 0, 1).reshape(size, -1) for table in (true, given)]
        each = many(oracle, *beside).reshape(3, 1250, len(LABELS))
        flat = many(oracle, *(table.reshape(1250, -1).T for table in (true, given)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of inputs without any label
            macro = np.nan_to_num(np.nanmean(f1_score(*beside, average=None, zero_division=np.nan).reshape(1250, -1), axis=1))
        np.testing.assert_allclose([[one.precision, one.recall, one.f1] for one in ours], flat.T, atol=1e-12)
        np.testing.assert_allclose([one.macro_f1 for one in ours], macro, atol=1e-12)
        np.testing.assert_allclose([[row.f1 for row in one.per_label] for one in ours], each[2], atol=1e-12)
        np.testing.assert_allclose([[row.recall for row in one.per_label] for one in ours], each[1], atol=1e-12)
        np.testing.assert_allclose([[row.precision for row in one.per_label] for one in ours], each[0], atol=1e-12)
        assert [one.subset_accuracy for one in ours] == [
            float(np.mean([(a == b).all() for a, b in zip(*two, strict=True)])) for two in zip(true, given, strict=True)
        ]
        np.testing.assert_array_equal([[row.support for row in one.per_label] for one in ours], true.sum(axis=1))
        exact = [accuracy_score(*two) for two in zip(true[::13], given[::13], strict=True)]  # a millisecond each
        np.testing.assert_allclose([one.subset_accuracy for one in ours[::13]], exact)
        checked += len(ours)
    assert checked == 10_000


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
