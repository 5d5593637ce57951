"""A module for Intel's OpenVINO: its own reader of ONNX takes the graph of ids, and the result is compared with the module.

openvino_model.xml, openvino_model.bin     input_ids, attention_mask, token_type_ids -> logits
nlphub.json and the tokenizer's files      as in an artefact (:mod:`nlphub.runtime.artefact`)

Names and layout are those that ``optimum-intel`` and OpenVINO Model Server look for.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nlphub.errors import ExportError, require
from nlphub.export.onnx import ExportReport, Runner, export_artefact, measure_parity, require_parity
from nlphub.files import publish, publish_folder, publish_json
from nlphub.nn.dense import DenseModel
from nlphub.nn.matching import BiEncoderHead
from nlphub.runtime.artefact import FACTS, GRAPH, INPUTS, describe

MODEL = "openvino_model.xml"
_LEFT_OUT = {"onnx", "model.safetensors", "README.md", FACTS}  # of an artefact


def export_for_openvino(folder: Path, options: Mapping[str, Any]) -> ExportReport:
    """Write the folder; all or nothing.

    Args:
        folder: an earlier export of this kind is replaced; any other folder with files in it is refused.
        options: of :func:`~nlphub.export.onnx.export_artefact`.

    Raises:
        ExportError: as there; a bi-encoder, whose answers take two graphs.
        MissingExtraError: openvino is not installed.
    """
    require("openvino", extra="openvino", purpose="Exporting for OpenVINO")
    if isinstance(options["head"], BiEncoderHead):
        raise ExportError("A bi-encoder has no single graph: it encodes each text once and compares vectors. Use --format onnx")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MODEL).is_file():
        raise ExportError(f"{folder} holds something other than an export for OpenVINO, so it is left alone")
    model = DenseModel(options["encoder"], options["head"]).to("cpu", torch.float32).eval()
    with tempfile.TemporaryDirectory() as work, publish_folder(folder.absolute()) as temporary:
        artefact = Path(work) / "artefact"
        report = export_artefact(artefact, **options)
        run = _convert(artefact / GRAPH, temporary / MODEL, outputs=model.head.outputs)
        parity = require_parity(measure_parity(model, run, options["tokenizer"]))
        for path in artefact.iterdir():
            if path.name not in _LEFT_OUT:
                with publish(temporary / path.name) as stream:
                    stream.write(path.read_bytes())
        facts = json.loads((artefact / FACTS).read_text(encoding="utf-8"))
        publish_json(temporary / FACTS, facts | {"files": describe(temporary), "weights_in": {}})
        files = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
    return replace(report, folder=folder, parity=parity, text="OpenVINO has no node that splits texts", files=files)


def _convert(graph: Path, target: Path, *, outputs: Sequence[str]) -> Runner:
    """Write the model in float32, open it as a user would, and return what runs it."""
    import openvino

    core = openvino.Core()
    openvino.save_model(core.read_model(graph), target, compress_to_fp16=False)  # `convert_model` reads too, but reports to Intel
    options = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_MMAP": "NO"}  # a mapped file could not be moved on every system
    compiled = core.compile_model(target, "CPU", options)

    def run(given: tuple[Any, ...]) -> list[Any]:
        found = compiled(dict(zip(INPUTS, given, strict=True)))
        return [found[name] for name in outputs]

    return run
