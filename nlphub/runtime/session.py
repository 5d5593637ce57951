"""The one place that starts onnxruntime: without its telemetry, on the CPU, with errors that name the file."""

from pathlib import Path
from typing import Any

from nlphub import paths
from nlphub.errors import StoreError


def open_session(graph: Path, *, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        graph: an ONNX file.
        threads: for one batch; default is onnxruntime's own choice.

    Raises:
        StoreError: onnxruntime cannot run the file.
    """
    paths.refuse_telemetry()  # before the import: afterwards its files are there already
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as broken:  # its exceptions have no common public base
        raise StoreError(f"onnxruntime {onnxruntime.__version__} cannot run {graph}: {broken}") from broken
