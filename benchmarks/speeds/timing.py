"""Timing that holds on a busy machine: variants in turns (A B A B ...), medians of the ratios inside each round.

What else the machine does meets all variants of a round alike, so the ratio inside a round is worth more than any single time. ``cpu``
is the processor time of this process and of the processes it has waited for, which a busy machine changes least; ``wall`` is what users
wait for.
"""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

Variant = Callable[[], float | None]
Clock = Literal["wall", "cpu"]


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of one turn, for each unit of work that the variant says it did."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Timings:
    """All turns.

    Attributes:
        turns: variant -> its seconds, one entry a round; the entries of a round belong together.
    """

    turns: Mapping[str, tuple[Seconds, ...]]

    def seconds(self, name: str, clock: Clock = "cpu") -> float:
        """Median seconds of a unit of work."""
        return statistics.median(getattr(turn, clock) for turn in self.turns[name])

    def rate(self, name: str, clock: Clock = "cpu", *, units: float = 1.0) -> float:
        """Units of work a second, at the median; ``units`` of them to each that the variant counted."""
        return units / self.seconds(name, clock)

    def ratio(self, ours: str, peer: str, clock: Clock = "cpu") -> float:
        """Median over the rounds of the peer's time by ours: above 1, ours is faster."""
        pairs = zip(self.turns[ours], self.turns[peer], strict=True)
        return statistics.median(getattr(theirs, clock) / getattr(mine, clock) for mine, theirs in pairs)


def interleaved(variants: Mapping[str, Variant], rounds: int, *, warm: int = 1) -> Timings:
    """Run every variant once in each round, in the order given.

    Args:
        variants: name -> what to run. It returns the units of work it did where turns differ in that (tokens of random batches), so that
            seconds of a unit are compared; ``None`` = one unit.
        rounds: how many rounds are kept.
        warm: rounds before those, of which nothing is kept.

    Raises:
        ValueError: no rounds, or a variant that did no work.
    """
    return in_turns({name: partial(timed, run) for name, run in variants.items()}, rounds, warm=warm)


def in_turns(variants: Mapping[str, Callable[[], Seconds]], rounds: int, *, warm: int = 1) -> Timings:
    """As `interleaved`, of variants that tell the seconds of a unit themselves."""
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; it has to be at least 1")
    for _ in range(warm):
        for run in variants.values():
            run()
    found: dict[str, list[Seconds]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            found[name].append(run())
    return Timings({name: tuple(turns) for name, turns in found.items()})


def timed(run: Variant) -> Seconds:
    """One turn, garbage collected before it.

    Raises:
        ValueError: it says it did no work.
    """
    gc.collect()
    wall, cpu = time.perf_counter(), cpu_seconds()
    units = run()
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    units = 1.0 if units is None else float(units)
    if units <= 0:
        raise ValueError(f"a variant did {units} units of work")
    return Seconds(wall / units, cpu / units)


def cpu_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
