"""``token-cls``: labelled stretches of a text, such as names.

Inside, each token has a tag: ``O``, ``B-x`` where a span of label x begins, ``I-x`` where it goes on (IOB2). Callers see spans only, in
code points of their own text.

Notation: ``b`` texts, ``t`` tokens of all of them, ``s`` of the longest, ``n`` tags.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import Calibration, softmax
from nlphub.data.batching import places_in, token_batches
from nlphub.data.checks import check_for_training, check_labels_known, known_names
from nlphub.data.examples import Examples
from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.evaluation.spans import SpanMetrics, span_report
from nlphub.labels import check_labels
from nlphub.tasks.base import IGNORED, Flags, Inputs, Logits
from nlphub.tasks.predictions import as_texts
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer

_DECODED = 1 << 16  # tokens of texts that are decoded at once, with their padding: bounds memory


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A stretch of the caller's text and what it is.

    Attributes:
        start, end: ``text[start:end]`` in code points of the text as the caller wrote it.
        label: its type.
        score: mean probability of its tags, 0 to 1.
        text: the slice.
    """

    start: int
    end: int
    label: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class SpanPrediction:
    """What was found in one text.

    Attributes:
        spans: by place; they do not overlap.
        truncated: whether the text is longer than the module reads, so that its end was not searched.
    """

    spans: tuple[FoundSpan, ...]
    truncated: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; scores with six decimals."""
        return {"spans": [{**asdict(span), "score": round(span.score, 6)} for span in self.spans], "truncated": self.truncated}

    def cells(self) -> tuple[str, str]:
        """For a table for people: the answer, and how probable it is."""
        found = [(f"{span.text} ({span.label})", f"{span.score:.3f}") for span in self.spans]
        return ", ".join(text for text, _ in found) or "(none)", ", ".join(score for _, score in found)


class TokenTask:
    """Spans in each text."""

    name = "token-cls"
    rows: Literal["cls", "all"] = "all"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """``O``, then ``B-x`` and ``I-x`` of each label.

        Raises:
            InputError: the labels are no names, or are tags already.
        """
        check_labels(labels, least=1)
        if "O" in labels or all(label[:2] in ("B-", "I-") for label in labels):
            raise InputError(
                f"labels={list(labels)} are tags; token-cls takes the types of spans, e.g. labels=['PER', 'LOC'], and makes the tags itself"
            )
        return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> Inputs:
        """Strings; PaddleHub's lists of one string too. A single string counts as a list of one."""
        texts = as_texts(given)
        return Inputs(texts, None, tokenizer.encode(texts, max_length=max_length))

    def wanted(self, inputs: Inputs) -> Flags | None:
        """All tokens."""
        return None

    def decode(
        self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration
    ) -> list[SpanPrediction]:
        """The most probable tags that are in order, as spans; those whose score is below the threshold are left out."""
        probabilities = softmax(logits, temperature=calibration.temperature)
        body, encoded = _body(inputs.encoded), inputs.encoded
        tags = best_tags(np.log(np.maximum(probabilities, 1e-300))[body], _lengths(encoded, body))
        chosen = np.take_along_axis(probabilities[body], tags[:, None], 1)[:, 0]
        found: list[list[FoundSpan]] = [[] for _ in inputs.texts]
        places, owner = encoded.offsets[body], np.repeat(np.arange(len(encoded)), _lengths(encoded, body))
        for first, last in _runs(tags):
            text, start, end = int(owner[first]), int(places[first, 0]), int(places[last - 1, 1])
            score = float(chosen[first:last].mean())
            if score >= calibration.threshold:
                label = labels[(int(tags[first]) - 1) // 2]
                found[text].append(FoundSpan(start, end, label, score, inputs.texts[text][start:end]))
        return [SpanPrediction(tuple(spans), bool(cut)) for spans, cut in zip(found, encoded.truncated, strict=True)]

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The distinct labels of the spans, sorted by code point."""
        return tuple(sorted(known_names(examples, "spans")))

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """See :func:`nlphub.data.checks.check_for_training`."""
        check_for_training(train, dev, test=test, labels=labels, needs="spans")

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """See :func:`nlphub.data.checks.check_labels_known`."""
        check_labels_known(examples, labels, needs="spans")

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Ints:
        """``(t,)`` the number of each token's tag. A token belongs to a span that it overlaps; special tokens have no tag."""
        number = {name: 2 * index + 1 for index, name in enumerate(labels)}
        tags = np.where(_body(encoded), 0, IGNORED).astype(np.int64)
        for row, spans in enumerate(examples.spans):
            first, behind = int(encoded.starts[row]) + 1, int(encoded.starts[row + 1]) - 1  # without [CLS] and [SEP]
            places = encoded.offsets[first:behind]
            for span in spans:
                a, b = np.searchsorted(places[:, 1], span.start, "right"), np.searchsorted(places[:, 0], span.end, "left")
                tags[first + a : first + b] = number[span.label] + 1
                tags[first + a : first + min(a + 1, b)] = number[span.label]
        return tags

    def questions(self, examples: Examples) -> list[Any]:
        """The texts."""
        return examples.texts

    def judge(self, examples: Examples, predictions: Sequence[SpanPrediction], labels: Sequence[str]) -> SpanMetrics:
        """Of the spans; what stands behind the end of a text that was cut counts as not found."""
        found = [[Span(span.start, span.end, span.label) for span in answer.spans] for answer in predictions]
        return span_report(examples.spans, found, labels)


def best_tags(scores: NDArray[np.float64], lengths: Ints) -> Ints:
    """The best tags of each text in which every ``I-x`` follows a ``B-x`` or ``I-x`` (Viterbi, 1967), all texts at once.

    Args:
        scores: ``(t, n)`` log-probabilities of ``O, B-1, I-1, B-2, I-2, ...``, text after text.
        lengths: ``(b,)`` tokens of each text, which may be 0.

    Returns:
        ``(t,)`` int64. Of equal tags the first is taken.
    """
    tags, starts = np.zeros(len(scores), np.int64), np.cumsum(lengths) - lengths
    for rows in token_batches(lengths, max_tokens=_DECODED):
        tokens = np.repeat(starts[rows], lengths[rows]) + places_in(lengths[rows])
        tags[tokens] = _viterbi(scores[tokens], lengths[rows])
    return tags


def _viterbi(scores: NDArray[np.float64], lengths: Ints) -> Ints:
    """:func:`best_tags` of texts of about the same length, in padded tables."""
    texts, longest = len(lengths), int(lengths.max(initial=0))
    table = np.zeros((texts, longest, scores.shape[1]))
    inside = np.arange(longest) < lengths[:, None]
    table[inside] = scores
    table[~inside, 1:] = -np.inf  # behind its end a text has O's that cost nothing
    table[:, :1, 2::2] = -np.inf
    before = np.zeros((texts, longest, scores.shape[1]), np.int64)
    best = table[:, 0] if longest else np.zeros((texts, scores.shape[1]))
    each = np.arange(scores.shape[1])
    begins, goes_on = each[1::2], each[2::2]
    for place in range(1, longest):
        before[:, place] = best.argmax(axis=1)[:, None]
        before[:, place, goes_on] = np.where(best[:, begins] >= best[:, goes_on], begins, goes_on)
        best = table[:, place] + np.take_along_axis(best, before[:, place], 1)
    tags = np.zeros((texts, longest), np.int64)
    last = best.argmax(axis=1)
    for place in reversed(range(longest)):
        tags[:, place] = last
        last = before[np.arange(texts), place, last]
    return tags[inside]


def _body(encoded: Encoded) -> Flags:
    """``(t,)`` bool: the tokens that stand for text."""
    return encoded.offsets[:, 1] > encoded.offsets[:, 0]


def _lengths(encoded: Encoded, body: Flags) -> Ints:
    """``(b,)`` tokens that stand for text."""
    return np.diff(np.concatenate([[0], np.cumsum(body)])[encoded.starts])


def _runs(tags: Ints) -> Iterator[tuple[int, int]]:
    """``(first, behind the last)`` token of every span. One text's last span ends before the next text: that begins with O or B."""
    begins = np.flatnonzero(tags % 2 == 1)
    stops = np.flatnonzero(np.append((tags == 0) | (tags % 2 == 1), True))
    yield from zip(begins.tolist(), stops[np.searchsorted(stops, begins, "right")].tolist(), strict=True)
