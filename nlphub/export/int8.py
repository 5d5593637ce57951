"""A graph whose matrices and embedding tables are int8: by onnxruntime's own quantizers, and tables by rows on standard operators.

Three things become 8 bits. **Matrices**: signed, one scale for each output channel, and 7 of their 8 bits are used: with all of them, sums
of two products overflow 16 bits on x86 machines without VNNI ("reduce_range" in
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html); unsigned ones do not, and take twice the time there.
**What is multiplied with them**: unsigned, one scale for a whole batch: ``dynamic`` measures it in each batch, so that an answer depends, a
little, on what else is in the batch; ``static`` takes the smallest and largest number that development data made, so that it does not.
**Tables** of embeddings: signed, one scale for each row, the largest number of the row / 127; a row is looked up with its scale and
multiplied.

All else, the head among it, stays in float32.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from nlphub import paths
from nlphub.export.layers import Layer, Layered, Replacement, computed_otherwise, known_names
from nlphub.export.sharing import write_model

Method = Literal["dynamic", "static"]
Batch = Mapping[str, NDArray[np.int64]]

METHODS: tuple[Method, ...] = ("static", "dynamic")  # in the order in which they are tried

_LARGEST = 127  # of a signed byte, the same on both sides of 0
_READY = {"onnx.quant.pre_process": "onnxruntime.quant"}  # what the quantizers look for before they warn of missing preparations


@dataclass(frozen=True, slots=True)
class Int8:
    """A graph with another way of computing each of its layers.

    Attributes:
        plain: in float32.
        replacements: by the output of the node that each replaces.
    """

    plain: Layered
    replacements: Mapping[str, Replacement]

    @classmethod
    def make(cls, plain: Layered, method: Method, batches: Sequence[Batch]) -> "Int8":
        """Quantize all layers.

        Args:
            batches: padded inputs of the graph that show what is usual; ``dynamic`` does not look at them.
        """
        quantized, known = _quantized(plain, method, batches), known_names(plain.model)
        found = {
            output: computed_otherwise(quantized, output, known - {output})
            for layer in plain.layers
            if layer.kind == "matrix"
            for output in layer.outputs
        }
        return cls(plain, found | _tables(plain))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(layer.name for layer in self.plain.layers)

    def write(self, path: Path, names: Collection[str]) -> None:
        """Write the graph in which the layers with these names are int8 and the others float32, into a folder that the caller publishes."""
        write_model(self.plain.replaced(self.replacements, names), path)


def int8_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``(v, d)`` int8 and ``(v, 1)`` float32 scales, whose product is nearest to the table ``(v, d)``; a row of zeros has scale 0."""
    scales = (np.abs(table).max(axis=1, keepdims=True) / np.float32(_LARGEST)).astype(np.float32)
    return np.rint(table / np.where(scales > 0, scales, 1)).astype(np.int8), scales


def _tables(plain: Layered) -> dict[str, Replacement]:
    """Look-ups of int8 rows and of their scales, and their products."""
    constants = {tensor.name: tensor for tensor in plain.model.graph.initializer}
    nodes = {node.output[0]: node for node in plain.model.graph.node}
    found: dict[str, Replacement] = {}
    for layer in plain.layers:
        if layer.kind == "table":
            rows, scales = int8_rows(numpy_helper.to_array(constants[layer.constant]))
            parts: dict[str, NDArray[Any]] = {"rows": rows, "scales": scales}
            held = {f"{layer.constant}_{name}": numpy_helper.from_array(part, f"{layer.constant}_{name}") for name, part in parts.items()}
            found |= {output: Replacement(tuple(_lookup(layer, output, nodes[output].input[1])), held) for output in layer.outputs}
    return found


def _lookup(layer: Layer, output: str, ids: str) -> Iterator[Any]:
    rows, scales = f"{output}_rows", f"{output}_scales"
    yield helper.make_node("Gather", [f"{layer.constant}_rows", ids], [rows], axis=0)
    yield helper.make_node("Cast", [rows], [f"{rows}_float"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Gather", [f"{layer.constant}_scales", ids], [scales], axis=0)
    yield helper.make_node("Mul", [f"{rows}_float", scales], [output])


def _quantized(plain: Layered, method: Method, batches: Sequence[Batch]) -> ModelProto:
    """The graph as onnxruntime quantizes its matrices; only these are taken from it."""
    paths.refuse_telemetry()  # before the import: afterwards its files are there already
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    matrices = {output for layer in plain.layers if layer.kind == "matrix" for output in layer.outputs}
    ready = ModelProto()
    ready.CopyFrom(plain.model)
    helper.set_model_props(ready, _READY)
    names = [node.name for node in ready.graph.node if node.output[0] in matrices]
    settings: dict[str, Any] = {
        "op_types_to_quantize": ["MatMul"], "nodes_to_quantize": names, "per_channel": True,
        "weight_type": QuantType.QInt8, "reduce_range": True,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        given, made = Path(work) / "plain.onnx", Path(work) / "int8.onnx"
        write_model(ready, given)
        if method == "dynamic":
            quantize_dynamic(given, made, extra_options={"MatMulConstBOnly": True}, **settings)
        else:
            # Sums leave in float32: they go into additions and norms, which are float32.
            options = {"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]}
            kinds = {"activation_type": QuantType.QUInt8, "quant_format": QuantFormat.QDQ}
            quantize_static(given, made, _reader(batches), extra_options=options, **kinds, **settings)
        return onnx.load(made)


def _reader(batches: Sequence[Batch]) -> Any:
    """The batches in the form that the quantizer asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> Batch | None:
            return next(self.left, None)

    return Reader()
