"""``regression``: a number for a text, or for a pair of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.evaluation.values import ValueMetrics, value_report
from nlphub.labels import VALUE, check_labels
from nlphub.tasks.base import Flags, Inputs, Logits, Targets
from nlphub.tasks.predictions import as_texts
from nlphub.tasks.sequence import separated
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer


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


class ValueTask:
    """A number for each text or pair. The head has one output."""

    name = "regression"
    rows: Literal["cls", "all"] = "cls"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The one name that a module of this task has for its number.

        Raises:
            InputError: there are more.
        """
        check_labels(labels, least=1)
        if len(labels) > 1:
            raise InputError(f"labels={list(labels)}: regression has one number and no labels; leave labels and num_classes out")
        return tuple(labels)

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> Inputs:
        """Strings, or ``(text, text)`` pairs; PaddleHub's lists of one string too. A single string counts as a list of one."""
        texts, pairs = separated(as_texts(given))
        return Inputs(texts, pairs, tokenizer.encode(texts, pairs, max_length=max_length))

    def wanted(self, inputs: Inputs) -> Flags | None:
        """Never asked: this task sees whole texts."""
        return None

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

    def questions(self, examples: Examples) -> list[Any]:
        """Texts, or pairs of them."""
        pairs = examples.pairs
        return examples.texts if pairs is None else list(zip(examples.texts, pairs, strict=True))

    def judge(self, examples: Examples, predictions: Sequence[ValuePrediction], labels: Sequence[str]) -> ValueMetrics:
        """Of the numbers."""
        return value_report(examples.values, [answer.value for answer in predictions])
