"""What a fine-tuned classifier does with texts of intents that it never saw: SMP2017-ECDT with five intents held out.

    NLPHUB_DATA=folder python benchmarks/rejection.py [--method prototype] [--seeds 3] [--precision 0.95] [--module FOLDER] [--json]

For each seed five of the 31 intents are drawn and taken out of training. A fifth of the remaining training rows chooses temperature,
confidence and threshold; nothing sees a text of the five intents before the test set judges, where they are the out-of-scope texts.
Prototypes, as in the recipe `intent`; or fine-tuning for three epochs at 3e-4, as in benchmarks/quality.py. AUROC and FPR@95 are given
for probability, energy and neighbours.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judging.sets import SETS, Row, data_folder, load_task

import nlphub as hub
from nlphub.calibration import CONFIDENCES, Calibration, references_of
from nlphub.data.splitting import split_off
from nlphub.evaluation.trust import judge_calibration, separation
from nlphub.recipe import TrainSettings
from nlphub.training.calibrate import calibrate, hold

HELD_OUT = 5


def measure(
    rows: tuple[Sequence[Row], Sequence[Row]], *, method: str, seed: int, precision: float, directory: Path | None
) -> dict[str, Any]:
    """Train on one draw of intents and judge on the test set."""
    train, test = rows
    labels = sorted({str(row.label) for row in train})
    strange = set(np.random.default_rng(seed).choice(labels, HELD_OUT, replace=False).tolist())
    known = hub.Examples.of([(row.text, row.label) for row in train if row.label not in strange])
    parts = split_off(known, {"dev": 0.2}, seed=seed)
    named = {"name": "ernie_tiny"} if directory is None else {"directory": directory}
    module = hub.Module(**named, task="seq-cls", labels=known.label_names, seed=seed, max_length=128)
    settings = TrainSettings.model_validate({"method": method, "epochs": 3, "batch_size": 16, "learning_rate": 3e-4, "seed": seed})
    hub.Trainer(module, settings=settings, progress=False).train(parts["train"])
    report = calibrate(module, parts["dev"], aim={"precision": precision}, train=parts["train"])
    judged = [(row.text, row.label) for row in test if row.label not in strange]
    held = hold(module, judged, [row.text for row in test if row.label in strange])
    found = judge_calibration(held, module.labels, report.calibration)
    references = references_of(module.logits(parts["train"].texts))
    separations = {kind: separation(held, Calibration(report.calibration.temperature, kind, references=references)) for kind in CONFIDENCES}
    return {
        "method": method,
        "seed": seed,
        "held_out": sorted(strange),
        "kept": report.calibration.confidence,
        "missed": list(report.missed),
        "separations": {kind: {"auroc": one.auroc, "fpr95": one.fpr95, "aurc": one.aurc} for kind, one in separations.items()},
        **{name: value for name, value in found.as_dict().items() if name != "risk_coverage"},
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """A line for each draw."""
    titles = ("seed", "accuracy", "kept", "accepted", "right", "rejected", "ECE before", "ECE after", "AUROC p/e/n", "FPR@95 p/e/n")
    lines = ["  ".join(f"{title:>16}" for title in titles)]
    for one in results:
        separate = [[f"{one['separations'][kind][score]:.3f}" for kind in CONFIDENCES] for score in ("auroc", "fpr95")]
        cells = (
            one["seed"],
            f"{one['accuracy']:.3f}",
            one["kept"],
            f"{one['coverage']:.3f}",
            "-" if one["precision"] is None else f"{one['precision']:.3f}",
            f"{one['rejected']:.3f}",
            _interval(one["calibration_error_before"]),
            _interval(one["calibration_error"]),
            *("/".join(values) for values in separate),
        )
        lines.append("  ".join(f"{cell!s:>16}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("prototype", "finetune"), default="prototype", help="train.method")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", type=float, default=0.95, help="of accepted answers to texts of known intents")
    parser.add_argument("--module", type=Path, help="a module folder instead of the shipped ernie_tiny")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("nlphub").setLevel(logging.ERROR)
    task = load_task(SETS["smp2017"], data_folder(), tokens=None)
    results = [
        measure((task.train, task.judged), method=options.method, seed=seed, precision=options.precision, directory=options.module)
        for seed in range(options.seeds)
    ]
    print(json.dumps(results, ensure_ascii=False, indent=2) if options.json else table(results))


def _interval(facts: dict[str, float]) -> str:
    return f"{facts['value']:.3f} ({facts['low']:.3f}-{facts['high']:.3f})"


if __name__ == "__main__":
    main()
