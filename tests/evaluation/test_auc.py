"""The area under the curve equals scikit-learn's, ties included."""

import numpy as np
import pytest
from scipy.stats import rankdata  # type: ignore[import-untyped]
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from nlphub.errors import InputError
from nlphub.evaluation.auc import area_under_curve


def by_ranks(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Of every column, by the sum of the ranks of its positives (Mann and Whitney, 1947)."""
    hits = positive.sum(0)
    return ((rankdata(scores, axis=0) * positive).sum(0) - hits * (hits + 1) / 2) / (hits * (len(positive) - hits))


def test_it_is_scikit_learns_and_that_of_ranks_on_random_inputs_with_ties() -> None:
    generator = np.random.default_rng(0)
    for levels, size in ((3, 8), (9, 20), (10**9, 20), (40, 50)):  # 2,500 inputs of each
        positive = generator.random((size, 2_500)) < generator.uniform(0.1, 0.9, 2_500)
        positive[0], positive[1] = True, False  # one of each at least
        scores = generator.integers(0, levels, positive.shape) / levels
        found = [area_under_curve(*column) for column in zip(scores.T, positive.T, strict=True)]
        np.testing.assert_allclose(found, by_ranks(scores, positive), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found, roc_auc_score(positive, scores, average=None), rtol=0, atol=1e-12)
    many, positive = generator.integers(0, 500, 10_000) / 500, generator.random(10_000) < 0.3
    assert area_under_curve(many, positive) == pytest.approx(roc_auc_score(positive, many), abs=1e-12)


def test_it_is_the_share_of_pairs_in_order() -> None:
    positive = np.array([True, True, False, False])
    assert area_under_curve(np.array([0.9, 0.8, 0.2, 0.1]), positive) == 1.0
    assert area_under_curve(np.array([0.1, 0.2, 0.8, 0.9]), positive) == 0.0
    assert area_under_curve(np.full(4, 0.5), positive) == 0.5
    assert area_under_curve(np.array([0.7, 0.2, 0.2, 0.1]), positive) == 3.5 / 4


@pytest.mark.parametrize(("scores", "positive", "complaint"), [
    ([0.1, 0.2], [True, True], "2 of 2 examples are positive"),
    ([], [], "0 of 0"),
    ([0.1], [True, False], r"\(1,\) scores"),
    ([float("nan"), 0.2], [True, False], "1 scores are NaN"),
])  # fmt: skip
def test_what_has_no_area_is_refused(scores: list[float], positive: list[bool], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        area_under_curve(np.array(scores), np.array(positive, np.bool_))
