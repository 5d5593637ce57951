"""``seq-cls``: one label for a text, or for a pair of texts."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known, known_names
from nlphub.data.examples import Examples
from nlphub.errors import InputError, brief
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.labels import check_labels
from nlphub.tasks.base import Flags, Inputs, Logits
from nlphub.tasks.predictions import Prediction, as_texts, classify
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer


class SequenceTask:
    """One label for each text or pair. The head's outputs are the labels."""

    name = "seq-cls"
    rows: Literal["cls", "all"] = "cls"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The labels themselves."""
        check_labels(labels)
        return tuple(labels)

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> Inputs:
        """Strings, or ``(text, text)`` pairs; PaddleHub's lists of one string too. A single string counts as a list of one."""
        texts, pairs = separated(as_texts(given))
        return Inputs(texts, pairs, tokenizer.encode(texts, pairs, max_length=max_length))

    def wanted(self, inputs: Inputs) -> Flags | None:
        """Never asked: this task sees whole texts."""
        return None

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

    def questions(self, examples: Examples) -> list[Any]:
        """Texts, or pairs of them."""
        pairs = examples.pairs
        return examples.texts if pairs is None else list(zip(examples.texts, pairs, strict=True))

    def judge(self, examples: Examples, predictions: Sequence[Prediction], labels: Sequence[str]) -> ClassificationMetrics:
        """Of the most probable labels, rejected answers included."""
        return classification_report(examples.labels, [answer.top[0][0] for answer in predictions], labels)


def separated(given: Iterable[Any]) -> tuple[list[str], list[str] | None]:
    """First and second texts of a list of strings, or of a list of pairs.

    Raises:
        InputError: some are pairs and others are not, or hold something else than two texts. What a single text is, the tokenizer judges.
    """
    items = list(given)
    if not any(isinstance(item, list | tuple) for item in items):
        return items, None
    wrong = [
        f"texts[{number}] is {brief(item)}"
        for number, item in enumerate(items)
        if not (isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(text, str) for text in item))
    ]
    if wrong:
        raise InputError("Among pairs of texts everything has to be a pair such as ('first', 'second')", wrong)
    return [first for first, _ in items], [second for _, second in items]
