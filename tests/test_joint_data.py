"""The bundled sample of joint keeps what is promised: size, variety, clear slots, no duplicates, no leaks, nobody's numbers."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_demo_data import near_duplicates, normal

from nlphub.data.examples import Examples
from nlphub.data.read import load_data


@pytest.fixture(scope="module")
def data() -> tuple[Examples, Examples]:
    parts = (load_data(f"bundle:recipes/data/shop_requests/{part}.jsonl", label="intent", slots="slots") for part in ("train", "test"))
    train, test = (part["train"] for part in parts)
    return train, test


def test_there_are_enough_rows_of_every_intent_and_every_slot(data: tuple[Examples, Examples]) -> None:
    train, test = data
    assert len(train) >= 84
    assert len(test) >= 30
    assert test.label_names == train.label_names
    assert min(Counter(train.labels).values()) >= 14
    assert min(Counter(test.labels).values()) >= 5
    assert min(Counter(span.label for spans in train.spans for span in spans).values()) >= 5


def test_requests_have_none_one_and_several_slots(data: tuple[Examples, Examples]) -> None:
    for part in data:
        assert {0, 1, 2} <= {len(spans) for spans in part.spans}


def test_no_text_is_there_twice_or_nearly(data: tuple[Examples, Examples]) -> None:
    texts = [text for part in data for text in part.texts]
    assert len(set(map(normal, texts))) == len(texts)
    assert [(a, b) for a, b in near_duplicates(texts, texts) if a != b] == []


def test_most_values_of_the_test_set_never_occur_in_training(data: tuple[Examples, Examples]) -> None:
    seen, asked = ({row.text[span.start : span.end] for row in part for span in row.spans or ()} for part in data)
    assert len(asked - seen) > 0.9 * len(asked)


def test_texts_are_short_printable_and_without_numbers_of_anybody(data: tuple[Examples, Examples]) -> None:
    texts = [text for part in data for text in part.texts]
    assert all(text == text.strip() and text.isprintable() and len(text) <= 60 for text in texts)
    assert [text for text in texts if re.search(r"(?:\d[ -]?){8,}|@|https?://", text)] == []
