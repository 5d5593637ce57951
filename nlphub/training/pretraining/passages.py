"""Short passages of a batch, and other ways to say them: what the objectives over two texts are made from.

Nobody labelled anything here. A passage is changed as a speaker changes a question: small words come and go, neighbours and clauses
change places. What carries its meaning, its longer words, is left alone; so two versions of one passage mean the same, and after
:func:`replaced` they no longer do. The passages of DeCLUTR (Giorgi et al., 2021, arXiv:2006.03659) are longer and are not changed.

Notation: a passage is a list of words, a word a list of ids.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer
from nlphub.training.pretraining.sampling import Batch

Word = list[int]
Passage = list[Word]

_BREAKS = "，。！？；：,.!?;:"
_SHORTEST, _LONGEST = 5, 36  # tokens
_DROP_SMALL, _DROP_LONG, _SWAP, _TURN = 0.2, 0.04, 0.08, 0.3


def breaks(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of punctuation that ends a clause."""
    return frozenset(tokenizer.encode([_BREAKS]).ids[1:-1].tolist())


def passages(batch: Batch, rows: Sequence[int], ends: frozenset[int], *, generator: np.random.Generator) -> list[list[Passage]]:
    """Cut sequences into passages of whole clauses.

    Args:
        rows: which sequences.
        ends: ids that end a clause.
        generator: draws how long each passage may become.

    Returns:
        The passages of each sequence, in their order; of a sequence that is too short, none.
    """
    return [_passages(_clauses(_words(batch, row), ends), generator) for row in rows]


def reworded(passage: Passage, ends: frozenset[int], *, generator: np.random.Generator) -> Passage:
    """The passage as somebody else might say it; at least one word is left."""
    long = [len(word) > 1 for word in passage]
    lots = generator.random((len(passage), 2))
    kept = [word for word, longer, lot in zip(passage, long, lots[:, 0], strict=True) if lot >= (_DROP_LONG if longer else _DROP_SMALL)]
    kept = kept or list(passage)
    for place in range(len(kept) - 1):
        if lots[place, 1] < _SWAP:
            kept[place], kept[place + 1] = kept[place + 1], kept[place]
    clauses = _clauses(kept, ends)
    if len(clauses) > 1 and generator.random() < _TURN:
        clauses = [*clauses[1:], clauses[0]]
    return list(itertools.chain.from_iterable(clauses))


def replaced(passage: Passage, others: Sequence[Word], *, generator: np.random.Generator) -> Passage:
    """The passage with some of its longer words (of its words, if it has none) exchanged for ``others``: it means something else.

    How many is drawn evenly from one to all, so that some are easily told apart and others hardly.
    """
    candidates = [place for place, word in enumerate(passage) if len(word) > 1] or list(range(len(passage)))
    changed = list(passage)
    count = int(generator.integers(1, len(candidates) + 1))
    for place in generator.choice(candidates, size=count, replace=False).tolist():
        changed[place] = others[int(generator.integers(len(others)))]
    return changed


def long_words(found: Sequence[Sequence[Passage]]) -> list[Word]:
    """All words of two tokens or more, as they occur: what :func:`replaced` draws from."""
    return [word for parts in found for passage in parts for word in passage if len(word) > 1]


def sequences(texts: Sequence[tuple[Passage, ...]], tokenizer: Tokenizer) -> Batch:
    """One or two passages each as [CLS] a [SEP] or [CLS] a [SEP] b [SEP], in the given order."""
    ids: list[int] = []
    types: list[int] = []
    words: list[bool] = []
    starts = [0]
    for text in texts:
        ids.append(tokenizer.cls_id)
        types.append(0)
        words.append(True)
        for number, passage in enumerate(text):
            flat = list(itertools.chain.from_iterable(passage))
            ids += [*flat, tokenizer.sep_id]
            types += [number] * (len(flat) + 1)
            words += [*(place == 0 for word in passage for place in range(len(word))), True]
        starts.append(len(ids))
    encoded = Encoded(
        ids=np.array(ids, np.int64),
        types=np.array(types, np.int64),
        offsets=np.zeros((len(ids), 2), np.int64),
        starts=np.array(starts, np.int64),
        truncated=np.zeros(len(texts), np.bool_),
    )
    return Batch(encoded, np.array(words, np.bool_))


def _words(batch: Batch, row: int) -> Passage:
    """The words of a sequence, without its special tokens."""
    begin, end = batch.encoded.starts[row] + 1, batch.encoded.starts[row + 1] - 1
    ids = batch.encoded.ids[begin:end].tolist()
    edges = [0, *(np.flatnonzero(batch.word_starts[begin + 1 : end]) + 1).tolist(), len(ids)]
    return [ids[a:b] for a, b in itertools.pairwise(edges)]


def _clauses(words: Passage, ends: frozenset[int]) -> list[Passage]:
    clauses: list[Passage] = [[]]
    for word in words:
        clauses[-1].append(word)
        if len(word) == 1 and word[0] in ends:
            clauses.append([])
    return [clause for clause in clauses if clause]


def _passages(clauses: list[Passage], generator: np.random.Generator) -> list[Passage]:
    """Clauses joined until a drawn length is reached; what is longer than the limit is cut, what is shorter is left out."""
    found: list[Passage] = []
    passage: Passage = []
    wanted = int(generator.integers(_SHORTEST, _LONGEST))
    for clause in clauses:
        passage = _cut(passage + clause)
        if _size(passage) >= wanted:
            found.append(passage)
            passage, wanted = [], int(generator.integers(_SHORTEST, _LONGEST))
    return [one for one in [*found, passage] if _size(one) >= _SHORTEST]


def _cut(passage: Passage) -> Passage:
    """Its first words, of at most ``_LONGEST`` tokens together."""
    sizes = itertools.accumulate(len(word) for word in passage)
    return [word for word, size in zip(passage, sizes, strict=True) if size <= _LONGEST]


def _size(passage: Passage) -> int:
    return sum(len(word) for word in passage)
