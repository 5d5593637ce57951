"""Targets of training examples: arrays of any dtype and shape whose rows stand for texts or for tokens.

Which of the two an array's length tells: a text has two tokens at least, [CLS] and [SEP]. Rows without a target hold :data:`IGNORED` in
arrays of whole numbers, and NaN in others.

Those of a whole training are held in as few bytes as their numbers need (:func:`joined`); a batch of them is int64 again, as losses want.

Notation: ``b`` texts, ``t`` tokens of all of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import token_rows
from nlphub.errors import InputError
from nlphub.tasks.base import IGNORED, Flags, Targets
from nlphub.text.encoding import Ints, Sequences


def targets_of(targets: Targets, encoded: Sequences, examples: Ints) -> Targets:
    """The targets of some examples, in their order; whole numbers as int64.

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


def joined(pieces: Sequence[Targets]) -> Targets:
    """The targets of neighbouring pieces of the examples as those of all, in the narrowest type for whole numbers.

    Args:
        pieces: one or more; of several arrays each. Rows may be of different widths: the shorter ones end in :data:`IGNORED`.
    """
    if isinstance(pieces[0], tuple):
        return tuple(_joined(arrays) for arrays in zip(*pieces, strict=True))
    return _joined(pieces)


def narrow(targets: Targets) -> Targets:
    """The same in the narrowest signed type for whole numbers; others as they are."""
    return tuple(map(_narrow, targets)) if isinstance(targets, tuple) else _narrow(targets)


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


def _rows_of(targets: NDArray[Any], encoded: Sequences, examples: Ints) -> NDArray[Any]:
    if len(targets) not in (len(encoded), len(encoded.ids)):
        raise ValueError(f"targets have {len(targets)} rows, for {len(encoded)} texts of {len(encoded.ids)} tokens")
    found = targets[examples if len(targets) == len(encoded) else token_rows(encoded, examples)]
    return found.astype(np.int64, copy=False) if np.issubdtype(found.dtype, np.integer) else found


def _joined(pieces: Sequence[Any]) -> NDArray[Any]:
    if pieces[0].ndim == 2 and np.issubdtype(pieces[0].dtype, np.integer):
        width = max(piece.shape[1] for piece in pieces)
        pieces = [np.pad(piece, ((0, 0), (0, width - piece.shape[1])), constant_values=IGNORED) for piece in pieces]
    return np.concatenate(pieces)


def _narrow(targets: NDArray[Any]) -> NDArray[Any]:
    if not np.issubdtype(targets.dtype, np.integer) or not targets.size:
        return targets
    least, most = min(int(targets.min()), IGNORED), max(int(targets.max()), 0)
    return targets.astype(np.result_type(np.min_scalar_type(least), np.min_scalar_type(-most - 1)))
