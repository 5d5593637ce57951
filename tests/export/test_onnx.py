"""The exported folder: complete, proven, whole or absent."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import nlphub.export.onnx as export
from nlphub.calibration import Calibration
from nlphub.checkpoints.native import weights_digest
from nlphub.data.batching import pack, pad
from nlphub.errors import ExportError
from nlphub.export.onnx import export_artefact
from nlphub.files import sha256
from nlphub.nn.encoder import to_tensors
from nlphub.nn.heads import MaskedLMHead


@pytest.fixture(scope="module")
def folder(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "intent"
    report = export_artefact(folder, **parts, calibration=Calibration(temperature=1.5, threshold=0.25))
    assert report.parity.holds
    assert report.files["onnx/model.onnx"] == (folder / "onnx" / "model.onnx").stat().st_size
    return folder


TEXTS = ["我要退这双鞋", "", "转人工", "\u200b", "物流" * 300, "ABC 123", "a"]


def test_the_graph_agrees_with_the_module_on_texts(parts, folder):
    encoded, rows = parts["tokenizer"].encode(TEXTS), np.arange(len(TEXTS))
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = dict(zip(names, pad(encoded, rows, pad_id=parts["tokenizer"].pad_id), strict=True))
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = parts["head"](parts["encoder"](to_tensors(pack(encoded, rows)), rows="cls")).numpy()
    np.testing.assert_allclose(session.run(["logits"], inputs)[0], expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.01  # texts do differ


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 7), (4, 64), (2, 512)], ids=str)
def test_batch_and_sequence_are_dynamic(folder, shape):
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    ones = np.ones(shape, np.int64)
    assert session.run(None, {"input_ids": ones, "attention_mask": ones, "token_type_ids": ones})[0].shape == (shape[0], 4)


def test_the_graph_has_the_standard_names(folder):
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [(part.name, part.type, part.shape) for part in session.get_inputs()] == [
        (name, "tensor(int64)", ["batch", "sequence"]) for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert [(part.name, part.type, part.shape) for part in session.get_outputs()] == [("logits", "tensor(float)", ["batch", 4])]


def test_the_graph_is_one_checked_file_without_paths_of_this_machine(folder):
    path = folder / "onnx" / "model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    content = path.read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "model_text.onnx"]


def test_the_last_layer_computes_only_the_first_row(folder):
    graph = onnx.load(folder / "onnx" / "model.onnx").graph
    inner = [shape for info in graph.value_info if (shape := _shape(info)) and shape[-1] == 40]
    assert ["batch", 1, 40] in inner
    assert ["batch", "sequence", 40] in inner


def _shape(info: Any) -> list[int | str]:
    return [part.dim_param or part.dim_value for part in info.type.tensor_type.shape.dim]


def test_the_facts_hold_what_a_reader_needs(parts, folder):
    facts = json.loads((folder / "nlphub.json").read_text(encoding="utf-8"))
    assert facts["labels"] == list(parts["labels"])
    assert facts["task"] == "seq-cls"
    assert Calibration.of(facts["calibration"]) == Calibration(temperature=1.5, threshold=0.25)
    assert facts["weights"] == weights_digest(parts["encoder"], parts["head"])
    assert facts["tokenizer"]["digest"] == parts["tokenizer"].digest
    assert facts["parity"]["texts"] >= 40
    assert 0 < facts["parity"]["logits"] < 1e-4
    assert facts["parity"]["torch"] == torch.__version__
    assert facts["parity"]["onnxruntime"] == onnxruntime.__version__
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written - {"nlphub.json"} == facts["files"].keys()
    for path, entry in facts["files"].items():
        assert entry == {"bytes": (folder / path).stat().st_size, "sha256": sha256(folder / path)}


def test_config_and_card_are_what_other_tools_read(parts, folder):
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.model_type == "bert"
    assert config.id2label == dict(enumerate(parts["labels"]))
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (24, 2, len(parts["tokenizer"]))
    opened = transformers.AutoModelForSequenceClassification.from_pretrained(folder)  # the artefact holds the weights too
    assert torch.equal(opened.classifier.weight, parts["head"].classifier.weight)
    assert transformers.AutoTokenizer.from_pretrained(folder)("转人工")["input_ids"] == parts["tokenizer"].encode(["转人工"]).lists()[0]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage:")
    assert "退货" in card


def test_the_module_itself_is_not_changed(parts, tmp_path):
    parts["encoder"].train()
    before = weights_digest(parts["encoder"], parts["head"])
    export_artefact(tmp_path / "out", **parts)
    assert parts["encoder"].training
    assert weights_digest(parts["encoder"], parts["head"]) == before
    assert all(parameter.requires_grad for parameter in parts["encoder"].parameters())


def test_a_graph_that_is_not_the_module_is_refused_and_nothing_is_left(parts, tmp_path, monkeypatch):
    write = export.write_graph

    def wrong(model: Any, path: Path) -> None:
        with torch.no_grad():
            model.head.classifier.bias.add_(torch.tensor([0.0, 0.01, 0.0, 0.0]))
        write(model, path)
        with torch.no_grad():
            model.head.classifier.bias.sub_(torch.tensor([0.0, 0.01, 0.0, 0.0]))

    monkeypatch.setattr(export, "write_graph", wrong)
    with pytest.raises(ExportError, match="not the module"):
        export_artefact(tmp_path / "out", **parts)
    assert not [*tmp_path.glob("**/*.onnx"), *tmp_path.glob("*out*"), *tmp_path.glob(".*out*")]


@pytest.mark.parametrize(
    ("change", "holds"),
    [({}, True), ({"probabilities": 2e-4}, False), ({"logits": 2e-4}, False), ({"logits": 2e-4, "largest_logit": 9.0}, True)],
    ids=str,
)
def test_parity_is_absolute_for_probabilities_and_relative_for_large_logits(change, holds):
    parity = export.Parity(1e-6, 1e-6, 0.5, 44, 1e-4, "2", "1")
    assert replace(parity, **change).holds is holds
    assert not replace(parity, logits=float("nan")).holds


def test_a_folder_with_other_things_in_it_is_not_replaced(parts, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    for target in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ExportError, match="something other"):
            export_artefact(target, **parts)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_older_artefact_is_replaced(parts, tmp_path):
    out = tmp_path / "out"
    export_artefact(out, **parts)
    facts = json.loads((out / "nlphub.json").read_text("utf-8"))
    facts["files"]["stale.txt"] = {"bytes": 0, "sha256": "0" * 64}  # a file that an older version wrote
    (out / "nlphub.json").write_text(json.dumps(facts), encoding="utf-8")
    (out / "stale.txt").touch()
    export_artefact(out, **parts)
    assert not (out / "stale.txt").exists()
    assert (out / "onnx" / "model.onnx").is_file()


def test_what_has_no_export_is_refused_at_once(parts, tmp_path):
    with pytest.raises(ExportError, match="'mlm' has no export yet"):
        export_artefact(tmp_path / "out", **{**parts, "head": MaskedLMHead(24, 8192)})
    with pytest.raises(ExportError, match="4 logits, and its 2 labels need 2"):
        export_artefact(tmp_path / "out", **{**parts, "labels": ("a", "b")})


def test_the_exporter_is_quiet_and_only_then(parts, tmp_path, caplog):
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    with caplog.at_level(logging.WARNING):
        export_artefact(tmp_path / "out", **parts)
    assert "torchvision" not in caplog.text
    assert log.level == level
