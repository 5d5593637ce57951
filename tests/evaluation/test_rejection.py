"""Curves and thresholds against trying every threshold."""

import math

import numpy as np
import pytest

from nlphub.errors import InputError
from nlphub.evaluation.rejection import Aim, auroc, choose_threshold, false_positive_rate, risk_coverage


def answers(seed: int, size: int = 120, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, some of them equal, and right answers, more often among the confident."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(size=size)
    right = generator.uniform(size=size) < 0.3 + 0.7 * confidence
    return (confidence.round(2) if ties else confidence), right


def accepted(confidence: np.ndarray, threshold: float | None) -> np.ndarray:
    return np.ones(len(confidence), np.bool_) if threshold is None else confidence >= threshold


@pytest.mark.parametrize("seed", range(5))
def test_the_area_and_the_false_positives_are_those_of_scikit_learn(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    inside, outside = answers(seed)[0] + 0.2, answers(seed + 100, 70)[0]
    truth, scores = np.r_[np.ones(len(inside)), np.zeros(len(outside))], np.r_[inside, outside]
    assert auroc(inside, outside) == pytest.approx(sklearn.roc_auc_score(truth, scores))
    false, true, _ = sklearn.roc_curve(truth, scores, drop_intermediate=False)
    assert false_positive_rate(inside, outside) == pytest.approx(false[np.flatnonzero(true >= 0.95)[0]])


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_equals_trying_every_threshold(seed: int) -> None:
    confidence, right = answers(seed)
    curve = risk_coverage(confidence, right)
    levels = sorted(set(confidence.tolist()), reverse=True)
    for coverage, risk, level in zip(curve.coverage, curve.risk, levels, strict=True):
        passed = confidence >= level
        assert coverage == pytest.approx(passed.mean())
        assert risk == pytest.approx((~right[passed]).mean())
    assert curve.coverage[-1] == 1.0


def test_the_area_under_the_curve_is_small_when_the_confident_are_right() -> None:
    confidence = np.linspace(0, 1, 10)
    good, bad = risk_coverage(confidence, confidence >= 0.5).area, risk_coverage(confidence, confidence < 0.5).area
    assert good == pytest.approx(sum(max(0, k - 5) / k for k in range(1, 11)) / 10)
    assert bad > good


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_a_precision_is_kept_with_the_most_answers(seed: int, level: float) -> None:
    confidence, right = answers(seed)
    found = choose_threshold(confidence, right, Aim("precision", level))

    def risk(passed: np.ndarray) -> float:
        return float(((~right[passed]).sum() + 1) / (passed.sum() + 1))

    fitting = [passed.sum() for level_ in set(confidence.tolist()) if risk(passed := confidence >= level_) <= 1 - level + 1e-12]
    assert found.reached == bool(fitting)
    if fitting:
        assert accepted(confidence, found.value).sum() == max(fitting)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
def test_a_coverage_is_kept_on_the_examples_and_just_kept(seed: int, level: float) -> None:
    confidence, right = answers(seed, ties=False)
    found = choose_threshold(confidence, right, Aim("coverage", level))
    passed = accepted(confidence, found.value).sum()
    assert passed == len(confidence) - math.floor((len(confidence) + 1) * (1 - level) + 1e-9)
    assert found.reached


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_out_of_scope_texts_are_rejected_as_often_as_wanted(level: float) -> None:
    confidence, right = answers(0)
    outside = answers(1, 99, ties=False)[0]
    found = choose_threshold(confidence, right, Aim("rejection", level), outside=outside)
    assert (~accepted(outside, found.value)).mean() == pytest.approx(level, abs=0.011)


def test_more_than_the_examples_can_promise_is_said_and_the_nearest_is_taken() -> None:
    confidence, right = np.array([0.9, 0.8, 0.7]), np.array([True, True, False])
    found = choose_threshold(confidence, right, Aim("precision", 0.95))
    assert not found.reached, "two right answers do not promise 95 %"
    assert found.value == pytest.approx(0.75)
    unreachable = choose_threshold(confidence, right, Aim("rejection", 0.9), outside=np.array([0.5]))
    assert not unreachable.reached
    assert unreachable.value > 0.5


def test_answers_that_are_all_right_are_all_accepted() -> None:
    confidence = np.linspace(0.5, 1, 100)
    assert choose_threshold(confidence, np.ones(100, np.bool_), Aim("precision", 0.95)).value is None


def test_thresholds_lie_between_examples() -> None:
    confidence, right = answers(3)
    value = choose_threshold(confidence, right, Aim("precision", 0.8)).value
    assert value is not None
    assert np.abs(confidence - value).min() > 1e-3, "so that two routes that differ by a rounding decide alike"


@pytest.mark.parametrize(("kind", "level"), [("recall", 0.9), ("precision", 1.0), ("coverage", 0.0)])
def test_what_is_no_aim_is_refused(kind: str, level: float) -> None:
    with pytest.raises(InputError, match="an aim is precision, coverage, rejection"):
        Aim(kind, level)


def test_missing_examples_are_refused() -> None:
    nothing = np.zeros(0)
    with pytest.raises(InputError, match="without examples"):
        choose_threshold(nothing, nothing.astype(np.bool_), Aim("coverage", 0.9))
    with pytest.raises(InputError, match="needs out-of-scope texts"):
        choose_threshold(np.ones(3), np.ones(3, np.bool_), Aim("rejection", 0.9))
    assert str(Aim("precision", 0.95)) == "precision >= 0.95"
