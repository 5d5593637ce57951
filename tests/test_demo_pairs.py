"""Pairs written for this repository keep what is promised: size, shares of labels, no duplicates, no leaks, nobody's numbers."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_demo_data import near_duplicates, normal

from nlphub.data.examples import Examples
from nlphub.data.read import load_data

LABELS = {"customer_questions": ("不同", "相同"), "everyday_inference": ("中立", "矛盾", "蕴含")}
every_set = pytest.mark.parametrize("name", LABELS)


def parts(name: str) -> dict[str, Examples]:
    return {part: load_data(f"bundle:recipes/data/{name}/{part}.csv", pair="pair")["train"] for part in ("train", "test")}


def sides(examples: Examples) -> list[str]:
    return [text for example in examples for text in (example.text, example.pair or "")]


@every_set
def test_labels_are_equally_frequent_and_there_are_enough(name: str) -> None:
    for part, least in (("train", 80), ("test", 30)):
        examples = parts(name)[part]
        counts = Counter(examples.labels)
        assert tuple(sorted(counts)) == LABELS[name]
        assert len(set(counts.values())) == 1
        assert len(examples) >= least


@every_set
def test_no_text_is_nearly_another_one_of_its_pair_its_part_or_the_other_part(name: str) -> None:
    texts = [text for examples in parts(name).values() for text in sides(examples)]
    assert [text for text, times in Counter(map(normal, texts)).items() if times > 1] == []
    assert [(a, b) for a, b in near_duplicates(texts, texts) if a != b] == []


@every_set
def test_texts_are_short_clean_and_nobodys(name: str) -> None:
    for text in (text for examples in parts(name).values() for text in sides(examples)):
        assert text == text.strip()
        assert text.isprintable()
        assert 3 <= len(text) <= 40
        assert not re.search(r"(?:\d[ -]?){8,}|@|https?://|www\.", text)
