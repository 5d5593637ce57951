"""Pickles of others: plain arrays in every protocol are read, and whatever wants more is refused with its opcode, unrun."""

import collections
import io
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlphub.checkpoints.arrays import arrays_in, read_pickle, write_pickle
from nlphub.checkpoints.paddle import read_pdparams, to_tensor
from nlphub.checkpoints.torch_file import read_torch
from nlphub.errors import WeightsError

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "by_columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "half": np.arange(3, dtype=np.float16),
    "big": np.arange(3, dtype=">f4"),
    "whole": np.arange(4),
    "empty": np.zeros((0, 3), np.float32),
    "none": np.array(2.5, np.float32),
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_read_in_every_protocol(tmp_path, protocol):
    found = read_pickle(
        written(tmp_path / "x", pickle.dumps({**ARRAYS, "names": {"a": "b"}, "number": 3, "flag": True}, protocol=protocol))
    )
    assert (found.pop("names"), found.pop("number"), found.pop("flag")) == ({"a": "b"}, 3, True)
    for name, value in found.items():
        array = arrays_in(value)
        assert array.dtype == ARRAYS[name].dtype
        assert np.array_equal(array, ARRAYS[name]), name


def test_paddles_own_forms_are_read(tmp_path):
    table = collections.OrderedDict({"a": ("linear_0.w_0", ARRAYS["a"]), "StructuredToParameterName@@": {"a": "linear_0.w_0"}})
    table |= {"b@@.0": np.ones(4, np.float32), "b@@.1": np.zeros(2, np.float32)}
    table["UnpackBigParamInfor@@"] = {"b": {"OriginShape": (2, 3), "slices": ["b@@.0", "b@@.1"]}}
    found = read_pdparams(written(tmp_path / "x.pdparams", pickle.dumps(table, protocol=2)))
    assert found.keys() == {"a", "b"}
    assert found["b"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_half_precision_and_bfloat16_become_float32():
    values = torch.tensor([1.0, -2.5, 3e4])
    bits = values.bfloat16().view(torch.uint16).numpy()
    assert torch.equal(to_tensor(bits), values.bfloat16().float())
    assert torch.equal(to_tensor(values.half().numpy()), values)
    assert torch.equal(to_tensor(ARRAYS["a"], turned=True), torch.from_numpy(ARRAYS["a"]).T)
    with pytest.raises(ValueError, match="int64"):
        to_tensor(ARRAYS["whole"])


def test_what_is_written_is_read_by_pickle_itself_and_by_us(tmp_path):
    arrays = {"a": ARRAYS["a"], "中": np.zeros((0,), np.float32), "none": ARRAYS["none"], "turned": ARRAYS["a"].T}
    stream = io.BytesIO()
    write_pickle(stream, arrays)
    for found in (pickle.loads(stream.getvalue()), read_pickle(written(tmp_path / "x", stream.getvalue()))):
        for name, array in arrays.items():
            assert np.array_equal(arrays_in(found[name]), array), name


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


PAYLOADS = {
    "posix.system": Call(os.system, "touch nlphub_was_here"),
    "builtins.eval": Call(eval, "print(1)"),
    "builtins.exec": Call(exec, "x = 1"),
    "builtins.getattr": Call(getattr, "", "join"),
    "importlib.import_module": Call(__import__("importlib").import_module, "os"),
    "subprocess.Popen": Call(__import__("subprocess").Popen, ["true"]),
    "numpy.load": Call(np.load, "/etc/passwd"),
    "operator.attrgetter": Call(__import__("operator").attrgetter, "x"),
    "torch._load_global_deps": Call(torch._load_global_deps),
    "pickle.loads": Call(pickle.loads, b"."),
}


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An audit hook cannot be taken away again; it watches while this test runs."""
    seen: list[str] = []
    watched = {"os.system", "subprocess.Popen", "exec", "import", "pickle.find_class", "os.exec"}
    state = {"on": True}
    sys.addaudithook(lambda event, _: seen.append(event) if state["on"] and event in watched else None)
    yield seen
    state["on"] = False


def refused(name: str) -> str:
    module, _, last = name.rpartition(".")
    return rf"opcode (GLOBAL|STACK_GLOBAL) at byte [\d,]+ asks for '({module}|__builtin__|_pickle|_operator|commands)\.{last}'"


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_call_in_a_pdparams_is_refused_with_its_opcode(tmp_path, name, protocol, nothing_runs):
    data = pickle.dumps({"ernie.embeddings.word_embeddings.weight": PAYLOADS[name]}, protocol=protocol)
    path = written(tmp_path / "x.pdparams", data)
    with pytest.raises(WeightsError):  # the first time the interpreter may import what it needs
        read_pdparams(path)
    nothing_runs.clear()
    with pytest.raises(WeightsError, match=refused(name)):
        read_pdparams(path)
    assert nothing_runs == []


@pytest.mark.parametrize("new_form", [True, False])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_call_in_a_bin_is_refused_with_its_opcode(tmp_path, name, new_form, nothing_runs):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.zeros(2), "x": PAYLOADS[name]}, path, _use_new_zipfile_serialization=new_form)
    nothing_runs.clear()
    with pytest.raises(WeightsError, match=refused(name)):
        read_torch(path)
    assert nothing_runs == []


@pytest.mark.parametrize("new_form", [True, False])
def test_state_dicts_of_torch_are_read_as_torch_reads_them(tmp_path, new_form):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    state = dict(module.state_dict()) | {
        "turned": torch.arange(6.0).reshape(2, 3).t(),
        "part": torch.arange(10.0)[2:5],
        "long": torch.arange(3),
    }
    state |= {
        "half": torch.ones(2).half(),
        "bf16": torch.ones(2).bfloat16(),
        "empty": torch.zeros(0, 2),
        "p": torch.nn.Parameter(torch.ones(2)),
    }
    state["tied"] = state["0.weight"]
    torch.save(collections.OrderedDict(state), tmp_path / "x.bin", _use_new_zipfile_serialization=new_form)
    found, theirs = read_torch(tmp_path / "x.bin"), torch.load(tmp_path / "x.bin", weights_only=True)
    assert found.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "no end": b"\x80\x04}",
    "more behind": pickle.dumps({}) + b"x",
    "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "unknown opcode": b"\x80\x04\xff.",
    "nothing on the stack": opcodes(b"0"),
    "a mark too few": opcodes(b"t"),
    "a memory of nothing": opcodes(b"h\x07"),
    "set state of a list": opcodes(b"]}b"),
    "call of a text": opcodes(b"X\x01\x00\x00\x00a)R"),
    "new object": opcodes(b"cnumpy\nndarray\n)\x81"),
    "extension": opcodes(b"\x82\x01"),
    "persistent": opcodes(b"X\x01\x00\x00\x00aQ"),
    "a table with a tuple as key": opcodes(b"})K\x01s"),
    "a table in a set": opcodes(b"\x8f(}\x90"),
    "object array": pickle.dumps({"a": np.array([{}], object)}),
    "text array": pickle.dumps({"a": np.array(["x"])}),
    "not a table": pickle.dumps([1]),
    "numbers as names": pickle.dumps({1: ARRAYS["a"]}),
    "a text as weight": pickle.dumps({"a": "b"}),
    "an array without content": opcodes(b"}X\x01\x00\x00\x00acnumpy.core.multiarray\n_reconstruct\n)Rs"),
    "nested tuples": opcodes(b")" + b"\x94h\x00h\x00\x86" * 1 + b"2\x86" * 60),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pdparams_are_refused(tmp_path, name):
    with pytest.raises(WeightsError, match=r"x\.pdparams"):
        read_pdparams(written(tmp_path / "x.pdparams", HOSTILE[name]))


def test_arrays_that_lie_about_their_size_are_refused(tmp_path):
    data = pickle.dumps({"a": np.zeros((3, 4), np.float32)}, protocol=2)
    for old, new in ((b"K\x03K\x04", b"K\x03K\x05"), (b"K\x03K\x04", b"M\xff\xffM\xff\xff")):
        assert old in data
        with pytest.raises(WeightsError, match="has 48 bytes"):
            read_pdparams(written(tmp_path / "x.pdparams", data.replace(old, new)))


def test_every_truncation_of_a_file_is_an_error(tmp_path):
    stream = io.BytesIO()
    write_pickle(stream, {"a": ARRAYS["a"]})
    for length in range(len(stream.getvalue())):
        with pytest.raises(WeightsError):
            read_pdparams(written(tmp_path / "x.pdparams", stream.getvalue()[:length]))


@pytest.mark.parametrize("new_form", [True, False])
def test_truncated_and_changed_bins_are_refused_or_read_as_they_are(tmp_path, new_form):
    torch.save({"w": torch.arange(12.0).reshape(3, 4)}, tmp_path / "x.bin", _use_new_zipfile_serialization=new_form)
    data = (tmp_path / "x.bin").read_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(WeightsError):
            read_torch(written(tmp_path / "y.bin", data[:length]))
    chance = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(data)
        changed[chance.integers(len(data))] = chance.integers(256)
        try:
            found = read_torch(written(tmp_path / "y.bin", bytes(changed)))
        except WeightsError:
            continue
        assert all(tensor.numel() <= 12 for tensor in found.values())


def test_packed_members_and_tensors_over_their_storage_are_refused(tmp_path):
    torch.save({"w": torch.zeros(4)}, tmp_path / "x.bin")
    with zipfile.ZipFile(tmp_path / "x.bin") as old, zipfile.ZipFile(tmp_path / "bomb.bin", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match="packed"):
        read_torch(tmp_path / "bomb.bin")
    with zipfile.ZipFile(tmp_path / "x.bin") as old, zipfile.ZipFile(tmp_path / "far.bin", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"K\x04\x85", b"K\x09\x85"))
    with pytest.raises(WeightsError, match="reaches over"):
        read_torch(tmp_path / "far.bin")
    torch.save([torch.zeros(2)], tmp_path / "list.bin")
    with pytest.raises(WeightsError, match="state dict"):
        read_torch(tmp_path / "list.bin")
