"""Shards: what is written is read, bit for bit; what is damaged is refused; what appears later is picked up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nlphub.data.arrays import open_arrays, write_arrays
from nlphub.data.shards import Corpus, Shard, write_shard
from nlphub.errors import DataError, InputError

STARTS = np.array([0, 1, 9, 700, 1001])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``write("name")`` publishes a shard of 1,001 tokens and returns what went into it."""

    def make(name: str, *, seed: int = 0, vocabulary: int = 9000, tokenizer: str = "ours", **more: Any) -> dict[str, Any]:
        generator = np.random.default_rng(seed)
        arrays = {"ids": generator.integers(0, vocabulary, 1001), "word_starts": generator.random(1001) < 0.6, "starts": STARTS}
        write_shard(tmp_path / f"{name}.safetensors", tokenizer_digest=tokenizer, **arrays, **more)
        return arrays

    return make


@pytest.mark.parametrize(("vocabulary", "kind"), [(9000, "uint16"), (1 << 16, "uint16"), (1 << 20, "uint32")])
def test_what_is_written_is_read(write: Callable[..., Any], tmp_path: Path, vocabulary: int, kind: str) -> None:
    arrays = write("a", vocabulary=vocabulary, source="news", weight=0.3)
    shard = Shard.open(tmp_path / "a.safetensors")
    assert (shard.name, shard.tokenizer, shard.source, shard.weight) == ("a", "ours", "news", 0.3)
    assert (len(shard), shard.tokens, shard.ids.dtype.name) == (4, 1001, kind)
    np.testing.assert_array_equal(shard.ids, arrays["ids"])
    np.testing.assert_array_equal(shard.word_starts, arrays["word_starts"])
    np.testing.assert_array_equal(shard.starts, STARTS)


def test_every_range_of_word_starts_is_that_of_all(write: Callable[..., Any], tmp_path: Path) -> None:
    flags = write("a")["word_starts"]
    shard = Shard.open(tmp_path / "a.safetensors")
    for begin in (0, 1, 7, 8, 9, 500, 993, 1001):
        for end in (begin, begin + 1, begin + 7, begin + 8, 1000, 1001):
            if begin <= end <= 1001:
                np.testing.assert_array_equal(shard.word_starts_of(begin, end), flags[begin:end])


def test_the_safetensors_library_reads_a_shard(write: Callable[..., Any], tmp_path: Path) -> None:
    arrays = write("a")
    loaded = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded["ids"], arrays["ids"])
    np.testing.assert_array_equal(np.unpackbits(loaded["words"], count=1001), arrays["word_starts"])
    np.testing.assert_array_equal(loaded["starts"], STARTS)


def test_equal_arrays_give_equal_bytes(write: Callable[..., Any], tmp_path: Path) -> None:
    write("a", source="x")
    write("b", source="x")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_nothing_can_be_written_into_a_mapped_shard(write: Callable[..., Any], tmp_path: Path) -> None:
    write("a")
    with pytest.raises(ValueError, match="read-only"):
        Shard.open(tmp_path / "a.safetensors").ids[0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"word_starts": np.ones(5, np.bool_)}, "5 word starts do not fit 1001 tokens"),
        ({"starts": np.array([0, 700])}, "document starts have to ascend from 0"),
        ({"starts": np.array([1, 1001])}, "document starts have to ascend from 0"),
        ({"starts": np.array([0, 9, 9, 1001])}, "document starts have to ascend from 0"),
        ({"ids": np.full(1001, -1)}, "between 0 and"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {"ids": np.zeros(1001, np.int64), "word_starts": np.ones(1001, np.bool_), "starts": STARTS} | change
    with pytest.raises(InputError, match=message):
        write_shard(tmp_path / "a.safetensors", tokenizer_digest="ours", **arrays)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_a_damaged_shard_is_refused_at_every_byte_that_is_cut_off(write: Callable[..., Any], tmp_path: Path) -> None:
    write("a")
    path = tmp_path / "a.safetensors"
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="nlphub pretrain-data"):
            Shard.open(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(DataError, match="by its header"):
        Shard.open(path)


def header(change: Callable[[dict[str, Any]], Any], path: Path) -> None:
    """Write the shard again with a changed header."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + length])
    change(table)
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["ids"].update(dtype="F32"),
        lambda table: table["ids"].update(dtype="I64"),
        lambda table: table["ids"].update(shape=[1 << 40]),
        lambda table: table["ids"].update(shape=[-1001]),
        lambda table: table["ids"].update(shape=[True]),
        lambda table: table["ids"].update(data_offsets=[0, 2002]),
        lambda table: table["ids"].update(data_offsets=None),
        lambda table: table["ids"].pop("shape"),
        lambda table: table.pop("words"),
        lambda table: table.update(more=table["words"]),
        lambda table: table["__metadata__"].update(schema="2"),
        lambda table: table["__metadata__"].update(weight="nan"),
        lambda table: table["__metadata__"].update(weight="-1"),
        lambda table: table["__metadata__"].update(weight=1),
        lambda table: table.update(__metadata__=[]),
        lambda table: table.update({str(i): {} for i in range(100)}),
    ],
)
def test_a_header_that_lies_is_refused(write: Callable[..., Any], tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    write("a")
    header(change, tmp_path / "a.safetensors")
    with pytest.raises(DataError):
        Shard.open(tmp_path / "a.safetensors")


def test_a_shard_of_another_writer_is_welcome_if_it_holds_the_same(write: Callable[..., Any], tmp_path: Path) -> None:
    arrays = write("a")
    tensors = {"starts": STARTS, "ids": arrays["ids"].astype(np.uint16), "words": np.packbits(arrays["word_starts"])}
    save_file(tensors, tmp_path / "b.safetensors", {"schema": "1", "tokenizer": "ours"})
    shard = Shard.open(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(shard.ids, arrays["ids"])
    assert (shard.source, shard.weight) == ("", 1.0)


def test_a_header_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{")
    with pytest.raises(DataError, match="header is empty or above"):
        Shard.open(path)
    path.write_bytes((60_000).to_bytes(8, "little") + b"[" * 60_000)
    with pytest.raises(DataError):
        Shard.open(path)


def test_an_empty_array_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    write_arrays(path, {"a": np.zeros(0, np.uint64), "b": np.zeros((0, 3), np.uint8)}, {})
    arrays, metadata = open_arrays(path, {"a": ("uint64",), "b": ("uint8",)})
    assert (arrays["a"].shape, arrays["b"].shape, metadata) == ((0,), (0, 3), {})


def test_a_corpus_is_its_shards_in_order_and_grows(write: Callable[..., Any], tmp_path: Path) -> None:
    write("b-00001")
    write("b-00000", seed=1)
    (tmp_path / ".a-00000.safetensors.x.part").write_bytes(b"half")
    corpus = Corpus.open(tmp_path, tokenizer_digest="ours")
    assert (corpus.shards, corpus.tokens, list(corpus)) == (("b-00000", "b-00001"), 2002, ["b-00000", "b-00001"])
    before = corpus["b-00000"]
    assert corpus.refresh() == ()
    write("a-00000", seed=2)
    assert corpus.refresh() == ("a-00000",)
    assert (corpus.shards, corpus.tokens) == (("a-00000", "b-00000", "b-00001"), 3003)
    assert corpus["b-00000"] is before


def test_shards_of_another_tokenizer_are_refused_by_name(write: Callable[..., Any], tmp_path: Path) -> None:
    write("a")
    corpus = Corpus.open(tmp_path, tokenizer_digest="ours")
    write("b", tokenizer="theirs")
    with pytest.raises(DataError, match="b has theirs"):
        corpus.refresh()
    assert corpus.shards == ("a",)


def test_a_folder_without_shards_says_how_to_make_them(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="nlphub pretrain-data"):
            Corpus.open(folder, tokenizer_digest="ours")
