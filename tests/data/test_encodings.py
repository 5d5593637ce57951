"""The encoding is decided on the whole file, UTF-8 before GB18030, and misfits are named with their line."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlphub.data import encodings
from nlphub.data.encodings import detect, open_text
from nlphub.errors import DataError

TEXT = "文本,标签\n你好，我要退这双鞋,退货\r\n𠮷野家,点餐\n"


def read(path: Path, encoding: str | None = None) -> str:
    with open_text(path, encoding) as stream:
        return stream.read()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_texts_come_back_whatever_the_encoding(tmp_path: Path, encoding: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    path = tmp_path / "texts.csv"
    path.write_bytes(mark + TEXT.encode(encoding))
    assert read(path) == TEXT


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=3))
def test_short_utf8_is_never_taken_for_gb18030(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("short") / "texts.csv"
    path.write_bytes(text.encode())
    assert read(path) == text


def test_one_character_at_the_very_end_decides(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes(b"a" * (3 << 20) + "退货".encode("gbk"))
    assert detect(path) == "gb18030"


def test_a_character_across_two_blocks_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.csv"
    for block in range(1, 8):
        monkeypatch.setattr(encodings, "_BLOCK", block)
        for encoding in ("utf-8", "gb18030"):
            path.write_bytes(TEXT.encode(encoding))
            assert detect(path) == encoding


def test_the_line_of_the_first_bad_byte_is_named_for_each_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "_BLOCK", 5)
    path = tmp_path / "broken.csv"
    path.write_bytes("好\n".encode("gb18030") * 4 + b"a\xff\n")
    with pytest.raises(DataError, match="Save it as UTF-8") as raised:
        detect(path)
    assert raised.value.problems == (
        "not utf-8: byte 0xba on line 1 does not fit (invalid start byte)",
        "not gb18030: byte 0xff on line 5 does not fit (illegal multibyte sequence)",
    )


def test_a_truncated_utf16_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes("好\n好".encode("utf-16")[:-1])
    with pytest.raises(DataError, match="on line 2"):
        detect(path)


def test_an_encoding_by_name_overrides(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes("退貨".encode("big5"))
    assert read(path, "big5") == "退貨"


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("utf-8", "byte 0xb0 on line 1 does not fit"), ("utf-9", "no text encoding of that name"), ("hex", "no text encoding of that name")],
)
def test_an_encoding_by_name_that_does_not_fit_is_an_error(tmp_path: Path, encoding: str, message: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes("退貨".encode("big5"))
    with pytest.raises(DataError, match=message):
        read(path, encoding)


def test_a_byte_order_mark_is_skipped_when_the_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes("文本".encode("utf-8-sig"))
    assert read(path, "utf-8") == "文本"


def test_an_empty_file_is_text(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    assert read(path) == ""
