"""The mean of a few scores, of folds or seeds, and how far it can be believed."""

from collections.abc import Sequence

import numpy as np

from nlphub.errors import InputError
from nlphub.evaluation.calibration import Interval

# 0.975 quantiles of Student's t for 1 to 30 degrees of freedom; beyond these the last one, which is a little too wide.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of scores, 0 to 1, with its 95 % interval by Student's t, cut off at 0 and 1; that of a single score is the score.

    Folds share training examples, so that theirs is a little too narrow (Bengio and Grandvalet, 2004).

    Raises:
        InputError: there are no scores.
    """
    if not len(values):
        raise InputError("There is no mean of no scores")
    mean, more = float(np.mean(values)), len(values) - 1
    if not more:
        return Interval(mean, mean, mean)
    half = _T[min(more, len(_T)) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))
