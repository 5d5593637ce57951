"""Examples, splits, and what has to hold before a training starts."""

import pickle
from typing import Any

import pytest

from nlphub.data.checks import check_for_training, check_labels_known
from nlphub.data.examples import Example, Examples, Splits
from nlphub.errors import DataError

GOOD = Examples.of([("我要退货", "退货"), ("退了吧", "退货"), ("到哪了", "查物流"), ("快递呢", "查物流")])


def problems(*args: Any, **kwargs: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as raised:
        check_for_training(*args, **kwargs)
    return raised.value.problems


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "x"), ["b", 2]],
        [{"text": "a", "label": "x"}, {"text": "b", "label": 2.0, "other": "ignored"}],
        [Example("a", "x"), Example("b", "2")],
        iter([("a", " x "), ("b", "2")]),
    ],
)
def test_examples_are_made_of_what_callers_have(rows: Any) -> None:
    made = Examples.of(rows)
    assert made == Examples([Example("a", "x"), Example("b", "2")])
    assert (made.texts, made.labels, made.label_names, made.pairs) == (["a", "b"], ["x", "2"], ("2", "x"), None)


def test_examples_of_examples_are_the_same_object() -> None:
    assert Examples.of(GOOD) is GOOD


@pytest.mark.parametrize("rows", ["train.csv", b"bytes", 3, {"train": [("a", "b")]}])
def test_what_is_no_list_of_examples_is_refused_with_the_way_to_read_it(rows: Any) -> None:
    with pytest.raises(DataError, match="load_data"):
        Examples.of(rows)


def test_all_bad_rows_are_reported_at_once() -> None:
    with pytest.raises(DataError) as raised:
        Examples.of([("a", "x"), "word", ("a", "b", "c"), {"Text": "a"}, ("a", {"x": 1}), {"text": "b"}])
    assert raised.value.problems == (
        "row 2: 'word' is neither a (text, label) pair nor a mapping with 'text' and 'label'",
        "row 3: ('a', 'b', 'c') is neither a (text, label) pair nor a mapping with 'text' and 'label'",
        "row 4: there is no 'text' among its keys 'Text'. Did you mean 'Text'?",
        "row 5: {'x': 1} is neither text nor a number",
    )


def test_a_slice_is_examples_and_an_index_is_an_example() -> None:
    assert isinstance(GOOD[1:3], Examples)
    assert GOOD[1:3].texts == ["退了吧", "到哪了"]
    assert GOOD[-1] == Example("快递呢", "查物流")
    assert len(GOOD) == 4
    assert Example("快递呢", "查物流") in GOOD


def test_pairs_are_texts_with_gaps_filled() -> None:
    assert Examples([Example("a", "x", pair="b"), Example("c", "x")]).pairs == ["b", ""]


def test_missing_labels_are_named_with_their_place() -> None:
    with pytest.raises(DataError, match="Labels are missing") as raised:
        Examples([Example("a", "x", line=2), Example("b", line=3)], source="x.csv").labels  # noqa: B018
    assert raised.value.problems == ("x.csv, line 3: the label is missing",)


def test_equal_content_has_an_equal_digest_wherever_it_came_from() -> None:
    one, other = Examples([Example("a", "x", line=2)], source="x.csv"), Examples([Example("a", "x", line=9)])
    assert one == other
    assert one.digest() == other.digest()
    assert len(one.digest()) == 64


def test_the_digest_sees_texts_labels_pairs_order_and_boundaries() -> None:
    rows = [
        [("a", "x"), ("b", "y")],
        [("b", "y"), ("a", "x")],
        [("a", "y"), ("b", "x")],
        [("ax", ""), ("b", "y")],
        [("a", "x\nb"), ("b", "y")],
        [{"text": "a", "label": "x", "pair": ""}, {"text": "b", "label": "y"}],
        [{"text": "a", "label": "x"}, {"text": "b"}],
    ]
    assert len({Examples.of(row).digest() for row in rows}) == len(rows)
    assert Examples([Example("\ud800")]).digest() != Examples([Example("\ufffd")]).digest()


def test_examples_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(GOOD)) == GOOD


def test_a_split_that_is_not_there_is_named_with_those_that_are() -> None:
    splits = Splits({"train": GOOD, "dev": GOOD[:2]})
    assert (list(splits), len(splits), splits.labels, splits.get("test"), "test" in splits) == (
        ["train", "dev"],
        2,
        ("查物流", "退货"),
        None,
        False,
    )
    with pytest.raises(DataError, match=r"no split 'dve'; there are: train, dev\. Did you mean 'dev'\?"):
        splits["dve"]


def test_good_data_pass() -> None:
    check_for_training(GOOD)
    check_for_training(GOOD, GOOD[:1], test=GOOD[2:], labels=["查物流", "退货", "转人工"])
    check_labels_known(GOOD, ["退货", "查物流"])


def test_everything_wrong_is_reported_at_once() -> None:
    train = Examples(
        [Example("a", "x", line=2), Example(" \u200b", "x", line=3), Example("b", line=4), Example("c", " ", line=5)], source="t.csv"
    )
    dev = Examples([Example("a", "X", line=2), Example("b", "X", line=3), Example("c", "y", pair="", line=4)], source="d.csv")
    assert problems(train, dev, test=Examples([], source="e.csv")) == (
        "t.csv, line 3: the text is empty (nothing but spaces or invisible characters)",
        "t.csv, line 4: the label is missing",
        "t.csv, line 5: the label is missing",
        "d.csv, line 4: the second text is empty",
        "test (e.csv) holds no examples",
        "6 of 7 examples have no second text and the others have one, the first of them t.csv, line 2",
        "d.csv, line 2: label 'X' never occurs in train (2 examples). Did you mean 'x'?",
        "d.csv, line 4: label 'y' never occurs in train (1 example).",
    )


def test_one_class_only_is_refused() -> None:
    assert problems(GOOD[:2]) == ("train has one class only, '退货'; a classifier needs two or more",)


def test_an_empty_train_is_one_problem() -> None:
    assert problems(Examples([]), GOOD) == ("train holds no examples",)


def test_labels_outside_a_fixed_list_are_refused() -> None:
    assert problems(GOOD, labels=["退货", "物流"]) == (
        "row 3: label '查物流' is not one of the module's labels (2 examples). Did you mean '物流'?",
    )
    with pytest.raises(DataError, match="cannot be judged") as raised:
        check_labels_known(GOOD, ["退货"])
    assert raised.value.problems == ("row 3: label '查物流' is not one of the module's labels (2 examples).",)


def test_a_long_list_of_problems_is_cut_in_the_message_and_whole_in_problems() -> None:
    rows = Examples([Example("", "x", line=line) for line in range(2, 102)] + [Example("a", "y")], source="t.csv")
    with pytest.raises(DataError) as raised:
        check_for_training(rows)
    assert len(raised.value.problems) == 100
    assert str(raised.value).count("the text is empty") == 20
    assert str(raised.value).endswith("... and 80 more")
