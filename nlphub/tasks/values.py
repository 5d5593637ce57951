"""``regression``: a number for a text, or for a pair of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.evaluation.values import ValueMetrics, value_report
from nlphub.labels import VALUE, check_labels
from nlphub.tasks.base import Inputs, Logits, Targets
from nlphub.tasks.whole_texts import WholeTexts
from nlphub.text.encoding import Encoded


@dataclass(frozen=True, slots=True)
class ValuePrediction:
    """The number of one text or pair.

    Attributes:
        value: in the unit of the training data, and within their range.
    """

    value: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; six decimals."""
        return {"value": round(self.value, 6)}

    def cells(self) -> tuple[str, str]:
        """For a table for people: the answer; it has no probability."""
        return f"{self.value:.3f}", ""


class ValueTask(WholeTexts):
    """A number for each text or pair. The head has one output."""

    name = "regression"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The one name that a module of this task has for its number.

        Raises:
            InputError: there are more.
        """
        check_labels(labels, least=1)
        if len(labels) > 1:
            raise InputError(f"labels={list(labels)}: regression has one number and no labels; leave labels and num_classes out")
        return tuple(labels)

    def decode(
        self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration
    ) -> list[ValuePrediction]:
        """The number of each text or pair: the head's output as it is."""
        return [ValuePrediction(float(value)) for value in logits[:, 0]]

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The name of the number."""
        return VALUE

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`."""
        check_for_training(train, dev, test=test, needs="value")

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`."""
        check_labels_known(examples, (), needs="value")

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """``(b,)`` float32, in the unit of the data."""
        return np.array(examples.values, np.float32)

    def judge(self, examples: Examples, predictions: Sequence[ValuePrediction], labels: Sequence[str]) -> ValueMetrics:
        """Of the numbers."""
        return value_report(examples.values, [answer.value for answer in predictions])
