"""Which documents and lines are kept of all sources together: the first copy, up to each source's cap, a share of them for validation.

This is the one step that sees everything at once, so it works on hashes and signatures alone: 456 bytes a document and 16 bytes a line.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from nlphub.data.arrays import Array
from nlphub.data.corpus import counts
from nlphub.data.corpus.batch import Flags, edges_of, sums
from nlphub.data.corpus.counts import Counts
from nlphub.data.corpus.minhash import near_duplicates
from nlphub.data.corpus.parts import DROPPED, TO_DEV, TO_TRAIN, Part
from nlphub.data.corpus.sources import Source
from nlphub.text.encoding import Ints

LONG_LINE = 20  # normalised characters; a line that long is kept once in the whole corpus


class Choice:
    """All documents of all parts one behind the other, and which of them are kept so far.

    Attributes:
        parts: in the order in which the first copy wins.
        keep_lines: ``(l,)``.
        fates: ``(d,)`` :data:`DROPPED`, :data:`TO_TRAIN` or :data:`TO_DEV`.
    """

    def __init__(self, parts: Sequence[Part], sources: Sequence[Source]) -> None:
        """``sources`` holds the source of each part."""
        self.parts, self.sources = parts, sources
        self.characters = _joined([part.characters for part in parts], np.int64)
        self.documents = edges_of(_joined([np.diff(part.documents) for part in parts], np.int64))
        self.document_of_line = np.repeat(np.arange(len(self.documents) - 1), np.diff(self.documents))
        self.part_of_document = np.repeat(np.arange(len(parts)), [len(part.documents) - 1 for part in parts])
        self.keep_lines = np.ones(len(self.characters), np.bool_)
        self.fates = np.full(len(self.documents) - 1, TO_TRAIN, np.uint8)
        self.counts = {source.name: Counts() for source in sources}

    def drop_equal_documents(self) -> None:
        """Drop documents whose normalised characters are those of an earlier one."""
        self._drop_documents(_again(_joined([part.document_hashes for part in self.parts], np.uint64)), counts.SAME_DOCUMENT)

    def drop_near_equal_documents(self) -> None:
        """Drop documents that are near-equal to an earlier one of those that are left."""
        left = np.flatnonzero(self.fates != DROPPED)
        wrong = np.zeros(len(self.fates), np.bool_)
        if len(left):
            wrong[left] = near_duplicates(np.concatenate([part.signatures for part in self.parts])[left])
        self._drop_documents(wrong, counts.NEAR_DOCUMENT)

    def drop_equal_lines(self) -> None:
        """Drop long lines that an earlier line equals, of the documents that are left."""
        looked_at = np.flatnonzero(self.keep_lines & (self.characters >= LONG_LINE))
        wrong = np.zeros(len(self.keep_lines), np.bool_)
        wrong[looked_at] = _again(_joined([part.line_hashes for part in self.parts], np.uint64)[looked_at])
        self._drop_lines(wrong, counts.SAME_LINE)

    def hold_out(self, share: float, seed: int) -> None:
        """Put a share of the documents of each source aside, drawn by the seed; at least one of a source that has 20."""
        for source, chosen in self._by_source():
            count = max(round(share * len(chosen)), int(share > 0 and len(chosen) >= 20))
            order = _generator(seed, source.name, "held out").permutation(len(chosen))
            self.fates[chosen[order[:count]]] = TO_DEV

    def cap(self, seed: int) -> None:
        """Drop documents of sources above their cap, drawn by the seed; what is held out does not count."""
        sizes = sums(self.characters * self.keep_lines, self.documents)
        for source, chosen in self._by_source():
            if source.cap is not None:
                chosen = chosen[self.fates[chosen] == TO_TRAIN]
                order = _generator(seed, source.name, "cap").permutation(len(chosen))
                wrong = np.zeros(len(self.fates), np.bool_)
                wrong[chosen[order[np.cumsum(sizes[chosen[order]]) > source.cap]]] = True
                self._drop_documents(wrong, counts.CAPPED)

    def of_part(self, number: int) -> tuple[Flags, Array]:
        """``(l,)`` the lines to keep and ``(d,)`` the fates of documents of one part."""
        first, last = np.searchsorted(self.part_of_document, [number, number + 1])
        return self.keep_lines[self.documents[first] : self.documents[last]], self.fates[first:last]

    def _by_source(self) -> list[tuple[Source, Ints]]:
        """Each source with the numbers of its documents that are left."""
        names = [source.name for source in self.sources]
        position = np.array([names.index(name) for name in names], np.int64)  # of the first part of the same source
        owner = position[self.part_of_document]
        left = self.fates != DROPPED
        return [(self.sources[first], np.flatnonzero(left & (owner == first))) for first in np.unique(position).tolist()]

    def _drop_documents(self, wrong: Flags, reason: str) -> None:
        wrong = wrong & (self.fates != DROPPED)
        self._count(reason, self.keep_lines & wrong[self.document_of_line], wrong)
        self.keep_lines &= ~wrong[self.document_of_line]
        self.fates[wrong] = DROPPED

    def _drop_lines(self, wrong: Flags, reason: str) -> None:
        self._count(reason, wrong, np.zeros(len(self.fates), np.bool_))
        self.keep_lines &= ~wrong

    def _count(self, reason: str, lines: Flags, documents: Flags) -> None:
        parts = len(self.parts)
        part_of_line = self.part_of_document[self.document_of_line]
        by_part = (
            np.bincount(self.part_of_document[documents], minlength=parts),
            np.bincount(part_of_line[lines], minlength=parts),
            np.bincount(part_of_line[lines], weights=self.characters[lines], minlength=parts),
        )
        for source, d, n, c in zip(self.sources, *(column.tolist() for column in by_part), strict=True):
            self.counts[source.name].add(reason, documents=d, lines=n, characters=c)


def _again(values: Array) -> Flags:
    """``(n,)`` True where a value has been before."""
    result = np.ones(len(values), np.bool_)
    result[np.unique(values, return_index=True)[1]] = False
    return result


def _joined(arrays: list[Array], kind: type) -> Array:
    return np.concatenate(arrays) if arrays else np.zeros(0, kind)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on the seed and on names, and not on what else is prepared."""
    digest = hashlib.sha256("\n".join((str(seed), *names)).encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
