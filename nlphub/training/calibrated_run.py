"""The calibration of a run: chosen on its dev set, judged on its test set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nlphub.data.examples import Examples
from nlphub.data.read import load_data
from nlphub.evaluation.trust import Judgement, judge_calibration
from nlphub.labels import ONE_LABEL
from nlphub.module import Module
from nlphub.recipe import Recipe
from nlphub.training.calibrate import CalibrationReport, calibrate, hold
from nlphub.training.thresholds import TASK as THRESHOLDS_OF
from nlphub.training.thresholds import Thresholds, set_thresholds


@dataclass(frozen=True, slots=True)
class Outside:
    """Out-of-scope texts of a recipe: those that help to choose thresholds, and those that judge them; ``None`` without any."""

    choosing: Examples | None = None
    judging: Examples | None = None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the calibration of a run came to.

    Attributes:
        report: of the choice, on dev.
        judged: on the test set, with the other half of the out-of-scope texts; ``None`` without a test set.
    """

    file: ClassVar[str] = "calibration.json"
    report: CalibrationReport
    judged: Judgement | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**self.report.as_dict(), "test": self.judged.as_dict() if self.judged else None}

    def summary(self) -> str:
        """One line for a terminal, of the most honest figures there are."""
        judged, where = (self.judged, "test") if self.judged else (self.report.dev, "dev")
        made = self.report.calibration
        parts = [
            f"temperature {made.temperature:.2f}, calibration error {judged.error_before.value:.3f} -> {judged.error.value:.3f} ({where})"
        ]
        if self.report.aim is not None:
            right = f"{judged.precision:.1%} of them right" if judged.precision is not None else "none of them to be judged"
            parts.append(f"{self.report.aim} by {made.confidence}: {judged.coverage:.1%} accepted, {right}")
        if judged.rejected is not None:
            parts.append(f"{judged.rejected:.1%} of {judged.out_of_scope} out-of-scope texts rejected")
        return "; ".join(parts)


def load_outside(recipe: Recipe) -> Outside:
    """Read the out-of-scope texts of a recipe and halve them by its seed. Raises as :func:`nlphub.load_data`."""
    if recipe.calibration.out_of_scope is None:
        return Outside()
    data = recipe.data
    texts = load_data(
        recipe.calibration.out_of_scope, text=data.text, label=None, pair=data.pair, encoding=data.encoding, quotes=data.quotes
    )
    examples = texts["train"]
    order = np.random.default_rng(recipe.train.seed).permutation(len(examples)).tolist()
    halves = [Examples([examples[row] for row in sorted(rows)], source=examples.source) for rows in (order[::2], order[1::2])]
    return Outside(halves[0], halves[1] if len(halves[1]) else None)


def calibrate_run(module: Module, recipe: Recipe, splits: Mapping[str, Examples], outside: Outside) -> Calibrated | Thresholds | None:
    """Calibrate the trained module of a run; ``None`` without a dev set, or for a task that has no calibration."""
    if module.task == THRESHOLDS_OF and "dev" in splits:
        return set_thresholds(module, splits["dev"])
    if module.task not in ONE_LABEL or "dev" not in splits:
        return None
    wanted = recipe.calibration
    report = calibrate(
        module,
        splits["dev"],
        aim={str(kind): level for kind, level in wanted.aim.items()} if wanted.aim else None,
        confidence=wanted.confidence,
        per_label=wanted.per_label,
        train=splits["train"],
        out_of_scope=outside.choosing,
    )
    if "test" not in splits:
        return Calibrated(report, None)
    return Calibrated(report, judge_calibration(hold(module, splits["test"], outside.judging), module.labels, report.calibration))
