"""A model folder for NVIDIA's Triton Inference Server: ``config.pbtxt``, and a graph that answers in it.

config.pbtxt           inputs, outputs, dynamic batching; the server's ONNX Runtime backend runs the graph
1/model.onnx           of a module with a text graph that one: strings in, calibrated answers out; else ids in, logits out
labels.txt             of a graph of ids: what its logits are of, one a line, for the server's classification extension

The folder above it is the model repository: ``tritonserver --model-repository=FOLDER``. A request carries ``[batch, 1]`` strings; the
server joins the requests of a millisecond into one batch. Those to a graph of ids join only where their lengths are equal.
Source: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md and ``model_config.proto``.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from nlphub.errors import ExportError
from nlphub.export.onnx import ExportReport, export_artefact
from nlphub.files import publish, publish_folder, publish_text
from nlphub.nn.forms import variant_of
from nlphub.runtime.artefact import GRAPHS, TEXT_GRAPHS
from nlphub.tasks import outputs_of

CONFIG, GRAPH, LABELS = "config.pbtxt", "1/model.onnx", "labels.txt"
MOST_TEXTS = 256  # of one batch
QUEUE_MICROSECONDS = 1000  # for which the server waits for more of a batch

_TYPES = {"FLOAT": "TYPE_FP32", "INT64": "TYPE_INT64", "BOOL": "TYPE_BOOL", "STRING": "TYPE_STRING"}  # ONNX's names -> the server's


def export_for_server(folder: Path, options: Mapping[str, Any]) -> ExportReport:
    """Write the folder of a model; all or nothing. Its name is the model's.

    Args:
        folder: an earlier export of this kind is replaced; any other folder with files in it is refused.
        options: of :func:`~nlphub.export.onnx.export_artefact`; int8 is served instead of float32.

    Raises:
        ExportError: as there.
    """
    if folder.is_dir() and (foreign := sorted({path.name for path in folder.iterdir()} - {CONFIG, "1", LABELS})):
        raise ExportError(
            f"{folder} holds something other than a model of an inference server ({', '.join(foreign[:5])}): it is left alone"
        )
    precision = "fp32" if options["reduction"].int8 == "none" else "int8"
    with tempfile.TemporaryDirectory() as work, publish_folder(folder.absolute()) as temporary:
        artefact = Path(work) / "artefact"
        report = export_artefact(artefact, **options)
        texts = (artefact / TEXT_GRAPHS[precision]).is_file()
        graph = onnx.load(artefact / (TEXT_GRAPHS if texts else GRAPHS)[precision])  # with weights that stand elsewhere
        with publish(temporary / GRAPH) as stream:
            stream.write(graph.SerializeToString())
        head = options["head"]
        named = not texts and len(head.outputs) == 1
        if named:
            names = outputs_of(head.task, options["labels"], variant_of(head))
            publish_text(temporary / LABELS, "".join(f"{name}\n" for name in names))
        publish_text(temporary / CONFIG, config_of(graph, folder.name, labelled=named))
        files = {path.relative_to(temporary).as_posix(): path.stat().st_size for path in sorted(temporary.rglob("*")) if path.is_file()}
    return replace(report, folder=folder, files=files)


def config_of(graph: onnx.ModelProto, name: str, *, labelled: bool) -> str:
    """``config.pbtxt`` of a graph whose every input and output begins with the batch.

    Args:
        name: of the model.
        labelled: whether ``labels.txt`` names what the first output holds.
    """
    outputs = list(_tensors(graph.graph.output))
    if labelled:
        outputs[0] = f'{outputs[0]}, label_filename: "{LABELS}"'
    lines = [f"name: {json.dumps(name, ensure_ascii=False)}", 'backend: "onnxruntime"', f"max_batch_size: {MOST_TEXTS}"]
    for kind, tensors in (("input", list(_tensors(graph.graph.input))), ("output", outputs)):
        lines += [f"{kind} [", ",\n".join(f"  {{ {tensor} }}" for tensor in tensors), "]"]
    lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_MICROSECONDS} }}")
    return "\n".join(lines) + "\n"


def _tensors(values: Sequence[onnx.ValueInfoProto]) -> Iterator[str]:
    """Name, type and dimensions without the batch. One value for each text is ``[1]`` outside, which the graph does not have."""
    for value in values:
        tensor = value.type.tensor_type
        sizes = [size.dim_value or -1 for size in tensor.shape.dim][1:]
        told = f'name: "{value.name}", data_type: {_TYPES[onnx.TensorProto.DataType.Name(tensor.elem_type)]}, dims: {sizes or [1]}'
        yield told if sizes else f"{told}, reshape: {{ shape: [ ] }}"
