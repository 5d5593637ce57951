"""The few-example benchmark: fair draws, a line that says only what was measured."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from nlphub.data.examples import Examples

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import few_examples

KEPT = {"version": "0.2.0", "scores": {"ours/8": [0.5, 0.6], "random/8": [0.25], "tfidf/8": [0.4], "ours/20": [0.7]}}


@pytest.fixture
def examples() -> Examples:
    return Examples.of([(f"问题{i}", "a" if i % 3 else "b") for i in range(60)])


def test_a_draw_has_so_many_of_each_label_and_follows_its_seed(examples: Examples) -> None:
    drawn = few_examples.draw(examples, 5, seed=1)
    assert Counter(drawn.labels) == {"a": 5, "b": 5}
    assert drawn.texts == few_examples.draw(examples, 5, seed=1).texts != few_examples.draw(examples, 5, seed=2).texts
    assert few_examples.draw(examples, 0, seed=1) is examples


def test_the_line_names_only_counts_that_were_measured_for_all() -> None:
    said = few_examples.line(KEPT)
    assert "8 examples per intent: 0.55 (random weights 0.25, TF-IDF + LR 0.40)" in said
    assert "20" not in said


def test_the_table_shows_what_is_missing_as_missing() -> None:
    row = few_examples.table(KEPT).splitlines()[2]
    assert row.split() == ["20", "0.700", "-", "-", "-"]


def test_linear_columns_learn(examples: Examples) -> None:
    train = Examples.of([("怎么还款", "还款"), ("还款日期", "还款"), ("挂失银行卡", "挂失"), ("卡丢了挂失", "挂失")])
    assert few_examples.linear(train, Examples.of([("我要还款", "还款"), ("挂失一下", "挂失")])) == ["还款", "挂失"]
