"""Data written for this repository keep what is promised: size, no duplicates, no leaks, nobody's numbers."""

import csv
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nlphub.data.examples import Examples
from nlphub.data.read import load_data

NAMES = ("train", "test", "out_of_scope")
LIMIT = 0.8  # Jaccard similarity of character bigrams from which two utterances count as near duplicates


@pytest.fixture(scope="module")
def data() -> dict[str, Examples]:
    return {name: load_data(f"bundle:recipes/data/bank_intents/{name}.csv")["train"] for name in NAMES}


def normal(text: str) -> str:
    """Width, case, spaces, punctuation and emoji do not make two utterances different, unless there is nothing else ("？？？")."""
    return "".join(character for character in unicodedata.normalize("NFKC", text).lower() if character.isalnum()) or text


def bigrams(text: str) -> set[str]:
    marked = f"^{normal(text)}$"
    return {marked[start : start + 2] for start in range(len(marked) - 1)}


def similarities(left: list[str], right: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Jaccard similarities ``(left, right)`` of bigram sets, by one matrix product."""
    sets = [bigrams(text) for text in (*left, *right)]
    number = {bigram: index for index, bigram in enumerate(sorted(set().union(*sets)))}
    marks = np.zeros((len(sets), len(number)), dtype=np.float32)
    for row, found in enumerate(sets):
        marks[row, [number[bigram] for bigram in found]] = 1
    a, b = marks[: len(left)], marks[len(left) :]
    both = a @ b.T
    result: np.ndarray[tuple[int, int], np.dtype[np.float32]] = both / (a.sum(axis=1)[:, None] + b.sum(axis=1) - both)
    return result


def near_duplicates(left: list[str], right: list[str]) -> list[tuple[str, str]]:
    return [(left[i], right[j]) for i, j in np.argwhere(similarities(left, right) > LIMIT).tolist()]


def test_the_check_for_near_duplicates_finds_some_and_agrees_with_the_slow_twin() -> None:
    left, right = ["我的卡丢了怎么办呀快点", "余额", "查一下"], ["我的卡丢了，怎么办啊快点", "余额？", "余 额"]
    for row, a in zip(similarities(left, right), left, strict=True):
        expected = [len(bigrams(a) & bigrams(b)) / len(bigrams(a) | bigrams(b)) for b in right]
        assert row == pytest.approx(expected)
    assert near_duplicates(left, right) == [("余额", "余额？"), ("余额", "余 额")]


def test_there_are_enough_intents_and_utterances(data: dict[str, Examples]) -> None:
    assert len(data["train"].label_names) >= 18
    assert data["test"].label_names == data["train"].label_names
    assert min(Counter(data["train"].labels).values()) >= 60
    assert min(Counter(data["test"].labels).values()) >= 20
    assert len(data["out_of_scope"]) >= 150
    assert len(data["out_of_scope"].label_names) == 1
    assert not set(data["out_of_scope"].label_names) & set(data["train"].label_names)


def test_no_utterance_is_there_twice(data: dict[str, Examples]) -> None:
    count = Counter(normal(example.text) for examples in data.values() for example in examples)
    assert [text for text, times in count.items() if times > 1] == []


def test_no_test_utterance_is_nearly_one_of_training(data: dict[str, Examples]) -> None:
    assert near_duplicates(data["test"].texts, data["train"].texts) == []
    assert near_duplicates(data["out_of_scope"].texts, data["train"].texts + data["test"].texts) == []


def test_nobodys_numbers_are_in_the_data(data: dict[str, Examples]) -> None:
    """Phone, identity and card numbers have 8 to 19 digits, perhaps with spaces or hyphens between."""
    long_number = re.compile(r"(?:\d[ -]?){8,}")
    texts = [unicodedata.normalize("NFKC", text) for examples in data.values() for text in examples.texts]
    assert [text for text in texts if long_number.search(text)] == []
    assert [text for text in texts if re.search(r"@|https?://|www\.", text)] == []


def test_utterances_are_what_people_type_into_a_chat_window(data: dict[str, Examples]) -> None:
    lengths = np.array([len(text) for examples in data.values() for text in examples.texts])
    assert lengths.max() <= 100
    assert np.median(lengths) <= 20
    texts = [text for examples in data.values() for text in examples.texts]
    assert all(text == text.strip() and text.isprintable() for text in texts)


@pytest.fixture(scope="module")
def cloze() -> list[dict[str, str]]:
    with (Path(__file__).parent.parent / "benchmarks" / "data" / "cloze.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_cloze_items_have_one_mask_and_one_character_each(cloze: list[dict[str, str]]) -> None:
    assert (cloze[0]["text"], cloze[0]["answer"]) == ("今天天[MASK]真好", "气")
    assert Counter(item["kind"] for item in cloze) == {"everyday": 60, "service": 60, "idiom": 40, "grammar": 40}
    for item in cloze:
        assert item["text"].count("[MASK]") == len(item["answer"]) == 1, item
        assert item["text"] == item["text"].strip(), item
    lengths = [len(item["text"].replace("[MASK]", item["answer"])) for item in cloze]
    assert max(lengths) <= 30
    assert [cloze[place]["answer"] for place, length in enumerate(lengths) if length < 8] == ["气"], "only the first one is shorter"


def test_no_cloze_item_is_nearly_another_one(cloze: list[dict[str, str]]) -> None:
    texts = [item["text"].replace("[MASK]", item["answer"]) for item in cloze]
    assert [(a, b) for a, b in near_duplicates(texts, texts) if a != b] == []
    assert len(set(map(normal, texts))) == len(texts)
    assert max(Counter(item["answer"] for item in cloze).values()) <= 3, "no answer wins by being frequent"


def test_answers_of_cloze_items_are_in_the_vocabulary(cloze: list[dict[str, str]]) -> None:
    vocabulary = set((Path(__file__).parent.parent / "tokenizers" / "zh_char" / "vocab.txt").read_text("utf-8").split("\n"))
    assert {item["answer"] for item in cloze} <= vocabulary
