"""Reading documents: formats, packings, and files that are made to do harm."""

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from nlphub.data.corpus import documents
from nlphub.data.corpus.documents import MAX_DOCUMENT, MAX_LINE, cut, read_documents
from nlphub.errors import DataError, MissingExtraError

zstandard = pytest.importorskip("zstandard")

TEXT = "第一段。\n第二段。\n\n\n  第三段，另一篇。  \r\n\r\n最后"
EXPECTED = [["第一段。", "第二段。"], ["第三段，另一篇。"], ["最后"]]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".zst": zstandard.ZstdCompressor().compress,
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".GZ": gzip.compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_blank_line_ends_a_document(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACKERS[suffix](TEXT.encode()))
    assert list(read_documents(path)) == EXPECTED


@pytest.mark.parametrize("suffix", PACKERS)
def test_rows_of_jsonl_are_documents(tmp_path: Path, suffix: str) -> None:
    rows = ["{", json.dumps({"body": "甲\n\n乙"}), "", json.dumps({"body": 3}), "[1]", json.dumps({"body": "丙\ud800"})]
    path, bad = tmp_path / f"a.jsonl{suffix}", []
    path.write_bytes(PACKERS[suffix]("\n".join(rows).encode()))
    assert list(read_documents(path, text="body", report=bad.append)) == [["甲", "乙"], ["丙\ufffd"]]
    assert len(bad) == 3


def test_a_wrong_key_names_the_keys_there_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"content": "甲", "id": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"has a text under 'text'; its first row has content, id\. Name the key with --text"):
        list(read_documents(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_plain_files_may_have_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TEXT, encoding=encoding, newline="")
    assert list(read_documents(path)) == EXPECTED


def test_several_packed_streams_behind_each_other_are_one_file(tmp_path: Path) -> None:
    for suffix, pack in PACKERS.items():
        path = tmp_path / f"b.txt{suffix}"
        path.write_bytes(pack("甲\n".encode()) + pack("乙\n".encode()))
        assert list(read_documents(path)) == [["甲", "乙"]]


@pytest.mark.parametrize("suffix", [".zst", ".xz", ".gz"])
def test_a_file_that_was_cut_off_or_damaged_is_refused(tmp_path: Path, suffix: str) -> None:
    packed = PACKERS[suffix]("".join(f"第{i}行文字\n" for i in range(5000)).encode())
    path = tmp_path / f"a.txt{suffix}"
    for content in (packed[:-5], packed[: len(packed) // 2], packed[:3], b"no such thing", packed + b"more"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="Fetch it again"):
            list(read_documents(path))


@pytest.mark.parametrize("suffix", [".zst", ".xz", ".gz"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_FREE", 1 << 20)
    path = tmp_path / f"bomb.txt{suffix}"
    path.write_bytes(PACKERS[suffix](b"\n".join([b"0" * 99] * 500_000)))
    seen: list[int] = []
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        seen.extend(sum(map(len, document)) for document in read_documents(path))
    assert sum(seen) < (1 << 20) + 200 * path.stat().st_size


def test_the_step_that_is_unpacked_at_once_is_bounded(tmp_path: Path) -> None:
    """A frame of a few bytes can hold gigabytes; what one step makes of it is 32 MiB at most."""
    packed = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    unpacker = documents._zstd()
    largest = max(len(unpacker.decompress(packed[i : i + documents._STEP])) for i in range(0, len(packed), documents._STEP))
    assert largest <= 1 << 25


def test_a_frame_that_asks_for_a_huge_window_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(bytes.fromhex("28b52ffd 00 a8 010000".replace(" ", "")))  # a window of 2 GiB
    with pytest.raises(DataError, match="cannot be unpacked"):
        list(read_documents(path))


def test_a_line_without_end_is_cut_and_nothing_is_lost(tmp_path: Path) -> None:
    text = "这一行没有尽头" * 30_000
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    found = list(read_documents(path))
    assert "".join(piece for document in found for piece in document) == text
    assert max(len(piece) for document in found for piece in document) <= MAX_LINE
    assert max(sum(map(len, document)) for document in found) <= MAX_DOCUMENT


def test_a_row_without_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_ROW", 50)
    path, bad = tmp_path / "a.jsonl", []
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in ("甲", "长" * 500, "乙", "x" * 37)]
    assert len(rows[-1]) == 49
    path.write_text("\n".join([*rows, "9" * 120]), encoding="utf-8")
    assert list(read_documents(path, report=bad.append)) == [["甲"], ["乙"], ["x" * 37]]
    assert bad == ["a row of more than 50 characters"] * 2


def test_bytes_that_are_no_text_become_replacement_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("好".encode() + b"\xff\xfe" + "的\n".encode()))
    assert list(read_documents(path)) == [["好\ufffd\ufffd的"]]


@pytest.mark.parametrize("suffix", PACKERS)
def test_an_empty_file_has_no_document(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    for content in (b"", b"\n \n\n"):
        path.write_bytes(PACKERS[suffix](content))
        assert list(read_documents(path)) == []


def test_zstd_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(PACKERS[".zst"]("甲".encode()))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"nlphub\[corpus\]"):
        list(read_documents(path))


def test_lines_are_cut_after_sentences() -> None:
    assert list(cut("一二三。四五六。七八九", 8)) == ["一二三。四五六。", "七八九"]
    assert list(cut("一二三四五六七八九", 4)) == ["一二三四", "五六七八", "九"]
    assert list(cut("他说：“好。”然后走了", 7)) == ["他说：“好。”", "然后走了"]
    assert list(cut("", 4)) == [""]
