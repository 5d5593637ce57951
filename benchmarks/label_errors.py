"""Suspected wrong labels on real sets: how many of flipped labels are found, and what a module gains that never learns the suspects.

    NLPHUB_DATA=folder python benchmarks/label_errors.py [--part flips|cic] [--seeds 3] [--rows N] [--cic-epochs 10] [--device cuda]
    NLPHUB_DATA=folder python benchmarks/label_errors.py --method prototype --rows 4000    # seconds instead of hours
    python benchmarks/label_errors.py --quick [--json]    # the tables from what is kept; trains nothing
    NLPHUB_DATA=folder python benchmarks/label_errors.py --missing    # what is to be made still

flips: 10 % of the labels of SMP2017-ECDT's training set are flipped by seed: to any other intent (uniform), or to the intent that
TF-IDF + logistic regression confuses most with the true one (confused). Out-of-fold probabilities by `nlphub.cross_validate`, with the
settings of benchmarks/quality.py. Precision and recall of our suspects, and of cleanlab's on the same probabilities in the same run;
labels of the set that were wrong before count as false alarms. Needs scikit-learn and cleanlab (extra "dev").

cic: CIC's training labels are noisy by design, its test set is clean. A module is trained on the rows as given; on those that are no
suspects (dropped); and, as a control, without as many rows at random (random). All with the same settings and the same number of steps:
the rows left are drawn again, by seed, up to the number of all (not for prototypes, which take no steps). Nothing is chosen on the test
set. Reference: RoBERTa-wwm 3-layer, 72.78.

Finished cells are kept in benchmarks/results/label_errors/, finished folds in --work, so that sittings add up.
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from judging.hyper import hyper
from judging.neural import train_settings
from judging.sets import SETS, Row, data_folder, load_task, rows_digest, sample
from numpy.typing import NDArray

import nlphub as hub
from nlphub.aligned import aligned
from nlphub.evaluation.calibration import Interval
from nlphub.evaluation.folds import Fold
from nlphub.evaluation.label_errors import RULES, find_label_errors, label_scores
from nlphub.evaluation.means import mean_interval
from nlphub.files import publish_json, publish_text
from nlphub.recipe import TrainSettings

KEPT = Path(__file__).parent / "results" / "label_errors"
PARTS = {"flips": "smp2017", "cic": "cic"}
KINDS = ("uniform", "confused")
COLUMNS = ("given", "dropped", "random")
METHODS = ("finetune", "prototype", "contrastive")
CLEANLAB = {"noise_rate": "prune_by_noise_rate", "class": "prune_by_class", "both": "both", "joint": "confident_learning"}
REFERENCE = 72.78
SHARE, FOLDS, MAX_LENGTH, PROTOCOL = 0.1, 5, 128, 1

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cell:
    """What decides a figure.

    Attributes:
        part: ``flips`` or ``cic``.
        kind: of noise, or column.
        rows: digest of the rows trained and judged on.
        settings: of the trainings, without the seed.
        weights: digest of the encoder.
    """

    part: str
    kind: str
    seed: int
    rows: str
    settings: str
    weights: str
    protocol: int = PROTOCOL

    @property
    def name(self) -> str:
        """Of its file, and of its folder in the work folder."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.part}-{self.kind}-seed{self.seed}-{digest}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where to start from, and where to keep things."""

    directory: Path | None
    work: Path
    use_gpu: bool = False
    folds: int = FOLDS

    @property
    def module(self) -> dict[str, str]:
        return {"name": "ernie_tiny"} if self.directory is None else {"directory": str(self.directory)}

    def weights(self) -> str:
        from nlphub.checkpoints.native import weights_digest

        return weights_digest(hub.Module(**self.module).encoder)

    def cross_validated(self, name: str, rows: Sequence[tuple[str, str]], settings: TrainSettings) -> Any:
        """Out-of-fold probabilities of the rows, by the public route: a file, a recipe, folds that are kept."""
        data = self.work / f"{name}.jsonl"
        publish_text(data, "".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows))
        recipe = hub.Recipe(
            module=self.module,
            task="seq-cls",
            data={"train": str(data), "max_length": MAX_LENGTH},
            train=settings,
            run={"folder": str(self.work / name)},
        )
        return hub.cross_validate(recipe, folds=self.folds, progress=False, use_gpu=self.use_gpu, told=_tell)

    def trained(self, rows: Sequence[tuple[str, str]], judged: Sequence[tuple[str, str]], settings: TrainSettings) -> dict[str, Any]:
        """Scores on ``judged`` of the last weights after training on ``rows``."""
        labels = sorted({label for _, label in (*rows, *judged)})
        module = hub.Module(**self.module, task="seq-cls", labels=labels, seed=settings.seed, max_length=MAX_LENGTH)
        trainer = hub.Trainer(module, settings=settings, use_gpu=self.use_gpu, progress=False)
        report = trainer.train(list(rows))
        metrics = trainer.evaluate(list(judged))
        scores = {name: round(metrics.score(name), 6) for name in ("macro_f1", "accuracy")}
        return {**scores, "steps": report.steps, "seconds": round(report.seconds, 1)}


def flip(labels: Sequence[str], kind: str, *, seed: int, confused: Mapping[str, str] | None = None) -> tuple[list[str], Flags]:
    """Labels of which a tenth is wrong, and which those are.

    Args:
        kind: ``uniform``: each other label is as probable; ``confused``: the one that ``confused`` names.
    """
    generator, names = np.random.default_rng(seed), sorted(set(labels))
    flipped = np.zeros(len(labels), np.bool_)
    flipped[generator.choice(len(labels), round(SHARE * len(labels)), replace=False)] = True
    given = list(labels)
    for row in np.flatnonzero(flipped).tolist():
        others = [name for name in names if name != labels[row]]
        given[row] = str(generator.choice(others)) if kind == "uniform" or confused is None else confused[labels[row]]
    return given, flipped


def most_confused(rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Label -> the other one that held-out rows of it get the highest mean probability of, from TF-IDF + logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    texts, labels = [text for text, _ in rows], np.array([label for _, label in rows])
    model = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000))
    cut = StratifiedKFold(5, shuffle=True, random_state=0)
    probabilities, names = cross_val_predict(model, texts, labels, cv=cut, method="predict_proba"), np.unique(labels)
    means = np.stack([probabilities[labels == name].mean(axis=0) for name in names])
    np.fill_diagonal(means, -1)
    return {str(name): str(names[place]) for name, place in zip(names, means.argmax(axis=1), strict=True)}


def found_flips(probabilities: NDArray[Any], targets: NDArray[Any], flipped: Flags) -> dict[str, Any]:
    """Precision and recall of our suspects and of cleanlab's, by every rule; and of what no rule thins out.

    Some counts of the joint round equally well up or down; cleanlab leaves it to numpy's unstable sort, so that a row or two differ.
    """
    from cleanlab.filter import find_label_issues

    found: dict[str, Any] = {}
    for rule, theirs in CLEANLAB.items():
        own = find_label_errors(probabilities, targets, by=rule)
        other = find_label_issues(
            targets, probabilities.astype(np.float64), filter_by=theirs, return_indices_ranked_by="self_confidence", n_jobs=1
        )
        found[rule] = {"ours": _quality(own, flipped), "cleanlab": _quality(other, flipped), "shared": len(np.intersect1d(own, other))}
    found["argmax"] = {"ours": _quality(np.flatnonzero(probabilities.argmax(axis=1) != targets), flipped)}
    first = np.argsort(label_scores(probabilities, targets), kind="stable")[: flipped.sum()]
    found["ranking"] = {"ours": _quality(first, flipped)}
    return found


def measure_flips(cell: Cell, rows: Sequence[tuple[str, str]], settings: TrainSettings, bench: Bench) -> dict[str, Any]:
    """One draw of flips."""
    labels = [label for _, label in rows]
    given, flipped = flip(labels, cell.kind, seed=cell.seed, confused=most_confused(rows) if cell.kind == "confused" else None)
    made = bench.cross_validated(cell.name, [(text, label) for (text, _), label in zip(rows, given, strict=True)], settings)
    answers = np.array(made.labels)[made.probabilities.argmax(axis=1)]
    return {
        "method": settings.method,
        "rows": len(rows),
        "flipped": int(flipped.sum()),
        "accuracy": {"given": round(float((answers == given).mean()), 4), "true": round(float((answers == labels).mean()), 4)},
        "found": found_flips(made.probabilities, made.targets, flipped),
        "seconds": round(sum(fold.seconds for fold in made.folds), 1),
    }


def measure_cic(
    cell: Cell, rows: Sequence[tuple[str, str]], judged: Sequence[tuple[str, str]], settings: TrainSettings, bench: Bench
) -> dict[str, Any]:
    """One training: on all rows, without the suspects, or without as many at random."""
    facts: dict[str, Any] = {"method": settings.method, "rows": len(rows), "judged": len(judged)}
    kept = np.arange(len(rows))
    if cell.kind != "given":
        name = Cell(cell.part, "folds", cell.seed, cell.rows, cell.settings, cell.weights).name  # both columns share the folds
        made = bench.cross_validated(name, rows, settings)
        suspects = find_label_errors(made.probabilities, made.targets)
        if cell.kind == "random":
            suspects = np.random.default_rng(cell.seed).choice(len(rows), len(suspects), replace=False)
        kept = np.setdiff1d(kept, suspects)
        facts |= {"dropped": len(suspects), "folds_seconds": round(sum(fold.seconds for fold in made.folds), 1)}
        facts["folds_accuracy"] = round(made.metrics.accuracy, 4)
    learnt = kept.tolist() if settings.method == "prototype" else filled_up(kept, len(rows), seed=cell.seed)
    return facts | bench.trained([rows[number] for number in learnt], judged, settings)


def filled_up(kept: NDArray[Any], total: int, *, seed: int) -> list[int]:
    """The rows that are kept, and some of them again, drawn by seed, so that there are ``total``: the number of steps stays the same."""
    again = np.random.default_rng(seed).choice(kept, total - len(kept), replace=total > 2 * len(kept))
    return sorted([*kept.tolist(), *again.tolist()])


def flips_table(results: Mapping[Cell, Mapping[str, Any]]) -> str:
    """A line for each method, kind of noise and rule; means over seeds."""
    lines = []
    flips = {cell: value for cell, value in results.items() if cell.part == "flips"}
    for method, kind in product(sorted({value["method"] for value in flips.values()}), KINDS):
        some = [value["found"] for cell, value in flips.items() if (value["method"], cell.kind) == (method, kind)]
        for rule in (*RULES, "argmax", "ranking") if some else ():
            cells = [_means(some, rule, who) for who in ("ours", "cleanlab")]
            shared = f"{np.mean([one[rule]['shared'] for one in some]):.0f}" if "shared" in some[0][rule] else "-"
            lines.append([method, kind, len(some), rule, *cells[0], *cells[1], shared])
    header = ("method", "flipped", "seeds", "rule", "found", "precision", "recall", "cleanlab: found", "precision", "recall", "by both")
    return aligned(header, lines) if lines else "flips: nothing is kept yet"


def cic_table(results: Mapping[Cell, Mapping[str, Any]]) -> str:
    """A line for each number of rows and column; means over seeds with 95 % intervals."""
    groups: dict[tuple[str, int, str, str], list[Mapping[str, Any]]] = {}
    for cell, value in results.items():
        if cell.part == "cic":
            groups.setdefault((value["method"], value["rows"], cell.settings, cell.kind), []).append(value)
    lines = []
    for (method, rows, _, kind), some in sorted(groups.items(), key=lambda item: (*item[0][:3], COLUMNS.index(item[0][3]))):
        scores = [mean_interval([value[name] for value in some]) for name in ("macro_f1", "accuracy")]
        dropped = f"{np.mean([value.get('dropped', 0) for value in some]):.0f}"
        shown = [_percent(score, alone=len(some) == 1) for score in scores]
        lines.append([method, kind, rows, dropped, some[0]["steps"], len(some), *shown])
    table = (
        aligned(("method", "trained on", "rows", "dropped", "steps", "seeds", "test macro-F1", "accuracy"), lines)
        if lines
        else "cic: nothing is kept yet"
    )
    return f"{table}\n\nRoBERTa-wwm 3-layer on all 10,000 rows, as published: {REFERENCE} macro-F1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS), help="of flips")
    parser.add_argument("--columns", choices=COLUMNS, nargs="+", default=list(COLUMNS[:2]), help="of cic")
    parser.add_argument("--rows", type=int, help="train cic on so many rows, drawn by seed 0; default: all")
    parser.add_argument("--method", choices=METHODS, default="finetune", help="train.method of all trainings")
    parser.add_argument("--cic-epochs", type=int, default=10, help="118 intents need more than 3")
    parser.add_argument("--module", type=Path, help="a module folder instead of the shipped ernie_tiny")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/label_errors"), help="for folds that are finished")
    parser.add_argument("--quick", action="store_true", help="the tables from what is kept")
    parser.add_argument("--missing", action="store_true", help="list what is to be made")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("nlphub").setLevel(logging.ERROR)
    results = dict(read_kept(KEPT)) if options.quick else dict(cells(options, make=not options.missing))
    if options.json:
        print(json.dumps([{**asdict(cell), **(value or {})} for cell, value in results.items()], ensure_ascii=False, indent=2))
    elif options.missing:
        print("\n".join(cell.name for cell, value in results.items() if value is None) or "nothing is missing")
    else:
        print("\n\n".join(table(results) for part, table in (("flips", flips_table), ("cic", cic_table)) if part in options.part))


def cells(options: argparse.Namespace, *, make: bool) -> Iterator[tuple[Cell, dict[str, Any] | None]]:
    """All cells that are asked for: from the folder of results, or made now and kept there, or ``None``."""
    bench = Bench(options.module, options.work, options.device == "cuda")
    for cell, measure in plan(options, bench):
        path = KEPT / f"{cell.name}.json"
        if not path.is_file() and make:
            say(cell.name)
            publish_json(path, {"cell": asdict(cell), "result": measure()})
        yield cell, json.loads(path.read_text("utf-8"))["result"] if path.is_file() else None


def plan(options: argparse.Namespace, bench: Bench) -> Iterator[tuple[Cell, Callable[[], dict[str, Any]]]]:
    """The cells and how to measure them; all of the first seed come first."""
    weights, loaded = bench.weights(), {part: pairs(part, options.rows if part == "cic" else None) for part in options.part}
    for seed in range(options.seeds):
        for part, (rows, judged, digest) in loaded.items():
            values = hyper("pretrained", SETS[PARTS[part]]) | ({"epochs": options.cic_epochs} if part == "cic" else {})
            values |= {"method": options.method} if options.method != "finetune" else {}
            settings = train_settings(values, seed)
            known = hashlib.sha256(json.dumps([values, FOLDS, SHARE], sort_keys=True).encode()).hexdigest()[:10]
            for kind in options.kinds if part == "flips" else options.columns:
                cell = Cell(part, kind, seed, digest, known, weights)
                yield cell, _measuring(cell, rows, judged, settings, bench)


def pairs(part: str, most: int | None) -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """Texts and labels of a set: to train on, and to judge by; and their digest."""
    task = load_task(SETS[PARTS[part]], data_folder(), tokens=None)
    train = [task.train[number] for number in sample(len(task.train), most)] if most else task.train
    return _pairs(train), _pairs(task.judged), rows_digest(train, task.judged)


def read_kept(folder: Path) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Whatever is there."""
    for path in sorted(folder.glob("*.json")):
        value = json.loads(path.read_text("utf-8"))
        yield Cell(**value["cell"]), value["result"]


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _tell(fold: Fold) -> None:
    say(f"  fold {fold.number}: accuracy {fold.scores['accuracy']:.3f}, {fold.seconds:.0f} s")


def _measuring(cell: Cell, rows: Any, judged: Any, settings: TrainSettings, bench: Bench) -> Callable[[], dict[str, Any]]:
    if cell.part == "flips":
        return lambda: measure_flips(cell, rows, settings, bench)
    return lambda: measure_cic(cell, rows, judged, settings, bench)


def _pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.text, str(row.label)) for row in rows]


def _percent(score: Interval, *, alone: bool) -> str:
    return f"{100 * score.value:.2f}" + ("" if alone else f" ({100 * score.low:.1f}-{100 * score.high:.1f})")


def _quality(found: NDArray[Any], flipped: Flags) -> dict[str, Any]:
    right = int(flipped[found].sum())
    return {"count": len(found), "precision": round(right / max(1, len(found)), 4), "recall": round(right / max(1, int(flipped.sum())), 4)}


def _means(some: Sequence[Mapping[str, Any]], rule: str, who: str) -> list[str]:
    if who not in some[0][rule]:
        return ["-"] * 3
    count, precision, recall = (np.mean([one[rule][who][name] for one in some]) for name in ("count", "precision", "recall"))
    return [f"{count:.0f}", f"{precision:.3f}", f"{recall:.3f}"]


if __name__ == "__main__":
    main()
