"""Rows as text, as JSON and as a plot."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nlphub.aligned import aligned
from speeds.machine import machine, versions
from speeds.rows import Options, Row

PACKAGES = (
    "torch", "numpy", "transformers", "tokenizers", "accelerate", "onnxruntime", "openvino", "paddlepaddle", "paddlenlp", "sentencepiece",
)  # fmt: skip

_OURS, _PEER = "#4878a8", "#c03028"
_TICKS = (0.1, 0.3, 1, 3, 10, 30, 100)
_GROWS = {
    "length": "tokens in every sequence",
    "batch_tokens": "tokens in a batch (network alone)",
    "labels": "labels that the module knows",
    "files": "rows of a file that is answered",
    "training_rows": "rows of a file that is trained on",
    "threads": "threads of the processor",
}  # what is on the horizontal axis of a study
_COSTS = {
    "tokens/cpu-s": "tokens in a second of processor time",
    "texts/cpu-s": "texts in a second of processor time",
    "texts/s": "texts in a second",
    "MiB": "more memory at the peak than for the\nsmallest file (MiB; level = it does not grow)",
}  # and what the units on the vertical one are
_LEVEL = 128  # MiB that the axis of memory has at least, so that what is level looks level


def report(rows: Sequence[Row], options: Options, seconds: float) -> dict[str, Any]:
    """All that was measured, ready for JSON."""
    return {
        "machine": machine(),
        "threads": options.threads,
        "quick": options.quick,
        "texts": "NLPHUB_DATA" if options.data else "made from the demo data",
        "seconds": round(seconds, 1),
        "versions": versions(*PACKAGES),
        "rows": [row.as_dict() for row in rows],
    }


def text(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """A table, and a line for every bar."""
    found = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    head = [f"{facts['machine']}; {facts['threads']} threads; texts: {facts['texts']}; {facts['seconds']:.0f} s", found, ""]
    cells = [[row.name, _number(row.ours), _number(row.peer), _number(row.ratio), row.unit or "-", row.settings] for row in rows]
    table = aligned(["comparison", "ours", "peer", "ratio", "unit", "settings"], cells)
    return "\n".join([*head, table, "", *bar_lines(rows)])


def bar_lines(rows: Sequence[Row]) -> Iterator[str]:
    """``bar: measured (reached)`` for each bar."""
    for row in rows:
        for bar in row.bars:
            reached = {True: "reached", False: "missed", None: f"open: {row.settings}"}[row.reached(bar)]
            yield f"{bar.text} [{row.name}]: {_number(row.value(bar))} ({reached})"


def missed(rows: Sequence[Row]) -> list[str]:
    """The bars that were measured and not cleared."""
    return [bar.text for row in rows for bar in row.bars if row.reached(bar) is False]


def plot(rows: Sequence[Row], path: Path) -> None:
    """The section ``scaling`` as curves, the others as bars.

    Raises:
        ImportError: there is no matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    studies = _studies(rows)
    save(_curves(studies) if studies else _bars([row for row in rows if row.ratio is not None and row.ratio > 0]), path)


def _bars(shown: Sequence[Row]) -> Any:
    """Ratios on a logarithmic axis, and what has to be shown as a line across each."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.3 * len(shown)), layout="constrained")
    places = list(range(len(shown)))[::-1]
    axes.barh(places, [math.log10(row.ratio or 1) for row in shown], color=_OURS)
    for place, row in zip(places, shown, strict=True):
        axes.text(math.log10(row.ratio or 1), place, f" {_number(row.ratio)}", va="center", fontsize=8)
        for bar in (bar for bar in row.bars if bar.of == "ratio"):
            axes.plot([math.log10(bar.limit)] * 2, [place - 0.4, place + 0.4], color=_PEER, linewidth=2)
    axes.set_yticks(places, [row.name for row in shown], fontsize=8)
    axes.set_xticks([math.log10(tick) for tick in _TICKS], [f"{tick:g}" for tick in _TICKS])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("ratio (red: what has to be shown)")
    return figure


def _curves(studies: dict[str, list[tuple[int, Row]]]) -> Any:
    """A panel a study: ours, and the peer where it is another thing than our own first value."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        2, -(-len(studies) // 2), figsize=(3.4 * -(-len(studies) // 2), 5.4), layout="constrained", squeeze=False
    )
    for axes, (study, points) in zip(panels.flat, studies.items(), strict=False):
        values = [value for value, _ in points]
        axes.plot(values, [row.ours for _, row in points], marker="o", color=_OURS, label="nlphub")
        if len({row.peer for _, row in points}) > 1:
            axes.plot(values, [row.peer for _, row in points], marker=".", color=_PEER, label="matrix products alone")
            axes.legend(fontsize=7)
        axes.set_xscale("log", base=2 if max(values) < 10**5 else 10)
        axes.set_xticks(values, [_short(value) for value in values], minor=False)
        axes.minorticks_off()
        unit = points[0][1].unit
        axes.set_ylim(0, max(_LEVEL, axes.get_ylim()[1]) if unit == "MiB" else None)
        axes.set_xlabel(_GROWS.get(study, study.replace("_", " ")), fontsize=8)
        axes.set_ylabel(_COSTS.get(unit, unit), fontsize=8)
        axes.tick_params(labelsize=6)
    for axes in panels.flat[len(studies) :]:
        axes.remove()
    return figure


def _studies(rows: Sequence[Row]) -> dict[str, list[tuple[int, Row]]]:
    """Rows called ``scaling STUDY VALUE`` by their study."""
    found: dict[str, list[tuple[int, Row]]] = {}
    for row in rows:
        section, *rest = row.name.split(" ")
        if section == "scaling" and row.ours is not None:
            found.setdefault(rest[0], []).append((int(rest[1]), row))
    return found


def save(figure: Any, path: Path) -> None:
    """Write an SVG whose bytes depend on nothing but what is drawn."""
    import matplotlib
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "speed", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _short(value: int) -> str:
    """``1,000``, ``10k``, ``1M``."""
    if value >= 1_000_000:
        return f"{value // 1_000_000:,}M"
    return f"{value:,}" if value < 10_000 else f"{value // 1000}k"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
