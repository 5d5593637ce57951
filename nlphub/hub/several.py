"""All missing files of a module, several at a time, with one progress for all of them.

The first failure stops the others, which keep the bytes that they have; so does Ctrl-C.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from pathlib import Path

from nlphub.hub.cards import FileEntry
from nlphub.hub.fetch import Progress, fetch
from nlphub.hub.transport import Patience

AT_ONCE = 4  # files; a server sees no more connections of one installation


def fetch_all(
    missing: Sequence[FileEntry],
    place: Path,
    *,
    label: str,
    progress: Progress | None,
    patience: Patience,
    explain: Callable[[FileEntry], AbstractContextManager[None]],
) -> list[FileEntry]:
    """Fetch files into existing folders.

    Args:
        missing: what to fetch, see :func:`nlphub.hub.fetch.fetch`.
        place: the module's folder.
        label: the module and version, for messages.
        progress: called with (bytes done, bytes in all) of all files together; bytes in all grow while sizes become known.
        patience: time-outs and retries.
        explain: wraps each fetch; it may say more about a failure.

    Returns:
        The entries as they arrived, in the order of ``missing``.
    """
    meter = _Meter(progress, missing)

    def one(entry: FileEntry) -> FileEntry:
        with explain(entry):
            return fetch(entry, place / entry.path, label=label, progress=meter.of(entry), patience=patience)

    workers = min(AT_ONCE, len(missing))
    if workers < 2:
        return [one(entry) for entry in missing]
    with ThreadPoolExecutor(workers, thread_name_prefix="nlphub-fetch") as pool:
        futures = [pool.submit(one, entry) for entry in missing]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            meter.stop()  # whoever still waits for bytes has been overtaken by a failure or by Ctrl-C
            pool.shutdown(wait=True, cancel_futures=True)
    for failure in _failures(futures):
        raise failure
    return [future.result() for future in futures]


class _StoppedError(Exception):
    """Another file has failed."""


class _Meter:
    """Progress of several files as progress of all; sizes that only the server knows are added as they become known."""

    def __init__(self, progress: Progress | None, files: Sequence[FileEntry]) -> None:
        self._progress, self._stopped, self._lock = progress, threading.Event(), threading.Lock()
        self._done = {entry.path: 0 for entry in files}
        self._sizes = {entry.path: entry.bytes or 0 for entry in files}

    def stop(self) -> None:
        self._stopped.set()

    def of(self, entry: FileEntry) -> Progress:
        def report(done: int, size: int | None) -> None:
            if self._stopped.is_set():
                raise _StoppedError
            with self._lock:
                self._done[entry.path], self._sizes[entry.path] = done, size or self._sizes[entry.path]
                if self._progress is not None:
                    self._progress(sum(self._done.values()), sum(self._sizes.values()))

        return report


def _failures(futures: Sequence[Future[FileEntry]]) -> Iterator[BaseException]:
    """What went wrong by itself, in the order of the files."""
    for future in futures:
        if not future.cancelled() and (failure := future.exception()) is not None and not isinstance(failure, _StoppedError):
            yield failure
