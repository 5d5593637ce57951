"""What a part of the GPU benchmark is given and what it gives back, and the machine that it all ran on."""

import gc
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

_PACKAGES = ("nlphub", "torch", "triton", "transformers", "flash-attn", "numpy")
_QUERY = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all parts are given.

    Attributes:
        device: a CUDA device, or the CPU in a dry run.
        dry: everything tiny, only to see that it runs.
        work: folder for what is made on the way.
        data: folder of real sets, or ``None``.
        deadline: in seconds of ``time.perf_counter``; what would begin later is left out, and said.
        row_seconds: that one timed row takes at most, warm-up apart.
        peaks: measured once, see :class:`Peaks`.
    """

    device: torch.device
    dry: bool
    work: Path
    data: Path | None
    deadline: float
    row_seconds: float
    peaks: "Peaks"

    @property
    def dtype(self) -> torch.dtype:
        """That the kernels are judged in."""
        return torch.bfloat16

    def late(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() > self.deadline


@dataclass(frozen=True, slots=True)
class Peaks:
    """What the device reaches here and now: the denominators of all shares.

    Attributes:
        flops: operations per second of a bfloat16 product of two 8192 x 8192 matrices.
        bytes: per second of a copy of 1 GiB, read and written.
    """

    flops: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what was measured, under which name, and in which words it cannot be had otherwise.

    Attributes:
        part: of the benchmark.
        name: what ran, on what.
        figures: name with unit -> number or words.
        note: what a reader has to know.
    """

    part: str
    name: str
    figures: dict[str, float | int | str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that is promised. It is printed, never asserted.

    Attributes:
        text: what has to hold, in words.
        value: what was measured; ``None`` = not measured here.
        limit: the figure.
        kind: whether it is the least or the most that is allowed.
    """

    text: str
    value: float | None
    limit: float
    kind: Literal["least", "most"] = "least"

    @property
    def verdict(self) -> str:
        """``pass``, ``FAIL`` or ``open``."""
        if self.value is None:
            return "open"
        reached = self.value >= self.limit if self.kind == "least" else self.value <= self.limit
        return "pass" if reached else "FAIL"

    def line(self) -> str:
        """For people."""
        value = "not measured" if self.value is None else f"{self.value:.3g}"
        return f"{self.verdict:4}  {self.text}: {value} ({'at least' if self.kind == 'least' else 'at most'} {self.limit:g})"


@dataclass(frozen=True, slots=True)
class Found:
    """What a part found."""

    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"rows": [asdict(row) for row in self.rows], "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in self.bars]}


def measure_peaks(device: torch.device, *, dry: bool) -> Peaks:
    """A product and a copy, the best of ten."""
    size, length = (64, 1 << 12) if dry else (8192, 1 << 28)
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(length, device=device)
    target = torch.empty_like(source)
    return Peaks(2 * size**3 / _best(lambda: left @ right, device), 8 * length / _best(lambda: target.copy_(source), device))


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clean(setting: Setting) -> None:
    """Forget what the row before has left in memory."""
    gc.collect()
    if setting.device.type == "cuda":
        torch._dynamo.reset()
        torch.cuda.empty_cache()


def fault(error: BaseException) -> str:
    """Why a row was not measured, in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"not measured: {type(error).__name__}: {lines[0][:200]}"


def short(value: float) -> float:
    """Three or four figures."""
    return float(f"{value:.4g}")


def machine(device: torch.device, peaks: Peaks) -> dict[str, Any]:
    """Device, clocks, driver and versions, and the peaks that shares refer to."""
    facts: dict[str, Any] = {"device": device_name(device), "versions": versions()}
    facts["peak"] = {"bf16 TFLOP/s": round(peaks.flops / 1e12, 1), "GB/s": round(peaks.bytes / 1e9)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["memory"] = f"{properties.total_memory / 2**30:.0f} GiB"
        facts["capability"] = f"sm_{properties.major}{properties.minor}"
        facts["cuda"] = torch.version.cuda
        facts["nvidia-smi"] = _smi(device)
    return facts


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "dry run on a CPU"


def versions() -> dict[str, str]:
    """Of Python and of all that takes part and is installed."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _best(work: Any, device: torch.device) -> float:
    seconds = []
    for _ in range(10):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _smi(device: torch.device) -> dict[str, str]:
    """Clocks as they are now, limits, driver."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return {}
    command = [tool, f"--id={device.index or 0}", f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (subprocess.SubprocessError, OSError) as error:
        return {"error": str(error)}
    return dict(zip(_QUERY.split(","), (value.strip() for value in told.split(",")), strict=False))
