"""Near-equal documents by MinHash with banding: Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.

A document is the set of its 5-grams of normalised characters. A signature is 112 minima over 112 hash functions; two documents are
candidates if one of 14 bands of 8 minima is equal, and near-equal if at least 0.8 of all minima are. For documents whose sets have the
Jaccard similarity ``s``, the chance of a shared band is ``1 - (1 - s**8)**14``, and the share of equal minima scatters around ``s`` with a
deviation of ``sqrt(s * (1 - s) / 112)``: a pair of similarity 0.9 is missed in about 0.1 % of cases, 0.85 in 8 %, 0.8 in half, and one
of 0.7 is taken for near-equal in about 1 %. Those are the numbers of FineWeb (Penedo et al. 2024) but for the check of the whole
signature.

In a band, a document is compared with the first of its bucket and with the one before it, not with all others: the cost stays linear
however large a bucket is.
"""

import numpy as np
from numpy.typing import NDArray

from nlphub.data.corpus.batch import Flags, Hashes, ngrams
from nlphub.text.encoding import Ints
from nlphub.text.normalize import Codes

SHINGLE = 5  # characters
BANDS, ROWS = 14, 8
MINIMA = BANDS * ROWS
THRESHOLD = 0.8

Signatures = NDArray[np.uint32]

_CHUNK = 1 << 16  # shingles that go through all hash functions together, so that they stay in the processor's cache
_PAIRS = 1 << 14  # pairs of signatures that are compared together


def signatures(codes: Codes, edges: Ints, *, shingle: int = SHINGLE) -> Signatures:
    """Signatures of documents.

    Args:
        codes: ``(m,)`` normalised code points of all documents.
        edges: ``(n + 1,)`` document ``i`` is ``codes[edges[i]:edges[i + 1]]``.
        shingle: characters of an n-gram; fewer than 5 for texts that are much shorter than documents.

    Returns:
        ``(n, 112)`` minima; a document without an n-gram has the largest value everywhere.
    """
    result = np.full((len(edges) - 1, MINIMA), np.iinfo(np.uint32).max, np.uint32)
    shingles, places = _shingles(codes, edges, shingle)
    bounds = np.searchsorted(places, edges)
    filled = np.flatnonzero(np.diff(bounds))
    ends = bounds[filled + 1]
    first = 0
    while first < len(filled):
        last = max(first + 1, int(np.searchsorted(ends, bounds[filled[first]] + _CHUNK, side="right")))
        chosen = filled[first:last]
        begin = int(bounds[chosen[0]])
        result[chosen] = _minima(shingles[begin : ends[last - 1]], bounds[chosen] - begin)
        first = last
    return result


def near_duplicates(signature: Signatures, threshold: float = THRESHOLD) -> Flags:
    """``(n,)`` True for documents that are near-equal to an earlier one."""
    return near_partners(signature, threshold) >= 0


def near_partners(signature: Signatures, threshold: float = THRESHOLD) -> Ints:
    """``(n,)`` an earlier document that each document is near-equal to, or -1."""
    partners = np.full(len(signature), -1, np.int64)
    for band in range(BANDS):
        earlier, later = _candidates(signature[:, band * ROWS : (band + 1) * ROWS])
        for start in range(0, len(later), _PAIRS):
            a, b = earlier[start : start + _PAIRS], later[start : start + _PAIRS]
            a, b = a[partners[b] < 0], b[partners[b] < 0]
            near = (signature[a] == signature[b]).mean(axis=1) >= threshold
            partners[b[near]] = a[near]
    return partners


def _shingles(codes: Codes, edges: Ints, n: int) -> tuple[NDArray[np.uint32], Ints]:
    """The n-grams that do not cross an edge, hashed to 32 bits, and their places."""
    owner = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    count = max(len(codes) - n + 1, 0)
    places = np.flatnonzero(owner[:count] == owner[len(owner) - count :])
    return (ngrams(codes, n)[places] >> np.uint64(32)).astype(np.uint32), places


def _minima(shingles: NDArray[np.uint32], starts: Ints) -> Signatures:
    """``(n, 112)``: for each hash function the smallest value of each document."""
    result = np.empty((MINIMA, len(starts)), np.uint32)
    buffer = np.empty_like(shingles)
    for function in range(MINIMA):
        np.multiply(shingles, _FACTORS[function], out=buffer)
        np.add(buffer, _TERMS[function], out=buffer)
        np.minimum.reduceat(buffer, starts, out=result[function])
    return result.T


def _candidates(band: Signatures) -> tuple[Ints, Ints]:
    """Pairs of an earlier and a later document whose band is equal: with the first of the bucket, and with the one before."""
    key = _band_hashes(band)
    order = np.argsort(key, kind="stable")
    joined = np.concatenate([np.zeros(1, np.bool_), key[order][1:] == key[order][:-1]])[: len(order)]
    first = np.maximum.accumulate(np.where(joined, 0, np.arange(len(order))))
    later = np.flatnonzero(joined)
    return np.concatenate([order[first[later]], order[later - 1]]), np.concatenate([order[later], order[later]])


def _band_hashes(band: Signatures) -> Hashes:
    key = np.zeros(len(band), np.uint64)
    for column in band.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    return key


def _functions() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors (odd) and terms of ``x -> factor * x + term`` modulo 2**32, which permutes the 32-bit numbers."""
    numbers = np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 32, (2, MINIMA), dtype=np.uint32)
    return numbers[0] | np.uint32(1), numbers[1]


_FACTORS, _TERMS = _functions()
