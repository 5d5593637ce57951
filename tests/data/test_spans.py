"""Spans: the two file formats, their mistakes, and what a reader makes of a file of them."""

import json
import logging
from pathlib import Path

import pytest

import nlphub as hub
from nlphub.data.spans import Span, from_tags, loose_tags, span_problems, to_spans

TEXT, SPANS = "张三在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC"))


@pytest.mark.parametrize(
    "tags", ["B-PER I-PER O B-LOC I-LOC", "B-PER E-PER O B-LOC E-LOC", "I-PER I-PER O I-LOC I-LOC"], ids=["BIO", "BMES", "loose"]
)
def test_tags_of_every_scheme_become_the_same_spans(tags: str) -> None:
    assert from_tags(list(TEXT), tags.split()) == (TEXT, SPANS)


def test_neighbours_singles_and_long_tokens_keep_their_places() -> None:
    assert from_tags(["A", "iPhone", "15", "好"], ["S-x", "B-y", "E-y", "S-x"])[1] == (Span(0, 1, "x"), Span(1, 9, "y"), Span(9, 10, "x"))
    assert from_tags(["甲", "乙", "丙"], ["B-x", "B-x", "I-y"])[1] == (Span(0, 1, "x"), Span(1, 2, "x"), Span(2, 3, "y"))
    assert from_tags(["甲", "乙"], ["B-PER.NOM", "E-PER.NOM"])[1] == (Span(0, 2, "PER.NOM"),)
    assert loose_tags(["I-x", "I-x", "O", "B-x", "I-y"]) == 2


@pytest.mark.parametrize(
    ("tokens", "tags", "complaint"),
    [
        (["甲"], ["X-a"], "neither O nor"),
        (["甲"], ["B"], "neither O nor"),
        (["甲"], ["B-"], "neither O nor"),
        (["甲", "乙"], ["O"], "2 tokens have 1 tags"),
        (["甲", "乙"], ["S-a", "M-a"], "continues nothing"),
        (["甲", "乙"], ["B-a", "S-a"], "does not end with E-a"),
        (["甲", ""], ["O", "O"], "no string or empty"),
        ("甲乙", ["O", "O"], "not a list of strings"),
        (["甲"], [3], "no string or empty"),
    ],
)
def test_tags_that_cannot_be_are_refused(tokens: object, tags: object, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        from_tags(tokens, tags)


@pytest.mark.parametrize("value", [3, "B-x", [[0, 1]], [["0", 1, "x"]], [{"start": 0, "end": 1}], [None], [[True, 1, "x"]]], ids=str)
def test_what_is_no_list_of_spans_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="start"):
        to_spans(value)


def test_spans_come_in_three_forms_and_are_sorted_by_place() -> None:
    forms = [Span(3, 5, "LOC"), {"start": 0, "end": 2, "label": "PER"}]
    assert to_spans(forms) == to_spans([[3, 5, "LOC"], (0, 2, " PER ")]) == SPANS
    assert to_spans(None) is None
    assert to_spans([]) == ()


def test_every_wrong_span_of_a_text_is_named() -> None:
    spans = [Span(0, 2, "x"), Span(1, 3, "y"), Span(4, 9, "x"), Span(2, 2, "x"), Span(-1, 1, "x"), Span(3, 4, " ")]
    problems = "\n".join(span_problems("甲乙 丙丁", spans))
    for expected in (
        "4:9 (x) is not inside",
        "2:2 (x) is not inside",
        "-1:1 (x) is not inside",
        "label ' '",
        "0:2 (x) and 1:3 (y) overlap",
    ):
        assert expected in problems
    assert list(span_problems("甲 乙", [Span(1, 2, "x")])) == ["the span 1:2 (x) holds nothing that can be read"]
    assert not list(span_problems(TEXT, SPANS))


def test_three_kinds_of_files_hold_the_same_examples(tmp_path: Path) -> None:
    tags = ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]
    write(tmp_path / "tags.jsonl", {"tokens": list(TEXT), "tags": tags}, {"tokens": ["好"], "tags": ["O"]})
    write(
        tmp_path / "spans.jsonl",
        {"text": TEXT, "spans": [[3, 5, "LOC"], {"start": 0, "end": 2, "label": "PER"}]},
        {"text": "好", "spans": []},
    )
    lines = [f"{token}\t{tag}" for token, tag in zip(TEXT, tags, strict=True)]
    (tmp_path / "two.conll").write_text("\ufeff" + "\r\n".join([*lines, "", "", "好 O"]), "utf-8")
    read = [
        hub.load_data(tmp_path / "tags.jsonl", text="tokens", spans="tags"),
        hub.load_data(tmp_path / "spans.jsonl", spans="spans"),
        hub.load_data(tmp_path / "two.conll", text="tokens", spans="tags"),
    ]
    for data in read:
        assert data["train"] == hub.Examples([hub.Example(TEXT, spans=SPANS), hub.Example("好", spans=())])
        assert data.labels == ("LOC", "PER")
    assert [example.line for example in read[2]["train"]] == [1, 8], "where each sentence begins"


def test_all_wrong_rows_of_a_file_are_reported_with_their_lines(tmp_path: Path) -> None:
    rows = [
        {"text": TEXT, "spans": [[0, 9, "x"]]},
        {"text": TEXT, "spans": [[0, 3, "x"], [2, 4, "x"]]},
        {"text": TEXT, "spans": "B-x"},
        {"text": "", "spans": []},
        {"text": TEXT},
        {"text": ["甲"], "spans": ["Q"]},
        {"text": TEXT, "spans": []},
    ]
    write(tmp_path / "bad.jsonl", *rows)
    with pytest.raises(hub.NlphubError) as caught:
        hub.load_data(tmp_path / "bad.jsonl", spans="spans")
    found = "\n".join(caught.value.problems)
    for line, complaint in enumerate(
        ("not inside", "overlap", "not a list of spans", "empty", "spans are missing", "neither O nor"), start=1
    ):
        assert any(f"line {line}: " in problem and complaint in problem for problem in caught.value.problems), (line, found)
    (tmp_path / "bad.conll").write_text("甲 O\n乙\n", "utf-8")
    with pytest.raises(hub.NlphubError, match=r"line 2: .*not a token and its tag"):
        hub.load_data(tmp_path / "bad.conll", text="tokens", spans="tags")


def test_spans_that_begin_with_an_inner_tag_are_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "cut.jsonl", {"tokens": ["三", "好"], "tags": ["I-PER", "O"]})
    with caplog.at_level(logging.WARNING):
        hub.load_data(tmp_path / "cut.jsonl", text="tokens", spans="tags")
    assert "1 spans begin with I-" in caplog.text


def test_examples_with_spans_are_compared_and_digested_by_them() -> None:
    bare, none, some = (hub.Examples.of([{"text": TEXT, "spans": spans}]) for spans in (None, [], SPANS))
    assert len({bare.digest(), none.digest(), some.digest()}) == 3
    assert bare.digest() == hub.Examples([hub.Example(TEXT)]).digest(), "texts without spans keep the digest that they had"
    with pytest.raises(hub.NlphubError, match="spans are missing"):
        bare.spans  # noqa: B018
    with pytest.raises(hub.NlphubError, match=r"row 1: .*not a list of spans"):
        hub.Examples.of([{"text": TEXT, "spans": 3}])


def write(path: Path, *rows: dict[str, object]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
