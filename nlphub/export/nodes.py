"""A small writer of ONNX nodes: each call adds one and gives the name of what it makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"
DOMAINS = {MICROSOFT: 1, ML: 4}  # operator sets beside the standard one; both are in every usual build of onnxruntime

_OWN = "nlphub/"  # before all names made here, so that none is a name of the network's
_TYPES = {"int64": TensorProto.INT64, "float": TensorProto.FLOAT, "double": TensorProto.DOUBLE}


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes and constants of a graph under construction.

    Attributes:
        nodes: in an order in which they can be computed.
        constants: that they use.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: Any, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """One node with one output.

        Args:
            inputs: names of tensors; numbers, lists and arrays become constants.
            output: its name; default is a new one.
        """
        return self.add_all(operator, *inputs, outputs=[output or f"{_OWN}{len(self.nodes)}"], domain=domain, **attributes)[0]

    def add_all(self, operator: str, *inputs: Any, outputs: Sequence[str], domain: str = "", **attributes: Any) -> tuple[str, ...]:
        """One node with outputs of these names."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(helper.make_node(operator, names, list(outputs), domain=domain, **attributes))
        return tuple(outputs)

    def constant(self, value: Any) -> str:
        """A constant: numbers are int64 or double unless they are arrays of another type; strings are an array of objects."""
        name = f"{_OWN}constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def strings(self, values: Sequence[str]) -> str:
        """A constant ``(n,)`` of strings."""
        return self.constant(np.array(list(values), dtype=object))

    def cast(self, value: str, kind: str, *, output: str | None = None) -> str:
        """``value`` as ``int64``, ``float`` or ``double``."""
        return self.add("Cast", value, output=output, to=int(_TYPES[kind]))

    def take(self, values: str, where: str, *, axis: int = 0) -> str:
        """``values[where]``."""
        return self.add("Gather", values, where, axis=axis)

    def column(self, values: str) -> str:
        """``(n,)`` as ``(n, 1)``."""
        return self.add("Unsqueeze", values, np.array([1]))

    def counting(self, end: str) -> str:
        """``(end,)`` int64: 0, 1, 2, ..."""
        return self.add("Range", 0, end, 1)
