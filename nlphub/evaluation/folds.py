"""What a cross-validation says: scores of each fold, probabilities that no training has flattered, and labels that they contradict."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.aligned import aligned
from nlphub.data.corrections import Suspect
from nlphub.data.examples import Examples
from nlphub.evaluation.calibration import Interval
from nlphub.evaluation.label_errors import find_label_errors, label_scores
from nlphub.evaluation.means import mean_interval
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report

Ints = NDArray[np.int64]
Probabilities = NDArray[np.float32]

HEADLINES = ("macro_f1", "accuracy")


@dataclass(frozen=True, slots=True)
class Fold:
    """What one fold came to.

    Attributes:
        number: from 1.
        rows: held out.
        scores: ``macro_f1`` and ``accuracy`` on these, 0 to 1.
        steps: of its training.
        seconds: of its training and of judging.
    """

    number: int
    rows: int
    scores: Mapping[str, float]
    steps: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"fold": self.number, "rows": self.rows, **self.scores, "steps": self.steps, "seconds": self.seconds}


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """What :func:`nlphub.cross_validate` found.

    Notation: ``b`` examples, ``n`` labels.

    Attributes:
        folder: where it is kept.
        examples: ``b`` examples, those of ``data.train``.
        labels: ``n`` names, in the order of the probabilities' columns.
        fold_of: ``(b,)`` int64, the fold in which each example was held out, from 0.
        probabilities: ``(b, n)`` float32, of modules that were trained without the example; not calibrated.
        folds: one for each.
    """

    folder: Path
    examples: Examples
    labels: tuple[str, ...]
    fold_of: Ints
    probabilities: Probabilities
    folds: tuple[Fold, ...]

    @property
    def targets(self) -> Ints:
        """``(b,)`` int64, the numbers of the given labels."""
        number = {label: index for index, label in enumerate(self.labels)}
        return np.array([number[label] for label in self.examples.labels], np.int64)

    @property
    def means(self) -> dict[str, Interval]:
        """``macro_f1`` and ``accuracy``: mean of the folds with its 95 % interval."""
        return {name: mean_interval([fold.scores[name] for fold in self.folds]) for name in HEADLINES}

    @property
    def metrics(self) -> ClassificationMetrics:
        """Scores of all out-of-fold answers together, with the confusion matrix."""
        answers = [self.labels[number] for number in self.probabilities.argmax(axis=1).tolist()]
        return classification_report(self.examples.labels, answers, self.labels)

    def suspects(self, *, by: str = "noise_rate", ranked_by: str = "self_confidence") -> list[Suspect]:
        """Examples whose labels are probably wrong, the most suspicious first: confident learning on the out-of-fold probabilities.

        Args:
            by: one of :data:`nlphub.evaluation.label_errors.RULES`.
            ranked_by: one of :data:`nlphub.evaluation.label_errors.RANKINGS`; the suspects' scores.

        Raises:
            InputError: no such rule or ranking.
        """
        numbers = find_label_errors(self.probabilities, self.targets, by=by, ranked_by=ranked_by).tolist()
        scores = label_scores(self.probabilities, self.targets, ranked_by=ranked_by)
        answers = self.probabilities.argmax(axis=1)
        found = [(self.examples[number], self.labels[answers[number]], float(scores[number])) for number in numbers]
        return [Suspect(one.line, one.text, one.pair, str(one.label), answer, round(score, 6)) for one, answer, score in found]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the probabilities are in ``folds/all.safetensors``."""
        return {
            "rows": len(self.examples),
            "labels": list(self.labels),
            "folds": [fold.as_dict() for fold in self.folds],
            "means": {name: interval.as_dict() for name, interval in self.means.items()},
        }

    def table(self) -> str:
        """A text table for a terminal: a line for each fold, then the means."""
        rows = [[str(fold.number), fold.rows, *(f"{fold.scores[name]:.4f}" for name in HEADLINES)] for fold in self.folds]
        rows.append(["mean", len(self.examples), *(f"{self.means[name].value:.4f}" for name in HEADLINES)])
        limits = [f"{self.means[name].low:.3f}-{self.means[name].high:.3f}" for name in HEADLINES]
        return aligned(("fold", "rows", *HEADLINES), [*rows, ["95 %", "", *limits]], numbers=True)
