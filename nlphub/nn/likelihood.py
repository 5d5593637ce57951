"""How probable sentences are for a masked language model: pseudo-log-likelihoods (Salazar et al., 2020, arXiv:1910.14659).

Each token is masked once, with all others in place, and its probability is looked up among the whole vocabulary; the sum of the
logarithms is the score of the text, and ``exp(-sum / tokens)`` its pseudo-perplexity. Texts longer than the network reads go through
overlapping windows, and a token is masked in the window in whose middle it stands.

Notation: ``k`` tokens that are scored, each with a copy of its window, ``n`` entries of the vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.apart import take
from nlphub.errors import InputError, brief
from nlphub.nn.inference import head_logits
from nlphub.nn.whole_words import WordsModule, log_softmax, require_words
from nlphub.tasks.predictions import as_texts
from nlphub.text.encoding import Ints
from nlphub.text.windows import Windows, read_windows

_TOKENS = 1 << 16  # of copies of windows that are made at once: bounds memory
_ROWS = 512  # tokens that are scored at once: their logits take 512 x vocabulary x 8 bytes


@dataclass(frozen=True, slots=True)
class SentenceScore:
    """How probable a text is.

    Attributes:
        log_likelihood: sum over its tokens, in nats.
        tokens: how many were scored.
        unknown: how many were not, because the vocabulary does not have them.
    """

    log_likelihood: float
    tokens: int
    unknown: int

    @property
    def perplexity(self) -> float:
        """Pseudo-perplexity of the text, at least 1: the smaller, the more natural; it does not grow with the length of a text."""
        return math.exp(-self.log_likelihood / self.tokens)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "perplexity": round(self.perplexity, 6),
            "log_likelihood": round(self.log_likelihood, 6),
            "tokens": self.tokens,
            "unknown": self.unknown,
        }


def score_sentences(module: WordsModule, texts: str | Sequence[str], *, stride: int | None = None) -> list[SentenceScore]:
    """Pseudo-log-likelihood and pseudo-perplexity of each text, in the caller's order.

        hub.score_sentences(hub.Module(name="ernie_tiny", task="mlm"), ["我要退这双鞋", "我要鞋这退双"])

    A text of t tokens takes t passes over its window; scores of modules with other vocabularies cannot be compared.

    Args:
        module: of task mlm.
        texts: a single string counts as a list of one. ``[MASK]`` in a text means nothing here: it is read as it stands.
        stride: tokens between the windows of long texts, see :func:`nlphub.text.windows.read_windows`; by default half a window.

    Raises:
        InputError: the module is of another task, a text has no token that the vocabulary has (all of them are named), or ``stride``
            would leave the ends of texts out.
    """
    require_words(module)
    given = as_texts(texts)
    if stride == 0:
        raise InputError("stride=0 reads only the beginning of a text, whose end would not be scored; give 1 or more, or leave it out")
    windows = read_windows(given, module.tokenizer, max_length=module.max_length, stride=stride)
    text_of = np.repeat(np.arange(len(given)), windows.lengths)
    known = windows.encoded.ids[windows.rows] != module.tokenizer.unknown_id
    counts = np.bincount(text_of[known], minlength=len(given))
    if problems := [f"texts[{number}] is {brief(given[number])}" for number in np.flatnonzero(counts == 0).tolist()]:
        raise InputError("Texts without a single character of the vocabulary have no probability", problems)
    sums = np.bincount(text_of[known], weights=token_scores(module, windows, np.flatnonzero(known)), minlength=len(given))
    left = np.bincount(text_of[~known], minlength=len(given))
    return [SentenceScore(*row) for row in zip(sums.tolist(), counts.tolist(), left.tolist(), strict=True)]


def token_scores(module: WordsModule, windows: Windows, tokens: Ints) -> NDArray[np.float64]:
    """``(k,)`` log-probability, in nats, of each of these tokens that stand for text, when it alone is masked."""
    found = np.zeros(len(tokens))
    owners, places = windows.owners[tokens], windows.rows[tokens]
    for part in _parts(windows.encoded.lengths[owners]):
        copies = take(windows.encoded, owners[part])
        masked = copies.starts[:-1] + places[part] - windows.encoded.starts[owners[part]]
        ids, told = copies.ids.copy(), np.zeros(len(copies.ids), np.bool_)
        ids[masked], told[masked] = module.tokenizer.mask_id, True
        logits = head_logits(module.encoder, module.task_head, replace(copies, ids=ids), told)
        found[part] = np.take_along_axis(log_softmax(logits), copies.ids[masked][:, None], 1)[:, 0]
    return found


def _parts(lengths: Ints) -> Iterator[slice]:
    """Runs of copies with bounded numbers of tokens and of rows; a single window may be longer."""
    first = 0
    while first < len(lengths):
        fits = int(np.searchsorted(np.cumsum(lengths[first : first + _ROWS]), _TOKENS, "right"))
        yield slice(first, first + max(1, fits))
        first += max(1, fits)
