"""Scores equal scikit-learn's, also where labels are absent and nothing can be divided."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle  # type: ignore[import-untyped]

from nlphub.errors import InputError
from nlphub.evaluation.metrics import classification_report, confusion_matrix

LABELS = ["查余额", "挂失", "转账", "a", "b"]
ANSWERS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=60)


def columns(answers: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [truth for truth, _ in answers], [predicted for _, predicted in answers]


@given(answers=ANSWERS)
def test_scores_equal_scikit_learns(answers: list[tuple[str, str]]) -> None:
    truth, predicted = columns(answers)
    ours = classification_report(truth, predicted, LABELS)
    rows = oracle.precision_recall_fscore_support(truth, predicted, labels=LABELS, zero_division=0)
    for row, expected in zip(ours.per_label, zip(*rows, strict=True), strict=True):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(expected)
    assert ours.confusion.tolist() == oracle.confusion_matrix(truth, predicted, labels=LABELS).tolist()
    assert ours.accuracy == pytest.approx(oracle.accuracy_score(truth, predicted))
    for average, found in (
        ("macro", (ours.macro_precision, ours.macro_recall, ours.macro_f1)),
        ("weighted", (ours.weighted_precision, ours.weighted_recall, ours.weighted_f1)),
    ):
        expected = oracle.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)[:3]
        assert found == pytest.approx(expected)


def test_scores_of_ten_thousand_random_inputs_are_scikit_learns() -> None:
    """Each input has labels of its own name, so that scikit-learn scores all of them in one call."""
    generator, places = np.random.default_rng(0), np.arange(10_000)
    sizes = generator.integers(1, 13, 10_000)
    truth, predicted = (generator.integers(0, generator.integers(1, 6, 10_000).repeat(sizes)) for _ in range(2))
    own = places.repeat(sizes) * 5
    names = np.arange(50_000)
    expected = oracle.precision_recall_fscore_support(truth + own, predicted + own, labels=names, zero_division=0)
    starts = np.cumsum(sizes)[:-1]
    parts = zip(np.split(truth, starts), np.split(predicted, starts), strict=True)
    reports = [classification_report([LABELS[a] for a in one], [LABELS[b] for b in other], LABELS) for one, other in parts]
    rows = [(row.precision, row.recall, row.f1, row.support) for report in reports for row in report.per_label]
    np.testing.assert_allclose(rows, np.array(expected).T, atol=1e-12)
    right = np.add.reduceat(truth == predicted, np.append(0, starts))
    np.testing.assert_allclose([report.accuracy for report in reports], right / sizes)
    f1 = np.array(expected[2]).reshape(10_000, 5)
    there = np.zeros(50_000, np.bool_)
    there[np.concatenate([truth + own, predicted + own])] = True
    there = there.reshape(10_000, 5)
    np.testing.assert_allclose([report.macro_f1 for report in reports], (f1 * there).sum(1) / there.sum(1), atol=1e-12)


@given(answers=ANSWERS)
def test_the_confusion_matrix_equals_the_slow_twin(answers: list[tuple[str, str]]) -> None:
    truth, predicted = columns(answers)
    slow = [[answers.count((row, column)) for column in LABELS] for row in LABELS]
    fast = confusion_matrix(truth, predicted, LABELS)
    assert fast.dtype == np.int64
    assert fast.tolist() == slow


def test_a_label_that_occurs_nowhere_is_listed_and_does_not_count_in_the_macro_mean() -> None:
    report = classification_report(["a", "b"], ["a", "b"], ["a", "b", "c"])
    assert (report.macro_f1, report.accuracy, report.labels, report.support) == (1.0, 1.0, ("a", "b", "c"), 2)
    assert (report.per_label[2].f1, report.per_label[2].support) == (0.0, 0)


def test_the_dictionary_is_json_and_holds_all_scores() -> None:
    report = classification_report(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    facts = json.loads(json.dumps(report.as_dict()))
    assert facts["accuracy"] == pytest.approx(2 / 3)
    assert facts["per_label"]["a"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert facts["confusion"] == {"labels": ["a", "b"], "rows_true_columns_predicted": [[1, 1], [0, 1]]}
    assert facts["macro"]["f1"] == pytest.approx(2 / 3)


def test_the_table_is_readable_and_lines_up() -> None:
    table = classification_report(["查余额", "挂失", "挂失"], ["查余额", "查余额", "挂失"], ["查余额", "挂失"]).table()
    assert table.split("\n") == [
        "label         precision  recall      f1  support",
        "查余额           0.5000  1.0000  0.6667        1",
        "挂失             1.0000  0.5000  0.6667        2",
        "accuracy                         0.6667        3",
        "macro avg        0.7500  0.7500  0.6667        3",
        "weighted avg     0.8333  0.6667  0.6667        3",
    ]


def test_what_cannot_be_scored_is_refused_with_every_reason() -> None:
    with pytest.raises(InputError) as raised:
        classification_report([], ["x", "a"], ["a", "a"])
    assert raised.value.problems == (
        "labels holds duplicates: ['a']",
        "0 true labels, but 2 predictions",
        "there are no examples to score",
        "predicted holds 'x', which is not one of the labels",
    )
