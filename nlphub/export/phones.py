"""Graphs for small builds of onnxruntime: its own ORT format, and the list of operators that such a build has to hold.

An ORT file is a graph after optimisation, as a flat buffer that is mapped and not parsed: it starts faster, and a build without the parser
of ONNX files can be a few megabytes. It is optimised to the level that does not depend on the processor, so one file serves aarch64,
x86-64 and LoongArch. The lists go to ``build.sh --include_ops_by_config`` (https://onnxruntime.ai/docs/build/custom.html).

model.ort                            ids in (input_ids, attention_mask, token_type_ids), logits out
model_text.ort                       texts in, answers out; for modules that have a text graph
*.required_operators.config          what each needs of a build, with types
"""

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nlphub import paths
from nlphub.errors import ExportError
from nlphub.export.onnx import ExportReport, export_artefact
from nlphub.files import publish_folder, publish_text
from nlphub.runtime.artefact import GRAPHS, INPUTS, TEXT_GRAPHS
from nlphub.runtime.session import open_session
from nlphub.runtime.textgraph import TextGraph

GRAPH, TEXT_GRAPH, OPERATORS = "model.ort", "model_text.ort", ".required_operators.config"

_ASKED = ("我要退这双鞋", "", "转人工", "ＡＢＣ 123 訂單")
_APART = 1e-3  # of the largest logit, and of probabilities: other fusions round otherwise


def export_for_phones(target: Path, options: Mapping[str, Any]) -> ExportReport:
    """Write the files, proven to answer as the graphs that they are made from; all or nothing.

    Args:
        target: an earlier export of this kind is replaced; any other folder with files in it is refused.
        options: of :func:`~nlphub.export.onnx.export_artefact`; int8 is made instead of float32.

    Raises:
        ExportError: as there, or a file does not answer as its graph.
    """
    made = [GRAPH, TEXT_GRAPH, *(Path(name).stem + OPERATORS for name in (GRAPH, TEXT_GRAPH))]
    if foreign := sorted({path.name for path in target.glob("*")} - {*made}) if target.is_dir() else []:
        raise ExportError(f"{target} holds something other than an export for phones ({', '.join(foreign[:5])}), so it is left alone")
    precision = "fp32" if options["reduction"].int8 == "none" else "int8"
    with tempfile.TemporaryDirectory() as work:
        artefact = Path(work) / "artefact"
        report = export_artefact(artefact, **options)
        with publish_folder(target.absolute()) as temporary:
            for graphs, name in ((GRAPHS, GRAPH), (TEXT_GRAPHS, TEXT_GRAPH)):
                if (artefact / graphs[precision]).is_file():
                    _convert(artefact / graphs[precision], temporary / name)
            files = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
    return replace(report, folder=target, files=files)


def _convert(graph: Path, path: Path) -> None:
    """One file and its list."""
    paths.refuse_telemetry()  # before the import: afterwards its files are there already
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    apart = _text_distance(graph, path) if path.name == TEXT_GRAPH else _distance(graph, path)
    if not apart <= _APART:
        raise ExportError(
            f"{path.name} does not answer as {graph.name}: they differ by {apart:.2g}; {_APART:g} is allowed. Please report this."
        )
    publish_text(path.with_name(path.stem + OPERATORS), "".join(f"{line}\n" for line in _operators(path)))


def _operators(path: Path) -> Iterator[str]:
    """The lines of the list, without names of files of this machine."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    with tempfile.TemporaryDirectory() as work:
        listed = Path(work) / "operators.config"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to Python
            create_config_from_models([path], listed, enable_type_reduction=True)
        yield from (line for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))


def _distance(graph: Path, path: Path) -> float:
    """Largest difference of any output, relative to its largest number."""
    generator, mask = np.random.default_rng(0), np.arange(20) < np.array([[20], [3], [11], [20]])
    inputs = dict(zip(INPUTS, (generator.integers(5, 200, mask.shape), mask.astype(np.int64), np.zeros(mask.shape, np.int64)), strict=True))
    ours, theirs = (open_session(file).run(None, inputs) for file in (graph, path))
    return max(float(np.abs(a - b).max() / max(1.0, float(np.abs(a).max()))) for a, b in zip(ours, theirs, strict=True))


def _text_distance(graph: Path, path: Path) -> float:
    """Largest difference of the probability of any label."""
    ours, theirs = TextGraph(graph), TextGraph(path)
    asked = [(text, text[::-1]) for text in _ASKED] if ours.takes_pairs else list(_ASKED)
    pairs = [(dict(a.top), dict(b.top)) for a, b in zip(ours(asked), theirs(asked), strict=True)]
    return max(abs(score - theirs.get(label, 0.0)) for ours, theirs in pairs for label, score in ours.items())
