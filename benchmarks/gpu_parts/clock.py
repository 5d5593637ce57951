"""Timing on a GPU: warm-up apart, the median of rounds by the wall clock and by events, and the spread of single steps."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gpu_parts.facts import Setting, short, wait

WARM, ROUNDS, STEPS = 20, 5, 50
_L2 = 256 << 20  # bytes: several times the second-level cache of any card


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of a step.

    Attributes:
        wall: median of the rounds, by the wall clock.
        events: median of the rounds, by the device's events; the wall clock's where there are none.
        p10, p90: of single steps, by events.
        steps: that were timed.
        first: seconds of the first step: compiling, capturing, reserving memory.
        units: of work in all timed steps, as the step counts them.
    """

    wall: float
    events: float
    p10: float
    p90: float
    steps: int
    first: float
    units: tuple[float, ...]

    def rate(self, number: int) -> float:
        """Units a second, by the wall clock."""
        return self.units[number] / self.steps / self.wall * 1000.0

    def figures(self) -> dict[str, float | int | str]:
        """For a row."""
        return {
            "ms": short(self.wall),
            "ms by events": short(self.events),
            "p10 to p90": f"{self.p10:.3g} to {self.p90:.3g}",
            "steps": self.steps,
            "first s": short(self.first),
        }


def steps(work: Callable[[], tuple[float, ...]], setting: Setting) -> Timing:
    """Time a step that gives back how much it did, e.g. tokens and sequences: 20 to warm up, then 5 rounds of 50.

    Rounds are shorter where 250 steps would take longer than the setting allows; the row says how many there were.
    """
    warm, rounds, count = (1, 1, 2) if setting.dry else (WARM, ROUNDS, STEPS)
    started = time.perf_counter()
    work()
    wait(setting.device)
    first = time.perf_counter() - started
    started = time.perf_counter()
    for done in range(1, warm + 1):
        work()
        if done >= 3 and time.perf_counter() - started > setting.row_seconds / 2:
            break
    wait(setting.device)
    each = (time.perf_counter() - started) / done
    count = max(2, min(count, int(setting.row_seconds / rounds / max(each, 1e-9))))
    walls, events, singles, units = [], [], [], []
    for _ in range(rounds):
        wall, marks, did = _round_of(work, count, setting)
        walls.append(wall)
        events.append(sum(marks) / count)
        singles += marks
        units += did
    ordered = sorted(singles)
    return Timing(
        wall=statistics.median(walls),
        events=statistics.median(events),
        p10=ordered[len(ordered) // 10],
        p90=ordered[len(ordered) * 9 // 10],
        steps=rounds * count,
        first=first,
        units=tuple(float(sum(column)) for column in zip(*units, strict=True)),
    )


def kernel(work: Callable[[], object], setting: Setting) -> float:
    """Milliseconds of a short piece of work whose input is not in the second-level cache: the median of many, each after a large write."""
    count = 2 if setting.dry else 50
    flush = torch.empty(_L2 if setting.device.type == "cuda" else 1, dtype=torch.int8, device=setting.device)
    for _ in range(1 if setting.dry else 5):
        work()
    marks = []
    for _ in range(count):
        for _ in range(6):  # also long enough for the host to be ahead of the device when the clock starts
            flush.zero_()
        marks.append(_Mark(setting))
        work()
        marks[-1].stop()
    wait(setting.device)
    return statistics.median(mark.milliseconds() for mark in marks)


def _round_of(work: Callable[[], tuple[float, ...]], count: int, setting: Setting) -> tuple[float, list[float], list[tuple[float, ...]]]:
    wait(setting.device)
    started, marks, units = time.perf_counter(), [], []
    for _ in range(count):
        marks.append(_Mark(setting))
        units.append(work())
        marks[-1].stop()
    wait(setting.device)
    wall = (time.perf_counter() - started) * 1000.0 / count
    return wall, [mark.milliseconds() for mark in marks], units


class _Mark:
    """Begin and end of a piece of work, on the device's own clock where it has one."""

    def __init__(self, setting: Setting) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if setting.device.type == "cuda" else []
        self._seconds = 0.0
        if self._events:
            self._events[0].record()
        else:
            self._seconds = time.perf_counter()

    def stop(self) -> None:
        if self._events:
            self._events[1].record()
        else:
            self._seconds = time.perf_counter() - self._seconds

    def milliseconds(self) -> float:
        return self._events[0].elapsed_time(self._events[1]) if self._events else self._seconds * 1000.0
