"""Targets of training examples: arrays of any dtype and shape whose rows stand for texts or for tokens.

Which of the two an array's length tells: a text has two tokens at least, [CLS] and [SEP]. Rows without a target hold :data:`IGNORED` in
arrays of whole numbers, and NaN in others.

Notation: ``b`` texts, ``t`` tokens of all of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import token_rows
from nlphub.errors import InputError
from nlphub.tasks.base import IGNORED, Flags, Targets
from nlphub.text.encoding import Encoded, Ints


def targets_of(targets: Targets, encoded: Encoded, examples: Ints) -> Targets:
    """The targets of some examples, in their order.

    Args:
        targets: of all examples, ``(b, ...)`` or ``(t, ...)``, or a tuple of such arrays.
        encoded: all examples.
        examples: numbers of those that are wanted.

    Raises:
        ValueError: an array has rows neither for texts nor for tokens.
    """
    if isinstance(targets, tuple):
        return tuple(_rows_of(one, encoded, examples) for one in targets)
    return _rows_of(targets, encoded, examples)


def count_judged(targets: Targets) -> int:
    """How many rows have a target; of several arrays the first one counts."""
    return int(judged(targets[0] if isinstance(targets, tuple) else targets).sum())


def judged(targets: NDArray[Any]) -> Flags:
    """``(rows,)`` which rows of one array have a target."""
    there = targets != IGNORED if np.issubdtype(targets.dtype, np.integer) else ~np.isnan(targets)
    return there if there.ndim == 1 else np.asarray(there.any(axis=tuple(range(1, there.ndim))))


def classes_of(targets: Targets) -> Ints:
    """The same as numbers of classes, one for each row.

    Raises:
        InputError: they are something else.
    """
    if isinstance(targets, tuple) or targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
        raise InputError("These training options are of tasks in which each text or each token has one class")
    return targets


def _rows_of(targets: NDArray[Any], encoded: Encoded, examples: Ints) -> NDArray[Any]:
    if len(targets) == len(encoded):
        return targets[examples]
    if len(targets) != len(encoded.ids):
        raise ValueError(f"targets have {len(targets)} rows, for {len(encoded)} texts of {len(encoded.ids)} tokens")
    return targets[token_rows(encoded, examples)]
