"""How far probabilities can be believed, and the temperature that makes them believable.

Notation: ``b`` examples, ``n`` labels; targets are label numbers ``(b,)``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import softmax
from nlphub.errors import InputError

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_HALVINGS = 60
_HOTTEST = 20.0  # temperatures lie between 1/20 and 20
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval from bootstrap resamples (Efron, 1979)."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain values, ready for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def fit_temperature(logits: Floats, targets: Ints) -> float:
    """The temperature between 1/20 and 20 that gives the targets the highest likelihood (Guo et al., 2017, arXiv:1706.04599).

    One of ``b + 1`` examples counts as of a random label, as in Platt (1999): few examples, all right, do not make for certainty.

    Raises:
        InputError: there are no examples.
    """
    if not len(logits):
        raise InputError("A temperature cannot be fitted without examples")
    exact, share = logits.astype(np.float64), 1.0 / (len(logits) + 1)
    wanted = (1 - share) * exact[np.arange(len(exact)), targets].mean() + share * exact.mean()
    low, high = -np.log(_HOTTEST), np.log(_HOTTEST)  # of 1 / temperature, in which the likelihood is concave: its slope falls
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = (softmax(exact, temperature=float(np.exp(-middle))) * exact).sum(axis=1).mean()
        low, high = (middle, high) if expected < wanted else (low, middle)
    return float(np.exp(-(low + high) / 2))


def log_loss(logits: Floats, targets: Ints, *, temperature: float = 1.0) -> float:
    """Mean negative logarithm of the targets' probabilities, in nats."""
    chosen = softmax(logits, temperature=temperature)[np.arange(len(logits)), targets]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def calibration_error(probability: Floats, right: NDArray[np.bool_], *, bins: int = 15) -> float:
    """Expected calibration error, 0 to 1: mean distance of the best label's probability ``(b,)`` and the share of right answers, over
    equally wide bins weighted by their examples (Naeini et al., 2015; 15 bins as in Guo et al., 2017).
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    sure = np.bincount(place, weights=probability, minlength=bins)
    good = np.bincount(place, weights=right.astype(np.float64), minlength=bins)
    return float(np.abs(sure - good).sum() / len(probability))


def bootstrap(score: Callable[[Ints], float], size: int, *, seed: int = 0) -> Interval:
    """The 95 % interval of ``score(rows)`` over 1,000 draws of ``size`` rows with replacement, and its value on all rows."""
    generator = np.random.default_rng(seed)
    drawn = [score(generator.integers(0, size, size)) for _ in range(_RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(score(np.arange(size)), float(low), float(high))
