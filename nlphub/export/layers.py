"""The layers of an exported graph: what they are called, and graphs in which some of them are computed in another way.

A layer is a matrix or an embedding table of the encoder. The exporter calls constants ``val_123``, so a layer gets its name from the
parameter that holds the same numbers. The head stays as it is: it is small, and its errors go straight into the answers. So do keys and
values of a last layer that is asked for one row (:mod:`nlphub.nn.first_row`): they are hardly computed with.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from nlphub.nn.encoder import Encoder

_FOLDED = ("Slice", "Transpose")  # what the exporter leaves between a parameter and its use
_FEWEST_ROWS = 16  # a smaller table is not worth a layer
_OPERATORS: Mapping[str, tuple[Literal["matrix", "table"], int]] = {"MatMul": ("matrix", 1), "Gather": ("table", 0)}


@dataclass(frozen=True, slots=True)
class Layer:
    """A matrix or a table.

    Attributes:
        name: of the parameter, e.g. ``encoder.blocks.3.up``; the parts of a joined one are ``.query`` and ``.key_value``.
        kind: ``"matrix"`` of a MatMul, ``"table"`` of a Gather.
        constant: its name in the graph.
        outputs: of the nodes that use it.
    """

    name: str
    kind: Literal["matrix", "table"]
    constant: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replacement:
    """Nodes that compute a layer in another way, in an order in which they can be computed, and their constants by name."""

    nodes: tuple[NodeProto, ...]
    constants: Mapping[str, TensorProto]


@dataclass(frozen=True, slots=True)
class Layered:
    """A graph and its layers.

    Attributes:
        model: without unused constants and without shapes of what is inside.
        layers: in the order in which they are computed.
    """

    model: ModelProto
    layers: tuple[Layer, ...]

    @classmethod
    def load(cls, path: Path, encoder: Encoder) -> "Layered":
        """Read a graph of ids of a module with this encoder."""
        model = _folded(onnx.load(path))
        names = {digest: name for name, digest in _digests(encoder)}
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        found: dict[str, Layer] = {}
        for node in model.graph.node:
            kind, place = _OPERATORS.get(node.op_type, ("matrix", -1))
            if place < 0 or node.input[place] not in constants:
                continue
            tensor = constants[node.input[place]]
            name = names.get(_digest(numpy_helper.to_array(tensor))) if len(tensor.dims) == 2 else None
            if name is not None and (kind == "matrix" or tensor.dims[0] >= _FEWEST_ROWS):
                before = found[tensor.name].outputs if tensor.name in found else ()
                found[tensor.name] = Layer(name, kind, tensor.name, (*before, node.output[0]))
        return cls(model, tuple(found.values()))

    def replaced(self, replacements: Mapping[str, Replacement], names: Collection[str]) -> ModelProto:
        """A new graph in which the layers with these names are computed in the other way.

        Args:
            replacements: by the output of the node that each replaces.
        """
        swapped = {output for layer in self.layers if layer.name in names for output in layer.outputs}
        nodes: dict[str, NodeProto] = {}
        available = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.model.graph.node:
            key = node.output[0]
            for each in replacements[key].nodes if key in swapped else (node,):
                nodes.setdefault(each.output[0], each)
            if key in swapped:
                available |= replacements[key].constants
        made = ModelProto()
        made.CopyFrom(_without_weights(self.model))
        made.graph.node.extend(nodes.values())
        used = {name for node in nodes.values() for name in node.input}
        made.graph.initializer.extend(tensor for name, tensor in available.items() if name in used)
        return made


def computed_otherwise(model: ModelProto, output: str, known: Collection[str]) -> Replacement:
    """What computes ``output`` in another graph from what both graphs know.

    Args:
        known: names that need not be computed: inputs and all that the first graph computes.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: dict[str, NodeProto] = {}
    needed: dict[str, TensorProto] = {}

    def visit(name: str) -> None:
        node = producers[name]
        for given in node.input:
            if given in constants:
                needed[given] = constants[given]
            elif given and given not in known and given not in nodes:
                visit(given)
        nodes.setdefault(node.output[0], node)

    visit(output)
    return Replacement(tuple(nodes.values()), needed)


def known_names(model: ModelProto) -> set[str]:
    """Inputs of a graph, and all that it computes."""
    return {given.name for given in model.graph.input} | {name for node in model.graph.node for name in node.output}


def _without_weights(model: ModelProto) -> ModelProto:
    graph = helper.make_graph([], model.graph.name, list(model.graph.input), list(model.graph.output))
    made = helper.make_model(graph, opset_imports=list(model.opset_import), producer_name=model.producer_name)
    made.ir_version = model.ir_version
    return made


def _folded(model: ModelProto) -> ModelProto:
    """The graph with slices and transposes of constants computed, and without what is unused then."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type in _FOLDED and all(name in constants for name in node.input):
            constants[node.output[0]] = _computed(node, constants, model.opset_import)
        else:
            nodes.append(node)
    made = _without_weights(model)
    made.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    made.graph.initializer.extend(tensor for name, tensor in constants.items() if name in used)
    return made


def _computed(node: NodeProto, constants: Mapping[str, TensorProto], opsets: Any) -> TensorProto:
    given = [constants[name] for name in node.input]
    graph = helper.make_graph([node], "constant", [], [helper.make_empty_tensor_value_info(node.output[0])], given)
    (value,) = ReferenceEvaluator(helper.make_model(graph, opset_imports=list(opsets))).run(None, {})
    return numpy_helper.from_array(np.ascontiguousarray(value), node.output[0])


def _digests(encoder: Encoder) -> Iterator[tuple[str, str]]:
    """Names of matrices and tables, and the digests of the forms that they have in a graph."""
    mixed = encoder.config.mixed
    for name, parameter in encoder.named_parameters():
        if parameter.ndim != 2:
            continue
        value, called = _exact(parameter), f"encoder.{name.removesuffix('.weight')}"
        yield called, _digest(value)
        yield called, _digest(value.T)
        if called.endswith(".qkv"):
            yield f"{called.removesuffix('qkv')}query", _digest(value[:mixed].T)
            yield f"{called.removesuffix('qkv')}key_value", _digest(value[mixed:].T)


def _exact(parameter: torch.Tensor) -> NDArray[np.float32]:
    return parameter.detach().to("cpu", torch.float32).numpy()


def _digest(value: NDArray[Any]) -> str:
    return hashlib.sha256(repr(value.shape).encode() + np.ascontiguousarray(value).tobytes()).hexdigest()
