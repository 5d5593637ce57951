"""``joint``: the intent of a text and its slots, from one pass of the network.

The intent is said by the row of [CLS], as in seq-cls, the slots by the rows of all tokens, as in token-cls (Chen, Zhuo and Wang, 2019,
arXiv:1902.10909). Texts of any length are read in windows: the intent is that of the first one, which is what training sees.

A row of logits holds the ``i`` intents, which are there on the rows of [CLS] and 0 on others, then the ``n`` tags. A module has one list of
labels; which of them are intents and which are slots, their beginnings say (:func:`nlphub.labels.joint_labels`).

Notation: ``b`` texts, ``t`` tokens of all windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known
from nlphub.data.examples import Examples
from nlphub.data.spans import Span
from nlphub.evaluation.joint import JointMetrics, joint_report
from nlphub.labels import INTENT, joint_labels, joint_parts
from nlphub.tasks.base import Flags, Inputs, Logits, Targets
from nlphub.tasks.found import FoundSpan
from nlphub.tasks.predictions import classify
from nlphub.tasks.tokens import TokenTask, WindowedInputs, decoder_of
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class JointPrediction:
    """What one text asks for.

    Attributes:
        intent: the best intent, or ``None`` when the answer is rejected.
        score: probability of the best intent, 0 to 1, also when it is rejected.
        accepted: whether the answer is accepted, see :class:`~nlphub.Prediction`.
        slots: by place; they never overlap.
        top: the most probable intents with their probabilities, best first.
        truncated: whether the end of the text was not searched for slots, because it was asked for with ``stride=0``.
    """

    intent: str | None
    score: float
    accepted: bool
    slots: tuple[FoundSpan, ...]
    top: tuple[tuple[str, float], ...]
    truncated: bool

    @property
    def values(self) -> dict[str, list[str]]:
        """The pieces of text by the label of their slot, each in order."""
        found: dict[str, list[str]] = {}
        for slot in self.slots:
            found.setdefault(slot.label, []).append(slot.text)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; scores with six decimals."""
        return {
            "intent": self.intent,
            "score": round(self.score, 6),
            "accepted": self.accepted,
            "slots": [{**asdict(slot), "score": round(slot.score, 6)} for slot in self.slots],
            "top": [{"label": label, "score": round(score, 6)} for label, score in self.top],
            "truncated": self.truncated,
        }

    def cells(self) -> tuple[str, str]:
        """For a table for people: the answer, and how probable it is."""
        slots = ", ".join(f"{slot.label}={slot.text}" for slot in self.slots)
        return f"{self.intent or '(rejected)'}{f' ({slots})' if slots else ''}", f"{self.score:.3f}"


@dataclass(frozen=True, slots=True, eq=False)
class JointTask:
    """An intent and slots for each text.

    Attributes:
        tokens: how slots are found.
    """

    tokens: TokenTask = field(default_factory=TokenTask)

    @property
    def name(self) -> str:
        """``joint``."""
        return "joint"

    @property
    def rows(self) -> Literal["cls", "all"]:
        """Tokens, [CLS] among them."""
        return "all"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The intents, with their beginning, then the tags ``O``, ``B-x``, ``I-x`` of slots.

        Raises:
            InputError: labels that are no intents and slots.
        """
        intents, slots = joint_parts(labels)
        return (*(f"{INTENT}{name}" for name in intents), *self.tokens.outputs(slots))

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> WindowedInputs:
        """Strings; PaddleHub's lists of one string too. A single string counts as a list of one."""
        return self.tokens.read(given, tokenizer, max_length=max_length)

    def wanted(self, inputs: Inputs) -> Flags | None:
        """All tokens."""
        return None

    def decode(
        self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration
    ) -> list[JointPrediction]:
        """The intent of each text, and the slots that the decoder finds; those whose score is below the threshold are left out.

        Args:
            logits: ``(t, i + n)`` of all windows.
        """
        if not isinstance(inputs, WindowedInputs):
            raise TypeError("joint is asked about what its own read() gave")
        intents, slots = joint_parts(labels)
        windows = inputs.windows
        first = windows.encoded.starts[np.searchsorted(windows.texts, np.arange(len(inputs.texts)))]
        said = classify(logits[first, : len(intents)], intents, top_k=top_k, calibration=calibration)
        found = self.tokens.decode(logits[:, len(intents) :], inputs, slots, top_k=top_k, calibration=calibration)
        return [
            JointPrediction(one.label, one.score, one.accepted, spans.spans, one.top, spans.truncated)
            for one, spans in zip(said, found, strict=True)
        ]

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The distinct intents, then the distinct labels of slots, each sorted by code point."""
        intents = {example.label for example in examples if example.label is not None}
        return joint_labels(sorted(intents), sorted({span.label for example in examples for span in example.spans or ()}))

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`; every example has an intent, and slots or an empty list of them."""
        check_for_training(train, dev, test=test, labels=labels, needs="joint")

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`."""
        check_labels_known(examples, labels, needs="joint")

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """``(b,)`` int64 numbers of the intents; and the tags of all tokens, as token-cls has them."""
        intents, slots = joint_parts(labels)
        number = {name: index for index, name in enumerate(intents)}
        tags = self.tokens.targets(examples, encoded, slots)
        assert not isinstance(tags, tuple)
        return np.array([number[label] for label in examples.labels], np.int64), tags

    def questions(self, examples: Examples) -> list[Any]:
        """The texts."""
        return examples.texts

    def judge(self, examples: Examples, predictions: Sequence[JointPrediction], labels: Sequence[str]) -> JointMetrics:
        """Of the most probable intents, rejected answers included, and of the slots."""
        intents, slots = joint_parts(labels)
        true = list(zip(examples.labels, examples.spans, strict=True))
        found = [(answer.top[0][0], [Span(slot.start, slot.end, slot.label) for slot in answer.slots]) for answer in predictions]
        return joint_report(true, found, intents=intents, slots=slots)


def joint_task(variant: str | None = None, facts: Mapping[str, Any] | None = None, stride: int | None = None) -> JointTask:
    """The task of a variant of the head; the arguments are those of :func:`nlphub.tasks.task_named`."""
    return JointTask(TokenTask(decoder_of(variant, facts or {}), stride))


def joined(intents: Logits, tags: Logits, lengths: Ints) -> Logits:
    """``(t, i + n)`` rows of logits from the two outputs of a graph.

    Args:
        intents: ``(b, i)``.
        tags: ``(t, n)`` of the tokens of the ``b`` sequences, one after another.
        lengths: ``(b,)`` tokens of each.
    """
    rows = np.zeros((len(tags), intents.shape[1] + tags.shape[1]), np.float32)
    rows[np.cumsum(lengths) - lengths, : intents.shape[1]] = intents
    rows[:, intents.shape[1] :] = tags
    return rows
