"""The bundled samples of token-cls keep what is promised: size, variety, no duplicates, no leaks, nobody's numbers."""

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_demo_data import near_duplicates, normal

from nlphub.data.examples import Examples
from nlphub.data.read import load_data

SETS = {
    "customer_names": ("doccano", "jsonl"),
    "everyday_words": ("words", "txt"),
    "everyday_tags": ("words", "conll"),
}
UPOS = {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"}


@pytest.fixture(scope="module", params=SETS)
def data(request: pytest.FixtureRequest) -> tuple[str, Examples, Examples]:
    form, suffix = SETS[request.param]
    parts = (load_data(f"bundle:recipes/data/{request.param}/{part}.{suffix}", format=form)["train"] for part in ("train", "test"))
    return (request.param, *parts)


def test_there_are_enough_texts_and_spans(data: tuple[str, Examples, Examples]) -> None:
    name, train, test = data
    assert len(train) >= 80
    assert len(test) >= 30
    assert test.label_names == train.label_names or name == "everyday_tags"
    assert set(test.label_names) <= set(train.label_names)
    assert min(Counter(span.label for spans in train.spans for span in spans).values()) >= 5
    assert name != "customer_names" or all(train.spans), "every message has a name"


def test_no_text_is_there_twice_or_nearly(data: tuple[str, Examples, Examples]) -> None:
    _, train, test = data
    texts = [*train.texts, *test.texts]
    assert len(set(map(normal, texts))) == len(texts)
    assert [(a, b) for a, b in near_duplicates(texts, texts) if a != b] == []


def test_most_names_of_the_test_set_never_occur_in_training(data: tuple[str, Examples, Examples]) -> None:
    name, train, test = data
    if name == "customer_names":
        seen, asked = ({row.text[s.start : s.end] for row in part for s in row.spans or ()} for part in (train, test))
        assert len(asked - seen) > 0.9 * len(asked)


def test_texts_are_short_printable_and_without_numbers_of_anybody(data: tuple[str, Examples, Examples]) -> None:
    _, train, test = data
    texts = [*train.texts, *test.texts]
    assert all(text == text.strip() and text.isprintable() and len(text) <= 100 for text in texts)
    assert np.median([len(text) for text in texts]) <= 30
    assert [text for text in texts if re.search(r"(?:\d[ -]?){8,}|@|https?://", text)] == []


def test_words_cover_their_texts_and_tags_are_those_of_universal_dependencies(data: tuple[str, Examples, Examples]) -> None:
    name, *parts = data
    if name == "customer_names":
        return
    for row in (row for part in parts for row in part):
        assert "".join(row.text[span.start : span.end] for span in row.spans or ()) == row.text
        assert {span.label for span in row.spans or ()} <= (UPOS if name == "everyday_tags" else {"word"})
