"""The one place that starts onnxruntime: without its telemetry, on the provider that was chosen, with errors that name the file.

Two ways to use several cores: all of them for one batch, which answers soonest; or one for each of several batches, which answers most
(threads that share a batch wait for one another after every matrix). :class:`Graph` takes the first for a single batch and the second for
several.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from nlphub import paths
from nlphub.errors import InputError, StoreError, did_you_mean

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
}

B = TypeVar("B")
Run = Callable[[list[str], Mapping[str, Any]], list[Any]]  # names of outputs, inputs by name -> outputs

_PACKAGES = {"cuda": "onnxruntime-gpu", "openvino": "onnxruntime-openvino", "directml": "onnxruntime-directml"}


class Graph:
    """An ONNX file, ready to run. Safe to use from several threads.

    Args:
        path: of the file.
        threads: that it may use at once; default is one for each core that this process may use.
        provider: a key of :data:`PROVIDERS`.

    Raises:
        StoreError: onnxruntime cannot run the file.
        InputError: this onnxruntime has no such provider, or ``threads`` is not a positive whole number.
    """

    def __init__(self, path: Path, *, threads: int | None = None, provider: str = "cpu") -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads={threads!r} must be a whole number of at least 1")
        self.path, self.threads, self.provider = path, threads or cores(), provider
        self._together = open_session(path, threads=self.threads, provider=provider)
        self._alone: Any = self._together if self.threads == 1 or provider != "cpu" else None  # of one thread; made when it is needed
        self._making = threading.Lock()

    def run(self, outputs: list[str], inputs: Mapping[str, Any]) -> list[Any]:
        """One batch, by all threads."""
        found: list[Any] = self._together.run(outputs, inputs)
        return found

    def each(self, do: Callable[[B, Run], None], batches: Sequence[B]) -> None:
        """``do(batch, run)`` for every batch, in any order; several at once where there are several threads and batches.

        What one of them raises is raised here.
        """
        if len(batches) < 2 or self.threads == 1 or self.provider != "cpu":
            for batch in batches:
                do(batch, self.run)
            return
        run = self._single().run
        with ThreadPoolExecutor(min(self.threads, len(batches))) as pool:
            for _ in pool.map(lambda batch: do(batch, run), reversed(batches)):  # the longest first, so that none is left over at the end
                pass

    def _single(self) -> Any:
        with self._making:
            if self._alone is None:
                self._alone = open_session(self.path, threads=1)
            return self._alone


def open_session(graph: Path, *, threads: int | None = None, provider: str = "cpu") -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        graph: an ONNX file.
        threads: for one batch; default is onnxruntime's own choice.
        provider: a key of :data:`PROVIDERS`.

    Raises:
        StoreError: onnxruntime cannot run the file, or not on this provider.
        InputError: this onnxruntime has no such provider.
    """
    paths.refuse_telemetry()  # before the import: afterwards its files are there already
    import onnxruntime

    name = _provider(provider, onnxruntime)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    chosen = list(dict.fromkeys([name, PROVIDERS["cpu"]]))  # the CPU computes what another provider cannot
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=chosen)
    except Exception as broken:  # its exceptions have no common public base
        raise StoreError(f"onnxruntime {onnxruntime.__version__} cannot run {graph}: {broken}") from broken
    if name not in session.get_providers():  # it falls back without a word, e.g. where there is no driver
        raise StoreError(
            f"onnxruntime {onnxruntime.__version__} has {name} but cannot start it for {graph}: are its driver and libraries installed? "
            "Leave provider= out to run on the CPU."
        )
    return session


def cores() -> int:
    """How many cores this process may use, which in a container is often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _provider(wanted: str, onnxruntime: Any) -> str:
    there = onnxruntime.get_available_providers()
    known = [key for key, name in PROVIDERS.items() if name in there]
    if wanted in known:
        return PROVIDERS[wanted]
    if wanted not in PROVIDERS:
        raise InputError(
            f"provider={wanted!r} is none of {', '.join(PROVIDERS)}.{did_you_mean(str(wanted), PROVIDERS)} This onnxruntime has: "
            f"{', '.join(known)}."
        )
    package = _PACKAGES.get(wanted, "onnxruntime")
    raise InputError(
        f"provider={wanted!r} is not in this onnxruntime {onnxruntime.__version__}, which has: {', '.join(known)}. "
        f"Install the one that has it in its place: pip uninstall onnxruntime; pip install {package}"
    )
