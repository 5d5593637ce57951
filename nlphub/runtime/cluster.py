"""Answering a file with all machines of a Ray cluster (https://docs.ray.io; extra ``ray``): groups of rows go out, answers come in order.

A group is one task that takes one core; Ray chooses the machine, asks another where one is lost, and uses machines that join later. The
artefact travels through Ray's object store: machines need nlphub and ray, no shared disk. What writes the file, and goes on after a crash,
is :mod:`nlphub.runtime.job` on this machine, as ever. Ray trusts everybody who reaches its ports: see its documentation on security.
"""

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nlphub import __version__, paths
from nlphub.errors import ClusterError, NlphubError, require
from nlphub.runtime.artefact import FACTS
from nlphub.runtime.job import Answered, Chunk, Engine

if TYPE_CHECKING:
    from nlphub.runtime.predictor import Predictor

_AHEAD = 2  # groups under way for each core: one that is answered and one that waits, so that no core does
_PATIENCE = 10  # seconds to wait for an address that nobody answers at


@dataclass(frozen=True, slots=True)
class _Shipped:
    """An artefact on its way to other machines, and how it is run there."""

    files: dict[str, bytes]
    digest: str
    precision: str
    provider: str
    version: str


@contextmanager
def on_cluster(predictor: "Predictor", *, top_k: int) -> Iterator[Engine]:
    """An engine that answers with every core of a cluster: every GPU with ``provider="cuda"``.

    Joins the cluster that this process is in; else the one at ``RAY_ADDRESS``; else the one that runs on this machine. It starts none.

    Args:
        predictor: whose artefact, precision and provider are used.
        top_k: how many candidates an answer holds.

    Raises:
        MissingExtraError: ray is not installed.
        ClusterError: there is no cluster, or one without a core or GPU to compute with, or no machine answers; a worker has another
            nlphub than this one.
    """
    ray = require("ray", extra="ray", purpose="Answering on a cluster")
    joined = _join(ray)
    try:
        shipped = ray.put(_shipped(predictor))
        yield _engine(ray, shipped, predictor.provider, top_k)
    finally:
        if joined:
            ray.shutdown()


def _join(ray: Any) -> bool:
    """Whether the cluster was joined here, and is to be left."""
    if ray.is_initialized():
        return False
    address = paths.ray_address() or "auto"
    try:
        if address != "auto":
            _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as wrong:
        raise ClusterError(
            "No Ray cluster can be joined: set RAY_ADDRESS=HOST:PORT to the address of one, or start one with "
            f"`ray start --head --disable-usage-stats`. Tried {address}: {str(wrong).strip()[:500]}"
        ) from wrong
    return True


def _reach(address: str) -> None:
    """Fail within seconds where nobody listens; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("this is no HOST:PORT")
    socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _shipped(predictor: "Predictor") -> _Shipped:
    folder = predictor.artefact.folder
    files = {path: (folder / path).read_bytes() for path in (*predictor.artefact.files, FACTS)}
    return _Shipped(files, predictor.digest, predictor.artefact.precision, predictor.provider, __version__)


def _engine(ray: Any, shipped: Any, provider: str, top_k: int) -> Engine:
    resource = "GPU" if provider == "cuda" else "CPU"
    answer = ray.remote(num_cpus=1, num_gpus=int(resource == "GPU"), max_retries=3)(_answer)

    def most() -> int:
        there = int(ray.cluster_resources().get(resource, 0))
        if not there:
            raise ClusterError(f"The Ray cluster has no {resource} to compute with: add machines to it (`ray status` shows what it has)")
        return _AHEAD * there

    def ask(group: Chunk) -> Any:
        good = [row.given for row in group if row.given is not None]
        return answer.remote([shipped], top_k, good) if good else None

    def take(asked: Any) -> list[Any]:
        return [] if asked is None else list(_heard(ray, lambda: ray.get(asked)))

    def engine(groups: Iterable[Chunk]) -> Answered:
        # what an error leaves in the queue runs to its end: Ray 2.60 may abort this process when a task is cancelled as it ends
        waiting = deque[tuple[Chunk, Any]]()
        for group in groups:
            waiting.append((group, ask(group)))
            while len(waiting) >= most():
                yield _first(waiting, take)
        while waiting:
            yield _first(waiting, take)

    return engine


def _first(waiting: deque[tuple[Chunk, Any]], take: Callable[[Any], list[Any]]) -> tuple[Chunk, list[Any]]:
    group, asked = waiting.popleft()
    return group, take(asked)


def _heard(ray: Any, get: Callable[[], Any]) -> Any:
    """What a task returned; its own errors as they were raised there, Ray's as ours."""
    try:
        return get()
    except ray.exceptions.RayTaskError as wrong:
        if isinstance(wrong.cause, NlphubError):
            raise wrong.cause from None
        raise ClusterError(
            f"A machine of the Ray cluster failed; each needs nlphub {__version__} with its dependencies. It says: {wrong.cause!r}"
        ) from wrong
    except ray.exceptions.RayError as wrong:
        raise ClusterError(f"The Ray cluster gave no answer, and was asked again in vain: {wrong}") from wrong


def _answer(shipped: list[Any], top_k: int, texts: list[Any]) -> list[Any]:
    """On another machine: the answers to a group. The artefact comes as a reference in a list, which Ray does not fetch for every task."""
    return _opened(shipped[0])(texts, top_k=top_k)


@lru_cache(maxsize=1)
def _opened(reference: Any) -> "Predictor":
    """The Predictor of this worker. Its files are gone when it is open: one thread on one graph needs them no more.

    Raises:
        ClusterError: this machine has another nlphub.
    """
    import platform

    import ray

    from nlphub.runtime.predictor import Predictor

    shipped: _Shipped = ray.get(reference)
    if shipped.version != __version__:
        raise ClusterError(
            f"The machine {platform.node()} of the Ray cluster has nlphub {__version__}, and this one {shipped.version}; install the same: "
            f"pip install nlphub=={shipped.version}"
        )
    with TemporaryDirectory(prefix="nlphub-") as folder:
        for path, data in shipped.files.items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        predictor = Predictor(folder, threads=1, precision=shipped.precision, provider=shipped.provider)
        if predictor.digest != shipped.digest:
            raise ClusterError(f"{predictor.artefact.folder} is another artefact than the one that was sent: it changed while it was read")
    return predictor
