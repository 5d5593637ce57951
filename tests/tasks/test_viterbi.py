"""Decoding with transitions against all paths, one by one."""

import itertools

import numpy as np
import pytest

from nlphub.tasks.viterbi import Transitions, allowed, best_tags, is_table, marginals

TAGS = 5  # O, B-1, I-1, B-2, I-2


def paths(length: int) -> list[tuple[int, ...]]:
    """All paths that are in order."""
    follows, begins = allowed(TAGS)
    every = itertools.product(range(TAGS), repeat=length)
    return [path for path in every if begins[path[0]] and all(follows[pair] for pair in itertools.pairwise(path))]


def score(path: tuple[int, ...], rows: np.ndarray, added: Transitions) -> float:
    total = added.first[path[0]] + added.last[path[-1]] + sum(row[tag] for row, tag in zip(rows, path, strict=True))
    return float(total + sum(added.pairs[pair] for pair in itertools.pairwise(path)))


@pytest.fixture(params=range(12))
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, Transitions]:
    generator = np.random.default_rng(request.param)
    lengths = generator.integers(0, 5, size=5)
    added = Transitions(generator.normal(size=(TAGS, TAGS)), generator.normal(size=TAGS), generator.normal(size=TAGS))
    return generator.normal(size=(int(lengths.sum()), TAGS)), lengths, added


def test_the_best_path_of_a_crf_is_the_best_of_all_paths(case: tuple[np.ndarray, np.ndarray, Transitions]) -> None:
    scores, lengths, added = case
    found = best_tags(scores, lengths, added)
    for first, length in zip(np.cumsum(lengths) - lengths, lengths, strict=True):
        if length:
            rows = scores[first : first + length]
            assert tuple(found[first : first + length]) == max(paths(int(length)), key=lambda path: score(path, rows, added))


def test_marginals_are_the_shares_of_all_paths(case: tuple[np.ndarray, np.ndarray, Transitions]) -> None:
    scores, lengths, added = case
    found = marginals(scores, lengths, added)
    for first, length in zip(np.cumsum(lengths) - lengths, lengths, strict=True):
        expected = np.zeros((int(length), TAGS))
        rows = scores[first : first + length]
        for path in paths(int(length)) if length else []:
            expected[np.arange(length), path] += np.exp(score(path, rows, added))
        np.testing.assert_allclose(found[first : first + length], expected / expected.sum(axis=1, keepdims=True), atol=1e-12)


def test_without_scores_of_transitions_only_the_order_counts(case: tuple[np.ndarray, np.ndarray, Transitions]) -> None:
    scores, lengths, _ = case
    np.testing.assert_array_equal(best_tags(scores, lengths), best_tags(scores, lengths, Transitions.none(TAGS)))


def test_texts_decode_alike_alone_and_together(case: tuple[np.ndarray, np.ndarray, Transitions]) -> None:
    scores, lengths, added = case
    edges = np.concatenate([[0], np.cumsum(lengths)])
    alone = [best_tags(scores[a:b], np.array([b - a]), added) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(best_tags(scores, lengths, added), np.concatenate(alone))


def test_very_unlikely_scores_stay_finite() -> None:
    scores = np.random.default_rng(0).normal(size=(300, TAGS)) * 1e4
    found = marginals(scores, np.array([300]), Transitions.none(TAGS))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


@pytest.mark.parametrize("value", [[1.0, "x"], [1.0], [1.0, float("nan")], [1.0, True], None, [[1.0], [2.0]]], ids=str)
def test_what_is_no_table_of_numbers_is_seen(value: object) -> None:
    assert not is_table(value, (2,))
    assert is_table([1, 2.5], (2,))
