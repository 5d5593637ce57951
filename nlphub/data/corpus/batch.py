"""Documents as lines, and all their normalised characters in one flat array, so that filters are array operations.

Notation: ``d`` documents, ``l`` lines of all documents together, ``m`` normalised characters of all lines together.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.text.encoding import Ints
from nlphub.text.normalize import Codes, Table, code_points

Flags = NDArray[np.bool_]
Hashes = NDArray[np.uint64]

_BASE, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)  # odd; the mixer is Pelle Evensen's rrmxmx multiplier


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Documents that are looked at together.

    Attributes:
        lines: ``l`` lines as they were read.
        documents: ``(d + 1,)`` document ``i`` has the lines ``documents[i]`` to ``documents[i + 1]``; it may have none.
        codes: ``(m,)`` normalised code points.
        edges: ``(l + 1,)`` line ``i`` is ``codes[edges[i]:edges[i + 1]]``.
    """

    lines: Sequence[str]
    documents: Ints
    codes: Codes
    edges: Ints

    @classmethod
    def of(cls, documents: Sequence[Sequence[str]], table: Table) -> "Batch":
        """Normalise documents, each a list of lines."""
        counts = np.fromiter(map(len, documents), np.int64, len(documents))
        return cls.fold(list(itertools.chain.from_iterable(documents)), edges_of(counts), table)

    @classmethod
    def fold(cls, lines: Sequence[str], documents: Ints, table: Table) -> "Batch":
        """Normalise lines whose documents are known."""
        ends = edges_of(np.fromiter(map(len, lines), np.int64, len(lines)))
        codes, kept = table.fold(code_points("".join(lines)))
        return cls(lines, documents, codes, np.searchsorted(kept, ends))

    def __len__(self) -> int:
        return len(self.documents) - 1

    @property
    def characters(self) -> Ints:
        """``(l,)`` normalised characters of each line."""
        return np.diff(self.edges)

    @property
    def document_edges(self) -> Ints:
        """``(d + 1,)`` document ``i`` is ``codes[document_edges[i]:document_edges[i + 1]]``."""
        return self.edges[self.documents]

    @property
    def document_of_line(self) -> Ints:
        """``(l,)`` the document of each line."""
        return np.repeat(np.arange(len(self)), np.diff(self.documents))

    def take(self, keep: Flags) -> "Batch":
        """The batch with only the lines ``keep`` ``(l,)``; documents keep their numbers, and may end up empty."""
        characters = self.characters
        return Batch(
            lines=list(itertools.compress(self.lines, keep.tolist())),
            documents=edges_of(keep)[self.documents],
            codes=self.codes[np.repeat(keep, characters)],
            edges=edges_of(characters[keep]),
        )


def edges_of(counts: NDArray[Any]) -> Ints:
    """``(n + 1,)`` ends of ``(n,)`` counts laid one behind the other, with 0 before them."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def sums(values: NDArray[Any], edges: Ints) -> Ints:
    """``(n,)`` sums of ``values`` between neighbouring edges ``(n + 1,)``; an empty range is 0."""
    return np.diff(edges_of(values)[edges])


def hashes(codes: Codes, edges: Ints) -> Hashes:
    """``(n,)`` 64-bit BLAKE2 of the code points between neighbouring edges ``(n + 1,)``."""
    data = memoryview(np.ascontiguousarray(codes, dtype="<u4").view(np.uint8).tobytes())
    digests = (hashlib.blake2b(data[4 * a : 4 * b], digest_size=8).digest() for a, b in itertools.pairwise(edges.tolist()))
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def ngrams(codes: Codes, n: int) -> Hashes:
    """``(max(m - n + 1, 0),)`` 64-bit hashes of the ``n`` code points from each place on; where documents end is the caller's matter."""
    count = max(len(codes) - n + 1, 0)
    result = np.zeros(count, np.uint64)
    for k in range(n):
        result *= _BASE
        result += codes[k : k + count]
    for shift in (32, 29):  # the polynomial's low bits depend on the characters' low bits only
        result ^= result >> np.uint64(shift)
        result *= _MIX
    return result ^ (result >> np.uint64(32))
