"""Telling answers that can be believed from those that cannot: curves, scores, and thresholds for a stated aim.

Notation: ``b`` examples. Confidences are ``(b,)``, higher is surer; an answer is accepted when its confidence reaches the threshold.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]

AIMS = ("precision", "coverage", "rejection")


@dataclass(frozen=True, slots=True)
class Aim:
    """What a threshold is for.

    Attributes:
        kind: ``precision``: at least this share of the accepted answers is right; ``coverage``: at least this share of the texts gets an
            accepted answer; ``rejection``: at least this share of out-of-scope texts is rejected.
        level: the share, between 0 and 1.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        if self.kind not in AIMS or not 0 < self.level < 1:
            raise InputError(f"an aim is {', '.join(AIMS)} with a share between 0 and 1, not {self.kind}={self.level!r}")

    def __str__(self) -> str:
        return f"{self.kind} >= {self.level:g}"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A chosen threshold.

    Attributes:
        value: confidences from here on are accepted; ``None`` = all are.
        reached: whether the aim was reached on the examples that it was chosen on.
    """

    value: float | None
    reached: bool


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """Shares of wrong answers among the accepted ones, for every threshold (El-Yaniv and Wiener, 2010).

    Attributes:
        coverage: ``(k,)`` shares of accepted answers, rising, one for each distinct confidence.
        risk: ``(k,)`` shares of wrong ones among those.
        area: mean risk over all coverages (AURC; Geifman et al., 2019): smaller is better.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float


def risk_coverage(confidence: Floats, right: Flags) -> RiskCoverage:
    """The curve of answers with these confidences, some of them right."""
    _, ends, order = _groups(confidence)
    wrong = np.cumsum(~right[order])[ends - 1]
    risk = wrong / ends
    return RiskCoverage(ends / len(confidence), risk, float((risk * np.diff(ends, prepend=0)).sum() / len(confidence)))


def auroc(inside: Floats, outside: Floats) -> float:
    """Share of pairs in which the inside one has the higher confidence, ties counting half (the area under the ROC curve)."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left").astype(np.float64)
    not_above = np.searchsorted(ordered, inside, side="right")
    return float((below + not_above).mean() / 2 / len(outside))


def false_positive_rate(inside: Floats, outside: Floats, *, recall: float = 0.95) -> float:
    """Share of the outside ones that pass the highest threshold which at least ``recall`` of the inside ones pass (FPR@95)."""
    ordered = np.sort(inside)[::-1]
    return float((outside >= ordered[math.ceil(recall * len(inside)) - 1]).mean())


def choose_threshold(confidence: Floats, right: Flags, aim: Aim, *, outside: Floats | None = None) -> Threshold:
    """The threshold that accepts the most answers and keeps to the aim.

    Aims are meant for unseen texts, so counts are judged as if one more example had gone wrong, as in conformal risk control
    (Angelopoulos et al., 2022, arXiv:2208.02814): (wrong + 1) / (accepted + 1). If no threshold reaches a precision, the one that comes
    nearest is taken and ``reached`` is False.

    Args:
        confidence: of answers to texts that belong to some label.
        right: which of them are right.
        outside: confidences of answers to out-of-scope texts, for the aim ``rejection``.

    Raises:
        InputError: no examples, or the aim ``rejection`` without out-of-scope texts.
    """
    if not len(confidence):
        raise InputError("A threshold cannot be chosen without examples")
    if aim.kind == "rejection":
        if outside is None or not len(outside):
            raise InputError("The aim 'rejection' needs out-of-scope texts")
        return _for_rejection(outside, aim.level)
    values, ends, order = _groups(confidence)
    if aim.kind == "coverage":
        spared = math.floor((len(confidence) + 1) * (1 - aim.level) + 1e-9)  # that may be rejected
        return Threshold(_between(values, int(np.searchsorted(ends, len(confidence) - spared))), True)
    risk = (np.cumsum(~right[order])[ends - 1] + 1) / (ends + 1)
    kept = np.flatnonzero(risk <= 1 - aim.level + 1e-12)
    place = int(kept[-1]) if len(kept) else int(risk.argmin())
    return Threshold(_between(values, place), bool(len(kept)))


def _for_rejection(outside: Floats, level: float) -> Threshold:
    values, ends, _ = _groups(outside)
    allowed = math.floor((len(outside) + 1) * (1 - level) + 1e-9)
    place = int(np.searchsorted(ends, allowed, side="right")) - 1
    return Threshold(_between(values, place), allowed > 0)


def _groups(confidence: Floats) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct confidences from the highest, how many examples reach each, and all examples in that order."""
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(ordered)) + 1, len(ordered))
    return ordered[ends - 1], ends, order


def _between(values: NDArray[np.float64], place: int) -> float | None:
    """A threshold half-way between two neighbours, so that small numerical differences between two routes do not matter.

    Args:
        values: distinct confidences, falling.
        place: of the last one that is accepted; -1 accepts none of them.
    """
    if place == len(values) - 1:
        return None
    if place < 0:
        return float(np.nextafter(values[0], np.inf))
    return float((values[place] + values[place + 1]) / 2)
