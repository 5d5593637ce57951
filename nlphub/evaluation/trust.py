"""Choosing a calibration on held-out examples, and saying what it is worth on others.

Notation: ``b`` examples, ``n`` labels, ``o`` out-of-scope texts; logits ``(b, n)`` float32, targets ``(b,)`` label numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import ACCEPT_ALL, CONFIDENCES, Calibration, confidences, references_of, softmax
from nlphub.errors import InputError
from nlphub.evaluation.calibration import Interval, bootstrap, calibration_error, fit_temperature, log_loss
from nlphub.evaluation.rejection import Aim, RiskCoverage, auroc, choose_threshold, false_positive_rate, risk_coverage

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_LEAST = 20  # answers of a label below which it has no threshold of its own
_WORTH = 0.01  # by which another confidence has to beat the probability, which everybody understands, and not by chance
_POINTS = 200  # of a curve, at most


@dataclass(frozen=True, slots=True)
class Separation:
    """How well a confidence tells what should be accepted from what should not, 0 to 1.

    Attributes:
        auroc: of texts that belong to a label against out-of-scope ones, or, where there are none, of right against wrong answers.
        fpr95: of those same two: share of the second that pass where 95 % of the first do.
        aurc: area under the risk-coverage curve of the answers to texts that belong to a label.
    """

    auroc: float | None
    fpr95: float | None
    aurc: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A chosen calibration.

    Attributes:
        calibration: with temperature, confidence and thresholds.
        separations: confidence -> what it is worth on the examples that all of this was chosen on.
        missed: what the aim was not reached for: ``"all labels"`` for the common threshold, or labels.
    """

    calibration: Calibration
    separations: Mapping[str, Separation]
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a calibration is worth on labelled examples, 0 to 1.

    Attributes:
        examples: how many there are.
        accuracy: share of right answers, had all been accepted.
        coverage: share of accepted answers.
        precision: share of right ones among those; ``None`` if none was accepted.
        error, error_before: expected calibration error with the temperature, and without it.
        loss, loss_before: log loss in nats, the same way.
        out_of_scope: how many of those texts there are.
        rejected: share of them that is rejected; ``None`` without any.
        curve: risk and coverage for every threshold.
    """

    examples: int
    accuracy: float
    coverage: float
    precision: float | None
    error: Interval
    error_before: Interval
    loss: float
    loss_before: float
    out_of_scope: int
    rejected: float | None
    curve: RiskCoverage

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the curve thinned to 200 points."""
        every = -(-len(self.curve.risk) // _POINTS)
        return {
            "examples": self.examples,
            "accuracy": self.accuracy,
            "coverage": self.coverage,
            "precision": self.precision,
            "calibration_error": self.error.as_dict(),
            "calibration_error_before": self.error_before.as_dict(),
            "log_loss": self.loss,
            "log_loss_before": self.loss_before,
            "out_of_scope": self.out_of_scope,
            "rejected": self.rejected,
            "risk_coverage": {
                "aurc": self.curve.area,
                "coverage": self.curve.coverage[::-every][::-1].tolist(),
                "risk": self.curve.risk[::-every][::-1].tolist(),
            },
        }


@dataclass(frozen=True, slots=True)
class Held:
    """Logits of texts that a calibration is chosen or judged on.

    Attributes:
        logits: ``(b, n)``.
        targets: ``(b,)``.
        outside: ``(o, n)`` logits of out-of-scope texts.
    """

    logits: Floats
    targets: Ints
    outside: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def joined(self, other: "Held | None") -> "Held":
        """With the examples of another one; the out-of-scope texts stay."""
        if other is None:
            return self
        return Held(np.concatenate([self.logits, other.logits]), np.concatenate([self.targets, other.targets]), self.outside)

    @property
    def right(self) -> NDArray[np.bool_]:
        """``(b,)`` whether the most probable label is the target."""
        return np.asarray(self.logits.argmax(axis=1) == self.targets)


def fit_calibration(
    held: Held,
    labels: Sequence[str],
    *,
    trained: Floats | None = None,
    left_out: Held | None = None,
    aim: Aim | None = None,
    confidence: str = "auto",
    per_label: bool = False,
) -> Fitted:
    """Fit the temperature, choose the confidence, and choose thresholds for an aim.

    Args:
        held: examples that the weights were not trained on.
        labels: in the order of the logits.
        trained: ``(r, n)`` logits of training examples, for the confidence ``neighbours``, which is left out without them.
        left_out: training examples, each answered as if it had never been seen: they count for temperature and thresholds as ``held``
            does, but not for thresholds of ``neighbours``, which compares with these very examples.
        aim: what thresholds are for; ``None`` accepts all answers.
        confidence: one of :data:`~nlphub.calibration.CONFIDENCES`; or ``auto``, the one with the highest ``auroc``, but the probability
            unless another is better by 0.01, and better at all in 97.5 % of bootstrap draws.
        per_label: labels with 20 answers or more get thresholds of their own.

    Raises:
        InputError: no examples, an unknown confidence, ``neighbours`` without ``trained``, or the aim ``rejection`` without out-of-scope
            texts.
    """
    joined = held.joined(left_out)
    temperature = fit_temperature(joined.logits, joined.targets)
    calibrations = {kind: _with(kind, temperature, trained) for kind in _kinds(confidence, trained)}
    separations = {kind: separation(held, made) for kind, made in calibrations.items()}
    chosen = calibrations[_best(held, calibrations, separations)]
    if aim is None:
        return Fitted(replace(chosen, threshold=ACCEPT_ALL[chosen.confidence]), separations)
    held = held if chosen.confidence == "neighbours" else joined
    values, answers = confidences(held.logits, chosen), held.logits.argmax(axis=1)
    outside = confidences(held.outside, chosen) if len(held.outside) else None
    places = {"all labels": np.ones(len(values), np.bool_)}
    if per_label:
        places |= {label: answers == number for number, label in enumerate(labels) if (answers == number).sum() >= _LEAST}
    found = {name: choose_threshold(values[rows], held.right[rows], aim, outside=outside) for name, rows in places.items()}
    thresholds = {name: _within(one.value, chosen.confidence) for name, one in found.items()}
    missed = tuple(name for name, one in found.items() if not one.reached)
    common = thresholds.pop("all labels")
    return Fitted(replace(chosen, threshold=common, thresholds=thresholds), separations, missed)


def separation(held: Held, calibration: Calibration) -> Separation:
    """What a confidence is worth, whatever the threshold."""
    values, wanted = _asked(held, calibration), _wanted(held)
    both = wanted.any() and not wanted.all()
    return Separation(
        auroc(values[wanted], values[~wanted]) if both else None,
        false_positive_rate(values[wanted], values[~wanted]) if both else None,
        risk_coverage(values[: len(held.targets)], held.right).area,
    )


def judge_calibration(held: Held, labels: Sequence[str], calibration: Calibration) -> Judgement:
    """What a calibration is worth on examples that it was not chosen on."""
    right, accepted = held.right, calibration.accepts(held.logits, labels)
    return Judgement(
        examples=len(right),
        accuracy=float(right.mean()),
        coverage=float(accepted.mean()),
        precision=float(right[accepted].mean()) if accepted.any() else None,
        error=_error(held, calibration.temperature),
        error_before=_error(held, 1.0),
        loss=log_loss(held.logits, held.targets, temperature=calibration.temperature),
        loss_before=log_loss(held.logits, held.targets),
        out_of_scope=len(held.outside),
        rejected=float(1 - calibration.accepts(held.outside, labels).mean()) if len(held.outside) else None,
        curve=risk_coverage(confidences(held.logits, calibration), right),
    )


def _kinds(confidence: str, trained: Floats | None) -> list[str]:
    if confidence == "auto":
        return [kind for kind in CONFIDENCES if kind != "neighbours" or trained is not None]
    if confidence not in CONFIDENCES:
        raise InputError(f"confidence={confidence!r} is none of auto, {', '.join(CONFIDENCES)}")
    if confidence == "neighbours" and trained is None:
        raise InputError("confidence='neighbours' needs the training examples to compare with")
    return [confidence]


def _with(kind: str, temperature: float, trained: Floats | None) -> Calibration:
    if kind == "neighbours" and trained is not None:
        return Calibration(temperature, kind, references=references_of(trained))
    return Calibration(temperature, kind)


def _wanted(held: Held) -> NDArray[np.bool_]:
    """``(b + o,)`` what should be accepted: texts of a label, not out-of-scope ones; where there are none of those, right answers."""
    if len(held.outside):
        return np.arange(len(held.targets) + len(held.outside)) < len(held.targets)
    return held.right


def _asked(held: Held, calibration: Calibration) -> NDArray[np.float64]:
    """``(b + o,)`` confidences of the examples and the out-of-scope texts."""
    parts = (held.logits, held.outside) if len(held.outside) else (held.logits,)
    return np.concatenate([confidences(part, calibration) for part in parts])


def _best(held: Held, calibrations: Mapping[str, Calibration], separations: Mapping[str, Separation]) -> str:
    """The confidence to keep: the first is the probability, if it is among them."""
    first, *others = separations
    score = {kind: one.auroc or 0.0 for kind, one in separations.items()}
    best = max(others, key=score.__getitem__, default=first)
    if score[best] <= score[first] + _WORTH:
        return first
    return best if _gain(held, calibrations[first], calibrations[best]).low > 0 else first


def _gain(held: Held, one: Calibration, other: Calibration) -> Interval:
    """How much more AUROC the other one has, on the same texts."""
    values, wanted = (_asked(held, one), _asked(held, other)), _wanted(held)

    def gain(rows: Ints) -> float:
        where = wanted[rows]
        if where.all() or not where.any():
            return 0.0
        before, after = (auroc(kind[rows][where], kind[rows][~where]) for kind in values)
        return after - before

    return bootstrap(gain, len(wanted))


def _within(value: float | None, kind: str) -> float:
    """A threshold as a calibration states it: no probability is above 1."""
    if value is None:
        return ACCEPT_ALL[kind]
    return min(value, 1.0) if kind == "probability" else value


def _error(held: Held, temperature: float) -> Interval:
    probability, right = softmax(held.logits, temperature=temperature).max(axis=1), held.right
    return bootstrap(lambda rows: calibration_error(probability[rows], right[rows]), len(right))
