"""What a prediction is, and how logits become one: shared by ``Module.predict`` and ``Predictor``, so that they agree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import NEUTRAL, Calibration, softmax
from nlphub.errors import InputError

Floats = NDArray[np.floating]

_FEW = 4  # labels for each that is asked for, up to which rows are sorted whole
_BLOCK = 1 << 17  # scores looked at together: what a core's cache holds


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: the best label, or ``None`` when the answer is rejected.
        score: probability of the best label, 0 to 1, also when it is rejected.
        accepted: whether the answer's confidence, which is ``score`` unless calibration chose another one, reaches the module's
            threshold (always, while no threshold is set).
        top: the most probable labels with their probabilities, best first.
    """

    label: str | None
    score: float
    accepted: bool
    top: tuple[tuple[str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; scores with six decimals."""
        return {
            "label": self.label,
            "score": round(self.score, 6),
            "accepted": self.accepted,
            "top": [{"label": label, "score": round(score, 6)} for label, score in self.top],
        }

    def cells(self) -> tuple[str, str]:
        """For a table for people: the answer, and how probable it is."""
        return self.label or "(rejected)", f"{self.score:.3f}"


def as_texts(texts: Any) -> list[Any]:
    """A list of texts from one string, strings, or PaddleHub's ``[["text"], ...]``. The tokenizer judges what is left."""
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable):
        raise InputError(f"texts is {type(texts).__name__}; give strings, e.g. ['我要退这双鞋']")
    return [text[0] if isinstance(text, list | tuple) and len(text) == 1 else text for text in texts]


def classify(
    logits: Floats,
    labels: Sequence[str],
    *,
    top_k: int = 5,
    calibration: Calibration = NEUTRAL,
) -> list[Prediction]:
    """One :class:`Prediction` for each row of logits ``(b, labels)``; equal scores keep the order of ``labels``.

    Raises:
        InputError: ``top_k`` is not positive.
    """
    if top_k < 1:
        raise InputError(f"top_k={top_k!r} must be at least 1")
    scores = softmax(logits, temperature=calibration.temperature)
    ranks = best_columns(scores, top_k)
    accepted = calibration.accepts(logits, labels).tolist()
    return [_prediction([(labels[i], float(row[i])) for i in best], sure) for row, best, sure in zip(scores, ranks, accepted, strict=True)]


def best_columns(scores: Floats, top_k: int) -> NDArray[np.int64]:
    """``(b, min(k, labels))`` the columns of the highest scores of each row of ``(b, labels)``, best first, equal ones in their order.

    Only rows in which more than k labels score as high as the k-th are sorted whole: sorting thousands of labels costs more than a network.
    """
    columns = scores.shape[1]
    if top_k == 1:
        return np.asarray(scores.argmax(axis=-1))[:, None]
    if columns <= _FEW * top_k or not len(scores):
        return np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
    rows = max(1, _BLOCK // columns)
    return np.concatenate([_best(scores[first : first + rows], top_k) for first in range(0, len(scores), rows)])


def _best(scores: Floats, top_k: int) -> NDArray[np.int64]:
    columns = scores.shape[1]
    least = np.partition(scores, columns - top_k, axis=-1)[:, columns - top_k, None]
    held = scores >= least
    single = held.sum(axis=-1) == top_k
    ranks = np.empty((len(scores), top_k), np.int64)
    found = np.flatnonzero(held[single].ravel()).reshape(-1, top_k) % columns
    values = np.take_along_axis(scores[single], found, axis=-1)
    ranks[single] = np.take_along_axis(found, np.argsort(-values, axis=-1, kind="stable"), axis=-1)
    ranks[~single] = np.argsort(-scores[~single], axis=-1, kind="stable")[:, :top_k]
    return ranks


def _prediction(top: list[tuple[str, float]], accepted: bool) -> Prediction:
    label, score = top[0]
    return Prediction(label=label if accepted else None, score=score, accepted=accepted, top=tuple(top))
