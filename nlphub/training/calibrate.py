"""Calibrating a fine-tuned module: believable probabilities, and answers that are rejected when they cannot be believed."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import Calibration, reference_rows
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.evaluation.rejection import AIMS, Aim
from nlphub.evaluation.trust import Fitted, Held, Judgement, Separation, fit_calibration, judge_calibration
from nlphub.labels import ONE_LABEL
from nlphub.module import Module
from nlphub.nn.prototypes import left_out
from nlphub.tasks import trainable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What :func:`calibrate` chose.

    Attributes:
        calibration: which the module now has.
        aim: of the thresholds; ``None`` accepts all answers.
        separations: what each confidence was worth on the dev set.
        missed: what the aim was not reached for on the dev set.
        dev: what the calibration is worth there, where it was chosen: flattering.
        left_out: how many training examples helped to choose, each answered as if it had never been seen; prototypes can do that.
    """

    calibration: Calibration
    aim: Aim | None
    separations: Mapping[str, Separation]
    missed: tuple[str, ...]
    dev: Judgement
    left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "calibration": self.calibration.as_dict(),
            "aim": {self.aim.kind: self.aim.level} if self.aim else None,
            "missed": list(self.missed),
            "confidences_on_dev": {kind: asdict(one) for kind, one in self.separations.items()},
            "dev": self.dev.as_dict(),
            "left_out": self.left_out,
        }


def calibrate(
    module: Module,
    dev: Any,
    *,
    aim: Mapping[str, float] | None = None,
    confidence: str = "auto",
    per_label: bool = False,
    train: Any = None,
    out_of_scope: Any = None,
) -> CalibrationReport:
    """Give a fine-tuned module of seq-cls or text-matching a calibration chosen on labelled examples that it was not trained on.

    Of ``train.method: prototype`` the examples that the module was made of help to choose temperature and thresholds: each one gets the
    answer that it would get had the module never seen it.

    Args:
        dev: as ``Trainer.train`` takes it.
        aim: one of ``{"precision": p}``, ``{"coverage": c}``, ``{"rejection": r}`` (see :class:`~nlphub.evaluation.rejection.Aim`);
            ``None`` accepts all answers.
        confidence: ``probability``, ``energy``, ``neighbours``, or ``auto``: the one that is best on ``dev``.
        per_label: labels with 20 answers or more get thresholds of their own.
        train: the training examples, which ``neighbours`` compares with; without them it is left out.
        out_of_scope: texts that belong to no label: strings, or :class:`~nlphub.Examples`.

    Raises:
        InputError: the module has no trained head of these tasks, or the wishes contradict one another.
        DataError: ``dev`` is not fit to judge this module.
    """
    wanted, held = make_aim(aim), hold(module, dev, out_of_scope)
    trained = _compared_with(module, Examples.of(train)) if train is not None else None
    left = _left_out(module)
    found = fit_calibration(held, module.labels, trained=trained, left_out=left, aim=wanted, confidence=confidence, per_label=per_label)
    _warn_missed(found, wanted)
    module.calibration = found.calibration
    judged = judge_calibration(held, module.labels, found.calibration)
    return CalibrationReport(
        found.calibration, wanted, found.separations, found.missed, judged, len(left.targets) if left is not None else 0
    )


def hold(module: Module, examples: Any, out_of_scope: Any = None) -> Held:
    """The module's logits of labelled examples, and of out-of-scope texts. Raises as :func:`calibrate`."""
    if module.task not in ONE_LABEL or not module.trained:
        state = f"a trained {module.task}" if module.trained else "untrained"
        names = " or ".join(ONE_LABEL)
        raise InputError(f"Only a fine-tuned {names} module can be calibrated, and this one is {state}. Train it with hub.Trainer first.")
    task, judged = trainable(module.task), Examples.of(examples)
    task.check_judged(judged, module.labels)
    number = {label: index for index, label in enumerate(module.labels)}
    targets = np.array([number[str(label)] for label in judged.labels], np.int64)
    logits = module.logits(task.questions(judged))
    if out_of_scope is None:
        return Held(logits, targets)
    outside = task.questions(out_of_scope) if isinstance(out_of_scope, Examples) else out_of_scope
    return Held(logits, targets, module.logits(outside))


def _compared_with(module: Module, train: Examples) -> NDArray[np.float32]:
    """Logits of the training examples that the confidence ``neighbours`` keeps: no others need an answer."""
    return module.logits(trainable(module.task).questions(train.take(reference_rows(len(train)).tolist())))


def _left_out(module: Module) -> Held | None:
    """What a module with prototypes would say of its own examples, had it not seen them."""
    found = left_out(module.encoder, module.head)
    return Held(*found) if found is not None else None


def make_aim(aim: Mapping[str, float] | None) -> Aim | None:
    """An aim from ``{"precision": 0.95}``.

    Raises:
        InputError: it is not one of the aims, or more than one.
    """
    if aim is None:
        return None
    if len(aim) != 1:
        raise InputError(f"aim={dict(aim)!r}: give one of {', '.join(AIMS)}, e.g. {{'precision': 0.95}}")
    ((kind, level),) = aim.items()
    return Aim(kind, level)


def _warn_missed(found: Fitted, aim: Aim | None) -> None:
    if found.missed:
        log.warning(
            "%s cannot be promised on this dev set for %s: the threshold that comes nearest is taken. More dev examples, or a lower aim, "
            "would help.",
            aim,
            ", ".join(found.missed),
        )
