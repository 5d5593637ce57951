"""A module as a ``torch.export`` program: one ``.pt2`` file that torch opens without nlphub, on CPU or GPU, and that AOTInductor compiles.

Ids in, logits out, with dynamic batch and length::

    program = torch.export.load("intent.pt2", extra_files=(told := {"nlphub.json": ""}))
    logits = program.module()(input_ids, attention_mask, token_type_ids)

``nlphub.json`` in the file is that of an artefact (:mod:`nlphub.runtime.artefact`): labels, calibration, digests of weights and tokenizer.
The tokenizer itself is not in it. Source of the format: https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/export/pt2_archive.html
"""

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nlphub.errors import ExportError
from nlphub.export.onnx import ExportReport, Runner, example_inputs, export_artefact, measure_parity, require_parity
from nlphub.files import publish
from nlphub.nn.dense import DenseModel
from nlphub.nn.matching import BiEncoderHead
from nlphub.runtime.artefact import FACTS

SUFFIX = ".pt2"


def export_program(target: Path, options: Mapping[str, Any]) -> ExportReport:
    """Write the file, read it again, and compare what it computes with the module; it appears whole or not at all.

    Args:
        target: a file whose name ends in ``.pt2``, which is what ``torch.export.load`` asks for.
        options: of :func:`~nlphub.export.onnx.export_artefact`.

    Raises:
        ExportError: as there; a bi-encoder, whose answers take two programs.
    """
    if target.suffix != SUFFIX or target.is_dir():
        raise ExportError(f"--format pt2 writes one file, and its name ends in {SUFFIX}: {target.with_suffix(SUFFIX)} instead of {target}")
    if isinstance(options["head"], BiEncoderHead):
        raise ExportError("A bi-encoder has no single program: it encodes each text once and compares vectors. Use --format onnx")
    with tempfile.TemporaryDirectory() as work:
        report = export_artefact(Path(work) / "artefact", **options)
        facts = (Path(work) / "artefact" / FACTS).read_text(encoding="utf-8")
    model = DenseModel(options["encoder"], options["head"]).to("cpu", torch.float32).eval()
    data = _program(model, facts)
    parity = require_parity(measure_parity(model, _runner(data), options["tokenizer"]))
    with publish(target.absolute()) as stream:
        stream.write(data)
    return replace(report, folder=target, parity=parity, text="a program has no text graph", files={target.name: len(data)})


def _program(model: DenseModel, facts: str) -> bytes:
    inputs, shapes = example_inputs()
    with torch.no_grad():
        program = torch.export.export(model, inputs, dynamic_shapes=shapes)
    data = io.BytesIO()
    torch.export.save(program, data, extra_files={FACTS: json.dumps(json.loads(facts), ensure_ascii=False)})
    return data.getvalue()


def _runner(data: bytes) -> Runner:
    """What the written bytes compute."""
    loaded = torch.export.load(io.BytesIO(data)).module()

    def run(given: tuple[Any, ...]) -> list[Any]:
        found = loaded(*map(torch.from_numpy, given))
        return [part.detach().numpy() for part in (found if isinstance(found, tuple) else (found,))]

    return run
