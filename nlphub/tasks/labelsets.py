"""``multi-label``: any number of labels for a text, or for a pair of texts.

Notation: ``b`` texts, ``n`` labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known, known_names
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.evaluation.labelsets import THRESHOLD, LabelSetMetrics, indicators, label_set_report
from nlphub.labels import check_labels
from nlphub.tasks.base import Flags, Inputs, Logits, Targets
from nlphub.tasks.whole_texts import WholeTexts
from nlphub.text.encoding import Encoded


@dataclass(frozen=True, slots=True)
class LabelsPrediction:
    """The labels of one text.

    Attributes:
        labels: those whose probability reaches their threshold, the most probable first; none is an answer too.
        scores: probability of each of them, 0 to 1.
        top: the most probable labels with their probabilities, given or not, best first.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    top: tuple[tuple[str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; scores with six decimals."""
        return {
            "labels": list(self.labels),
            "scores": [round(score, 6) for score in self.scores],
            "top": [{"label": label, "score": round(score, 6)} for label, score in self.top],
        }

    def cells(self) -> tuple[str, str]:
        """For a table for people: the answer, and how probable it is."""
        return ", ".join(self.labels) or "(none)", ", ".join(f"{score:.3f}" for score in self.scores)


class LabelSetTask(WholeTexts):
    """Any number of labels for each text or pair. The head's outputs are the labels, each with a probability of its own."""

    name = "multi-label"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The labels themselves."""
        check_labels(labels, least=1)
        return tuple(labels)

    def decode(
        self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration
    ) -> list[LabelsPrediction]:
        """The labels of each text or pair."""
        return give_labels(logits, labels, top_k=top_k, calibration=calibration)

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The distinct labels, sorted by code point."""
        return tuple(sorted(known_names(examples, "labels")))

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`."""
        check_for_training(train, dev, test=test, labels=labels, needs="labels")

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`."""
        check_labels_known(examples, labels, needs="labels")

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """``(b, n)`` float32: 1 for the labels that a text has, 0 for the others."""
        return indicators(examples.label_sets, labels).astype(np.float32)

    def judge(self, examples: Examples, predictions: Sequence[LabelsPrediction], labels: Sequence[str]) -> LabelSetMetrics:
        """Of the labels that were given."""
        return label_set_report(examples.label_sets, [answer.labels for answer in predictions], labels)


def give_labels(logits: Logits, labels: Sequence[str], *, top_k: int, calibration: Calibration) -> list[LabelsPrediction]:
    """One answer for each row of logits ``(b, n)``. ``Module.predict`` and ``Predictor`` both answer by this function.

    A label is given where its probability reaches its own threshold, :data:`~nlphub.evaluation.labelsets.THRESHOLD` where the
    calibration has none for it. Equal probabilities keep the order of ``labels``.

    Raises:
        InputError: ``top_k`` is not positive.
    """
    if top_k < 1:
        raise InputError(f"top_k={top_k!r} must be at least 1")
    scores = sigmoid(logits, temperature=calibration.temperature)
    given = scores >= np.array([calibration.thresholds.get(label, THRESHOLD) for label in labels])
    ranks = np.argsort(-scores, axis=-1, kind="stable")
    return [_answer(labels, row, row_given, order.tolist(), top_k) for row, row_given, order in zip(scores, given, ranks, strict=True)]


def sigmoid(logits: NDArray[np.floating], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits of any shape, in float64; no logit overflows."""
    scaled = logits.astype(np.float64) / temperature
    small = np.exp(-np.abs(scaled))
    return np.asarray(np.where(scaled >= 0, 1.0, small) / (1.0 + small))


def _answer(labels: Sequence[str], scores: NDArray[np.float64], given: Flags, order: list[int], top_k: int) -> LabelsPrediction:
    chosen = [place for place in order if given[place]]
    return LabelsPrediction(
        labels=tuple(labels[place] for place in chosen),
        scores=tuple(float(scores[place]) for place in chosen),
        top=tuple((labels[place], float(scores[place])) for place in order[:top_k]),
    )
