"""A graph whose encoder computes in float16, for graphics cards: half the size, and two to four times the speed there.

The head stays in float32: those of prototypes compare numbers of n-grams that float16 does not hold. On CPUs onnxruntime computes most of
it in float32 after all, which is slow, but shows what rounding does.
"""

from pathlib import Path

from onnx import ModelProto, NodeProto

from nlphub import paths
from nlphub.errors import ExportError
from nlphub.export.layers import Layered
from nlphub.export.sharing import write_model

TOLERANCE = 0.02  # largest difference of probabilities; float16 has 11 bits, and errors of some layers add up


def write_half(plain: Layered, path: Path) -> None:
    """Write the graph into a folder that the caller publishes. Inputs and outputs keep their types."""
    paths.refuse_telemetry()  # before the import: afterwards its files are there already
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = ModelProto()
    model.CopyFrom(plain.model)
    whole = _encoder_nodes(model)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    outside = [node.name for node in model.graph.node if node.output[0] not in whole]
    write_model(_ordered(convert_float_to_float16(model, keep_io_types=True, node_block_list=outside)), path)


def _ordered(model: ModelProto) -> ModelProto:
    """Each node once and behind those that it needs: the converter puts its casts at the end, one for each use, under one name."""
    left = list({node.output[0]: node for node in model.graph.node}.values())
    known = {"", *(given.name for given in model.graph.input), *(tensor.name for tensor in model.graph.initializer)}
    ordered: list[NodeProto] = []
    while left:
        ready = [node for node in left if known.issuperset(node.input)]
        if not ready:
            raise ExportError(f"The float16 graph computes {left[0].output[0]} from nothing. Please report this.")
        known.update(name for node in ready for name in node.output)
        ordered += ready
        left = [node for node in left if node.output[0] not in known]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    return model


def _encoder_nodes(model: ModelProto) -> set[str]:
    """First outputs of all nodes that a LayerNormalization needs, and of these themselves: all of the encoder, nothing of the head."""
    producers = {name: node for node in model.graph.node for name in node.output}
    left = [node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"]
    found: set[str] = set()
    while left:
        node = producers.get(left.pop())
        if node is not None and node.output[0] not in found:
            found.add(node.output[0])
            left += node.input
    return found
