"""Scores of spans: equal to seqeval in its strict IOB2 mode."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.evaluation.spans import span_report

TAGS = ("O", "B-a", "I-a", "B-b", "I-b", "B-c", "I-c")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=12), min_size=1, max_size=6))
def test_scores_are_seqevals_strict_ones(rows: list[list[tuple[str, str]]]) -> None:
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    truth, found = ([_in_order([pair[side] for pair in row]) for row in rows] for side in (0, 1))
    assume(any("B" in "".join(tags) for tags in (*truth, *found)))  # without any span seqeval has no rows
    ours = span_report([_spans(tags) for tags in truth], [_spans(tags) for tags in found], ("a", "b", "c"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of what it divides by
        options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
        *micro, _ = precision_recall_fscore_support(truth, found, average="micro", **options)
        each = precision_recall_fscore_support(truth, found, average=None, **options)
    np.testing.assert_allclose([ours.precision, ours.recall, ours.f1], micro)
    seen = [row for row in ours.per_label if any(f"-{row.label}" in tag for tags in (*truth, *found) for tag in tags)]
    np.testing.assert_allclose([[row.precision, row.recall, row.f1, row.support] for row in seen], np.array(each).T.reshape(len(seen), 4))
    assert ours.macro_f1 == pytest.approx(np.mean([row.f1 for row in seen]) if seen else 0.0)


def test_scores_of_ten_thousand_random_sequences_are_seqevals_strict_ones() -> None:
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 15, 10_000)
    truth, found = ([_in_order([TAGS[tag] for tag in generator.integers(0, len(TAGS), length)]) for length in lengths] for _ in range(2))
    for tags, other in zip(truth, found, strict=True):  # half of them agree
        other[: len(tags) // 2] = tags[: len(tags) // 2]
    found = [_in_order(tags) for tags in found]
    ours = span_report([_spans(tags) for tags in truth], [_spans(tags) for tags in found], ("a", "b", "c"))
    options = {"mode": "strict", "scheme": IOB2}
    micro = precision_recall_fscore_support(truth, found, average="micro", **options)
    each = precision_recall_fscore_support(truth, found, average=None, **options)
    np.testing.assert_allclose([ours.precision, ours.recall, ours.f1, ours.support], micro, rtol=1e-12)
    np.testing.assert_allclose([[row.precision, row.recall, row.f1, row.support] for row in ours.per_label], np.array(each).T, rtol=1e-12)


def test_scores_of_ten_thousand_random_inputs_are_seqevals_strict_ones_one_by_one() -> None:
    """Each input has labels of its own name, so that seqeval scores a hundred of them in one call."""
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    generator = np.random.default_rng(1)
    for _ in range(100):
        inputs = [[_random_pair(generator) for _ in range(generator.integers(1, 4))] for _ in range(100)]
        ours = [span_report([_spans(a) for a, _ in rows], [_spans(b) for _, b in rows], ("a", "b", "c")) for rows in inputs]
        truth, found = ([_named(pair[side], number) for number, rows in enumerate(inputs) for pair in rows] for side in (0, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval warns of what it divides by
            each = precision_recall_fscore_support(truth, found, average=None, mode="strict", scheme=IOB2, zero_division=0)
        names = sorted({tag[2:] for tags in (*truth, *found) for tag in tags if tag != "O"})
        rows = {f"{number:02}{row.label}": row for number, report in enumerate(ours) for row in report.per_label}
        told = [(rows[name].precision, rows[name].recall, rows[name].f1, rows[name].support) for name in names]
        np.testing.assert_allclose(told, np.array(each).T, rtol=1e-12)
        assert all(rows[name].support == rows[name].f1 == 0 for name in rows.keys() - {*names})


def test_nested_spans_count_each_by_itself() -> None:
    truth = [[Span(0, 4, "a"), Span(0, 2, "b"), Span(1, 3, "a")]]
    report = span_report(truth, [[Span(0, 4, "a"), Span(0, 2, "a"), Span(1, 3, "a"), Span(1, 3, "b")]], ("a", "b"))
    assert (report.precision, report.recall, report.f1) == (2 / 4, 2 / 3, 4 / 7)


def test_place_and_label_both_have_to_be_right() -> None:
    truth = [[Span(0, 2, "a"), Span(3, 5, "b")], [Span(0, 1, "a")]]
    report = span_report(truth, [[Span(0, 2, "a"), Span(3, 4, "b")], [Span(0, 1, "b")]], ("a", "b"))
    assert (report.precision, report.recall, report.f1, report.support) == (1 / 3, 1 / 3, 1 / 3, 3)
    assert report.score("span_f1") == report.f1
    assert report.as_dict()["per_label"]["a"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2}
    assert report.table().splitlines()[-2].split()[:3] == ["micro", "avg", "0.3333"]


def test_what_cannot_be_scored_is_refused() -> None:
    for truth, found in (([], []), ([[]], [])):
        with pytest.raises(InputError, match="cannot be scored"):
            span_report(truth, found, ("a",))
    with pytest.raises(InputError, match="'z' is not one"):
        span_report([[Span(0, 1, "z")]], [[]], ("a",))


def _in_order(tags: list[str]) -> list[str]:
    """The same tags with those I-x left out that continue nothing, which strict IOB2 does not see."""
    kept: list[str] = []
    for tag in tags:
        goes_on = bool(kept) and kept[-1] in (f"B-{tag[2:]}", f"I-{tag[2:]}")
        kept.append("O" if tag.startswith("I-") and not goes_on else tag)
    return kept


def _spans(tags: list[str]) -> list[Span]:
    """The slow, obvious way."""
    spans = []
    for start, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = start + 1
            while end < len(tags) and tags[end] == f"I-{tag[2:]}":
                end += 1
            spans.append(Span(start, end, tag[2:]))
    return spans


def _random_pair(generator: np.random.Generator) -> tuple[list[str], list[str]]:
    """True tags and found ones of a sequence, which agree in its first half."""
    length = int(generator.integers(1, 15))
    truth, found = (_in_order([TAGS[tag] for tag in generator.integers(0, len(TAGS), length)]) for _ in range(2))
    return truth, _in_order(truth[: length // 2] + found[length // 2 :])


def _named(tags: list[str], number: int) -> list[str]:
    """With labels that only this input has."""
    return [tag if tag == "O" else f"{tag[:2]}{number:02}{tag[2:]}" for tag in tags]
