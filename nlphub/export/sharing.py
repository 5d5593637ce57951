"""Two graphs of one network with the weights on disk once.

The graph of text is whole: one file that works alone. The graph of ids beside it, which is the same network, says of each large constant
in which bytes of that file it stands (ONNX's "external data", https://onnx.ai/onnx/repo-docs/ExternalData.html), so it is small, opens
from its folder in every onnxruntime, and both map the same pages into memory. The bytes start at multiples of 64, which any processor
reads at full speed; protocol buffers have no alignment, so notes of a length that fits stand between the constants.
"""

import itertools
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from nlphub.files import publish

_SMALLEST = 1024  # bytes: smaller constants stay in their graph
_ALIGNMENT = 64
_ROUNDS = 4  # two are usual


def write_model(model: ModelProto, path: Path) -> None:
    """Publish a graph as one file; constants that stand elsewhere stay there."""
    with publish(path) as stream:
        stream.write(model.SerializeToString())


def aligned_bytes(model: ModelProto) -> bytes:
    """A graph as the bytes of its file, in which large constants, put behind the small ones, start at multiples of 64."""
    tensors = sorted(model.graph.initializer, key=lambda tensor: len(tensor.raw_data) >= _SMALLEST)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    for tensor in model.graph.initializer:
        tensor.doc_string = " " * _ALIGNMENT
    content: bytes = model.SerializeToString()
    for _ in range(_ROUNDS):
        if not _align(model, content):
            break
        content = model.SerializeToString()
    return content


def _align(model: ModelProto, content: bytes) -> bool:
    """Give the notes lengths that put what follows them into place; whether any had to be changed.

    A note of 64 to 127 bytes has a length of one byte. It may still make the length of its tensor longer by one, so this is done again.
    """
    tensors, behind, moved, changed = list(model.graph.initializer), 0, 0, False
    for before, tensor in itertools.pairwise(tensors):
        if len(tensor.raw_data) >= _SMALLEST:
            start = content.index(tensor.raw_data, behind)
            behind = start + len(tensor.raw_data)
            length = len(before.doc_string)
            wanted = _ALIGNMENT + (length - start - moved) % _ALIGNMENT
            before.doc_string, moved, changed = " " * wanted, moved + wanted - length, changed or wanted != length
    return changed


def share(graph: Path, holder: Path) -> int:
    """Rewrite a graph, in a folder that the caller publishes, so that its large constants are read from another one in that folder.

    Returns:
        how many bytes of its constants stand in ``holder`` now.
    """
    model, content, behind, shared = onnx.load(graph), holder.read_bytes(), 0, 0
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        start = content.find(tensor.raw_data, behind) if size >= _SMALLEST else -1  # in the same order, so usually found at once
        if size >= _SMALLEST and start < 0:
            start = content.find(tensor.raw_data)
        if start >= 0:
            _point(tensor, holder.name, start, size)
            behind, shared = start + size, shared + size
    write_model(model, graph)
    return shared


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
