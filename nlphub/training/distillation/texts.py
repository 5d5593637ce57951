"""Texts for a teacher to label: those of a file, and variants of the training texts in which words are replaced.

A variant is a text whose words, each with some probability, are masked whole; a masked-language head fills them, with one of the entries
that it finds likeliest (Jiao et al., 2020, TinyBERT, arXiv:1909.10351, section 3.2). All draws follow a seed.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from nlphub.data.examples import Example, Examples
from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.evaluation.labelsets import THRESHOLD
from nlphub.module import Module
from nlphub.nn.inference import head_logits
from nlphub.tasks.base import IGNORED, Logits
from nlphub.tasks.fill_mask import candidates
from nlphub.tasks.labelsets import sigmoid
from nlphub.text.encoding import Encoded, Ints

_LIKELY = 8  # entries that a mask is filled with one of


def labelled_by(teacher: Module, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Examples:
    """The texts with the teacher's answers as their labels, whether it would accept them or not.

    Raises:
        InputError: as ``teacher.logits``.
    """
    both = [(text, None) for text in texts] if pairs is None else list(zip(texts, pairs, strict=True))
    if not both:
        return Examples([])
    asked = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
    if teacher.task == "token-cls":
        found = [tuple(Span(span.start, span.end, span.label) for span in answer.spans) for answer in teacher.predict(asked)]
        return Examples([Example(text, spans=spans) for (text, _), spans in zip(both, found, strict=True)])
    answers = zip(both, teacher.logits(asked), strict=True)
    return Examples([_answered(teacher, text, pair, row) for (text, pair), row in answers])


def variants(filler: Module, texts: Sequence[str], *, copies: int, rate: float, seed: int) -> list[str]:
    """``copies`` variants of each text, those of the first text first; a text in which nothing can be replaced stays as it is.

    Args:
        filler: a module with a masked-language head.
        rate: the share of words that is replaced; of a short text one at least.

    Raises:
        InputError: ``filler`` has no such head.
    """
    if filler.task != "mlm":
        raise InputError(f"words are replaced by a masked-language head, and this module's task is {filler.task}: open it with task='mlm'")
    repeated = [text for text in texts for _ in range(copies)]
    if not repeated:
        return []
    generator = np.random.default_rng(seed)
    encoded = filler.tokenizer.encode(repeated, max_length=filler.max_length)
    starts = filler.tokenizer.words(repeated, encoded)
    masked = filler.tokenizer.mask(encoded, starts, generator=generator, rate=rate).targets != IGNORED
    ids = np.where(masked, filler.tokenizer.mask_id, encoded.ids)
    shown = Encoded(ids, encoded.types, encoded.offsets, encoded.starts, encoded.truncated)
    drawn = _drawn(filler, head_logits(filler.encoder, filler.task_head, shown, masked), generator)
    return list(_filled(filler, repeated, encoded, np.flatnonzero(masked), drawn))


def _answered(teacher: Module, text: str, pair: str | None, row: Logits) -> Example:
    if teacher.task == "regression":
        return Example(text, pair=pair, value=float(row[0]))
    if teacher.task == "multi-label":
        there = sigmoid(row) >= THRESHOLD
        return Example(text, pair=pair, labels=tuple(sorted(label for label, given in zip(teacher.labels, there, strict=True) if given)))
    return Example(text, pair=pair, label=teacher.labels[int(row.argmax())])


def _drawn(filler: Module, logits: Logits, generator: np.random.Generator) -> Ints:
    """One of the likeliest entries for each mask, drawn by their probabilities; special entries and ``##`` pieces are never among them."""
    usable = np.array([number for number in candidates(filler.labels) if not filler.labels[number].startswith("##")], np.int64)
    drawn = np.zeros(len(logits), np.int64)
    for number, row in enumerate(logits):
        scores = row[usable].astype(np.float64)
        best = np.argsort(-scores, kind="stable")[:_LIKELY]
        shares = np.exp(scores[best] - scores[best[0]])
        drawn[number] = usable[generator.choice(best, p=shares / shares.sum())]
    return drawn


def _filled(filler: Module, texts: Sequence[str], encoded: Encoded, places: Ints, drawn: Ints) -> Iterator[str]:
    """The texts with what was drawn in place of the characters that the masked tokens stand for."""
    edges = np.searchsorted(places, encoded.starts)
    for text, first, last in zip(texts, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        parts, at = [], 0
        for place, entry in zip(places[first:last].tolist(), drawn[first:last].tolist(), strict=True):
            start, end = encoded.offsets[place].tolist()
            parts += [text[at:start], filler.labels[entry].removeprefix("▁")]
            at = end
        yield "".join([*parts, text[at:]])
