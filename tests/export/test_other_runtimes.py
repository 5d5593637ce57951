"""Exports for runtimes of others: torch.export, NVIDIA's inference server, OpenVINO; each opened as its users open it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from nlphub.data.batching import pad
from nlphub.errors import ExportError, InputError
from nlphub.export.formats import export_as
from nlphub.nn.heads import TokenHead
from nlphub.nn.inference import head_logits
from nlphub.nn.initialise import initialise
from nlphub.nn.matching import CrossEncoderHead
from nlphub.runtime.textgraph import TextGraph

TEXTS = ["我要退这双鞋", "我的訂單號ＡＢＣ１２還沒到", "", "hello  World 123！😀"]
ONNX_TYPES = {"TYPE_FP32": onnx.TensorProto.FLOAT, "TYPE_INT64": onnx.TensorProto.INT64, "TYPE_BOOL": onnx.TensorProto.BOOL}


def given(tokenizer: Any) -> tuple[Any, ...]:
    encoded = tokenizer.encode(TEXTS)
    return pad(encoded, np.arange(len(TEXTS)), pad_id=tokenizer.pad_id)


def ours(parts: dict[str, Any]) -> Any:
    return head_logits(parts["encoder"], parts["head"], parts["tokenizer"].encode(TEXTS))


@pytest.fixture
def tagger(parts: dict[str, Any]) -> dict[str, Any]:
    head = TokenHead(24, 5)
    initialise(head, 3)
    return {**parts, "head": head, "labels": ("地名", "人名")}


def test_a_program_opens_with_torch_alone_and_gives_the_logits_of_the_module(parts, tmp_path):
    report = export_as("pt2", tmp_path / "intent.pt2", **parts)
    assert report.parity.holds
    assert report.files == {"intent.pt2": (tmp_path / "intent.pt2").stat().st_size}
    told = {"nlphub.json": ""}
    program = torch.export.load(tmp_path / "intent.pt2", extra_files=told).module()
    with torch.inference_mode():
        logits = program(*map(torch.from_numpy, given(parts["tokenizer"])))
    np.testing.assert_allclose(logits.numpy(), ours(parts), atol=1e-4)
    assert json.loads(told["nlphub.json"])["labels"] == list(parts["labels"])


def test_a_program_has_a_name_that_torch_opens(parts, tmp_path):
    with pytest.raises(ExportError, match=r"intent\.pt2 instead of .*intent\.bin"):
        export_as("pt2", tmp_path / "intent.bin", **parts)
    assert list(tmp_path.iterdir()) == []


def served(folder: Path) -> tuple[ModelConfig, onnxruntime.InferenceSession]:
    """The configuration as the server reads it, checked against the graph as the server does, and the graph."""
    config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), ModelConfig())
    graph = onnx.load(folder / "1" / "model.onnx").graph
    assert config.name == folder.name
    for kind, values in ((config.input, graph.input), (config.output, graph.output)):
        assert [one.name for one in kind] == [value.name for value in values]
        for one, value in zip(kind, values, strict=True):
            tensor = value.type.tensor_type
            assert ONNX_TYPES.get(DataType.Name(one.data_type), onnx.TensorProto.STRING) == tensor.elem_type
            inner = list(one.reshape.shape) if one.HasField("reshape") else list(one.dims)
            assert 1 + len(inner) == len(tensor.shape.dim), "the server puts the batch in front"
            assert all(ours in (-1, theirs.dim_value) for ours, theirs in zip(inner, list(tensor.shape.dim)[1:], strict=True))
    return config, onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])


def test_a_server_takes_strings_and_answers_as_the_text_graph_does(parts, tmp_path):
    folder = tmp_path / "models" / "intent"
    export_as("triton", folder, **parts)
    export_as("text", tmp_path / "text.onnx", **parts)
    config, session = served(folder)
    assert config.max_batch_size > 1
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    request = np.array(TEXTS, dtype=object)[:, None]  # [batch, 1], as dims say
    assert list(config.input[0].dims) == [1]
    label, score = session.run(["label", "score"], {"texts": request.reshape(len(TEXTS), *config.input[0].reshape.shape)})
    for name, value, answer in zip(label, score, TextGraph(tmp_path / "text.onnx")(TEXTS), strict=True):
        assert (name, value) == (answer.top[0][0], pytest.approx(answer.score, abs=1e-6))


def test_a_server_takes_pairs(parts, tmp_path):
    head = CrossEncoderHead(24, 2)
    initialise(head, 1)
    export_as("triton", tmp_path / "matching", **{**parts, "head": head, "labels": ("0", "1")})
    config, _ = served(tmp_path / "matching")
    assert [one.name for one in config.input] == ["texts", "pairs"]


def test_a_server_takes_ids_of_a_module_without_a_text_graph(tagger, tmp_path):
    export_as("triton", tmp_path / "names", **tagger)
    config, session = served(tmp_path / "names")
    assert next((one.name, list(one.dims)) for one in config.input) == ("input_ids", [-1])
    assert config.output[0].label_filename == "labels.txt"
    assert (tmp_path / "names" / "labels.txt").read_text("utf-8").split() == ["O", "B-地名", "I-地名", "B-人名", "I-人名"]
    inputs = given(tagger["tokenizer"])
    (logits,) = session.run(None, dict(zip([one.name for one in config.input], inputs, strict=True)))
    np.testing.assert_allclose(logits[inputs[1] != 0], ours(tagger), atol=1e-4)


def test_a_folder_of_something_else_is_left_alone(parts, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(ExportError, match=r"notes\.txt"):
        export_as("triton", tmp_path / "models", **parts)
    assert (tmp_path / "models" / "notes.txt").read_text("utf-8") == "mine"


@pytest.mark.parametrize("form", ["pt2", "openvino"])
def test_forms_of_one_precision_say_so(parts, tmp_path, form):
    with pytest.raises(InputError, match="has no int8 form"):
        export_as(form, tmp_path / "out.pt2", int8="dynamic", **parts)


def test_openvino_opens_the_folder_and_gives_the_logits_of_the_module(parts, tmp_path):
    openvino = pytest.importorskip("openvino", reason="needs openvino, the extra of the same name: pip install 'nlphub[openvino]'")
    report = export_as("openvino", tmp_path / "ov", **parts)
    assert {"openvino_model.xml", "openvino_model.bin", "nlphub.json", "vocab.txt"} <= set(report.files)
    compiled = openvino.compile_model(tmp_path / "ov" / "openvino_model.xml", "CPU")
    logits = compiled(dict(zip(("input_ids", "attention_mask", "token_type_ids"), given(parts["tokenizer"]), strict=True)))["logits"]
    np.testing.assert_allclose(logits, ours(parts), atol=1e-2)
    facts = json.loads((tmp_path / "ov" / "nlphub.json").read_text("utf-8"))
    assert {"openvino_model.bin", "openvino_model.xml"} <= set(facts["files"])
