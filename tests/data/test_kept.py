"""Many examples lie in a file without a name: they are what they were, take next to no memory, and leave nothing behind."""

import errno
import gc
import os
import pickle
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlphub.data import growing, kept
from nlphub.data.doctor.profile import describe
from nlphub.data.examples import Example, Examples
from nlphub.data.growing import Growing
from nlphub.data.kept import Kept
from nlphub.data.spans import Span
from nlphub.data.splitting import split_off
from nlphub.errors import DataError, StoreError

SOME = [
    Example("我要退货", "退货", line=2),
    Example("", "", "", 0),
    Example('a\u2028b\n\t"\\,]\0', None, "二", 3),
    Example("\ud83d\ude00\udc00", "半个", None, 4, (), (), 0.1),
    Example("张三在北京", None, None, np.int64(5), (Span(0, 2, "人"), Span(3, 5, "地")), ("a", "b"), -1e30),  # type: ignore[arg-type]
    Example("长" * 10_000, "退货", None, 6),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything goes to files at once, and they would lie here."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(kept, "MOST", 0)
    monkeypatch.setattr(growing, "MOST", 0)
    return place


def many(count: int) -> Iterator[Example]:
    return (Example(f"我要查第{row}个快递到哪里了", f"意图{row % 10}", line=row) for row in range(count))


def test_examples_come_back_as_they_were(folder: Path) -> None:
    given = [*SOME, *many(1200), *SOME]
    made = Examples(iter(given), source="a.csv", unit="row")
    assert isinstance(made._items, Kept)
    assert [*made] == given
    assert [example.line for example in made] == [example.line for example in given]
    assert len(made) == len(given)
    for number in (0, 5, 6, 15, 16, 17, 511, 512, 1023, len(given) - 1, -1, -len(given)):
        assert made[number] == given[number]
    for part in (slice(3, 1100), slice(None), slice(500, 530), slice(-3, None), slice(7, 3), slice(1000, 0, -99), slice(0, 0)):
        assert [*made[part]] == given[part]
    with pytest.raises(IndexError):
        made[len(given)]
    assert [*made.take([900, 2, 2])] == [given[900], given[2], given[2]]


def test_a_large_list_says_what_a_small_one_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Examples(many(700))
    monkeypatch.setattr(kept, "MOST", 1 << 30)
    small = Examples(many(700))
    assert (type(large._items), type(small._items)) == (Kept, tuple)
    assert (large, hash(large), repr(large)) == (small, hash(small), repr(small))
    assert large != Examples(many(699))
    for name in ("texts", "pairs", "labels", "label_names", "paired"):
        assert getattr(large, name) == getattr(small, name)
    assert large.digest() == small.digest()
    assert [[*piece] for piece in large.pieces(1000)] == [[*piece] for piece in small.pieces(1000)]
    assert split_off(large, {"dev": 0.2, "test": 0.1}, seed=1) == split_off(small, {"dev": 0.2, "test": 0.1}, seed=1)
    assert describe(large) == describe(small)
    with pytest.raises(DataError) as raised:
        _ = large.spans
    assert len(raised.value.problems) == 700


def test_pieces_hold_all_examples_in_order(folder: Path) -> None:
    pieces = [*Examples(SOME, source="a.csv").pieces(10)]
    assert [example for piece in pieces for example in piece] == SOME
    assert [sum(len(one.text) + len(one.pair or "") for one in piece) >= 10 for piece in pieces[:-1]] == [True] * (len(pieces) - 1)
    assert {piece.source for piece in pieces} == {"a.csv"}
    assert [len(piece) for piece in Examples([]).pieces(10)] == [0]


def test_a_large_list_can_be_pickled(folder: Path) -> None:
    made = Examples(SOME)
    assert pickle.loads(pickle.dumps(made)) == made


def test_labels_that_are_equal_are_one_object(folder: Path) -> None:
    assert len({id(label) for label in Examples(many(100)).labels}) == 10


def test_memory_does_not_grow_with_the_examples(folder: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            made = Examples(many(count))
            assert sum(len(example.text) for example in made) > 10 * count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1100)
    few, more = peak(1100), peak(11_000)
    assert more - few < 2 * 9900, "at most two bytes an example"


def test_nothing_is_left_in_the_folder_of_temporary_files(folder: Path) -> None:
    made = Examples(many(600))
    assert [*folder.iterdir()] == [], "the file has no name"
    del made

    def broken() -> Iterator[Example]:
        yield from many(600)
        raise RuntimeError("unreadable")

    with pytest.raises(RuntimeError, match="unreadable"):
        Examples(broken())
    gc.collect()
    assert [*folder.iterdir()] == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted under /proc")
def test_files_are_closed_with_the_list(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    made = [Examples(many(20)) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) > before
    del made
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_is_an_error_that_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match=f"{folder}.*No space left.*TMPDIR"):
        Examples(many(600))


@pytest.mark.parametrize("most", [0, 100, 1 << 20])
def test_an_array_that_grows_is_what_was_added(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "MOST", most)
    made, pieces = Growing(np.uint16), [np.arange(size) for size in (0, 3, 0, 500, 1)]
    for piece in pieces:
        made.add(piece)
    assert len(made) == 504
    np.testing.assert_array_equal(made.array(), np.concatenate(pieces))
    assert made.array().dtype == np.uint16
    assert len(Growing(np.int64).array()) == 0
