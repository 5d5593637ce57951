"""Weights stored small: exact rules, bounded errors, equal bytes, and files that lie about their form are refused."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from nlphub.checkpoints import native
from nlphub.checkpoints.compact import compact, expand, layout
from nlphub.checkpoints.gate import read_tensors
from nlphub.errors import InputError, WeightsError
from nlphub.nn.encoder import Encoder, EncoderConfig

SHAPES = {"m": (6, 5), "b": (5,), "cube": (2, 3, 2), "nothing": (0, 5), "thin": (3, 0)}


def some(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tensors["m"][1] = 0.0
    tensors["m"][2] = torch.tensor([1e-45, 0, -1e-45, 0, 0])  # its scale rounds to nothing
    tensors["m"][3] = torch.tensor([127.0, -127.0, 63.5, 0.4, -126.6])
    tensors["m"][4] *= 1e4
    return tensors


def rows_one_by_one(matrix: Tensor) -> np.ndarray[Any, Any]:
    """The slow obvious twin of storing and expanding int8 rows."""
    result = np.zeros(matrix.shape, np.float32)
    for r, row in enumerate(matrix.numpy()):
        scale = np.float32(np.abs(row).max() / np.float32(127)) if len(row) else np.float32(0)
        for c, value in enumerate(row):
            step = min(127, max(-127, round(float(value / scale)))) if scale > 0 else 0  # round: half to even
            result[r, c] = np.float32(step) * scale
    return result


def stored(path: Path, tensors: dict[str, Tensor], form: str) -> Path:
    native.save_weights(path, tensors, form=form)
    return path


def test_int8_rows_equal_the_slow_twin_and_stay_within_half_a_step(tmp_path):
    tensors = some()
    found = read_tensors(stored(tmp_path / "w.safetensors", tensors, "int8"), SHAPES)
    for name, tensor in tensors.items():
        assert found[name].dtype == torch.float32
        if tensor.ndim == 2:
            np.testing.assert_array_equal(found[name].numpy(), rows_one_by_one(tensor))
        else:
            assert torch.equal(found[name], tensor), name
    bound = tensors["m"].abs().amax(dim=1, keepdim=True) / 254 * (1 + 1e-5) + 1e-44
    assert ((found["m"] - tensors["m"]).abs() <= bound).all()
    assert found["m"][3].tolist() == [127, -127, 64, 0, -127]


def test_fp16_keeps_vectors_and_rounds_matrices_to_half(tmp_path):
    tensors = some()
    found = read_tensors(stored(tmp_path / "w.safetensors", tensors, "fp16"), SHAPES)
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor.half().float() if tensor.ndim == 2 else tensor), name


def test_fp32_keeps_every_bit_and_the_bytes_of_before(tmp_path):
    tensors, path = some(), tmp_path / "w.safetensors"
    save_file(tensors, path, {"format": "pt"})
    before = path.read_bytes()
    assert stored(path, tensors, "fp32").read_bytes() == before
    assert all(torch.equal(read_tensors(path, SHAPES)[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("form", ["fp16", "int8"])
def test_equal_weights_give_equal_bytes_and_storing_again_changes_nothing(tmp_path, form):
    first, again, third = (stored(tmp_path / name, some(), form).read_bytes() for name in "abc")
    assert first == again == third
    expanded = read_tensors(tmp_path / "a", SHAPES)
    expanded = read_tensors(stored(tmp_path / "d", expanded, form), SHAPES)
    values = {name: expanded[name] for name in ("b", "cube")} | ({"m": expanded["m"]} if form == "fp16" else {})
    assert all(torch.equal(tensor, read_tensors(tmp_path / "a", SHAPES)[name]) for name, tensor in values.items())


def test_the_bytes_of_a_stored_file_are_known(tmp_path):
    """A file that ships is remade bit by bit on any machine: values here are exact in every arithmetic."""
    weights = {"w": torch.tensor([[127.0, -63.5], [0.0, 0.25]]), "b": torch.tensor([1.5])}
    raw = stored(tmp_path / "w.safetensors", weights, "int8").read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    assert header["__metadata__"] == {"form": "int8"}
    assert {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"w": "I8", "w.scale": "F32", "b": "F32"}
    assert load(raw)["w"].tolist() == [[127, -64], [0, 127]]
    assert hashlib.sha256(raw).hexdigest() == DIGEST


DIGEST = "42b4e6341e8f331a2d62fda5a24a6f325a066c117cea6926e24bd6fb1156860d"


@pytest.mark.parametrize("form", ["int4", "", None, "FP16"])
def test_unknown_forms_are_refused(form):
    with pytest.raises(InputError, match="fp32, fp16, int8"):
        compact(some(), form)


@pytest.mark.parametrize(("form", "value"), [("fp16", 1e5), ("fp16", torch.nan), ("int8", torch.inf), ("int8", torch.nan)])
def test_weights_that_a_form_cannot_hold_are_refused(form, value):
    tensors = some()
    tensors["m"][0, 0] = value
    with pytest.raises(WeightsError, match=rf"stored as {form}.*in m"):
        compact(tensors, form)


def hostile(path: Path, form: str | None, changes: dict[str, Tensor | None]) -> Path:
    """An int8 file with tensors changed or left out, and perhaps another form claimed."""
    parts = compact(some(), "int8")[0] | changes
    save_file({name: part for name, part in parts.items() if part is not None}, path, {"form": form} if form else None)
    return path


def changed_scale(*values: float) -> Tensor:
    return torch.cat([torch.tensor(values), torch.ones(6 - len(values))])


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        (None, {}, "describes tensors wrongly: m"),
        ("fp16", {}, "describes tensors wrongly: m"),
        ("fp32", {}, "its form is 'fp32'"),
        ("int8\n" * 99, {}, "its form is"),
        ("int8", {"m.scale": None}, r"missing: m\.scale"),
        ("int8", {"b.scale": torch.ones(5)}, r"not expected: b\.scale"),
        ("int8", {"m.scale": torch.ones(6, 1)}, r"m\.scale \(6, 1\) instead of \(6,\)"),
        ("int8", {"m.scale": torch.ones(5)}, r"m\.scale \(5,\) instead of \(6,\)"),
        ("int8", {"m.scale": torch.ones(6).half()}, r"wrongly: m\.scale"),
        ("int8", {"m.scale": torch.ones(6).to(torch.int8)}, r"another dtype than its form's: m\.scale I8"),
        ("int8", {"m": torch.ones(6, 5)}, "another dtype than its form's: m F32"),
        ("int8", {"b": torch.ones(5).to(torch.int8)}, "another dtype than its form's: b I8"),
        ("int8", {"m": torch.ones(5, 6).to(torch.int8)}, r"m \(5, 6\) instead of \(6, 5\)"),
        ("int8", {"m.scale": changed_scale(torch.nan)}, "scales of m are not all finite"),
        ("int8", {"m.scale": changed_scale(1, torch.inf)}, "scales of m are not all finite"),
        ("int8", {"m.scale": changed_scale(-1)}, "scales of m are not all finite and at least 0"),
        ("int8", {"m.scale": changed_scale(3e38)}, "not finite in m"),
        ("int8", {"b": torch.full((5,), torch.inf)}, "not finite in b"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_that_does_not_keep_its_form_is_refused(tmp_path, form, changes, message):
    with pytest.raises(WeightsError, match=message):
        read_tensors(hostile(tmp_path / "w.safetensors", form, changes), SHAPES)


def test_other_heads_are_ignored_with_their_scales_but_not_those_of_the_wanted_one(tmp_path):
    tensors = {f"{place}.w": torch.randn(2, 3) for place in ("encoder", "heads.mlm", "heads.other")}
    path = stored(tmp_path / "w.safetensors", tensors, "int8")
    assert read_tensors(path, {"encoder.w": (2, 3)}, ignore=("heads.",)).keys() == {"encoder.w"}
    both = {"encoder.w": (2, 3), "heads.mlm.w": (2, 3)}
    assert read_tensors(path, both, ignore=("heads.",), strict=("heads.mlm.",)).keys() == both.keys()
    with pytest.raises(WeightsError, match=r"not expected: heads\.mlm\.w, heads\.mlm\.w\.scale"):
        read_tensors(path, {"encoder.w": (2, 3)}, ignore=("heads.",), strict=("heads.mlm.",))


def test_our_encoder_takes_a_byte_for_each_weight(tmp_path):
    """Counted on the meta device for ernie_tiny's numbers: about 14 MB."""
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(vocab=8192, layers=6, width=384, heads=6, inner=1536))
    shapes = {name: tuple(tensor.shape) for name, tensor in native.tensors(encoder).items()}
    parts = layout(shapes, "int8")
    total = sum(torch.empty(shape, dtype=dtype, device="meta").nbytes for shape, dtype in parts.values())
    assert 13_990_656 < total < 14_300_000


def test_what_is_expanded_is_what_was_laid_out():
    tensors, _ = compact(some(), "int8")
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()} == layout(SHAPES, "int8")
    assert expand(tensors, SHAPES, "int8").keys() == SHAPES.keys()


def test_the_library_reads_the_same_integers(tmp_path):
    path = stored(tmp_path / "w.safetensors", some(), "int8")
    library = load_file(path)
    found = read_tensors(path, SHAPES)["m"]
    assert torch.equal(library["m"].float() * library["m.scale"][:, None], found)
