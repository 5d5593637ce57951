"""One traced graph for all tests of what is made from graphs: tracing is what takes the time."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import nlphub.export.onnx as export
from nlphub.data.examples import Examples
from nlphub.export import gate
from nlphub.nn.dense import DenseModel
from nlphub.nn.inference import head_logits

_ENDS = ("退货", "转人工", "快递到哪里了", "这双鞋不合适", "1234元", "改地址", "开发票", "催单！")
TEXTS = [first + second for first in ("我要", "怎么", "查一下", "为什么") for second in _ENDS]


@dataclass(frozen=True, slots=True)
class Made:
    """A small module, as ``export_artefact`` takes it, and texts with its own answers as labels."""

    parts: dict[str, Any]
    dev: Examples


@pytest.fixture(scope="session")
def uneven(parts: dict[str, Any]) -> dict[str, Any]:
    """``parts`` with vectors that all differ: of equal ones the exporter keeps one, for all layers."""
    changed = {**parts, "encoder": copy.deepcopy(parts["encoder"]), "head": copy.deepcopy(parts["head"])}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (*changed["encoder"].parameters(), *changed["head"].parameters()):
            if parameter.ndim == 1:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return changed


@pytest.fixture(scope="session")
def traced(uneven: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traced") / "model.onnx"
    export.write_graph(DenseModel(uneven["encoder"], uneven["head"]).eval(), path)
    return path


@pytest.fixture(scope="module")
def make(uneven: dict[str, Any], traced: Path) -> Iterator[Callable[..., Made]]:
    """A module like ``uneven`` with weights changed by ``change(encoder)``; its export takes the traced graph with these weights."""

    original = export.write_graph
    with pytest.MonkeyPatch.context() as patch:

        def made(change: Callable[[Any], None] = lambda encoder: None) -> Made:
            changed = {**uneven, "encoder": copy.deepcopy(uneven["encoder"])}
            with torch.no_grad():
                change(changed["encoder"])

            def write(model: DenseModel, path: Path, **options: Any) -> None:
                if model.encoder.config != uneven["encoder"].config:
                    original(model, path, **options)
                    return
                path.parent.mkdir(parents=True, exist_ok=True)
                onnx.save(_with_weights(onnx.load(traced), _forms(uneven["encoder"]), _forms(model.encoder)), path)

            patch.setattr(export, "write_graph", write)
            best = head_logits(changed["encoder"], changed["head"], changed["tokenizer"].encode(TEXTS)).argmax(axis=1)
            return Made(changed, Examples.of([(text, uneven["labels"][number]) for text, number in zip(TEXTS, best, strict=True)]))

        yield made


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Speeds are measured once, on few texts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_ROUNDS", 1), ("_ALONE", 2), ("_TOGETHER", 40)):
            patch.setattr(gate, name, value)
        yield


def _forms(encoder: Any) -> list[np.ndarray[Any, Any]]:
    """Every form in which a graph may hold a parameter."""
    found, mixed, heads = [], encoder.config.mixed, encoder.config.heads
    for name, parameter in encoder.named_parameters():
        value = parameter.detach().numpy()
        found += [value] if value.ndim == 1 else [value, value.T]
        if name.endswith("qkv.weight"):
            keys, values = (part.reshape(heads, mixed // heads, -1) for part in (value[mixed : 2 * mixed], value[2 * mixed :]))
            found += [value[:mixed].T, value[mixed:].T, keys, values.transpose(0, 2, 1)]
        if name.endswith("qkv.bias"):
            found += [value[:mixed], value[mixed:], value[2 * mixed :]]
    return found


def _with_weights(graph: onnx.ModelProto, old: list[np.ndarray[Any, Any]], new: list[np.ndarray[Any, Any]]) -> onnx.ModelProto:
    """The graph of one encoder with the weights of another."""
    swapped = {(value.shape, value.tobytes()): other for value, other in zip(old, new, strict=True)}
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if (other := swapped.get((value.shape, value.tobytes()))) is not None:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(other), tensor.name))
    return graph
