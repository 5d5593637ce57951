"""Splits are partitions, stratified by a stated rule, and depend on seed and content alone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlphub.data.examples import Example, Examples
from nlphub.data.splitting import split_off
from nlphub.errors import DataError

ROWS = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from("甲乙丙丁")), max_size=80, unique_by=lambda row: row[0])
SHARES = st.dictionaries(st.sampled_from(["dev", "test", "more"]), st.floats(0.01, 0.33), max_size=3)


def examples(rows: list[tuple[int, str]]) -> Examples:
    return Examples([Example(f"文本{number}", label, line=line) for line, (number, label) in enumerate(rows, start=2)], source="x.csv")


@given(rows=ROWS, shares=SHARES, seed=st.integers(0, 3))
def test_every_example_is_in_exactly_one_part_and_the_order_is_kept(
    rows: list[tuple[int, str]], shares: dict[str, float], seed: int
) -> None:
    parts = split_off(examples(rows), shares, seed=seed)
    assert set(parts) == {"train", *shares}
    assert sorted(line for part in parts.values() for line in (example.line or 0 for example in part)) == list(range(2, len(rows) + 2))
    for part in parts.values():
        lines = [example.line or 0 for example in part]
        assert lines == sorted(lines)
        assert part.source == "x.csv"


@given(rows=ROWS, shares=SHARES, seed=st.integers(0, 3))
def test_label_counts_follow_the_rule(rows: list[tuple[int, str]], shares: dict[str, float], seed: int) -> None:
    parts = {name: Counter(part.labels) for name, part in split_off(examples(rows), shares, seed=seed).items()}
    for label, n in Counter(label for _, label in rows).items():
        left = n
        for name, share in shares.items():
            expected = min(left - 1, max(1, int(n * share + 0.5)))
            assert parts[name][label] == expected
            left -= expected
        assert parts["train"][label] == left >= 1


@given(rows=ROWS, seed=st.integers(0, 3), data=st.data())
def test_the_order_of_the_file_does_not_decide_who_goes_where(rows: list[tuple[int, str]], seed: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    first, second = (split_off(examples(order), {"dev": 0.2, "test": 0.2}, seed=seed) for order in (rows, list(shuffled)))
    for name in first:
        assert sorted(first[name].texts) == sorted(second[name].texts)


def test_another_seed_gives_another_split() -> None:
    rows = examples([(number, "甲乙"[number % 2]) for number in range(200)])
    texts = [split_off(rows, {"dev": 0.1}, seed=seed)["dev"].texts for seed in range(3)]
    assert texts[0] != texts[1] != texts[2]
    assert all(len(part) == 20 for part in texts)


def test_a_label_with_one_example_stays_in_train() -> None:
    parts = split_off(Examples.of([("a", "独"), ("b", "双"), ("c", "双")]), {"dev": 0.5}, seed=0)
    assert parts["train"].label_names == ("双", "独")
    assert parts["dev"].label_names == ("双",)


def test_examples_without_labels_are_one_group() -> None:
    parts = split_off(Examples(Example(str(number)) for number in range(10)), {"dev": 0.2}, seed=0)
    assert (len(parts["train"]), len(parts["dev"])) == (8, 2)


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ({"dev": 0}, "not a share"),
        ({"dev": 1}, "not a share"),
        ({"dev": float("nan")}, "not a share"),
        ({"dev": 0.5, "test": 0.5}, "leave nothing"),
        ({"train": 0.9}, "what the other parts leave"),
    ],
)
def test_impossible_shares_are_refused(shares: dict[str, float], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        split_off(examples([(1, "甲")]), shares, seed=0)
