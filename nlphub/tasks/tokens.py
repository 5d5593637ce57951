"""``token-cls``: labelled stretches of a text, such as names, or words with their parts of speech.

How spans become what a head is taught, and its logits become spans, is one of the decoders: :mod:`nlphub.tasks.tagging` (``linear``,
``crf``) or :mod:`nlphub.tasks.pointing` (``pointer``). Callers see spans only, in code points of their own text. Texts of any length are
read, in overlapping windows (:mod:`nlphub.text.windows`).

Notation: ``b`` texts, ``t`` tokens of all windows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nlphub.calibration import Calibration
from nlphub.data.checks import check_for_training, check_labels_known, known_names
from nlphub.data.examples import Examples
from nlphub.data.spans import Span
from nlphub.errors import InputError, brief
from nlphub.evaluation.spans import SpanMetrics, span_report
from nlphub.labels import SLOT, check_labels
from nlphub.tasks.base import Flags, Inputs, Logits, Targets
from nlphub.tasks.found import Decoder, FoundSpan, SpanPrediction
from nlphub.tasks.pointing import Pointing
from nlphub.tasks.predictions import as_texts
from nlphub.tasks.tagging import Tagging
from nlphub.tasks.viterbi import Transitions, best_tags, is_table
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer
from nlphub.text.windows import Windows, read_windows

__all__ = ["FoundSpan", "SpanPrediction", "TokenTask", "WindowedInputs", "best_tags", "decoder_of", "decoding_problems"]


@dataclass(frozen=True, slots=True, eq=False)
class WindowedInputs(Inputs):
    """Inputs as windows; ``encoded`` holds these.

    Attributes:
        windows: which text each is of, and which tokens it owns.
    """

    windows: Windows


@dataclass(frozen=True, slots=True, eq=False)
class TokenTask:
    """Spans in each text.

    Attributes:
        decoder: of the head.
        stride: of :func:`~nlphub.text.windows.read_windows`; ``None`` = its default.
    """

    decoder: Decoder = field(default_factory=Tagging)
    stride: int | None = None

    @property
    def name(self) -> str:
        """``token-cls``."""
        return "token-cls"

    @property
    def rows(self) -> Literal["cls", "all"]:
        """Tokens."""
        return "all"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """What the decoder needs of the head: of ``linear`` and ``crf`` the tags ``O``, ``B-x``, ``I-x``.

        Raises:
            InputError: the labels are no names, or are tags already.
        """
        check_labels(labels, least=1)
        if "O" in labels or all(label[:2] in ("B-", "I-") for label in labels):
            raise InputError(
                f"labels={list(labels)} are tags; token-cls takes the types of spans, e.g. labels=['PER', 'LOC'], and makes the tags itself"
            )
        return self.decoder.outputs(labels)

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> WindowedInputs:
        """Strings; PaddleHub's lists of one string too. A single string counts as a list of one."""
        texts = as_texts(given)
        windows = read_windows(texts, tokenizer, max_length=max_length, stride=self.stride)
        return WindowedInputs(texts, None, windows.encoded, windows)

    def wanted(self, inputs: Inputs) -> Flags | None:
        """All tokens."""
        return None

    def decode(
        self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration
    ) -> list[SpanPrediction]:
        """The spans that the decoder finds; those whose score is below the threshold are left out.

        Args:
            logits: ``(t, n)`` of all windows.
        """
        if not isinstance(inputs, WindowedInputs):
            raise TypeError("token-cls is asked about what its own read() gave")
        found: list[list[FoundSpan]] = [[] for _ in inputs.texts]
        offsets = inputs.windows.offsets
        for one in self.decoder.find(logits, inputs.windows, labels=len(labels), temperature=calibration.temperature):
            if one.score >= calibration.threshold:
                start, end = int(offsets[one.first, 0]), int(offsets[one.behind - 1, 1])
                text = inputs.texts[one.text]
                found[one.text].append(FoundSpan(start, end, labels[one.label], one.score, text[start:end]))
        return [SpanPrediction(tuple(spans), bool(cut)) for spans, cut in zip(found, inputs.windows.cut, strict=True)]

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The distinct labels of the spans, sorted by code point."""
        return tuple(sorted(known_names(examples, "spans")))

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`."""
        check_for_training(train, dev, test=test, labels=labels, needs="spans", nested=self.decoder.nested)

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`. Nested spans can be judged, whatever the decoder finds."""
        check_labels_known(examples, labels, needs="spans", nested=True)

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """The decoder's. What stands behind the end of a text that was cut has none."""
        return self.decoder.targets(examples, encoded, labels)

    def questions(self, examples: Examples) -> list[Any]:
        """The texts."""
        return examples.texts

    def judge(self, examples: Examples, predictions: Sequence[SpanPrediction], labels: Sequence[str]) -> SpanMetrics:
        """Of the spans; what stands behind the end of a text that was cut counts as not found."""
        found = [[Span(span.start, span.end, span.label) for span in answer.spans] for answer in predictions]
        return span_report(examples.spans, found, labels)


def decoding_problems(task: Any, variant: Any, facts: Any, labels: Any) -> Iterator[str]:
    """What is wrong with the facts about decoding in an artefact, which somebody may have edited."""
    if not (variant is None or isinstance(variant, str)) or not isinstance(facts, dict):
        yield f"decoding: expected a variant's name and a table, found {brief(variant)} and {brief(facts)}"
    elif task in ("token-cls", "joint") and variant == "crf" and isinstance(labels, list):
        n = 2 * sum(task == "token-cls" or str(label).startswith(SLOT) for label in labels) + 1
        for name, shape in (("pairs", (n, n)), ("first", (n,)), ("last", (n,))):
            values = facts.get(name)
            if not is_table(values, shape):
                yield f"decoding.{name}: expected {' x '.join(map(str, shape))} finite numbers, found {brief(values)}"


def decoder_of(variant: str | None, facts: Mapping[str, Any]) -> Decoder:
    """The decoder of a variant of the head.

    Args:
        facts: ``Head.decoding``: what the head knows that decoding needs. While a head is taught, nothing is needed.
    """
    if variant == "pointer":
        return Pointing()
    return Tagging(Transitions.of(facts) if variant == "crf" and facts else None)
