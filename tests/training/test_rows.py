"""Training examples in few bytes: batches and targets are those of the wide form, weights do not know where the examples lie."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.data import growing, kept
from nlphub.data.batching import pack
from nlphub.data.growing import Growing
from nlphub.tasks import trainable
from nlphub.tasks.base import IGNORED
from nlphub.tasks.targets import joined, narrow, targets_of
from nlphub.training import rows as training_rows
from nlphub.training.rows import TrainingRows, read_rows

TEXTS = [
    "我要退货",
    "",
    "\u200b",
    "什么时候到" * 200,
    "a",
    "订单123号 还没有到",
    *(f"第{number}单{'退' * (number % 40)}" for number in range(60)),
]
NAMED = [
    {"text": f"{opening}{name}在北京大学" * 9, "spans": [(len(opening), len(opening) + 2, "人")]}
    for opening in ("", "听说")
    for name in ("张三", "李四", "王五")
]
MANY = [{"text": "张三在北京", "spans": [(0, 2, "人"), (0, 1, "地"), (0, 3, "地")]}, *NAMED, {"text": "没有", "spans": []}]
CASES: dict[str, tuple[str, str | None, list[str], list[Any]]] = {
    "texts": ("seq-cls", None, ["a", "b"], [{"text": text, "label": "ab"[len(text) % 2]} for text in TEXTS]),
    "pairs": ("seq-cls", None, ["a", "b"], [{"text": text, "pair": text[::-2], "label": "a"} for text in TEXTS]),
    "some pairs": ("seq-cls", None, ["a", "b"], [{"text": "一", "label": "a"}, {"text": "二", "pair": "三", "label": "b"}] * 5),
    "apart": ("text-matching", "bi-encoder", ["0", "1"], [{"text": text, "pair": text[:3], "label": "1"} for text in TEXTS]),
    "sets": ("multi-label", None, ["a", "b", "c"], [{"text": text, "labels": ["a", "c"][: len(text) % 3]} for text in TEXTS]),
    "numbers": ("regression", None, [], [{"text": text, "value": len(text) / 3} for text in TEXTS]),
    "tags": ("token-cls", "linear", ["人", "地"], MANY[1:]),
    "pointer": ("token-cls", "pointer", ["人", "地"], MANY),
}


@pytest.fixture
def in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small pieces, and everything in temporary files, which would lie in the folder given."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(kept, "MOST", 0)
    monkeypatch.setattr(growing, "MOST", 0)
    monkeypatch.setattr(training_rows, "PIECE", 30)
    return place


def made(case: str, folder: Path) -> tuple[hub.Module, Any, hub.Examples]:
    task, variant, labels, rows = CASES[case]
    module = hub.Module(directory=folder, task=task, variant=variant, labels=labels or None, max_length=40)
    return module, trainable(task, variant), hub.Examples.of(rows)


def as_list(value: Any) -> Sequence[np.ndarray[Any, Any]]:
    return value if isinstance(value, tuple) else (value,)


def size(rows: TrainingRows) -> int:
    """Bytes that the rows hold; a broadcast value is one."""
    arrays = (rows.ids, rows.starts, rows.lengths, *as_list(rows.targets))
    return sum(array.nbytes for array in arrays) + (rows.types.nbytes if rows.types.strides != (0,) else 1)


@pytest.mark.parametrize("case", CASES)
def test_batches_and_targets_are_those_of_the_wide_form(case: str, small_folder: Path, in_files: Path) -> None:
    module, task, examples = made(case, small_folder)
    wide = module.tokenize(examples.texts, examples.pairs)
    targets = task.targets(examples, wide, module.labels)
    rows = read_rows(module, task, examples)
    assert len(rows) == len(wide)
    np.testing.assert_array_equal(rows.lengths, wide.lengths)
    np.testing.assert_array_equal(rows.words, np.unique(wide.ids))
    assert rows.cut == wide.truncated.sum()
    for seed in range(3):
        chosen = np.random.default_rng(seed).permutation(len(wide))[: seed + 5]
        for name in ("ids", "types", "positions", "lengths", "starts", "cls_rows", "examples"):
            one, other = (getattr(pack(given, chosen), name) for given in (rows, wide))
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype == np.int64
        for one, other in zip(as_list(targets_of(rows.targets, rows, chosen)), as_list(targets_of(targets, wide, chosen)), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


def test_a_token_costs_two_bytes_and_a_text_thirteen(small_folder: Path) -> None:
    module, task, examples = made("texts", small_folder)
    rows = read_rows(module, task, examples)
    assert size(rows) <= 2 * len(rows.ids) + 13 * len(rows) + 16
    module, task, examples = made("pairs", small_folder)
    rows = read_rows(module, task, examples)
    assert size(rows) <= 3 * len(rows.ids) + 13 * len(rows) + 16
    module, task, examples = made("tags", small_folder)
    rows = read_rows(module, task, examples)
    assert size(rows) <= 3 * len(rows.ids) + 12 * len(rows) + 16, "tags take one byte"


def test_vocabularies_of_more_than_two_bytes_have_four(small_folder: Path) -> None:
    module, task, examples = made("texts", small_folder)
    module.encoder.embeddings.word.num_embeddings = (1 << 16) + 1
    assert read_rows(module, task, examples).ids.dtype == np.int32
    module.encoder.embeddings.word.num_embeddings = 1 << 16
    assert read_rows(module, task, examples).ids.dtype == np.uint16


@pytest.mark.parametrize("values", [[-100, 127], [-100, 128], [0, 32767], [-100, 32768], [0, 1 << 40], []])
def test_targets_take_the_narrowest_signed_numbers(values: list[int]) -> None:
    found = narrow(np.array(values, np.int64))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == values
    most = max(values, default=1 << 40)
    assert found.dtype == next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if np.iinfo(dtype).max >= most)


def test_pieces_of_targets_of_different_widths_are_filled_up() -> None:
    pieces = [(np.zeros(1, np.int8), np.array([[1]], np.int8)), (np.zeros(2, np.int8), np.array([[2, 300]], np.int16))]
    whole, codes = joined(pieces)
    assert whole.tolist() == [0, 0, 0]
    assert codes.tolist() == [[1, IGNORED], [2, 300]]
    assert codes.dtype == np.int16


@pytest.mark.parametrize("case", ["texts", "tags"])
def test_weights_do_not_know_where_the_examples_lie(
    case: str, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]]
) -> None:
    data, digests = {"texts": rows, "tags": MANY[1:]}[case], []
    settings = hub.TrainSettings(epochs=2, batch_size=8, learning_rate=3e-3, dropout=0.1)
    for most, piece in ((1 << 30, 1 << 18), (0, 20)):
        for module in (kept, growing):
            monkeypatch.setattr(module, "MOST", most)
        monkeypatch.setattr(training_rows, "PIECE", piece)
        folder = tmp_path / str(most)
        trained = hub.Module(directory=small_folder, seed=3)
        hub.Trainer(trained, settings=settings, checkpoint_dir=folder, progress=False).train(data)
        state = (folder / "last" / "state.json").read_bytes() if (folder / "last" / "state.json").is_file() else b""
        digests.append((weights_digest(trained.encoder, trained.head), state))
    assert digests[0] == digests[1]


def test_nothing_is_left_of_a_training_that_failed(small_folder: Path, in_files: Path, rows: list[tuple[str, str]]) -> None:
    module = hub.Module(directory=small_folder)
    facts = hub.Trainer(module, settings=hub.TrainSettings(learning_rate=1e30, epochs=50, warmup=0.0), progress=False).steps(rows)
    next(facts)
    assert [*in_files.iterdir()] == [], "the files have no names"
    with pytest.raises(hub.NlphubError):
        for _ in facts:
            pass
    assert [*in_files.iterdir()] == []


def test_rows_in_files_are_not_in_memory(small_folder: Path, in_files: Path) -> None:
    module, task, examples = made("texts", small_folder)
    rows = read_rows(module, task, examples)
    assert all(not array.flags.owndata and not array.flags.writeable for array in (rows.ids, rows.starts, rows.lengths))
    assert Growing(np.int8).array().size == 0
