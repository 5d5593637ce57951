"""Thresholds of a fine-tuned multi-label module: from which probability on a label is given, chosen on examples it has not learnt."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from nlphub.calibration import Calibration
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.evaluation.labelsets import RARE, THRESHOLD, LabelSetMetrics, choose_thresholds, indicators, label_set_report
from nlphub.module import Module
from nlphub.tasks import trainable
from nlphub.tasks.labelsets import give_labels, sigmoid

TASK = "multi-label"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What :func:`set_thresholds` chose.

    Attributes:
        thresholds: label -> threshold, which the module now has.
        rare: labels of too few examples, which keep :data:`~nlphub.evaluation.labelsets.THRESHOLD`.
        before: scores on the dev set with that threshold for every label.
        dev: scores there with the chosen ones: flattering.
    """

    file: ClassVar[str] = "thresholds.json"
    thresholds: Mapping[str, float]
    rare: tuple[str, ...]
    before: LabelSetMetrics
    dev: LabelSetMetrics

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        scores = {"dev_before": dict(self.before.headlines), "dev": dict(self.dev.headlines)}
        return {"thresholds": dict(self.thresholds), "default": THRESHOLD, "rare": list(self.rare), **scores}

    def summary(self) -> str:
        """One line for a terminal."""
        kept = f"; {len(self.rare)} of fewer than {RARE} examples keep {THRESHOLD:g}" if self.rare else ""
        scores = f"micro-F1 {self.before.f1:.3f} -> {self.dev.f1:.3f}"
        return f"thresholds of {len(self.thresholds)} labels chosen on dev{kept}; there {scores}, which flatters"


def set_thresholds(module: Module, dev: Any) -> Thresholds:
    """Give a fine-tuned multi-label module, for each label, the threshold with the highest F1 on labelled examples.

    Args:
        dev: as ``Trainer.train`` takes it; examples that the module was not trained on.

    Raises:
        InputError: the module has no trained multi-label head.
        DataError: ``dev`` is not fit to judge this module.
    """
    if module.task != TASK or not module.trained:
        state = f"a trained {module.task}" if module.trained else "untrained"
        raise InputError(f"Thresholds of labels are of a fine-tuned {TASK} module, and this one is {state}")
    task, examples = trainable(TASK), Examples.of(dev)
    task.check_judged(examples, module.labels)
    logits, true = module.logits(task.questions(examples)), indicators(examples.label_sets, module.labels)
    chosen = choose_thresholds(sigmoid(logits, temperature=module.calibration.temperature), true, module.labels)

    def scores(calibration: Calibration) -> LabelSetMetrics:
        answers = give_labels(logits, module.labels, top_k=1, calibration=calibration)
        return label_set_report(examples.label_sets, [answer.labels for answer in answers], module.labels)

    before, module.calibration = replace(module.calibration, thresholds={}), replace(module.calibration, thresholds=chosen)
    rare = tuple(label for label in module.labels if label not in chosen)
    return Thresholds(chosen, rare, scores(before), scores(module.calibration))
