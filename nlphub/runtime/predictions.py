"""What a prediction is, and how logits become one: shared by ``Module.predict`` and ``Predictor``, so that they agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: the best label, or ``None`` when the answer is rejected.
        score: probability of the best label, 0 to 1, also when it is rejected.
        accepted: whether ``score`` reaches the module's threshold (always, while no threshold is set).
        top: the most probable labels with their probabilities, best first.
    """

    label: str | None
    score: float
    accepted: bool
    top: tuple[tuple[str, float], ...]


def softmax(logits: Floats, *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities ``(b, labels)`` of logits ``(b, labels)``, in float64."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def classify(
    logits: Floats,
    labels: Sequence[str],
    *,
    top_k: int = 5,
    temperature: float = 1.0,
    threshold: float = 0.0,
) -> list[Prediction]:
    """One :class:`Prediction` for each row of logits ``(b, labels)``; equal scores keep the order of ``labels``."""
    scores = softmax(logits, temperature=temperature)
    ranks = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
    return [_prediction([(labels[i], float(row[i])) for i in best], threshold) for row, best in zip(scores, ranks, strict=True)]


def _prediction(top: list[tuple[str, float]], threshold: float) -> Prediction:
    label, score = top[0]
    accepted = score >= threshold
    return Prediction(label=label if accepted else None, score=score, accepted=accepted, top=tuple(top))
