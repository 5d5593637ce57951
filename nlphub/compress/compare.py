"""Modules and artefacts beside one another: size, speed and score of each on the same labelled texts, as a table and as a picture.

Latency is the median time of one text alone, throughput that of all texts at once, the best of a few rounds; both count everything from
string to answer. The rounds go through the folders by turns, so that a machine that becomes slower slows all of them.
"""

import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nlphub.aligned import aligned
from nlphub.data.examples import Examples
from nlphub.errors import InputError, require
from nlphub.labels import score_name
from nlphub.tasks import trainable

_ALONE = 32  # texts whose latency is measured

Answer = Callable[[Sequence[Any]], list[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What is compared.

    Attributes:
        name: to be shown.
        folder: whose files count as its size.
        answer: what answers texts.
        labels: that it knows.
        task: of its head.
    """

    name: str
    folder: Path
    answer: Answer
    labels: Sequence[str]
    task: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table.

    Attributes:
        name: of the candidate.
        bytes: of the folder's files.
        weights: of these, the bytes of the file of weights or of the graph that answers.
        latency: milliseconds of one text alone, the median.
        throughput: texts in a second, all at once.
        score: on the labelled texts.
        metric: which score it is.
    """

    name: str
    bytes: int
    weights: int
    latency: float
    throughput: float
    score: float
    metric: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def compare(candidates: Sequence[Candidate], examples: Examples, *, metric: str | None = None, rounds: int = 3) -> list[Measured]:
    """Measure all candidates on the same examples.

    Args:
        metric: of the task; its first by default.
        rounds: over all texts; the best one counts.

    Raises:
        InputError: there is nothing to compare, or tasks or labels differ; all reasons at once.
        DataError: the examples are not labelled for the task.
    """
    _check(candidates)
    task = trainable(candidates[0].task)
    name = score_name(metric, task.name)
    task.check_judged(examples, candidates[0].labels)
    questions = task.questions(examples)
    scores = [task.judge(examples, each.answer(questions), each.labels).score(name) for each in candidates]  # warms up, too
    alone: list[list[float]] = [[] for _ in candidates]
    whole: list[list[float]] = [[] for _ in candidates]
    for _ in range(rounds):
        for number, each in enumerate(candidates):
            alone[number] += [_seconds(each.answer, [question]) for question in questions[:_ALONE]]
            whole[number].append(_seconds(each.answer, questions))
    return [
        Measured(
            each.name, _size(each.folder), _weights(each.folder), 1000 * statistics.median(single), len(questions) / min(all_), score, name
        )
        for each, single, all_, score in zip(candidates, alone, whole, scores, strict=True)
    ]


def table(rows: Sequence[Measured]) -> str:
    """The rows for a terminal; sizes and speeds are those of the first row and, in brackets, their ratios to it."""
    first = rows[0]
    header = ("", "weights MB", "folder MB", "ms a text", "texts/s", rows[0].metric)
    cells = [
        (
            row.name,
            f"{row.weights / 1e6:.1f} ({row.weights / max(1, first.weights):.0%})",
            f"{row.bytes / 1e6:.1f}",
            f"{row.latency:.2f} ({first.latency / row.latency:.2f}x)",
            f"{row.throughput:.0f} ({row.throughput / first.throughput:.2f}x)",
            f"{100 * row.score:.2f} ({100 * (row.score - first.score):+.2f})",
        )
        for row in rows
    ]
    return aligned(header, cells)


def picture(rows: Sequence[Measured]) -> str:
    """SVG: score over size, and score over speed; the best corner is the upper left of the first and the upper right of the second.

    Equal rows give equal bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="train", purpose="drawing the comparison")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "nlphub", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        panels = [("weights (MB)", [row.weights / 1e6 for row in rows]), ("texts a second", [row.throughput for row in rows])]
        for axes, (title, places) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
            for number, (row, x) in enumerate(zip(rows, places, strict=True)):
                axes.plot([x], [100 * row.score], "os^Dv<>pP*"[number % 10], color=f"C{number % 10}", markersize=8, label=row.name)
            axes.set(xlabel=title, xlim=(0, 1.1 * max(places)))
            axes.grid(alpha=0.3)
        figure.axes[0].set_ylabel(f"{rows[0].metric} (%)")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(rows)), frameon=False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _check(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise InputError("There is nothing to compare: name at least one folder")
    first = candidates[0]
    problems = [
        f"{each.name} answers task {each.task}, and {first.name} task {first.task}" for each in candidates if each.task != first.task
    ]
    problems += [
        f"{each.name} has other labels than {first.name}"
        for each in candidates
        if each.task == first.task and {*each.labels} != {*first.labels}
    ]
    if problems:
        raise InputError("These cannot be compared:", problems)


def _seconds(answer: Answer, questions: Sequence[Any]) -> float:
    started = time.perf_counter()
    answer(questions)
    return time.perf_counter() - started


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _weights(folder: Path) -> int:
    """Of a module its weights, of an artefact the graph that the Predictor runs."""
    found = [folder / name for name in ("model.onnx", "onnx/model.onnx", "model.safetensors") if (folder / name).is_file()]
    return found[0].stat().st_size if found else 0
