"""Ways of learning from 4, 8 and 16 examples of each intent, side by side: macro-F1 on the official test sets.

    NLPHUB_DATA=... python benchmarks/few_shot.py            # the table; makes what is not kept in benchmarks/results/few_shot/ yet
    python benchmarks/few_shot.py --quick                    # the table from what is kept; trains nothing, needs the base install only
    NLPHUB_DATA=... python benchmarks/few_shot.py --counts 4 --draws 2 --columns tfidf prototype
    python benchmarks/few_shot.py --quick --markdown         # or --json

Sets: SMP2017-ECDT (31 domains) and the 30 most frequent intents of CIC. A draw is so many rows of each intent from the training set, all
where it has fewer; every column learns from the same rows, and nothing is chosen on a test set. `finetune`, `contrastive` and what `auto`
trains have the same settings: 200 steps of 16 examples, and the same seed, so the score of `auto` is that of the cell which it chose; its
seconds are those of choosing. TF-IDF (characters' 1-3 grams) + logistic regression is few_examples.py's. Intervals: 95 %, over the draws.
"""

import argparse
import hashlib
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from few_examples import draw, linear
from judging.sets import Row, data_folder, read_rows, rows_digest

from nlphub.aligned import aligned
from nlphub.data.examples import Examples
from nlphub.errors import DataError
from nlphub.evaluation.means import mean_interval
from nlphub.evaluation.metrics import classification_report
from nlphub.files import publish_json
from nlphub.recipe import TrainSettings

if TYPE_CHECKING:
    import nlphub as hub
    from nlphub.training.few.choose import Choice

KEPT = Path(__file__).parent / "results" / "few_shot"
SETS = {"smp2017": ("SMP2017-ECDT", "smp2017_ecdt", None), "cic30": ("CIC, 30 intents", "cic", 30)}  # title, folder, most frequent intents
COUNTS, DRAWS = (4, 8, 16), 5
COLUMNS = {"tfidf": "TF-IDF + LR", "finetune": "finetune", "prototype": "prototype", "contrastive": "contrastive", "auto": "auto"}
STEPS, BATCH = 200, 16
NO_WEIGHTS = "none"


@dataclass(frozen=True, slots=True)
class Key:
    """What decides a cell, besides the rows of the data folder.

    Attributes:
        count: examples of each intent.
        settings: digest of the training settings.
        weights: digest of the encoder's weights; ``"none"`` for TF-IDF.
    """

    set: str
    count: int
    column: str
    draw: int
    settings: str
    weights: str

    @property
    def file(self) -> str:
        """Where the cell lies in the folder of results."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.set}/{self.count}-{self.column}-draw{self.draw}-{digest}.json"


def settings_of(column: str, examples: int, *, seed: int) -> TrainSettings:
    """What a column trains with, on so many examples."""
    method: Any = column if column in ("prototype", "contrastive", "auto") else "finetune"
    epochs = max(1, math.ceil(STEPS * BATCH / examples))
    return TrainSettings(method=method, epochs=epochs, batch_size=BATCH, learning_rate=2e-4, label_smoothing=0.1, seed=seed)


def most_frequent(rows: Sequence[Row], intents: int | None) -> set[str]:
    """The labels of a set, or its most frequent ones (of equals the first by name)."""
    counts = Counter(str(row.label) for row in rows)
    return {name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:intents]}


def load(name: str, folder: Path) -> tuple[Examples, Examples, str]:
    """Training and test rows of a set, and their digest.

    Raises:
        DataError: the files are not there.
    """
    _, place, intents = SETS[name]
    train, test = (read_rows(folder / "labelled" / place / f"{part}.jsonl.xz") for part in ("train", "test"))
    kept = most_frequent(train, intents)
    parts = [[row for row in rows if row.label in kept] for rows in (train, test)]
    return (*(Examples.of([(row.text, str(row.label)) for row in rows]) for rows in parts), rows_digest(*parts))  # type: ignore[return-value]


def keys(sets: Iterable[str], counts: Iterable[int], columns: Sequence[str], draws: int, *, weights: str) -> list[Key]:
    """The cells of a table, in the order in which they are made: one whole draw first."""
    return [
        Key(name, count, column, number, _digest(column), NO_WEIGHTS if column == "tfidf" else weights)
        for number in range(draws)
        for name in sets
        for count in counts
        for column in COLUMNS
        if column in columns
    ]


def make(key: Key, train: Examples, test: Examples, *, kept: Path, directory: Path | None) -> dict[str, Any]:
    """One cell: learn from a draw, judge on the test set; of ``auto``, choose and take the chosen cell's scores, made if it is not kept."""
    seen, started = draw(train, key.count, key.draw), time.perf_counter()
    facts: dict[str, Any] = {"key": asdict(key), "examples": len(seen)}
    if key.column == "auto":
        choice = chosen(seen, seed=key.draw, directory=directory)
        seconds = time.perf_counter() - started
        other = replace(key, column=choice.method, settings=_digest(choice.method))
        cell = read(other, kept) or make(other, train, test, kept=kept, directory=directory)
        return {**facts, "choice": choice.as_dict(), "scores": cell["scores"], "seconds": round(seconds, 1)}
    predicted = linear(seen, test) if key.column == "tfidf" else learnt(key.column, seen, test, seed=key.draw, directory=directory)
    metrics = classification_report(test.labels, predicted, train.label_names)
    scores = {"macro_f1": round(metrics.macro_f1, 4), "accuracy": round(metrics.accuracy, 4)}
    return {**facts, "scores": scores, "seconds": round(time.perf_counter() - started, 1)}


def learnt(column: str, seen: Examples, test: Examples, *, seed: int, directory: Path | None) -> list[str]:
    """What a module answers after learning."""
    import nlphub as hub

    trainer = hub.Trainer(module(directory), settings=settings_of(column, len(seen), seed=seed), progress=False)
    trainer.train(seen)
    return [answer.top[0][0] for answer in trainer.predict(test.texts)]


def chosen(seen: Examples, *, seed: int, directory: Path | None) -> "Choice":
    """What ``auto`` takes for these examples."""
    import nlphub as hub
    from nlphub.training.few.choose import choose

    def fit(pupil: hub.Module, settings: TrainSettings, examples: Examples) -> None:
        hub.Trainer(pupil, settings=settings, progress=False).train(examples)

    return choose(module(directory), settings_of("auto", len(seen), seed=seed), seen, labels=seen.label_names, fit=fit)


def module(directory: Path | None) -> "hub.Module":
    """The shipped module, or one of a folder."""
    import nlphub as hub

    return hub.Module(name="ernie_tiny") if directory is None else hub.Module(directory=directory)


def read(key: Key, folder: Path) -> dict[str, Any] | None:
    """A kept cell, ``None`` while there is none.

    Raises:
        DataError: the file does not hold the cell of this key.
    """
    path = folder / key.file
    if not path.is_file():
        return None
    try:
        cell: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as broken:
        raise DataError(f"{path} is no cell of this benchmark ({broken}); delete it and run the benchmark again") from broken
    if cell.get("key") != asdict(key):
        raise DataError(f"{path} holds the cell of another key; delete it and run the benchmark again")
    return cell


def measure(wanted: Sequence[Key], *, data: Path, kept: Path, directory: Path | None) -> None:
    """Make the cells that are not kept yet; each is kept as soon as it is there."""
    loaded: dict[str, tuple[Examples, Examples, str]] = {}
    for number, key in enumerate(wanted, start=1):
        cell = read(key, kept)
        if key.set not in loaded:
            loaded[key.set] = load(key.set, data)
        train, test, digest = loaded[key.set]
        if cell is None:
            cell = {**make(key, train, test, kept=kept, directory=directory), "rows_digest": digest}
            publish_json(kept / key.file, cell)
            print(f"{number}/{len(wanted)}  {key.file}  {cell['scores']['macro_f1']:.3f}  {cell['seconds']:.0f} s", flush=True)
        elif cell["rows_digest"] != digest:
            raise DataError(f"{kept / key.file} was made with other rows than those of {data}; delete it and run the benchmark again")


def lines(wanted: Sequence[Key], kept: Path) -> list[dict[str, Any]]:
    """One line for each set and count: column -> draws, mean and interval; without the columns of which nothing is kept."""
    table = []
    for name, count in dict.fromkeys((key.set, key.count) for key in wanted):
        line: dict[str, Any] = {"set": name, "examples_per_intent": count, "columns": {}}
        for column in COLUMNS:
            cells = [cell for key in wanted if (key.set, key.count, key.column) == (name, count, column) if (cell := read(key, kept))]
            if cells:
                told = mean_interval([cell["scores"]["macro_f1"] for cell in cells])
                choices = Counter(cell["choice"]["method"] for cell in cells if "choice" in cell)
                facts = {"mean": told.value, "low": told.low, "high": told.high, "draws": len(cells)}
                line["columns"][column] = facts | ({"chosen": dict(choices)} if choices else {})
        table.append(line)
    return table


def cells_of(table: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The table as texts, headings first: mean and half of the interval in points; a dash for what is not there."""
    rows = [("set", "per intent", *COLUMNS.values())]
    for line in table:
        found = [line["columns"].get(column) for column in COLUMNS]
        shown = [f"{100 * one['mean']:.1f} ±{50 * (one['high'] - one['low']):.1f}" if one else "-" for one in found]
        rows.append((SETS[line["set"]][0], str(line["examples_per_intent"]), *shown))
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    heading, *others = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([heading, f"|{'---|' * len(rows[0])}", *others])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--counts", nargs="+", type=int, default=list(COUNTS))
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--module", type=Path, help="a module folder instead of the shipped ernie_tiny")
    parser.add_argument(
        "--weights", help="with --quick: digest of the weights whose cells are shown; default: of those kept, the last made"
    )
    parser.add_argument("--data", type=Path, help="the folder of real data, instead of NLPHUB_DATA")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the folder of finished cells")
    parser.add_argument("--quick", action="store_true", help="show what is kept; make nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("nlphub").setLevel(logging.ERROR)
    weights = (arguments.weights or last_weights(arguments.kept)) if arguments.quick else weights_of(arguments.module)
    wanted = keys(arguments.sets, arguments.counts, arguments.columns, arguments.draws, weights=weights)
    if not arguments.quick:
        measure(wanted, data=data_folder(arguments.data), kept=arguments.kept, directory=arguments.module)
    table = lines(wanted, arguments.kept)
    if arguments.json:
        print(json.dumps({"weights_sha256": weights, "lines": table}, indent=2, ensure_ascii=False))
    else:
        heading, *rows = cells_of(table)
        print(markdown([heading, *rows]) if arguments.markdown else aligned(heading, rows, numbers=True))


def weights_of(directory: Path | None) -> str:
    """Digest of a module's encoder."""
    from nlphub.checkpoints.native import weights_digest

    return weights_digest(module(directory).encoder)


def last_weights(kept: Path) -> str:
    """The weights of the newest kept cell that has any."""
    for path in sorted(kept.glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        weights = str(json.loads(path.read_text("utf-8"))["key"]["weights"])
        if weights != NO_WEIGHTS:
            return weights
    return NO_WEIGHTS


def _digest(column: str) -> str:
    """Of everything that a column's settings say of a nominal set; 12 digits."""
    facts = "few_examples.py's" if column == "tfidf" else json.dumps(settings_of(column, 100, seed=0).decisive(), sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
