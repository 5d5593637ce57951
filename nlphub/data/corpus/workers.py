"""Jobs in worker processes: started by spawn, gone when their parent is gone, stopped at the first error."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from nlphub.errors import StoreError

Run = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], Iterator[tuple[Any, Any]]]
"""``run(function, [arguments, ...])`` yields ``(result, last argument)`` of each job when it is done, in any order."""


@contextmanager
def workers_running(count: int) -> Iterator[Run]:
    """A way to run jobs in ``count`` processes; with 1 they run in this one, in order.

    Raises:
        StoreError: a worker was killed from outside, e.g. because memory ran out.
    """
    if count == 1:
        yield lambda function, jobs: ((function(*arguments), arguments[-1]) for arguments in jobs)
        return
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield lambda function, jobs: _run(executor, function, jobs)
    except BaseException as stopped:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        if isinstance(stopped, BrokenProcessPool):
            raise StoreError(
                "A worker process was killed, most likely because memory ran out: start again with fewer --workers"
            ) from stopped
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _run(executor: ProcessPoolExecutor, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
    futures = {executor.submit(function, *arguments): arguments[-1] for arguments in jobs}
    for future in as_completed(futures):
        yield future.result(), futures[future]


def _begin() -> None:
    """A worker leaves interrupts to its parent, and ends with it, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
