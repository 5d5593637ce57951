"""Filling a network from a mapped file: the same values as reading it, nothing touched when anything is wrong, hardly any memory."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nlphub.checkpoints import gate
from nlphub.checkpoints.compact import FORMS
from nlphub.checkpoints.gate import fill_tensors, read_tensors
from nlphub.checkpoints.native import save_weights
from nlphub.errors import WeightsError

SHAPES = {"encoder.m": (37, 50), "encoder.b": (7,), "encoder.none": (0, 3)}


def values(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def targets() -> dict[str, torch.Tensor]:
    return {name: torch.full(shape, 7.0) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 64, 1 << 16])
def test_what_is_filled_is_what_is_read(tmp_path: Path, form: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_PIECE", piece)
    save_weights(path := tmp_path / "w.safetensors", values(), form=form)
    fill_tensors(path, found := targets())
    read = read_tensors(path, SHAPES)
    assert all(torch.equal(found[name], read[name]) for name in SHAPES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("blanks", [0, 1, 3], ids=lambda count: f"{count} blanks")
def test_data_may_begin_anywhere_and_be_of_any_precision(tmp_path: Path, dtype: torch.dtype, blanks: int) -> None:
    save_file(values(dtype), path := tmp_path / "w.safetensors")
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    path.write_bytes(struct.pack("<Q", size + blanks) + raw[8 : 8 + size] + b" " * blanks + raw[8 + size :])
    fill_tensors(path, found := targets())
    assert all(torch.equal(found[name], value.float()) for name, value in values(dtype).items())


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_touched_when_the_last_value_is_not_finite(tmp_path: Path, form: str) -> None:
    save_weights(path := tmp_path / "w.safetensors", values(), form=form)
    raw = bytearray(path.read_bytes())
    size = struct.unpack("<Q", raw[:8])[0]
    begin = json.loads(raw[8 : 8 + size])["encoder.b"]["data_offsets"][0]
    raw[8 + size + begin : 8 + size + begin + 4] = struct.pack("<f", float("inf"))
    path.write_bytes(raw)
    found = targets()
    with pytest.raises(WeightsError, match=r"not finite in encoder\.b"):
        fill_tensors(path, found)
    assert all((tensor == 7).all() for tensor in found.values())


def test_other_names_are_refused_as_when_reading(tmp_path: Path) -> None:
    save_file({"encoder.m": torch.ones(37, 50)}, path := tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"missing: encoder\.b, encoder\.none"):
        fill_tensors(path, targets())


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read as Linux tells them")
def test_filling_needs_no_second_copy(tmp_path: Path) -> None:
    save_file({"a": torch.ones(64, 1 << 18)}, path := tmp_path / "w.safetensors")
    code = (
        "import re, sys, torch\nfrom pathlib import Path\nfrom nlphub.checkpoints.gate import fill_tensors\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "target = {'a': torch.zeros(64, 1 << 18).fill_(1)}\nbefore = peak()\n"
        "fill_tensors(Path(sys.argv[1]), target)\nprint(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 24, "MiB above the 64 of the target"
