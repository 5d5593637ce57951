"""Equal and nearly equal texts: conflicts, duplicates and leakage, against the definitions written out for every pair."""

import itertools
from collections.abc import Callable

import numpy as np

from nlphub.data.doctor import examine
from nlphub.data.doctor.collection import Collection, default_table
from nlphub.data.doctor.same import near_groups, same_texts
from nlphub.data.examples import Example, Examples

Make = Callable[..., Examples]


def of(findings: list, check: str) -> list[list[tuple[str, int | None]]]:
    """The places of the rows of each case of a check."""
    return [[(row.split, row.line) for row in case.rows] for finding in findings if finding.check == check for case in finding.cases]


def slow_pairs(texts: list[str]) -> set[tuple[int, int]]:
    """Pairs of texts that the tokenizer cannot tell apart."""
    forms = [default_table().normalize(text) for text in texts]
    return {(a, b) for a, b in itertools.combinations(range(len(texts)), 2) if forms[a] == forms[b] != ""}


def jaccard(a: str, b: str) -> float:
    x, y = ({text[i : i + 2] for i in range(len(text) - 1)} for text in (a, b))
    return len(x & y) / len(x | y)


def test_the_same_text_under_two_labels_is_a_conflict_also_when_it_is_written_otherwise(examples: Make) -> None:
    rows = [("我要退這雙鞋", "退货"), ("我要 退这双鞋", "查物流"), ("NBA 几点", "闲聊"), ("ｎｂａ几点", "体育"), ("转人工", "转人工")]
    (finding,) = examine({"train": examples(rows)}, only=["conflicts"])
    assert (finding.count, finding.summary) == (2, "2 texts with more than one label")
    assert of([finding], "conflicts") == [[("train", 2), ("train", 3)], [("train", 4), ("train", 5)]]
    assert all(case.note == "the same to the tokenizer" for case in finding.cases)


def test_a_text_without_a_label_does_not_contradict_one_with_a_label(examples: Make) -> None:
    assert examine({"train": examples([("转人工", "转人工"), ("转人工", None)])}, only=["conflicts"]) == []


def test_copies_with_the_same_label_count_beyond_the_first(examples: Make) -> None:
    (finding,) = examine({"train": examples([("转人工", "a"), ("余额", "b"), ("转人工", "a"), ("转人工", "a")])}, only=["duplicates"])
    assert (finding.count, of([finding], "duplicates")) == (2, [[("train", 2), ("train", 4), ("train", 5)]])
    assert finding.cases[0].note == ""


def test_empty_texts_are_no_copies_of_each_other(examples: Make) -> None:
    assert examine({"train": examples([("", "a"), (" ", "a"), ("\u200b", "b")])}, only=["duplicates", "conflicts", "near-duplicates"]) == []


def test_texts_of_a_later_split_that_are_in_the_first_one_are_leakage(examples: Make) -> None:
    train = examples([("转人工", "a"), ("申请退款需要多长时间才能到账呢", "b")])
    dev = examples([("转人工", "a"), ("新的问题来了", "a")])
    test = examples([("轉人工", "b"), ("申请退款需要多长时间才能到账呢？", "b")])
    found = examine({"train": train, "dev": dev, "test": test})
    leakage, near = ({one.check: one for one in found}[check] for check in ("leakage", "near-leakage"))
    assert leakage.summary == "2 rows also in train: 1 of dev, 1 of test"
    assert of([leakage], "leakage") == [[("train", 2), ("dev", 2), ("test", 2)]]
    assert leakage.cases[0].note == "under another label"
    assert (near.summary, of([near], "near-leakage")) == ("1 row nearly in train: 1 of test", [[("train", 3), ("test", 3)]])


def test_what_is_equal_is_not_reported_as_nearly_equal_again(examples: Make) -> None:
    text = "申请退款需要多长时间才能到账呢"
    found = {finding.check for finding in examine({"train": examples([(text, "a")]), "dev": examples([(text, "a")])})}
    assert "leakage" in found
    assert not {"near-leakage", "near-duplicates"} & found


def test_without_a_second_split_there_is_no_leakage(examples: Make) -> None:
    assert not [one for one in examine({"train": examples([("转人工", "a")] * 3)}) if "leakage" in one.check]


def test_texts_that_differ_in_punctuation_only_are_nearly_equal(examples: Make) -> None:
    rows = [("转人工", "a"), ("转人工！！", "a"), ("「转」人工…", "b"), ("好。", "c"), ("好！", "c")]
    found = examine({"train": examples(rows)}, only=["near-duplicates", "near-conflicts"])
    assert of(found, "near-conflicts") == [[("train", 2), ("train", 3), ("train", 4)]]
    assert of(found, "near-duplicates") == [[("train", 2), ("train", 3)]], "one character is too little to compare"


def test_equal_texts_are_those_of_the_slow_definition(sentences: Callable[..., list[str]]) -> None:
    generator = np.random.default_rng(0)
    texts = [*sentences(40, words=2), "", " ", "。"]
    texts += [" ".join(text).upper() if generator.random() < 0.5 else text for text in texts] * 2
    collection = Collection.of({"train": Examples([Example(text, str(n % 2), line=n) for n, text in enumerate(texts)])})
    found = {pair for group in collection.by_form().values() for pair in itertools.combinations(group, 2)}
    assert found == slow_pairs(texts)
    assert len(of(same_texts(collection), "conflicts")) > 20


def test_near_groups_hold_what_is_similar_and_nothing_else(sentences: Callable[..., list[str]]) -> None:
    generator = np.random.default_rng(1)
    texts = sentences(60, words=6)
    for text in list(texts):
        place = int(generator.integers(len(text)))
        texts += [text[:place] + "吧" + text[place:], text[: len(text) // 2] + "完全不同的另外一半话"]
    groups = near_groups(Collection.of({"train": Examples([Example(text) for text in texts])}), range(len(texts)))
    forms = [text.replace("。", "") for text in texts]
    together = {pair for group in groups for pair in itertools.combinations(group, 2)}
    similar = {(a, b): jaccard(forms[a], forms[b]) for a, b in itertools.combinations(range(len(texts)), 2)}
    assert {pair for pair, value in similar.items() if value >= 0.9} <= together
    assert all(similar[pair] > 0.6 for pair in together)
    assert len(groups) > 20


def test_twenty_thousand_rows_are_counted_exactly(sentences: Callable[..., list[str]]) -> None:
    texts = [f"{number:05d}{text}" for number, text in enumerate(sentences(5_000, words=3))]
    part = Examples([Example(text, str(place % 7), line=place) for place, text in enumerate(texts * 4)])
    found = {one.check: one for one in examine({"train": part}, only=["conflicts", "duplicates"])}
    assert {check: one.count for check, one in found.items()} == {"conflicts": 5_000}
    assert all(len(case.rows) == 4 for case in found["conflicts"].cases)
