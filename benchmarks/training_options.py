"""Each training option beside plain training: the same weights, rows, epochs, rate and seeds, judged on a test set that chose nothing.

    NLPHUB_DATA=folder python benchmarks/training_options.py                # SMP2017-ECDT; trains what is not kept yet
    python benchmarks/training_options.py --set demo                       # the demo data of the recipe `intent`
    python benchmarks/training_options.py --quick                          # the table from what is kept; trains nothing
    python benchmarks/training_options.py --missing                        # what is to be trained, and about how long

`smp2017` has all 2,299 training rows, `smp2017-16` at most 16 of each label (drawn by seed), `demo` the demo data with its dev part.
Five epochs (`smp2017-16`: 15) at 3e-4 and 16 examples a batch, in bfloat16; nothing is tuned for an option, whose value is a usual one.
A figure is the mean over seeds with its 95 % interval; the gain is the mean of the differences to plain training with the same seed. Time
is that of training, as a multiple of plain training's. Cells are kept under benchmarks/results/training_options/, one small file each.
"""

import argparse
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from few_examples import draw
from judging.sets import SETS, data_folder, load_task

from nlphub.aligned import aligned
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.evaluation.means import mean_interval
from nlphub.files import publish_json
from nlphub.recipe import TrainSettings, load_recipe

KEPT = Path(__file__).parent / "results" / "training_options"
PLAIN = "plain"
OPTIONS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "label_smoothing 0.1": {"label_smoothing": 0.1},
    "focal 2": {"focal": 2.0},
    "r_drop 1": {"r_drop": 1.0},
    "fgm 1": {"adversarial": "fgm"},
    "pgd 1, 3 steps": {"adversarial": "pgd"},
    "average 0.99": {"average": 0.99},
    "class_weights balanced": {"class_weights": "balanced"},
    "sampling balanced": {"sampling": "balanced"},
    "r_drop 1 + fgm 1 + average 0.99": {"r_drop": 1.0, "adversarial": "fgm", "average": 0.99},
}
COST = {"r_drop 1": 2.0, "fgm 1": 2.0, "pgd 1, 3 steps": 4.0, "r_drop 1 + fgm 1 + average 0.99": 4.0}  # passes, beside one
EPOCHS = {"smp2017": 5, "smp2017-16": 15, "demo": 5}
MINUTES = {"smp2017": 1.5, "smp2017-16": 1.0, "demo": 1.0}  # of a plain cell on two cores
SCORES = ("macro_f1", "accuracy")
DECISIVE = ("weights_sha256", "train_sha256", "test_sha256")

Score = Callable[[TrainSettings, Examples, Examples], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One training.

    Attributes:
        of: the set.
        option: a name of :data:`OPTIONS`.
        seed: of the training, and of the draw of rows.
        settings: of the training.
        decided_by: digests of rows and first weights.
    """

    of: str
    option: str
    seed: int
    settings: TrainSettings
    decided_by: Mapping[str, str]

    @property
    def path(self) -> Path:
        """Where it is kept: found again only with the same settings, rows and weights."""
        facts = [self.of, self.settings.decisive(), dict(sorted(self.decided_by.items()))]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
        name = "".join(letter if letter.isalnum() else "-" for letter in self.option)
        return KEPT / self.of / f"{name}-seed{self.seed}-{digest}.json"


def settings_of(name: str, option: str, seed: int) -> TrainSettings:
    """The settings of a cell."""
    return TrainSettings(epochs=EPOCHS[name], batch_size=16, learning_rate=3e-4, precision="bf16", seed=seed, **OPTIONS[option])


def rows_of(name: str) -> tuple[Examples, Examples]:
    """Training and test rows of a set."""
    if name == "demo":
        splits = load_splits(load_recipe("intent").data.model_copy(update={"split": {}}))
        return splits["train"], splits["test"]
    task = load_task(SETS["smp2017"], data_folder(), tokens=None)
    train, test = ([(row.text, row.label) for row in rows] for rows in (task.train, task.judged))
    return Examples.of(train), Examples.of(test)


def cells_of(name: str, seeds: int, decided_by: Mapping[str, str]) -> list[Cell]:
    """All cells of a table, seed by seed: a table with one seed is whole first."""
    return [Cell(name, option, seed, settings_of(name, option, seed), decided_by) for seed in range(seeds) for option in OPTIONS]


def measure(cells: Sequence[Cell], train: Examples, test: Examples, score: Score) -> None:
    """Train what is not kept yet."""
    for cell in cells:
        if cell.path.is_file():
            continue
        own = draw(train, 16, cell.seed) if cell.of.endswith("-16") else train
        started = time.perf_counter()
        scores = score(cell.settings, own, test)
        facts = {"set": cell.of, "option": cell.option, "seed": cell.seed, "settings": cell.settings.decisive(), "rows": len(own)}
        seconds = round(time.perf_counter() - started, 1)
        publish_json(cell.path, {**facts, **cell.decided_by, "scores": dict(scores), "seconds": seconds})
        print(f"{cell.of}, seed {cell.seed}, {cell.option}: {scores['macro_f1']:.4f} in {seconds:.0f} s", flush=True)


def score(settings: TrainSettings, train: Examples, test: Examples) -> Mapping[str, float]:
    """Train the shipped module and judge it."""
    import nlphub as hub

    module = hub.Module(name="ernie_tiny", task="seq-cls", labels=train.label_names, seed=settings.seed, max_length=128)
    trainer = hub.Trainer(module, settings=settings, progress=False)
    trainer.train(train)
    metrics = trainer.evaluate(test)
    return {name: round(metrics.score(name), 4) for name in SCORES}


def table(name: str, kept: Sequence[Mapping[str, Any]]) -> str:
    """A line for each option that has been measured; gains are against plain training with the same seeds."""
    found = {(one["option"], one["seed"]): one for one in _of_one_kind(kept, name)}
    lines = []
    for option in OPTIONS:
        own = {seed: one for (title, seed), one in found.items() if title == option}
        paired = {seed: found[PLAIN, seed] for seed in own if (PLAIN, seed) in found}
        if not own:
            continue
        figures = [_interval([one["scores"][score] for one in own.values()]) for score in SCORES]
        gain = [own[seed]["scores"]["macro_f1"] - paired[seed]["scores"]["macro_f1"] for seed in paired]
        slower = sum(own[seed]["seconds"] for seed in paired) / max(0.1, sum(paired[seed]["seconds"] for seed in paired)) if paired else 0
        told = "" if option == PLAIN or not gain else _interval(gain, sign="+")
        lines.append((option, len(own), *figures, told, f"{slower:.1f}x" if paired else ""))
    return aligned(("option", "seeds", "macro-F1", "accuracy", "gain in macro-F1", "time"), lines)


def kept_cells() -> list[dict[str, Any]]:
    """Everything under the folder of results."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(KEPT.glob("*/*.json"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(EPOCHS), action="append", help="may be given several times; default: smp2017 and smp2017-16")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the table from what is kept")
    parser.add_argument("--missing", action="store_true", help="what is to be trained")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.set or ["smp2017", "smp2017-16"]
    if not options.quick:
        logging.getLogger("nlphub").setLevel(logging.ERROR)
        _carry_out(names, seeds=options.seeds, only_tell=options.missing)
    if not options.missing:
        kept = kept_cells()
        print(json.dumps(kept, indent=2) if options.json else "\n\n".join(f"{name}\n{table(name, kept)}" for name in names))


def _carry_out(names: Sequence[str], *, seeds: int, only_tell: bool) -> None:
    import nlphub as hub
    from nlphub.checkpoints.native import weights_digest

    weights = weights_digest(hub.Module(name="ernie_tiny").encoder)
    for name in names:
        train, test = rows_of(name)
        cells = cells_of(name, seeds, dict(zip(DECISIVE, (weights, train.digest(), test.digest()), strict=True)))
        missing = [cell for cell in cells if not cell.path.is_file()]
        minutes = sum(MINUTES[name] * COST.get(cell.option, 1.0) for cell in missing)
        print(f"{name}: {len(missing)} of {len(cells)} trainings are to be made, about {minutes:.0f} minutes on two cores", flush=True)
        if not only_tell:
            measure(missing, train, test, score)


def _of_one_kind(kept: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """The cells of a set that were made of the same rows and weights: of the kind of which there are most."""
    kinds: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for one in kept:
        if one["set"] == name:
            kinds.setdefault(tuple(one[key] for key in DECISIVE), []).append(one)
    return max(kinds.values(), key=len, default=[])


def _interval(values: Sequence[float], *, sign: str = "") -> str:
    found = mean_interval(values)
    if len(values) == 1:
        return f"{found.value:{sign}.3f}"
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


if __name__ == "__main__":
    main()
