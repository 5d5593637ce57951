"""The quality table: from kept cells to rows, and rows as text, Markdown and JSON. A cell that is not there is a dash, never a number."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from judging.cells import Cell, Key, Store, same_rows
from judging.hyper import COLUMNS, DRAWS, NEURAL, SHOTS, TITLES, hyper
from judging.published import FIGURES, MODELS, SOURCES, Figure
from judging.sets import JUDGED_ROWS, SETS, Set
from nlphub.aligned import aligned

_OF_ANSWERS = {"micro_f1": "micro-F1", "subset_accuracy": "subset accuracy", "spearman": "Spearman", "pearson": "Pearson"}
_OF_FRAMES = {"frame_accuracy": "frame accuracy", "intent_accuracy": "intent accuracy", "slot_f1": "slot F1"}
_METRICS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auc": "AUC", "f1": "span F1", **_OF_ANSWERS, **_OF_FRAMES}


@dataclass(frozen=True, slots=True)
class Score:
    """The cells of one column on one set.

    Attributes:
        values: 0 to 1, of all kept seeds and draws.
        seeds, seeds_wanted: how many seeds are there, and of how many.
    """

    values: tuple[float, ...]
    seeds: int
    seeds_wanted: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Of a sample; ``None`` for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        spread = f" ±{100 * self.deviation:.1f}" if self.deviation is not None else ""
        partial = f" ({self.seeds}/{self.seeds_wanted})" if self.seeds < self.seeds_wanted else ""
        return f"{100 * self.mean:.1f}{spread}{partial}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a set and a metric.

    Attributes:
        facts: of any kept cell, since all have the same rows; empty while there is none.
    """

    of: Set
    metric: str
    scores: Mapping[str, Score | None]
    facts: Mapping[str, Any]
    published: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Table:
    """All lines, and what holds for all of them.

    Attributes:
        cap: tokens of an epoch, ``None`` = all.
        weights: digest of our weights, ``None`` while none were trained.
        machines: on what the kept cells of the network were made.
    """

    lines: tuple[Line, ...]
    columns: tuple[str, ...]
    cap: int | None
    seeds: int
    weights: str | None
    machines: tuple[str, ...]

    def text(self) -> str:
        """For a terminal."""
        return "\n".join([aligned(self._header(), list(self._cells()), numbers=True), "", *self._notes()])

    def markdown(self) -> str:
        """For the card."""
        head = self._header()
        rules = ["---"] * 4 + ["---:"] * (len(head) - 4)
        lines = [f"| {' | '.join(cells)} |" for cells in (head, rules, *self._cells())]
        return "\n".join([*lines, "", *(f"- {note}" for note in self._notes())])

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the numbers with all that decided them."""
        names = list(dict.fromkeys(line.of.name for line in self.lines))
        return {
            "tokens_per_epoch": self.cap, "seeds": self.seeds, "weights_sha256": self.weights, "machines": list(self.machines),
            "hyper_parameters": {name: {column: hyper(column, SETS[name]) for column in self.columns} for name in names},
            "rows": [self._line_dict(line) for line in self.lines], "published_sources": SOURCES,
        }  # fmt: skip

    def _line_dict(self, line: Line) -> dict[str, Any]:
        scores = {
            name: None
            if score is None
            else {"mean": score.mean, "std": score.deviation, "values": list(score.values), "seeds": score.seeds}
            for name, score in line.scores.items()
        }
        rows = {
            name: value for name, value in line.facts.items() if name.startswith(("train_rows", "train_tokens", "judged_rows", "rows_"))
        }
        about = {"set": line.of.name, "title": line.of.title, "metric": line.metric, "judged_split": line.of.judged, "note": line.of.note}
        figures = {name: asdict(figure) | {"marks": _marks(line.of, figure)} for name, figure in line.published.items()}
        return {**about, **rows, "train_is_subset_of_published": line.of.subset, "scores": scores, "published": figures}

    def _header(self) -> list[str]:
        return ["set", "score", "trained on", "judged on", *(TITLES[name] for name in self.columns), *MODELS]

    def _cells(self) -> Iterator[list[str]]:
        for line in self.lines:
            ours = [str(line.scores[name] or "-") for name in self.columns]
            theirs = [_shown(line.of, line.published.get(name)) for name in MODELS]
            yield [line.of.title, _METRICS[line.metric], _trained(line), _judged(line), *ours, *theirs]

    def _notes(self) -> Iterator[str]:
        yield from _general(self.cap)
        yield f"ours: {f'weights sha256 {self.weights}' if self.weights else 'no trained weights yet'}"
        yield f"random: the same network without pretraining, weights from {self.seeds} seeds"
        if self.machines:
            yield f"network trained and judged on: {'; '.join(self.machines)}"
        yield from _settings(line.of for line in self.lines)
        yield f"published, a reference with rows, budgets and splits of its own: {'; '.join(SOURCES.values())}"
        yield "* our training set is a subset of theirs, whatever the cap; ° theirs was judged on another split"
        yield from dict.fromkeys(f"{line.of.title}: {line.of.note}" for line in self.lines if line.of.note)


def build(keys: Sequence[Key], store: Store, *, columns: Sequence[str], cap: int | None, seeds: int, weights: str | None) -> Table:
    """The table of these keys, as far as their cells are there.

    Raises:
        DataError: cells of a set that were made with different rows.
    """
    cells = {key: store.get(key) for key in keys}
    found = [cell for cell in cells.values() if cell]
    same_rows(found)
    lines = [
        _line(SETS[name], metric, cells, columns) for name in SETS if any(key.set == name for key in keys) for metric in SETS[name].metrics
    ]
    made = {f"{cell.facts['device']}, {cell.facts['threads']} threads" for cell in found if cell.key.column in NEURAL}
    order = tuple(name for name in COLUMNS if name in columns)
    return Table(tuple(lines), order, cap, seeds, weights, tuple(sorted(made)))


def _line(one: Set, metric: str, cells: Mapping[Key, Cell | None], columns: Sequence[str]) -> Line:
    scores: dict[str, Score | None] = {}
    for column in columns:
        asked = [cell for key, cell in cells.items() if (key.set, key.column) == (one.name, column)]
        there = [cell for cell in asked if cell and metric in cell.scores]  # cells of older tables may lack it
        values = tuple(value for cell in there for value in cell.scores[metric])
        scores[column] = Score(values, len(there), len(asked)) if values else None
    facts = next((cell.facts for key, cell in cells.items() if cell and key.set == one.name), {})
    return Line(one, metric, scores, facts, FIGURES.get(one.name, {}) if metric == one.metrics[0] else {})


def _general(cap: int | None) -> Iterator[str]:
    if cap is None:
        yield "percent; full cells: all training rows, all judged rows"
    else:
        yield (
            f"percent; all our columns of a line learn from the same rows, at most {cap:,} tokens an epoch, and are judged on the same, "
            f"at most {JUDGED_ROWS:,} rows, both drawn by seed 0; published figures learnt from all of their rows"
        )
    yield "nothing is chosen by the judged split: fixed epochs, last weights; rows equal to a judged one are left out of training"
    yield f"mean ± deviation over seeds (probe: seeds and {DRAWS} draws); (1/3): one of three seeds is there; -: not made, not published"


def _settings(sets: Iterable[Set]) -> Iterator[str]:
    """One note for each way of fine-tuning."""
    names: dict[str, list[str]] = {}
    for one in dict.fromkeys(sets):
        values = hyper("pretrained", one)
        if one.kind == "probe":
            how = f"logistic regression on the means of the embeddings and of the last layer of the frozen network, C {values['C']:g}"
        else:
            how = (
                f"{values['epochs']} epochs of batches of {values['batch_size']} rows, AdamW, rate {values['learning_rate']:g} falling "
                f"linearly, {values['max_length']} tokens of a row at most"
            )
        names.setdefault(how, []).append(one.title)
    yield from (f"network on {', '.join(titles)}: {how}" for how, titles in names.items())


def _trained(line: Line) -> str:
    if line.of.kind == "probe":
        return f"{DRAWS} x {SHOTS} rows a label"
    return f"{line.facts['train_rows']:,} rows, {line.facts['train_tokens'] / 1000:.0f}k tokens" if line.facts else "-"


def _judged(line: Line) -> str:
    rows = f"{line.facts['judged_rows']:,} of {line.facts['judged_rows_of']:,}" if line.facts else "-"
    return f"{line.of.judged}, {rows}"


def _shown(one: Set, figure: Figure | None) -> str:
    return f"{figure.percent:.1f}{_marks(one, figure)}" if figure else "-"


def _marks(one: Set, figure: Figure) -> str:
    return ("*" if one.subset else "") + ("°" if figure.split != one.judged else "")
