"""The gate before weights: hostile headers end in a WeightsError, never in anything else."""

import json
import os
import random
import resource
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nlphub.checkpoints.gate import read_tensors
from nlphub.errors import WeightsError

SHAPES = {"a": (2, 3), "b": (4,)}
GOOD = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]},
}


def written(path: Path, header: Any, *, data: bytes = bytes(40), length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def test_a_good_file_passes(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"b": torch.arange(4.0), "a": torch.ones(2, 3)}, path, {"format": "pt"})
    found = read_tensors(path, SHAPES)
    assert found["b"].tolist() == [0, 1, 2, 3]
    assert torch.equal(found["a"], torch.ones(2, 3))
    assert read_tensors(written(path, GOOD), SHAPES).keys() == SHAPES.keys()


def changed(**parts: Any) -> dict[str, Any]:
    return {**GOOD, "b": {**GOOD["b"], **parts}}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (changed(data_offsets=[20, 36]), "damaged"),
        (changed(data_offsets=[25, 41]), "damaged"),
        (changed(data_offsets=[24, 28]), "damaged"),
        (changed(data_offsets=[24, -40]), "wrongly"),
        (changed(data_offsets=[24.0, 40]), "wrongly"),
        (changed(data_offsets=[24]), "wrongly"),
        (changed(shape=[True, 4]), "wrongly"),
        (changed(shape=[1 << 60]), "wrongly"),
        (changed(shape="4"), "wrongly"),
        (changed(dtype="I64"), "wrongly"),
        (changed(dtype=["F32"]), "wrongly"),
        (changed(more=1), "wrongly"),
        ({**GOOD, "b": 7}, "wrongly"),
        ([GOOD], "must be a table"),
        ({**GOOD, "__metadata__": {"format": 7}}, "texts about the file wrongly"),
        ({**GOOD, "__metadata__": ["pt"]}, "texts about the file wrongly"),
        ({**GOOD, "\ud800\x1b[2J": GOOD["b"]}, r"not expected: '\\ud800\\x1b\[2J'"),
        ({str(number): GOOD["b"] for number in range(5000)}, "at most 4096"),
        (json.dumps(GOOD).replace('"b"', '"a"').encode(), "stands twice"),
        (b'{"a": NaN}', "NaN"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a":' * 50_000, "not valid JSON"),
        (b"9" * 10_000, "not valid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_header_is_refused(tmp_path, header, message):
    with pytest.raises(WeightsError, match=message):
        read_tensors(written(tmp_path / "w.safetensors", header), SHAPES)


@pytest.mark.parametrize("data", [bytes(39), bytes(41), bytes(0)], ids=len)
def test_the_data_has_to_end_with_the_file(tmp_path, data):
    with pytest.raises(WeightsError, match="cut off or appended"):
        read_tensors(written(tmp_path / "w.safetensors", GOOD, data=data), SHAPES)


@pytest.fixture
def little_memory():
    """This process may take 4 GiB more of address space."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def with_evil(size: int) -> dict[str, Any]:
    return {**GOOD, "heads.evil": {"dtype": "F32", "shape": [size // 4], "data_offsets": [40, 40 + size]}}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_a_size_that_only_the_header_claims_takes_no_memory(tmp_path, little_memory):
    path = written(tmp_path / "w.safetensors", with_evil(2 << 40))
    with pytest.raises(WeightsError, match="cut off or appended"):
        read_tensors(path, SHAPES, ignore=("heads.",))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_ignored_tensors_are_not_read_into_memory(tmp_path, little_memory):
    path = written(tmp_path / "w.safetensors", with_evil(16 << 30))
    os.truncate(path, path.stat().st_size + (16 << 30))  # a file with holes: it takes no room on the disk
    found = read_tensors(path, SHAPES, ignore=("heads.",))
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == SHAPES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_every_dtype_and_place_is_read_as_the_safetensors_library_reads_it(tmp_path, dtype):
    path, generator = tmp_path / "w.safetensors", torch.Generator().manual_seed(0)
    whole = {
        name: torch.randn(shape, generator=generator).to(dtype)
        for name, shape in {"heads.a": (3,), "a": (2, 3), "heads.b": (5, 1), "b": (4,), "c": (), "d": (0, 7)}.items()
    }
    save_file(whole, path)
    expected = {name: tuple(tensor.shape) for name, tensor in whole.items() if not name.startswith("heads.")}
    found, library = read_tensors(path, expected, ignore=("heads.",)), load_file(path)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, library[name])


@pytest.mark.parametrize("length", [0, 1, 1 << 20 | 1, 1 << 63])
def test_a_header_of_absurd_length_is_not_read(tmp_path, length):
    with pytest.raises(WeightsError, match="announces a header"):
        read_tensors(written(tmp_path / "w.safetensors", GOOD, length=length), SHAPES)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(WeightsError, match="no safetensors file"):
        read_tensors(tmp_path / "w.safetensors", SHAPES)


def test_random_damage_is_refused_or_harmless(tmp_path):
    path, generator = tmp_path / "w.safetensors", random.Random(0)
    whole = written(path, GOOD).read_bytes()
    refused = 0
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(whole) - 40)] = generator.choice(b'0123456789{}[]",:ab\x00\xff')
        path.write_bytes(damaged[: generator.choice([len(whole), generator.randrange(len(whole))])])
        try:
            assert {name: tuple(tensor.shape) for name, tensor in read_tensors(path, SHAPES).items()} == SHAPES
        except WeightsError:
            refused += 1
    assert refused > 1800
