"""Words into pieces: the longest entry that a word begins with, then the longest ``##...`` that the rest begins with, and so on.

Few words go through a memory of words, since words come again; many go through a trie, all at once, and need none.

Notation: ``w`` words, ``m`` characters, ``k`` pieces.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nlphub.text.assembly import edges_of, places_in
from nlphub.text.basic import LETTER, Kinds
from nlphub.text.encoding import Ints
from nlphub.text.normalize import CODE_POINTS
from nlphub.text.trie import Trie

REMEMBERED = 1 << 16  # words whose pieces are remembered
LONGEST_WORD = 100  # characters; a longer one is unknown
FEW = 100  # words of several characters: up to so many are looked up one by one

Value = TypeVar("Value")
Parts = tuple[tuple[int, ...], tuple[int, ...]]  # ids, and where each piece ends in its word


class Memory(Generic[Value]):
    """What was found out about the words that were seen last.

    Two halves: what is asked for moves into the younger one, and when that is full the older one is forgotten. So words in use stay, and
    nothing is counted or ordered.
    """

    def __init__(self, most: int) -> None:
        self._half = max(1, most // 2)
        self._young: dict[str, Value] = {}
        self._old: dict[str, Value] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, word: str) -> Value | None:
        """What was found out about a word, if it is remembered."""
        value = self._young.get(word)
        if value is None and (value := self._old.pop(word, None)) is not None:
            self.put(word, value)
        return value

    def put(self, word: str, value: Value) -> None:
        """Remember it."""
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young
        self._young[word] = value


class Pieces:
    """What words become with one vocabulary.

    Attributes:
        single: ``(0x110000,)`` int32 ids of words of one character.
        memory: of words of several.
    """

    def __init__(self, ids: Mapping[str, int], unknown: int, kinds: Kinds) -> None:
        """Make them.

        Args:
            ids: entries and their ids.
            unknown: the id of words that have no pieces.
            kinds: of each code point as it is; a word of several characters has letters only.
        """
        self._ids, self._unknown, self._kinds = ids, unknown, kinds
        self._reach = max(map(len, ids))
        self.single = _single(ids, unknown)
        self.memory = Memory[Parts](REMEMBERED)

    def of(self, characters: NDArray[np.intp], first: Ints, stop: Ints) -> tuple[Ints, Ints, Ints]:
        """Words into pieces.

        Args:
            characters: ``(m,)`` code points.
            first, stop: ``(w,)`` first and last + 1 character of each word, ascending.

        Returns:
            ``(k,)`` ids, first and last + 1 character of each piece.
        """
        ids = self.single[characters[first]].astype(np.int64)
        longer = np.flatnonzero(stop - first > 1)
        if not len(longer):
            return ids, first, stop
        many = len(longer) > FEW
        part_ids, part_first, part_stop = (self._at_once if many else self._one_by_one)(characters, first[longer], stop[longer])
        at = np.full(len(characters), -1)  # characters where pieces begin -> their number among words and parts
        at[first] = np.arange(len(first))
        at[part_first] = len(first) + np.arange(len(part_first))
        chosen = at[at >= 0]
        both = ((ids, part_ids), (first, part_first), (stop, part_stop))
        ids, first, stop = (np.concatenate(pair)[chosen] for pair in both)
        return ids, first, stop

    def word(self, word: str) -> Parts:
        """The pieces of a word of several characters, from memory if it was seen not long ago."""
        parts = self.memory.get(word)
        if parts is None:
            parts = self._split(word)
            self.memory.put(word, parts)
        return parts

    def _split(self, word: str) -> Parts:
        ids: list[int] = []
        ends: list[int] = []
        known, start, size = self._ids, 0, len(word)
        while start < size <= LONGEST_WORD:
            prefix = "##" if start else ""
            for end in range(min(size, start + self._reach), start, -1):
                number = known.get(prefix + word[start:end])
                if number is not None:
                    break
            else:
                break
            ids.append(number)
            ends.append(end)
            start = end
        return (tuple(ids), tuple(ends)) if start == size else ((self._unknown,), (size,))

    def _one_by_one(self, characters: NDArray[np.intp], first: Ints, stop: Ints) -> tuple[Ints, Ints, Ints]:
        """``(k,)`` ids, first and last + 1 character of the pieces of words of several characters."""
        ids: list[int] = []
        starts: list[int] = []
        stops: list[int] = []
        for a, z in zip(first.tolist(), stop.tolist(), strict=True):
            found, ends = self.word("".join(map(chr, characters[a:z].tolist())))
            ids += found
            starts += (a, *(a + end for end in ends[:-1]))
            stops += (a + end for end in ends)
        return np.array(ids), np.array(starts), np.array(stops)

    def _at_once(self, characters: NDArray[np.intp], first: Ints, stop: Ints) -> tuple[Ints, Ints, Ints]:
        """As :meth:`_one_by_one`."""
        sizes = np.where(stop - first <= LONGEST_WORD, stop - first, 1)
        edges, inside = edges_of(sizes), places_in(sizes)
        places = np.repeat(first, sizes) + inside
        ids, lengths = self._trie.longest(characters[places], (inside > 0).astype(np.int64), np.repeat(sizes, sizes) - inside)
        begins, failed = _chain(lengths, edges)
        failed |= sizes < stop - first
        begins &= ~np.repeat(failed, sizes)
        at = edges[:-1][failed]
        begins[at], ids[at], lengths[at] = True, self._unknown, (stop - first)[failed]
        starts = places[begins]
        return ids[begins], starts, starts + lengths[begins]

    @cached_property
    def _trie(self) -> Trie:
        return Trie.of(self._entries(), roots=2)

    def _entries(self) -> Iterator[tuple[int, str, int]]:
        """Root 0 is the start of a word, root 1 its inside. Entries that hold other characters than letters are in no word."""
        kinds = self._kinds.tobytes()
        for entry, number in self._ids.items():
            inner = entry.startswith("##")
            text = entry[2:] if inner else entry
            if text and all(kinds[ord(character)] == LETTER for character in text):
                yield int(inner), text, number


def _chain(lengths: Ints, edges: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """From the longest match at each character, where pieces begin, and in which words there is no match where one has to begin."""
    begins, failed = np.zeros(len(lengths), np.bool_), np.zeros(len(edges) - 1, np.bool_)
    words, at = np.arange(len(failed)), edges[:-1]
    while len(words):
        begins[at] = True
        step = lengths[at]
        failed[words[step == 0]] = True
        on = np.flatnonzero((step > 0) & (at + step < edges[words + 1]))
        words, at = words[on], (at + step)[on]
    return begins, failed


def _single(ids: Mapping[str, int], unknown: int) -> NDArray[np.int32]:
    """``(0x110000,)``: the ids of words of one character."""
    table = np.full(CODE_POINTS, unknown, np.int32)
    for entry, number in ids.items():
        if len(entry) == 1:
            table[ord(entry)] = number
    return table
