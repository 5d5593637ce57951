"""Rows of files to answer: every kind of bad row costs one answer, nothing is read ahead, numbers are those of the file."""

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlphub.data import encodings, stream
from nlphub.data.stream import Row, TextFile, chunks, lines, row_of
from nlphub.errors import DataError

Reading = Callable[..., list[tuple[int, Any, Any]]]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    def read(name: str, content: bytes | str, **options: Any) -> list[tuple[int, Any, Any]]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [(row.number, row.given, row.problem and row.problem[:12]) for row in TextFile.named(path, **options).rows()]

    return read


def test_bad_rows_of_a_table_are_told_between_the_good_ones(reading: Reading) -> None:
    assert reading("a.csv", 'text,x\n好,1\n,2\n行,3,4\n"\u3000",5\n"两\n行",6\n末,7\n') == [
        (2, "好", None),
        (3, None, "the text is "),
        (4, None, "3 fields, an"),
        (5, None, "the text is "),
        (6, "两\n行", None),
        (8, "末", None),
    ]


def test_texts_of_lines(reading: Reading) -> None:
    assert reading("a.txt", "好\n\r\n行\r\n末") == [(1, "好", None), (2, None, "the text is "), (3, "行", None), (4, "末", None)]
    assert reading("a.txt", "") == []
    assert reading("b.txt", "好\t行\n末\n", pair="pair") == [(1, ("好", "行"), None), (2, None, "line 2 has 0")]


def test_json_lines_have_their_own_columns(reading: Reading) -> None:
    rows = reading("a.jsonl", '{"text": "好"}\n\n{"Text": "行"}\n[1]\n{"text": [1]}\nno\n{"text": 3.0}\n{"text": "\\udcff\\ud800"}\n')
    assert rows == [
        (1, "好", None),
        (3, None, "there is no "),
        (4, None, "[1] is not a"),
        (5, None, "[1] is neith"),
        (6, None, "not JSON: Ex"),
        (7, "3", None),
        (8, "\ufffd\ufffd", None),
    ]
    assert reading("a.json", '[{"text": "好"}, {"text": ""}]')[0] == (1, "好", None)


@pytest.mark.parametrize("codec", ["utf-8", "gb18030"])
def test_lines_that_are_not_of_the_encoding_are_told(codec: str, reading: Reading) -> None:
    content = "退货\n查物流\n转人工\n".encode(codec).replace("查".encode(codec), b"\xff\xff")
    assert reading("a.txt", content) == [(1, "退货", None), (2, None, "it holds byt"), (3, "转人工", None)]
    assert [row[:2] for row in reading("a.csv", b"text\n" + content)] == [(2, "退货"), (3, None), (4, "转人工")]
    assert [row[1] for row in reading("a.jsonl", b'{"text": "' + content.split(b"\n")[0] + b'"}\n{"text": "\xff\xff"}\n{"text": "a"}')][
        1
    ] is None


def test_a_file_in_no_encoding_at_all_is_refused(reading: Reading) -> None:
    with pytest.raises(DataError, match="not known"):
        reading("a.txt", b"\xff\xff\n" * 9)
    with pytest.raises(DataError, match="no text encoding of that name"):
        reading("a.txt", "好", encoding="utf-9")


def test_the_encoding_can_be_named(reading: Reading) -> None:
    assert reading("a.txt", "轉人工\n".encode("big5"), encoding="big5") == [(1, "轉人工", None)]
    assert reading("a.csv", "text\n好\n".encode("utf-16")) == [(2, "好", None)]


def test_strict_readers_still_refuse_torn_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\n\xff\xff\n")
    with pytest.raises(DataError), encodings.open_text(tmp_path / "a.csv"):
        pass


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "question\n好\n", r"no column 'text'(.|\n)*"),
        ("a.csv", "text,text\n好,行\n", "2 columns are called 'text'"),
        ("a.csv", "", "It is empty"),
        ("a.csv", "text;x\n好;1\n", "separated by ';'"),
        ("a.doc", "好", "suffix"),
    ],
)
def test_what_no_row_can_mend_is_an_error(name: str, content: str, message: str, reading: Reading) -> None:
    with pytest.raises(DataError, match=message):
        reading(name, content)


def test_a_workbook_counts_its_rows(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for cells in (["text", "pair"], ["好", "行"], ["好", None], [3.0, "行"]):
        book.active.append(cells)
    book.save(tmp_path / "a.xlsx")
    source = TextFile.named(tmp_path / "a.xlsx", pair="pair")
    assert source.unit == "row"
    assert [(row.number, row.given) for row in source.rows()] == [(2, ("好", "行")), (3, None), (4, ("3", "行"))]


def test_a_line_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LONGEST", 10)
    assert list(lines(io.StringIO("a" * 95 + "\nb\n" + "c" * 10 + "\n" + "d" * 30, newline=""))) == [
        (1, None),
        (2, "b"),
        (3, None),
        (4, None),
    ]
    assert row_of(3, None, pairs=False).problem


def test_groups_hold_the_reader_back() -> None:
    drawn = itertools.count()
    rows = (Row(next(drawn), "好" * 5) for _ in itertools.repeat(None))
    for number, group in enumerate(itertools.islice(chunks(rows, most=7), 50), start=1):
        assert len(group) == 7
        assert next(drawn) - (number - 1) == 7 * number, "not one row more than a group"


def test_groups_end_early_where_texts_are_long() -> None:
    rows = [Row(n, "a" * size) for n, size in enumerate((5, 20, 1, 1, 30, 1))]
    assert [[row.number for row in group] for group in chunks(rows, most=3, characters=20)] == [[0, 1], [2, 3, 4], [5]]


def test_a_table_of_bad_rows_only_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_BAD_AT_ONCE", 20)
    (tmp_path / "a.csv").write_text("text,x\n" + "a\n" * 30)
    with pytest.raises(DataError, match="is no table"):
        list(TextFile.named(tmp_path / "a.csv").rows())


def test_json_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": str(n)}) + "\n" for n in range(5000)))
    assert sum(row.given is not None for row in TextFile.named(path).rows()) == 5000
