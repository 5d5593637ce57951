"""``text-matching``: one label for two texts: do they mean the same, does the second follow from the first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nlphub.data.apart import encode_apart
from nlphub.data.checks import check_for_training, check_labels_known
from nlphub.data.examples import Examples
from nlphub.errors import InputError, brief
from nlphub.evaluation.auc import area_under_curve
from nlphub.evaluation.metrics import ClassificationMetrics
from nlphub.tasks.base import Inputs
from nlphub.tasks.predictions import Prediction, as_texts
from nlphub.tasks.sequence import SequenceTask
from nlphub.tasks.whole_texts import separated
from nlphub.text.tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class MatchingTask(SequenceTask):
    """One label for each pair: as seq-cls, of pairs only, and with the area under the curve where there are two labels.

    Attributes:
        apart: whether the two texts are read each by itself, as a bi-encoder does, or as one sequence.
    """

    apart: bool = False
    name = "text-matching"

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> Inputs:
        """``(text, text)`` pairs; a text may be empty. Of a bi-encoder each text has ``max_length`` tokens, else both together."""
        items = as_texts(given)
        wrong = [f"texts[{number}] is {brief(item)}" for number, item in enumerate(items) if not isinstance(item, list | tuple)]
        if wrong:
            raise InputError("text-matching compares two texts: give pairs, e.g. [('怎么退货', '如何把东西退掉')]", wrong)
        texts, pairs = separated(items)
        pairs = pairs or []  # no items at all
        if self.apart:
            return Inputs(texts, pairs, encode_apart(tokenizer, texts, pairs, max_length=max_length))
        return Inputs(texts, pairs, tokenizer.encode(texts, pairs, max_length=max_length))

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`; every example has a second text."""
        check_for_training(train, dev, test=test, labels=labels, pairs=True)

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`; every example has a second text."""
        check_labels_known(examples, labels, pairs=True)

    def judge(self, examples: Examples, predictions: Sequence[Prediction], labels: Sequence[str]) -> ClassificationMetrics:
        """As seq-cls, and ``auc`` where there are two labels and both occur in the examples."""
        metrics = super(MatchingTask, self).judge(examples, predictions, labels)
        positive = np.array([label == labels[-1] for label in examples.labels])
        if len(labels) != 2 or positive.all() or not positive.any():
            return metrics
        best = [answer.top[0] for answer in predictions]
        scores = np.array([score if label == labels[-1] else 1.0 - score for label, score in best])
        return replace(metrics, auc=area_under_curve(scores, positive))
