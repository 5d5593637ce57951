"""Confident learning: the joint against a loop, suspects against cleanlab, and what cannot be judged."""

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.evaluation.label_errors import RANKINGS, RULES, confident_joint, find_label_errors, label_scores

THEIRS = {"noise_rate": "prune_by_noise_rate", "class": "prune_by_class", "both": "both", "joint": "confident_learning"}
Case = tuple[NDArray[Any], NDArray[np.int64]]


@pytest.fixture(autouse=True)
def stable_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """cleanlab sorts with numpy's default, whose order of equal values depends on the processor; ours is stable. So both are."""
    monkeypatch.setattr(np, "argsort", functools.partial(np.argsort, kind="stable"))


def noisy(seed: int, *, examples: int = 300, labels: int = 6, sharpness: float = 2.0, flipped: float = 0.2) -> Case:
    """Probabilities of a fair classifier, and given labels of which some are wrong."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, labels, examples)
    logits = generator.normal(size=(examples, labels)) + sharpness * np.eye(labels)[truth]
    given = np.where(generator.random(examples) < flipped, generator.integers(0, labels, examples), truth)
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=1, keepdims=True), given


def uneven(seed: int) -> Case:
    """Labels of very different sizes: one, two, and many examples; one label has none."""
    generator = np.random.default_rng(seed)
    given = np.array([0] * 120 + [1] * 40 + [2] * 9 + [3] * 2 + [4])
    return generator.dirichlet(np.full(6, 0.4), len(given)), given


def coarse(seed: int) -> Case:
    """Probabilities in quarters, which are full of ties."""
    values, given = noisy(seed, examples=200, labels=4)
    rounded = np.maximum(np.round(values * 4), 0.25)
    return rounded / rounded.sum(axis=1, keepdims=True), given


CASES = {
    **{f"noisy {seed}": noisy(seed) for seed in range(4)},
    "pure noise": noisy(7, sharpness=0.0, flipped=1.0),
    "no noise": noisy(8, sharpness=6.0, flipped=0.0),
    "two labels": noisy(9, labels=2),
    "many labels": noisy(10, examples=400, labels=60),
    "float32": (noisy(11)[0].astype(np.float32), noisy(11)[1]),
    **{f"uneven {seed}": uneven(seed) for seed in range(4)},
    **{f"coarse {seed}": coarse(seed) for seed in range(4)},
    "uniform": (np.full((20, 4), 0.25), np.arange(20) % 4),
    "one each": (np.eye(3)[[1, 2, 0]], np.arange(3)),
    "all swapped": (np.eye(2)[[1] * 10 + [0] * 10] * 0.9 + 0.05, np.array([0] * 10 + [1] * 10)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@cases
def test_the_joint_is_that_of_a_loop_over_the_examples(case: Case) -> None:
    values, given = case[0].astype(np.float64), case[1]
    labels = values.shape[1]
    joint = confident_joint(*case)
    counts, elsewhere = np.zeros((labels, labels), int), []
    for row, label in zip(values, given.tolist(), strict=True):
        reached = [other for other in range(labels) if (given == other).any() and row[other] >= values[given == other, other].mean() - 1e-6]
        guess = None if not reached else reached[0] if len(reached) == 1 else int(row.argmax())
        elsewhere.append(guess is not None and guess != label)
        if guess is not None:
            counts[label, guess] += 1
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    assert (joint.counts == counts).all()
    assert joint.elsewhere.tolist() == elsewhere
    assert np.isinf(joint.thresholds).tolist() == [not (given == label).any() for label in range(labels)]


@cases
def test_the_calibrated_joint_keeps_the_number_of_each_given_label(case: Case) -> None:
    joint = confident_joint(*case).calibrated
    assert joint.sum(axis=1).tolist() == np.bincount(case[1], minlength=case[0].shape[1]).tolist()
    assert (joint >= 0).all()


@cases
def test_the_joint_is_cleanlabs(case: Case) -> None:
    count = pytest.importorskip("cleanlab.count", reason="cleanlab is the oracle: extra 'dev'")
    values, given = case[0].astype(np.float64), case[1]
    joint = confident_joint(values, given)
    assert (joint.counts == count.compute_confident_joint(given, values, calibrate=False)).all()
    assert (joint.calibrated == count.compute_confident_joint(given, values)).all()
    known = np.isfinite(joint.thresholds)
    assert joint.thresholds[known] == pytest.approx(count.get_confident_thresholds(given, values)[known])


@cases
@pytest.mark.parametrize("by", RULES)
@pytest.mark.parametrize("ranked_by", RANKINGS)
def test_suspects_and_their_order_are_cleanlabs(case: Case, by: str, ranked_by: str) -> None:
    oracle = pytest.importorskip("cleanlab.filter", reason="cleanlab is the oracle: extra 'dev'")
    values, given = case[0].astype(np.float64), case[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels with one example
        theirs = oracle.find_label_issues(
            given, values, filter_by=THEIRS[by], return_indices_ranked_by=ranked_by.replace("normalised", "normalized"), n_jobs=1
        )
    assert find_label_errors(*case, by=by, ranked_by=ranked_by).tolist() == theirs.tolist()


@pytest.mark.parametrize("ranked_by", RANKINGS)
def test_scores_are_those_of_a_loop(ranked_by: str) -> None:
    values, given = noisy(0, examples=50)
    scores = label_scores(values, given, ranked_by=ranked_by)
    for row, label, score in zip(values.tolist(), given.tolist(), scores.tolist(), strict=True):
        others = [value for other, value in enumerate(row) if other != label]
        wanted = row[label] if ranked_by == "self_confidence" else (row[label] - max(others) + 1) / 2
        assert score == pytest.approx(wanted)


def test_flipped_labels_are_found() -> None:
    values, truth = noisy(3, examples=600, sharpness=5.0, flipped=0.0)
    given = truth.copy()
    given[:60] = (given[:60] + 1) % 6
    found = set(find_label_errors(values, given).tolist())
    assert len(found & set(range(60))) > 50
    assert len(found) < 80


@pytest.mark.parametrize("by", RULES)
def test_the_most_probable_label_is_never_a_suspect(by: str) -> None:
    values, given = noisy(5)
    assert not (values[find_label_errors(values, given, by=by)].argmax(axis=1) == given[find_label_errors(values, given, by=by)]).any()
    assert not len(find_label_errors(np.full((6, 3), 1 / 3), np.arange(6) % 3, by=by))


@pytest.mark.parametrize("by", ["noise_rate", "class", "both"])
def test_the_only_example_of_a_label_is_spared(by: str) -> None:
    values = np.array([[0.9, 0.05, 0.05]] * 4 + [[0.05, 0.9, 0.05]] * 4 + [[0.98, 0.01, 0.01]])
    assert 8 not in find_label_errors(values, np.array([0] * 4 + [1] * 4 + [2]), by=by)


GOOD = np.array([[0.5, 0.5], [0.25, 0.75]])


@pytest.mark.parametrize(
    ("values", "given", "said"),
    [
        (np.empty((0, 3)), np.empty(0, np.int64), "no examples"),
        (GOOD[:, :1], np.array([0, 0]), "two labels or more"),
        (GOOD[0], np.array([0, 1]), "two labels or more"),
        (np.array([[1, 0], [0, 1]]), np.array([0, 1]), "as floats"),
        (GOOD, np.array([0]), "one number for each of the 2 rows"),
        (GOOD, np.array([0.0, 1.0]), "one number for each"),
        (GOOD, np.array([0, 2]), "target 1 is 2, and the labels are numbered 0 to 1"),
        (GOOD, np.array([-1, 0]), "target 0 is -1"),
        (GOOD, np.array([1, 1]), "with one label in use"),
        (np.array([[0.5, 0.5], [3.0, -1.0]]), np.array([0, 1]), "row 1 holds numbers that are no probabilities"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), np.array([0, 1]), "row 1 holds numbers"),
        (np.array([[0.5, 0.5], [0.3, 0.3]]), np.array([0, 1]), "row 1 add up to 0.6 instead of 1 (1 such rows)"),
    ],
)
def test_what_cannot_be_judged_is_refused(values: NDArray[Any], given: NDArray[Any], said: str) -> None:
    for judge in (confident_joint, find_label_errors, label_scores):
        with pytest.raises(InputError) as wrong:
            judge(values, given)
        assert said in str(wrong.value)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(InputError) as wrong:
        find_label_errors(GOOD, np.array([0, 2]), by="magic", ranked_by="taste")
    assert len(wrong.value.problems) == 3
    assert "noise_rate, class, both, joint" in str(wrong.value)
