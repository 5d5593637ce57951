"""Scores of numbers equal scipy's."""

import warnings

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from nlphub.errors import InputError
from nlphub.evaluation.values import ranks, value_report


def random_cases(generator: np.random.Generator, size: int) -> np.ndarray:
    """``(1000, size)`` numbers, some with many ties, of any magnitude; some rows are constant."""
    numbers = generator.normal(size=(1000, size)) * 10.0 ** generator.integers(-6, 7, (1000, 1))
    coarse = np.round(generator.normal(size=(1000, size)), 0) + generator.integers(0, 3, (1000, 1))
    return np.where(generator.random((1000, 1)) < 0.5, numbers, coarse)


def test_correlations_are_scipys_on_ten_thousand_random_inputs() -> None:
    generator, checked = np.random.default_rng(0), 0
    for size in range(2, 12):
        true, found = random_cases(generator, size), random_cases(generator, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns of constant numbers
            places = rankdata(true, axis=1), rankdata(found, axis=1)
            straight, ranked = pearsonr(true, found, axis=1).statistic, pearsonr(*places, axis=1).statistic
            direct = [spearmanr(true[row], found[row]).statistic for row in range(20)]
        np.testing.assert_allclose(ranked[:20], direct, atol=1e-9, err_msg="Spearman's is Pearson's of the ranks")
        ours = [value_report(a, b) for a, b in zip(true.tolist(), found.tolist(), strict=True)]
        np.testing.assert_allclose([scores.pearson for scores in ours], np.nan_to_num(straight), atol=1e-9)
        np.testing.assert_allclose([scores.spearman for scores in ours], np.nan_to_num(ranked), atol=1e-9)
        np.testing.assert_allclose([scores.rmse for scores in ours], np.sqrt(((true - found) ** 2).mean(axis=1)))
        assert np.array_equal([ranks(row) for row in true], places[0])
        checked += len(ours)
    assert checked == 10_000


def test_perfect_and_inverse_estimates() -> None:
    up, down = value_report([1, 2, 4], [1, 2, 4]), value_report([1, 2, 4], [3, 2, 1])
    assert (up.pearson, up.spearman, up.rmse, up.mae) == pytest.approx((1.0, 1.0, 0.0, 0.0))
    assert down.spearman == pytest.approx(-1.0)
    assert up.score("spearman") == up.headlines["spearman"]
    assert "rmse" in up.table()


def test_numbers_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="1 estimated values cannot be scored against 2"):
        value_report([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="cannot be scored"):
        value_report([], [])
