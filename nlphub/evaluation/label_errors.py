"""Which labels are probably wrong: confident learning on probabilities of modules that never saw the example.

Northcutt, Jiang, Chuang (2021): Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70, arXiv:1911.00068. The details that
the paper leaves open (tolerances, rounding, one example of each label kept) are those of cleanlab 2.9, which is the oracle of the tests.

Notation: ``b`` examples, ``n`` labels; probabilities ``(b, n)``, each row from a module that was trained without that example; targets
``(b,)``, the numbers of the given labels. Counts ``(n, n)``: row = given label, column = what the label seems to be in truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError, brief

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Flags = NDArray[np.bool_]

RULES = {
    "noise_rate": "as many of each pair of labels as the joint estimates, those with the largest margin",
    "class": "as many of each label as the joint estimates, those with the smallest probability of it",
    "both": "what noise_rate and class agree on",
    "joint": "all that are confidently counted under another label",
}
RANKINGS = {
    "self_confidence": "probability of the given label",
    "normalised_margin": "that, minus the largest other one, brought to 0..1",
}

_NEAR = 1e-6  # probabilities closer than this count as equal
_SUM = 1e-3  # by which the probabilities of a row may miss 1: float16 and rounded tables pass, logits do not


@dataclass(frozen=True, slots=True, eq=False)
class ConfidentJoint:
    """How given and true labels seem to occur together.

    Attributes:
        thresholds: ``(n,)`` float64, the mean probability of a label among its own examples; infinite for a label without examples.
        counts: ``(n, n)`` int64, examples whose probability of some label reaches its threshold; the diagonal is at least 1.
        calibrated: ``(n, n)`` int64, the same, brought to the number of examples of each given label: rows sum to it.
        elsewhere: ``(b,)`` whether an example is counted off the diagonal.
    """

    thresholds: NDArray[np.float64]
    counts: NDArray[np.int64]
    calibrated: NDArray[np.int64]
    elsewhere: Flags


def confident_joint(probabilities: Floats, targets: Ints) -> ConfidentJoint:
    """Count the examples that are confidently of some label.

    An example is confidently of the labels whose thresholds its probabilities reach; of several the most probable one counts, and an
    example that reaches none is not counted.

    Raises:
        InputError: see :func:`find_label_errors`.
    """
    values, given = _checked(probabilities, targets)
    return _joint(values, given)


def find_label_errors(
    probabilities: Floats, targets: Ints, *, by: str = "noise_rate", ranked_by: str = "self_confidence"
) -> NDArray[np.int64]:
    """The numbers of the examples whose labels are probably wrong, the most suspicious first; of equal ones the earlier first.

    Never suspected are examples whose given label is the most probable one, and the only example of a label.

    Args:
        by: one of :data:`RULES`.
        ranked_by: one of :data:`RANKINGS`.

    Raises:
        InputError: no such rule or ranking, no examples, fewer than two labels in use, shapes that do not fit, targets that are no
            numbers of labels, or rows that are no probabilities; all at once.
    """
    problems = [f"by={by!r} is none of {', '.join(RULES)}"] * (by not in RULES)
    problems += [f"ranked_by={ranked_by!r} is none of {', '.join(RANKINGS)}"] * (ranked_by not in RANKINGS)
    values, given = _checked(probabilities, targets, problems)
    joint = _joint(values, given)
    wrong = _suspected(values, given, joint, by) & ~_is_most_probable(values, given)
    found = np.flatnonzero(wrong)
    scores = _score(values[found], given[found], ranked_by)
    return found[np.argsort(scores, kind="stable")].astype(np.int64)


def label_scores(probabilities: Floats, targets: Ints, *, ranked_by: str = "self_confidence") -> NDArray[np.float64]:
    """``(b,)`` how believable each given label is, 0 to 1, lower is more suspicious. Raises as :func:`find_label_errors`.

    Args:
        ranked_by: one of :data:`RANKINGS`.
    """
    problems = [f"ranked_by={ranked_by!r} is none of {', '.join(RANKINGS)}"] * (ranked_by not in RANKINGS)
    values, given = _checked(probabilities, targets, problems)
    return _score(values, given, ranked_by)


def _joint(values: NDArray[np.float64], given: NDArray[np.int64]) -> ConfidentJoint:
    labels, rows = values.shape[1], np.arange(len(values))
    sizes = np.bincount(given, minlength=labels)
    sums = np.bincount(given, weights=values[rows, given], minlength=labels)
    thresholds = np.where(sizes > 0, np.maximum(sums / np.maximum(sizes, 1), 2 * _NEAR), np.inf)
    confident = values >= thresholds - _NEAR
    known = confident.any(axis=1)
    place = np.where(confident.sum(axis=1) > 1, values.argmax(axis=1), confident.argmax(axis=1))
    counts = np.bincount(given[known] * labels + place[known], minlength=labels**2).reshape(labels, labels)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    return ConfidentJoint(thresholds, counts.astype(np.int64), _calibrated(counts, sizes), known & (place != given))


def _calibrated(counts: Ints, sizes: Ints) -> NDArray[np.int64]:
    shares = counts / counts.sum(axis=1, keepdims=True) * sizes[:, None]
    return _rounded(shares / shares.sum() * sizes.sum())


def _rounded(counts: Floats) -> NDArray[np.int64]:
    """Whole numbers whose rows keep their sums: where rounding misses one, those that it wronged most give way."""
    whole = counts.round()
    for exact, row in zip(counts, whole, strict=True):
        while missing := int(np.round(np.sum(exact).round() - row.sum())):
            order = np.argsort(exact - row, kind="stable")
            chosen = order[::-1][:missing] if missing > 0 else order[:-missing]
            row[chosen] += np.sign(missing)
    return whole.astype(np.int64)


def _suspected(values: NDArray[np.float64], given: NDArray[np.int64], joint: ConfidentJoint, by: str) -> Flags:
    if by == "joint":
        return joint.elsewhere
    spared = _keep_one(joint.calibrated)
    marks = []
    if by in ("noise_rate", "both"):
        marks.append(_by_noise_rate(values, given, spared))
    if by in ("class", "both"):
        marks.append(_by_class(values, given, spared))
    return np.asarray(np.logical_and.reduce(marks))


def _keep_one(calibrated: Ints) -> NDArray[np.int64]:
    """The joint with a diagonal of at least 1, which the other counts of a given label pay for in equal parts.

    Transposed, since its rounding keeps the sums of the true labels: row = true label, column = given label.
    """
    counts = calibrated.T.astype(np.float64)
    kept = np.maximum(counts.diagonal(), 1)
    others = np.maximum(np.count_nonzero(counts, axis=0) - 1.0, 1.0)
    reduced = np.maximum(counts - (kept - counts.diagonal()) / others, 0)
    np.fill_diagonal(reduced, kept)
    return _rounded(reduced)


def _by_noise_rate(values: NDArray[np.float64], given: NDArray[np.int64], spared: Ints) -> Flags:
    """Of each given label and each other one as many as the joint says, by the largest margin of the other over the given one."""
    marked = np.zeros(len(values), np.bool_)
    for label, rows in _labels_with_two(given):
        for other in np.flatnonzero(spared[:, label]).tolist():
            if other != label:
                margin = values[rows, other] - values[rows, label]
                marked[rows[np.argsort(-margin, kind="stable")[: spared[other, label]]]] = True
    return marked


def _by_class(values: NDArray[np.float64], given: NDArray[np.int64], spared: Ints) -> Flags:
    """Of each given label as many as the joint says in all, by its smallest probability."""
    marked = np.zeros(len(values), np.bool_)
    for label, rows in _labels_with_two(given):
        wrong = max(0, len(rows) - int(spared[label, label]))
        marked[rows[np.argsort(values[rows, label], kind="stable")[:wrong]]] = True
    return marked


def _labels_with_two(given: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Labels with two examples or more, and the numbers of these."""
    for label in np.unique(given).tolist():
        rows = np.flatnonzero(given == label)
        if len(rows) > 1:
            yield label, rows


def _is_most_probable(values: NDArray[np.float64], given: NDArray[np.int64]) -> Flags:
    """Whether the given label is the most probable one, or as good as it."""
    favoured = values.copy()
    favoured[np.arange(len(values)), given] += _NEAR
    return np.asarray(favoured.argmax(axis=1) == given)


def _score(values: NDArray[np.float64], given: NDArray[np.int64], ranked_by: str) -> NDArray[np.float64]:
    rows = np.arange(len(values))
    own = values[rows, given]
    if ranked_by == "self_confidence":
        return own
    others = values.copy()
    others[rows, given] = -np.inf
    return np.asarray((own - others.max(axis=1) + 1) / 2)


def _checked(probabilities: Floats, targets: Ints, problems: list[str] | None = None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Both as float64 and int64. Raises InputError for what cannot be judged."""
    values, given = np.asarray(probabilities), np.asarray(targets)
    found = [*(problems or ()), *_problems(values, given)]
    if found:
        raise InputError("Wrong labels cannot be looked for in this.", found)
    return values.astype(np.float64), given.astype(np.int64)


def _problems(values: NDArray[np.generic], given: NDArray[np.generic]) -> Iterator[str]:
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating) or values.shape[1] < 2:
        yield f"probabilities are (examples, labels) of two labels or more, as floats, not {values.shape} {values.dtype}"
        return
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer) or len(given) != len(values):
        yield f"targets are one number for each of the {len(values)} rows of probabilities, not {given.shape} {given.dtype}"
        return
    if not len(given):
        yield "there are no examples"
        return
    if len(outside := np.flatnonzero((given < 0) | (given >= values.shape[1]))):  # type: ignore[operator]  # integers, as checked above
        yield f"target {outside[0]} is {given[outside[0]]}, and the labels are numbered 0 to {values.shape[1] - 1}"
    elif len(np.unique(given)) < 2:
        yield f"all examples have the label {given[0]}: with one label in use nothing can be confused"
    exact = values.astype(np.float64)
    sums = exact.sum(axis=1)
    if len(wrong := np.flatnonzero(~((exact >= -_NEAR) & (exact <= 1 + _NEAR)).all(axis=1))):
        yield f"row {wrong[0]} holds numbers that are no probabilities: {brief(exact[wrong[0]].tolist())}; give softmax, not logits"
    elif len(wrong := np.flatnonzero(np.abs(sums - 1) > _SUM)):
        yield f"the probabilities of row {wrong[0]} add up to {sums[wrong[0]]:g} instead of 1 ({len(wrong):,} such rows); normalise them"
