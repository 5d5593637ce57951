"""What a section of the speed benchmark is asked for and what it gives back: `Options` and `Row`, and the bars a row may have to clear."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Options:
    """What all sections are given.

    Attributes:
        quick: only what bars ask for, with few rounds: each section in about a minute or less.
        threads: processor threads of ours and of every peer.
        rounds: rounds of interleaved variants, ``None`` = the section's own number.
        configurations: names of `speeds.networks.CONFIGURATIONS` to measure, for the sections with more than one.
        lengths: names of `speeds.texts.LENGTHS` to measure, likewise.
        data: folder of real sets (``NLPHUB_DATA``), ``None`` = made texts.
        work: folder for what is made once and used again (artefacts, peers' graphs).
        most_rows: the largest number of rows of the scaling section.
        paddle: the Python of an environment with PaddleNLP, ``None`` = that peer is missing.
    """

    quick: bool
    threads: int
    work: Path
    rounds: int | None = None
    configurations: tuple[str, ...] = ("nano",)
    lengths: tuple[str, ...] = ("service",)
    data: Path | None = None
    most_rows: int = 1_000_000
    paddle: Path | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to be shown.

    Attributes:
        text: what is demanded, in words.
        limit: the figure.
        kind: the figure is the least or the most that is allowed.
        of: which field of the row is compared with it.
    """

    text: str
    limit: float
    kind: Literal["least", "most"] = "least"
    of: Literal["ratio", "ours"] = "ratio"

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.kind == "least" else value <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: section first, then what is measured and against whom: ``train nano/service, best loop``.
        ours, peer: in ``unit``; ``None`` where that side was not measured (a peer that is not installed: `missing`).
        ratio: median over the rounds of the paired ratios, above 1 = ours is better unless the name says otherwise.
        unit: what ``ours`` and ``peer`` count: ``tokens/cpu-s``, ``ms``, ``MiB``.
        settings: everything a reader has to know to repeat it: versions, batch size, threads, texts.
        bars: what this row has to show.
    """

    name: str
    ours: float | None
    peer: float | None
    ratio: float | None
    unit: str
    settings: str
    bars: tuple[Bar, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """``{name, ours, peer, ratio, unit, settings}``, and the bars with what was measured."""
        plain = {name: value for name, value in asdict(self).items() if name != "bars"}
        judged = [{"bar": bar.text, "limit": bar.limit, "measured": self.value(bar), "reached": self.reached(bar)} for bar in self.bars]
        return {**plain, "bars": judged} if judged else plain

    def value(self, bar: Bar) -> float | None:
        """What the bar judges; ``None`` where it was not measured."""
        return self.ratio if bar.of == "ratio" else self.ours

    def reached(self, bar: Bar) -> bool | None:
        """Whether the bar is cleared; ``None`` where there is nothing to judge."""
        value = self.value(bar)
        return None if value is None else bar.reached(value)


def missing(name: str, reason: str, bars: Sequence[Bar] = ()) -> Row:
    """The line of a comparison that cannot be made here, with what would make it possible."""
    return Row(name, None, None, None, "", f"not measured: {reason}", tuple(bars))
