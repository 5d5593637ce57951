"""The bundled samples of sentiment, news, multi-label and similarity keep what is promised: size, variety, no duplicates, no leaks."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_demo_data import near_duplicates, normal

from nlphub.data.examples import Examples
from nlphub.data.read import load_data

COLUMNS: dict[str, dict[str, str]] = {
    "reviews": {},
    "headlines": {},
    "messages": {"labels": "labels"},
    "sentence_pairs": {"text": "first", "pair": "second", "value": "score"},
}
LEAST = {"reviews": 16, "headlines": 6, "messages": 5}  # test rows of a label


def load(name: str, part: str) -> Examples:
    return load_data(f"bundle:recipes/data/{name}/{part}.csv", **COLUMNS[name])["train"]


@pytest.fixture(scope="module", params=COLUMNS)
def data(request: pytest.FixtureRequest) -> tuple[str, Examples, Examples]:
    return request.param, load(request.param, "train"), load(request.param, "test")


def texts_of(part: Examples) -> list[str]:
    return [f"{row.text}|{row.pair}" if row.pair else row.text for row in part]


def test_there_are_enough_rows_of_every_label(data: tuple[str, Examples, Examples]) -> None:
    name, train, test = data
    assert len(train) >= 80
    assert len(test) >= 30
    if name in LEAST:
        assert test.label_names == train.label_names
        for part, least in ((train, 14), (test, LEAST[name])):
            assert min(Counter(label for row in part for label in row.names).values()) >= least


def test_no_text_is_there_twice_or_nearly(data: tuple[str, Examples, Examples]) -> None:
    _, train, test = data
    texts = [*texts_of(train), *texts_of(test)]
    assert len(set(map(normal, texts))) == len(texts)
    assert [(a, b) for a, b in near_duplicates(texts, texts) if a != b] == []


def test_texts_are_short_printable_and_without_numbers_of_anybody(data: tuple[str, Examples, Examples]) -> None:
    _, train, test = data
    texts = [text for part in (train, test) for row in part for text in (row.text, row.pair) if text is not None]
    assert all(text == text.strip() and text.isprintable() and len(text) <= 60 for text in texts)
    assert not [text for text in texts if re.search(r"(?:\d[ -]?){8,}|@|https?://|www\.", text)]


def test_messages_have_none_one_and_several_labels() -> None:
    for part in ("train", "test"):
        assert {0, 1, 2} <= {len(labels) for labels in load("messages", part).label_sets}


def test_first_sentences_of_pairs_are_in_one_file_only() -> None:
    parts = [set(load("sentence_pairs", part).texts) for part in ("train", "dev", "test")]
    assert not (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
    texts = [text for part in ("train", "dev", "test") for text in texts_of(load("sentence_pairs", part))]
    assert [(a, b) for a, b in near_duplicates(texts, texts) if a != b] == []


def test_numbers_of_pairs_fill_the_whole_scale() -> None:
    for part in ("train", "test"):
        values = load("sentence_pairs", part).values
        assert min(values) <= 0.5
        assert max(values) == 5
        assert min(Counter(int(value) for value in values if value < 5).values()) >= 1
