"""``seq-cls``: one label for a text, or for a pair of texts."""

from collections.abc import Sequence

import numpy as np

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known, known_names
from nlphub.data.examples import Examples
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.labels import check_labels
from nlphub.tasks.base import Inputs, Logits
from nlphub.tasks.predictions import Prediction, classify
from nlphub.tasks.whole_texts import WholeTexts
from nlphub.text.encoding import Encoded, Ints


class SequenceTask(WholeTexts):
    """One label for each text or pair. The head's outputs are the labels."""

    name = "seq-cls"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The labels themselves."""
        check_labels(labels)
        return tuple(labels)

    def decode(self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration) -> list[Prediction]:
        """One :class:`~nlphub.Prediction` for each text or pair."""
        return classify(logits, labels, top_k=top_k, calibration=calibration)

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The distinct labels, sorted by code point."""
        return tuple(sorted(known_names(examples, "label")))

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`."""
        check_for_training(train, dev, test=test, labels=labels)

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`."""
        check_labels_known(examples, labels)

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Ints:
        """``(b,)`` the number of each example's label."""
        number = {name: index for index, name in enumerate(labels)}
        return np.array([number[label] for label in examples.labels], np.int64)

    def judge(self, examples: Examples, predictions: Sequence[Prediction], labels: Sequence[str]) -> ClassificationMetrics:
        """Of the most probable labels, rejected answers included."""
        return classification_report(examples.labels, [answer.top[0][0] for answer in predictions], labels)
