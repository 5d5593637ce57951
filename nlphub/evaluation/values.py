"""Scores of estimated numbers: Pearson's and Spearman's correlation as scipy gives them, and errors in the numbers' own unit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.aligned import aligned
from nlphub.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValueMetrics:
    """Scores of estimated numbers.

    Attributes:
        pearson: correlation of the numbers, -1 to 1; 0 where all of either side are equal.
        spearman: correlation of their ranks, of which equal numbers share the mean.
        rmse: root of the mean squared error, in the unit of the data; 0 is best.
        mae: mean absolute error, in the unit of the data.
        support: texts.
    """

    pearson: float
    spearman: float
    rmse: float
    mae: float
    support: int

    @property
    def headlines(self) -> Mapping[str, float]:
        """``spearman`` and ``pearson``: of these more is better."""
        return {"spearman": self.spearman, "pearson": self.pearson}

    def score(self, name: str) -> float:
        """One of the :attr:`headlines`."""
        return self.headlines[name]

    def as_dict(self) -> dict[str, Any]:
        """All scores as plain values, ready for JSON."""
        return asdict(self)

    def table(self) -> str:
        """A text table for a terminal."""
        rows = [(name, f"{getattr(self, name):.4f}") for name in ("spearman", "pearson", "rmse", "mae")]
        return aligned(("score", "value"), [*rows, ("texts", self.support)], numbers=True)


def value_report(truth: Sequence[float], estimated: Sequence[float]) -> ValueMetrics:
    """Compare estimated numbers with the true ones.

    Raises:
        InputError: no numbers, or not equally many.
    """
    if not len(truth) or len(truth) != len(estimated):
        raise InputError(f"{len(estimated)} estimated values cannot be scored against {len(truth)} true ones")
    a, b = np.asarray(truth, np.float64), np.asarray(estimated, np.float64)
    return ValueMetrics(
        pearson=pearson(a, b),
        spearman=pearson(ranks(a), ranks(b)),
        rmse=float(np.sqrt(np.mean((a - b) ** 2))),
        mae=float(np.mean(np.abs(a - b))),
        support=len(a),
    )


def pearson(a: Floats, b: Floats) -> float:
    """Correlation of two rows of numbers, -1 to 1; 0 where all of either are equal."""
    if (a == a[0]).all() or (b == b[0]).all():  # by value: the mean of equal numbers may differ from them by a rounding
        return 0.0
    x, y = _direction(a), _direction(b)
    return float(np.clip(x @ y, -1.0, 1.0))


def ranks(values: Floats) -> Floats:
    """The place of each number in ascending order, from 1; equal numbers share the mean of their places."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray(((last - counts + 1 + last) / 2)[group], np.float64)


def _direction(values: Floats) -> Floats:
    centred = values - values.mean()
    centred = centred / np.abs(centred).max()  # squares of very small or large numbers would vanish or overflow
    return np.asarray(centred / np.linalg.norm(centred))
