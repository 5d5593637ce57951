"""A file as columns and cells: every format, quotes that do not pair, rows that cannot be read, files that are none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nlphub.data.read import load_data
from nlphub.data.sheet import read_sheet
from nlphub.errors import DataError

HEADER, ROWS = ("问题", "意图"), [("我要退这双鞋", "退货"), ("到哪了", "查物流"), ("叫客服来", "转人工")]


def write_text(path: Path, *, encoding: str = "utf-8") -> None:
    sign = "\t" if path.suffix == ".tsv" else ","
    path.write_bytes("".join(sign.join(row) + "\r\n" for row in (HEADER, *ROWS)).encode(encoding))


def write_xlsx(path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (HEADER, *ROWS):
        book.worksheets[0].append(row)
    book.save(path)


def write_jsonl(path: Path) -> None:
    path.write_text("".join(f'{{"问题": "{text}", "意图": "{label}"}}\n' for text, label in ROWS), encoding="utf-8")


def write_parquet(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(dict(zip(HEADER, map(list, zip(*ROWS, strict=True)), strict=True))), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "x.csv": write_text,
    "gb18030.csv": lambda path: write_text(path, encoding="gb18030"),
    "bom.csv": lambda path: write_text(path, encoding="utf-8-sig"),
    "x.tsv": write_text,
    "x.jsonl": write_jsonl,
    "x.xlsx": write_xlsx,
    "x.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_all_columns_and_the_examples_of_load_data(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    sheet = read_sheet(path)
    assert sheet.header == HEADER
    assert [tuple(cells) for _, cells in sheet.rows] == ROWS
    assert (sheet.quotes, sheet.complaints) == (True, ())
    examples, complaints = sheet.examples("问题", "意图")
    expected = load_data(path, text="问题", label="意图")["train"]
    assert (examples, complaints) == (expected, ())
    assert [example.line for example in examples] == [example.line for example in expected]


def test_the_encoding_is_told(tmp_path: Path) -> None:
    for name, codec in (("x.csv", "utf-8"), ("gb18030.csv", "gb18030"), ("bom.csv", "utf-8"), ("x.xlsx", None)):
        WRITERS[name](tmp_path / name)
        assert read_sheet(tmp_path / name).encoding == codec
    assert read_sheet(tmp_path / "gb18030.csv", encoding="gbk").encoding == "gbk"


def test_quotes_that_do_not_pair_are_read_as_characters(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('text,label\n"你好" 怎么说,a\n"没有结尾,b\n', encoding="utf-8")
    sheet = read_sheet(path)
    assert not sheet.quotes
    assert [cells[0] for _, cells in sheet.rows] == ['"你好" 怎么说', '"没有结尾']


def test_rows_that_cannot_be_read_stay_complaints(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('text,label\na,b\n"x, y",c\nq,r,s\n', encoding="utf-8")
    sheet = read_sheet(path)
    assert (sheet.quotes, [cells for _, cells in sheet.rows]) == (True, [["a", "b"], ["x, y", "c"]])
    ((line, why),) = sheet.complaints
    assert (line, "3 fields" in why) == (4, True)
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a", "label": "b"}\n{"text": ["a"], "label": "b"}\nno json\n', encoding="utf-8")
    examples, complaints = read_sheet(path).examples("text", "label")
    assert (len(examples), [line for line, _ in complaints]) == (1, [2, 3])


def test_a_damaged_byte_in_gb18030_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_text(path, encoding="gb18030")
    data = path.read_bytes().replace("到".encode("gb18030"), b"\xff\xff")
    path.write_bytes(data)
    with pytest.raises(DataError, match="not gb18030: byte 0xff on line 3"):
        read_sheet(path)


def test_files_without_rows_say_so(tmp_path: Path) -> None:
    import openpyxl

    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    with pytest.raises(DataError, match=r"Of a workbook only the first sheet is read\."):
        read_sheet(tmp_path / "empty.xlsx")
    for name in ("empty.xlsx", "empty.csv", "empty.jsonl"):
        with pytest.raises(DataError, match="is empty"):
            read_sheet(tmp_path / name)
    (tmp_path / "header.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(DataError, match="no row below it"):
        read_sheet(tmp_path / "header.csv")


def test_files_that_are_not_there_or_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "intents.csv").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"Did you mean '.*intents\.csv'"):
        read_sheet(tmp_path / "intent.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_sheet(tmp_path)
    (tmp_path / "x.doc").write_bytes(b"\xd0\xcf\x11\xe0\xff")
    with pytest.raises(DataError, match="nlphub reads"):
        read_sheet(tmp_path / "x.doc")
    (tmp_path / "x.xlsx").write_bytes(b"a")
    with pytest.raises(DataError, match="is not an xlsx workbook"):
        read_sheet(tmp_path / "x.xlsx")


def test_unknown_and_repeated_columns_are_named_with_those_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("问题,问题,意图\na,b,c\n", encoding="utf-8")
    with pytest.raises(DataError) as wrong:
        read_sheet(path).examples("问题", "意 图")
    assert wrong.value.problems == ("there is no column '意 图'. Did you mean '意图'?", "2 columns are called '问题'")
    assert "'问题', '问题', '意图'" in str(wrong.value)
