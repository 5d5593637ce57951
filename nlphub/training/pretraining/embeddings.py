"""First word embeddings out of co-occurrence counts, so that a short pretraining need not learn them from nothing.

Positive pointwise mutual information of tokens a few places apart, factorised (Levy and Goldberg, 2014).

Notation: ``v`` entries of the vocabulary, ``d`` width.
"""

import numpy as np
import torch
from torch import Tensor

from nlphub.data.shards import Corpus, Shard
from nlphub.text.encoding import Ints

_WINDOW = 4  # tokens to each side
_CHUNK = 4_000_000  # tokens that are counted at a time
_SMOOTHING = 0.75  # power of the context counts (Levy et al., 2015): rare contexts say less than their counts
_STD = 0.02  # of the result, as of other fresh weights
_EXTRA, _ROUNDS = 32, 3  # oversampling and power iterations of the randomised SVD (Halko et al., 2011)


def context_vectors(corpus: Corpus, *, vocab: int, width: int, tokens: int, seed: int = 0) -> Tensor:
    """``(v, d)`` float32, rows of equal norm and the size of other fresh weights: tokens that stand in like contexts have like rows.

    Args:
        corpus: of shards.
        vocab: v; the counts take ``8 * v * v`` bytes.
        width: d, at most v.
        tokens: the most that are counted, from all shards in proportion to their weights.
        seed: of the randomised factorisation, and of rows of tokens that never occur.
    """
    counts = co_occurrences(corpus, vocab=vocab, tokens=tokens)
    unseen = torch.from_numpy(counts.sum(1) == 0)
    information = positive_information(torch.from_numpy(counts))
    generator = torch.Generator().manual_seed(seed)
    left, values = _factorise(information, width, generator)
    vectors = left * values.sqrt()
    vectors[unseen] = torch.randn(int(unseen.sum()), width, generator=generator)
    norms: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors.mul_(_STD * width**0.5 / norms.clamp(min=1e-6))


def co_occurrences(corpus: Corpus, *, vocab: int, tokens: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """``(v, v)`` float32: how often two tokens stand at most four places apart in one document, nearer ones counting more."""
    counts = np.zeros((vocab, vocab), np.float32)
    share = min(1.0, tokens / corpus.tokens)
    for name in corpus.shards:
        shard = corpus[name]
        last = int(shard.tokens * share)
        for begin in range(0, last, _CHUNK):
            _count(shard, begin, min(begin + _CHUNK, last), counts)
    counts += counts.T.copy()
    return counts


def positive_information(counts: Tensor) -> Tensor:
    """``(v, v)`` positive pointwise mutual information of symmetric counts, in place."""
    rows = counts.sum(1)
    contexts = rows**_SMOOTHING
    contexts = contexts / contexts.sum()
    counts.div_(rows.clamp(min=1.0)[:, None]).div_(contexts.clamp(min=1e-12)[None, :])
    return counts.clamp_(min=1.0).log_()


def _count(shard: Shard, begin: int, end: int, counts: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    vocab = len(counts)
    ids = shard.ids[begin:end].astype(np.int64)
    document = np.searchsorted(shard.starts, np.arange(begin, end), side="right")
    for distance in range(1, _WINDOW + 1):
        same = document[distance:] == document[:-distance]
        pairs: Ints = (ids[:-distance] * vocab + ids[distance:])[same]
        found, times = np.unique(pairs, return_counts=True)
        counts.reshape(-1)[found] += times * np.float32(shard.weight / distance)


def _factorise(matrix: Tensor, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Left singular vectors ``(v, rank)`` and singular values of a symmetric matrix, with a generator of our own."""
    columns = min(rank + _EXTRA, len(matrix))
    basis = torch.linalg.qr(matrix @ torch.randn(len(matrix), columns, generator=generator))[0]
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(matrix @ basis)[0]
    left, values, _ = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return (basis @ left)[:, :rank], values[:rank]
