"""Which words tell two labels apart. Notation: ``y`` occurrences of a word, ``n`` of all words, ``a`` prior occurrences."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nlphub.data.doctor.collection import default_table
from nlphub.data.examples import Examples
from nlphub.text.words import split_words

_TEXTS = 400  # of a label, spread evenly, that words are counted in
_KEPT = 100  # words of a label
_SURE = 1.96  # standard deviations from which on a difference is believed


@dataclass(frozen=True, slots=True)
class Words:
    """Occurrences of words in texts of one label.

    Attributes:
        total: of all words, those too that ``counts`` leaves out.
        counts: word -> occurrences, of the 100 most frequent.
    """

    total: int
    counts: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"total": self.total, "counts": dict(self.counts)}


def label_words(examples: Examples) -> dict[str, Words]:
    """Words of each label, as jieba finds them in folded text (simplified, half-width, lower-case); words without a letter, a Chinese
    character or a digit are left out.

    Raises:
        StoreError: jieba's cache may be written by others.
    """
    counts = Counter(example.label for example in examples if example.label is not None)
    seen, by_label = Counter[str](), dict[str, list[str]]()
    for example in examples:
        if example.label is not None:
            if seen[example.label] % -(-counts[example.label] // _TEXTS) == 0:
                by_label.setdefault(example.label, []).append(f"{example.text}\n{example.pair or ''}")
            seen[example.label] += 1
    return {label: _words(texts) for label, texts in sorted(by_label.items())}


def discriminating(
    first: Words, second: Words, everything: Mapping[str, Words], *, most: int = 6
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words that speak for the first of two labels and against the second, and the other way round, strongest first.

    Log-odds-ratio with an informative Dirichlet prior, divided by its standard deviation (Monroe, Colaresi and Quinn, 2008, "Fightin'
    Words", Political Analysis 16(4)); words beyond 1.96 standard deviations are given. The prior is as large as the texts of
    a label are on average, and spread like the words of all labels.

    Args:
        everything: the words of all labels, which the prior is made from.
        most: words of each side.
    """
    prior = _prior(everything)
    scores = {word: log_odds(first, second, word, prior) for word in sorted({*first.counts, *second.counts})}
    ranked = sorted(scores, key=lambda word: -scores[word])
    return tuple(word for word in ranked[:most] if scores[word] > _SURE), tuple(
        word for word in ranked[::-1][:most] if scores[word] < -_SURE
    )


def log_odds(first: Words, second: Words, word: str, prior: Mapping[str, float]) -> float:
    """How many standard deviations the log-odds of a word in the first lie above those in the second."""
    own, whole = prior[word], sum(prior.values())
    ratio, variance = 0.0, 0.0
    for sign, words in ((1, first), (-1, second)):
        seen = words.counts.get(word, 0) + own
        ratio += sign * math.log(seen / (words.total + whole - seen))
        variance += 1 / seen
    return ratio / math.sqrt(variance)


def _prior(everything: Mapping[str, Words]) -> dict[str, float]:
    together = sum((Counter(words.counts) for words in everything.values()), Counter[str]())
    size = sum(words.total for words in everything.values()) / len(everything)
    return {word: size * count / together.total() for word, count in together.items()}


def _words(texts: list[str]) -> Words:
    counts = Counter(_meaningful(split_words(texts, default_table())))
    return Words(counts.total(), dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_KEPT]))


def _meaningful(texts: Iterable[list[str]]) -> Iterable[str]:
    return (word for words in texts for word in words if any(map(str.isalnum, word)))
