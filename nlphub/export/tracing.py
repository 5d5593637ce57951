"""What torch's exporter says and leaves behind that nobody needs."""

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cyclic garbage: an exporter makes millions of objects and keeps them (a tenth of its time)."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence two things that say nothing about our graph; everything else the exporter says is heard."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")  # "torchvision is not installed"
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated", category=FutureWarning)
            yield
    finally:
        log.setLevel(level)


def strip_notes(graph: Any) -> None:
    """Drop the exporter's notes: they hold stack traces with paths of this machine."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
