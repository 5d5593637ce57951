"""Files of annotation tools and of corpora: the same examples from all of them, and all that is wrong with them at once."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import nlphub as hub
from nlphub.data.spans import Span, from_tags, from_words, to_spans

TEXT, SPANS = "张三在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC"))
WORDS = hub.Examples([hub.Example("我们去北京", spans=(Span(0, 2, "word"), Span(2, 3, "word"), Span(3, 5, "word")))])


def regions(*marked: tuple[int, int, str, str], **more: Any) -> dict[str, Any]:
    """A Label Studio task of ``TEXT``."""
    result = [{"type": "labels", "value": {"start": a, "end": b, "text": text, "labels": [label]}} for a, b, text, label in marked]
    return {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": result, "was_cancelled": False}], **more}


def problems(path: Path, form: Any, **options: Any) -> list[str]:
    with pytest.raises(hub.NlphubError) as caught:
        hub.load_data(path, format=form, **options)
    return list(caught.value.problems)


def test_every_tool_writes_the_same_examples(tmp_path: Path) -> None:
    flat = {"text": TEXT, "label": [[3, 5, "LOC"], [0, 2, "PER"]]}
    entities = [
        {"id": 7, "label": "PER", "start_offset": 0, "end_offset": 2},
        {"id": 8, "label": "LOC", "start_offset": 3, "end_offset": 5},
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, [flat, {"text": TEXT, "entities": entities, "relations": []}])), "utf-8")
    small = {"id": 2, "text": TEXT, "label": [{"start": 0, "end": 2, "labels": ["PER"]}, {"start": 3, "end": 5, "labels": ["LOC"]}]}
    tasks = [regions((3, 5, "北京", "LOC"), (0, 2, "张三", "PER")), small]
    (tmp_path / "s.json").write_text(json.dumps(tasks, indent=1), "utf-8")
    lines = "\n".join(f"{token} {tag}" for token, tag in zip(TEXT, ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"], strict=True))
    (tmp_path / "c.txt").write_bytes(f"{lines}\n\n{lines}\n".encode("gb18030"))
    for name, form in (("d.jsonl", "doccano"), ("s.json", "label-studio"), ("c.txt", "conll")):
        data = hub.load_data(tmp_path / name, format=form)["train"]
        assert data == hub.Examples([hub.Example(TEXT, spans=SPANS)] * 2), name


def test_words_come_in_many_files(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("我们 去\u3000北京\n\n", "utf-8")
    (tmp_path / "w.jsonl").write_text(json.dumps({"tokens": ["我们", "去", "北京"]}), "utf-8")
    for name in ("w.txt", "w.jsonl"):
        assert hub.load_data(tmp_path / name, format="words")["train"] == WORDS
    tagged = tuple(Span(span.start, span.end, tag) for span, tag in zip(WORDS.spans[0], ["PRON", "VERB", "PROPN"], strict=True))
    (tmp_path / "t.conll").write_text("我们\tPRON\n去\tVERB\n北京\tPROPN\n", "utf-8")
    (tmp_path / "t.jsonl").write_text(json.dumps({"tokens": ["我们", "去", "北京"], "pos": ["PRON", "VERB", "PROPN"]}), "utf-8")
    rows = ["# text = ...", "1-2\t我们去\t_\t_", "1\t我们\t_\tPRON\tx", "2\t去\t_\tVERB", "2.1\t了\t_\tPART", "3\t北京\t_\tPROPN", ""]
    (tmp_path / "t.conllu").write_text("\n".join(rows), "utf-8")
    for name in ("t.conll", "t.jsonl", "t.conllu"):
        assert hub.load_data(tmp_path / name, format="words")["train"] == hub.Examples([hub.Example("我们去北京", spans=tagged)]), name


def test_offsets_of_browsers_are_converted_where_the_marked_text_shows_it(tmp_path: Path) -> None:
    text = "😀张三😀李四"
    marked = [(2, 4, "张三"), (6, 8, "李四")]  # UTF-16 units
    result = [{"value": {"start": a, "end": b, "text": shown, "labels": ["PER"]}} for a, b, shown in marked]
    task = {"data": {"question": text, "number": 3}, "annotations": [{"result": result}]}
    (tmp_path / "s.json").write_text(json.dumps([task]), "utf-8")
    (example,) = hub.load_data(tmp_path / "s.json", format="label-studio")["train"]
    assert [text[span.start : span.end] for span in example.spans or ()] == ["张三", "李四"]


def test_all_that_is_wrong_with_an_export_is_told_with_its_lines(tmp_path: Path) -> None:
    tasks: list[Any] = [
        regions((0, 2, "李四", "PER")),
        regions((0, 9, "", "PER")),
        regions(annotations=[]),
        regions(annotations=[{"result": []}, {"result": []}]),
        {"data": {"a": "好", "b": "坏"}, "annotations": [{"result": []}]},
        {"data": 3, "annotations": [{"result": []}]},
        {"text": "好"},
        "nothing",
        regions(annotations=[{"result": [{"value": {"start": "0", "end": 1, "labels": ["x"]}}]}]),
        regions(annotations=[{"result": [3]}]),
    ]
    (tmp_path / "s.json").write_text("[\n" + ",\n".join(map(json.dumps, tasks)) + "\n]", "utf-8")
    expected = ("is marked as", "0:9", "0 annotations", "2 annotations", "no text under", "'data' is 3", "JSON_MIN", "not an object")
    expected += ("not a region", "not a marked region")
    found = problems(tmp_path / "s.json", "label-studio")
    for line, complaint in enumerate(expected, start=2):
        assert any(f"line {line}: " in problem and complaint in problem for problem in found), (line, complaint, found)
    (tmp_path / "d.jsonl").write_text(
        '{"txt": "好"}\n[]\n{"text": "好", "label": ["O"]}\n{"text": "好"}\n{"text": "好", "label": 3}', "utf-8"
    )
    found = problems(tmp_path / "d.jsonl", "doccano")
    for line, complaint in enumerate(
        ("no key 'text'", "not an object", "not a list of strings", "spans are missing", "not a list of spans"), start=1
    ):
        assert any(f"line {line}: " in problem and complaint in problem for problem in found), (line, complaint, found)


def test_all_that_is_wrong_with_a_corpus_is_told_with_its_lines(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("甲 B-x\n乙 X-x\n\n丙\n\n丁 S-x\n戊 M-x\n", "utf-8")
    found = problems(tmp_path / "c.txt", "conll")
    for line, complaint in ((1, "neither O nor"), (4, "not a token and its tag"), (6, "continues nothing")):
        assert any(f"line {line}: " in problem and complaint in problem for problem in found), (line, found)
    (tmp_path / "w.jsonl").write_text(
        '{"tokens": "我们"}\n{"tokens": ["我", ""]}\n{"tokens": ["我"], "tags": []}\n{"words": []}\n{"tokens": ["我"], "tags": ["_"]}'
    )
    found = problems(tmp_path / "w.jsonl", "words")
    for line, complaint in enumerate(("list of strings", "no string or empty", "1 words have 0 tags", "no list 'tokens'", "has no tag"), 1):
        assert any(f"line {line}: " in problem and complaint in problem for problem in found), (line, found)
    (tmp_path / "w.csv").write_text("我们 去\n")
    with pytest.raises(hub.NlphubError, match="no tables"):
        hub.load_data(tmp_path / "w.csv", format="words")
    with pytest.raises(hub.NlphubError, match="none of conll, doccano"):
        hub.load_data(tmp_path / "w.csv", format="brat")


def test_a_file_without_empty_lines_is_no_sentence_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlphub.data.tables._SENTENCE", 100)
    (tmp_path / "c.conll").write_text("甲 O\n" * 5000, "utf-8")
    (problem,) = problems(tmp_path / "c.conll", "conll")
    assert "line 101: a sentence of more than 100 tokens" in problem


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("I-x I-x O B-x I-x", [(0, 2), (3, 5)]),
        ("I-x B-x I-x O O", [(0, 1), (1, 3)]),
        ("B-x E-x W-x O S-x", [(0, 2), (2, 3), (4, 5)]),
        ("B-x I-x L-x U-x O", [(0, 3), (3, 4)]),
        ("B-x M-x M-x E-x S-x", [(0, 4), (4, 5)]),
    ],
    ids=["loose", "IOB1", "BMEWO", "BILOU", "BMES"],
)
def test_every_scheme_of_tags_is_read(tags: str, spans: list[tuple[int, int]]) -> None:
    assert from_tags(list("甲乙丙丁戊"), tags.split())[1] == tuple(Span(a, b, "x") for a, b in spans)


def test_tags_that_continue_nothing_are_spans_in_bio_and_mistakes_elsewhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "c.conll").write_text("甲 I-x\n乙 O\n", "utf-8")
    with caplog.at_level(logging.WARNING):
        hub.load_data(tmp_path / "c.conll", format="conll")
    assert "1 spans begin with I-" in caplog.text
    with pytest.raises(TypeError, match="continues nothing"):
        from_tags(["甲", "乙"], ["I-x", "S-x"])


def test_overlapping_spans_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    nested = {"text": TEXT, "label": [[0, 5, "x"], [0, 2, "PER"]]}
    (tmp_path / "d.jsonl").write_text(json.dumps(nested), "utf-8")
    assert "overlap" in problems(tmp_path / "d.jsonl", "doccano")[0]
    (example,) = hub.load_data(tmp_path / "d.jsonl", format="doccano", nested=True)["train"]
    assert example.spans == (Span(0, 2, "PER"), Span(0, 5, "x"))
    nested["label"].append([0, 5, "x"])  # type: ignore[attr-defined]
    (tmp_path / "d.jsonl").write_text(json.dumps(nested), "utf-8")
    assert "there twice" in problems(tmp_path / "d.jsonl", "doccano", nested=True)[0]


def test_words_and_entities_in_memory() -> None:
    assert from_words(["我们", "去", "北京"]) == (WORDS[0].text, WORDS[0].spans)
    assert to_spans([{"start_offset": 0, "end_offset": 2, "label": "PER"}]) == (Span(0, 2, "PER"),)


def test_a_recipe_names_the_format(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "module: {name: ernie_tiny}\ntask: token-cls\ndata: {train: w.txt, format: words}\nrun: {folder: runs/x}\n", "utf-8"
    )
    assert hub.load_recipe(tmp_path / "r.yaml").data.format == "words"
    with pytest.raises(hub.NlphubError, match="keep one"):
        hub.load_recipe(tmp_path / "r.yaml", ["data.spans=tags"])
    with pytest.raises(hub.NlphubError, match="learns from whole texts"):
        hub.load_recipe(tmp_path / "r.yaml", ["module.variant=crf", "train={focal: 2}"])
