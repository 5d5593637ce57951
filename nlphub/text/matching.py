"""Forward maximum matching: at each place of a text the longest word of a dictionary, or else one character.

Notation: ``r`` texts, ``n`` characters that are shown, of all texts together.
"""

import itertools
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np

from nlphub.text.assembly import edges_of, places_in
from nlphub.text.encoding import Ints
from nlphub.text.normalize import code_points

WINDOW = 5  # characters of the longest word that is looked for


class Matching:
    """A dictionary."""

    def __init__(self, words: Collection[str]) -> None:
        self.words = frozenset(words)

    def cut(self, text: str) -> list[str]:
        """A text in words, together the whole text."""
        found, place, end = list[str](), 0, len(text)
        lengths, words = self._lengths, self.words
        while place < end:
            word = text[place]
            for length in lengths.get(text[place : place + 2], ()):
                longer = text[place : place + length]
                if longer in words:
                    word = longer
                    break
            found.append(word)
            place += len(word)
        return found

    @cached_property
    def _lengths(self) -> dict[str, tuple[int, ...]]:
        """The first two characters of words -> how long those are, longest first."""
        found: dict[str, set[int]] = {}
        for word in self.words:
            if 2 <= len(word) <= WINDOW:
                found.setdefault(word[:2], set()).add(len(word))
        return {start: tuple(sorted(lengths, reverse=True)) for start, lengths in found.items()}


def spaced(cut: Sequence[Sequence[str]]) -> tuple[list[str], Ints]:
    """Words with spaces between them; words that are one space are dropped.

    Args:
        cut: of each of ``r`` texts its words.

    Returns:
        ``r`` texts, and ``(n,)`` the place that each of their characters has in the uncut text; a space has that of the next word.
    """
    shown = [" ".join([word for word in words if word != " "] if " " in words else words) for words in cut]
    counts, flat = np.fromiter(map(len, cut), np.int64, len(cut)), [*itertools.chain.from_iterable(cut)]
    sizes = np.fromiter(map(len, flat), np.int64, len(flat))
    begins, row = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(cut)), counts)
    kept = np.flatnonzero((sizes > 1) | (code_points("".join(flat))[begins] != ord(" ")))
    begins = begins - np.repeat(edges_of(sizes)[edges_of(counts)[:-1]], counts)
    row, begins, sizes = row[kept], begins[kept], sizes[kept]
    gaps = (np.diff(row, prepend=-1) == 0).astype(np.int64)  # spaces in front of each word
    places = np.repeat(begins, sizes + gaps) + np.maximum(places_in(sizes + gaps) - np.repeat(gaps, sizes + gaps), 0)
    return shown, places
