"""Variants in processes of their own that take turns: each has threads, allocator and caches of PyTorch to itself, as users run it.

In one process they would disturb each other. OpenMP keeps a team of threads for every thread that computes, and stops waiting actively as
soon as there are more of them than cores; what one variant frees decides how the allocator serves the next.
"""

import gc
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from speeds.timing import Seconds, cpu_seconds

Result = TypeVar("Result")
_CONTEXT = get_context("forkserver")
_IMPORTED_ONCE = ["nlphub.training.trainer", "transformers.trainer", "transformers.models.ernie.modeling_ernie"]


class Turns:
    """The turns of a variant, as its process sees them: an iterator of the steps that are asked for; :meth:`done` ends a turn."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._began = pipe, (0.0, 0.0)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        steps = self._pipe.recv()
        if steps is None:
            raise StopIteration
        gc.collect()
        self._began = time.perf_counter(), cpu_seconds()
        return int(steps)

    def done(self, units: float) -> None:
        """The turn did so many units of work; seconds are told for one of them."""
        wall, cpu = time.perf_counter() - self._began[0], cpu_seconds() - self._began[1]
        self._pipe.send(Seconds(wall / units, cpu / units))


Play = Callable[..., None]
"""What a process runs: a function of a module, of its :class:`Turns` and of arguments that can be pickled."""


class Player:
    """A variant in a process of its own, which is closed by ``close``.

    Args:
        play: the variant.
        arguments: for it, after its turns.
        threads: of its processor.
    """

    def __init__(self, play: Play, *arguments: Any, threads: int) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, threads, play, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def turn(self, steps: int) -> Seconds:
        """One turn of so many steps.

        Raises:
            RuntimeError: the process failed; with what it said.
        """
        try:
            self._pipe.send(steps)
            found = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeError(f"the process of a variant ended with exit code {self._process.exitcode}") from None
        if not isinstance(found, Seconds):
            raise RuntimeError(found)
        return found

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):  # it has ended already
            self._pipe.send(None)
        self._process.join()


@contextmanager
def players(plays: dict[str, tuple[Play, Sequence[Any]]], *, threads: int) -> Iterator[dict[str, Player]]:
    """All variants by name, which start side by side and are closed in the end."""
    _CONTEXT.set_forkserver_preload(_IMPORTED_ONCE)  # what cannot be imported is left to who needs it
    with ExitStack() as stack:
        found = {name: Player(play, *arguments, threads=threads) for name, (play, arguments) in plays.items()}
        for player in found.values():
            stack.callback(player.close)
        yield found


def apart(function: Callable[..., Result], *arguments: Any, threads: int) -> Result:
    """What a function of a module gives back in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=_CONTEXT, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        return pool.submit(function, *arguments).result()


def _serve(pipe: Connection, threads: int, play: Play, arguments: Sequence[Any]) -> None:
    os.dup2(2, 1)  # what variants print has no place among our results
    torch.set_num_threads(threads)
    try:
        play(Turns(pipe), *arguments)
    except BaseException:  # told to the process that waits
        pipe.send(traceback.format_exc())
