"""Captured CUDA graphs: a piece of work is recorded once and replayed with one launch. At most so many are kept, the last used ones."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

import torch

from nlphub.errors import TrainingError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Work = Callable[[], None]

_WARM = 2  # times that work runs before it is captured: kernels are compiled, libraries make their handles


class Recorder(Protocol):
    """Makes something that repeats a piece of work.

    Attributes:
        frozen: whether what the host knew at the recording is what all repetitions know.
    """

    @property
    def frozen(self) -> bool: ...

    def record(self, work: Work) -> Work:
        """Something that does ``work`` again on the same tensors, whose contents may change between calls.

        Args:
            work: reads and writes tensors of fixed addresses; doing it twice has to be the same as doing it once.
        """


class Calls:
    """What is recorded is the call itself: for a CPU, for shapes that are too rare for a graph, and for finding faults."""

    frozen = False

    def record(self, work: Work) -> Work:
        """``work``."""
        return work


class Graphs:
    """Captures CUDA graphs, all in one pool of memory: none of them leaves anything there that another needs.

    Args:
        device: where the work runs.
    """

    frozen = True

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def record(self, work: Work) -> Work:
        """Do ``work`` some times on a stream of its own, capture it, and give back the replay.

        Raises:
            TrainingError: it cannot be captured: something in it waits for the device.
        """
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARM):
                work()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                work()
        except RuntimeError as error:
            why = str(error).strip().partition("\n")[0]
            raise TrainingError(f"A training step could not be captured as a CUDA graph ({why}). Set train.graphs=off") from error
        return graph.replay


class Latest(Generic[K, V]):
    """Things that are made when they are asked for, of which the last used ones are kept.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most, self._kept = most, OrderedDict[K, V]()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The thing of this key."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._kept[key] = made = make()
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return made
