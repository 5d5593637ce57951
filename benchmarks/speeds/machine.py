"""What all comparisons stand on: the machine, the versions, and how fast it multiplies matrices of the shapes that a network has."""

import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from speeds.networks import Shape


def versions(*packages: str) -> dict[str, str]:
    """Python's and those of the packages that are installed."""
    found = {"python": sys.version.split()[0]}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Processor, cores and load, in words."""
    name, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0] if lines else name
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{name}, {os.cpu_count()} cores{load}"


def products(shape: Shape, batches: Sequence[tuple[int, int]], *, cls_only: bool) -> Callable[[], None]:
    """Only the matrix products of a forward pass, by torch, into memory that is there: no one does the same network faster.

    Args:
        batches: ``(t, b)`` tokens and sequences of each batch.
        cls_only: the last layer computes all but keys and values for one row of each sequence.
    """
    import torch

    d, m = shape.width, shape.inner
    weights = {(n, k): torch.randn(n, k) for n, k in ((3 * d, d), (2 * d, d), (d, d), (m, d), (d, m))}
    most = max(tokens for tokens, _ in batches)
    rows = {d: torch.randn(most, d), m: torch.randn(most, m)}
    out = {width: torch.empty(most, width) for width in (3 * d, 2 * d, d, m)}

    def times(count: int, n: int, k: int) -> None:
        torch.mm(rows[k][:count], weights[n, k].T, out=out[n][:count])

    def layer(tokens: int) -> None:
        for n, k in ((3 * d, d), (d, d), (m, d), (d, m)):
            times(tokens, n, k)

    def run() -> None:
        for tokens, sequences in batches:
            for _ in range(shape.layers - cls_only):
                layer(tokens)
            if cls_only:
                times(tokens, 2 * d, d)
                for n, k in ((d, d), (d, d), (m, d), (d, m)):
                    times(sequences, n, k)

    return run
