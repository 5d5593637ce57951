"""The longest entry that begins at each place of a text, for all places of a batch at once.

A tree of the entries' characters (Fredkin, 1960, "Trie memory"), its edges in a hash table of arrays: one step of all places is a few
array operations, and the number of steps is the length of the longest match.

Notation: ``m`` places.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.text.encoding import Ints

_CODE_BITS = np.uint64(21)  # of a code point
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4)
_FREE = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """Entries, each below a root.

    Attributes:
        keys: ``(2^n,)`` edges, as node and character; three of four places or more are free.
        nodes: ``(2^n,)`` where they lead.
        numbers: of each node, the number of the entry that ends there, or -1.
        shift: 64 - n.
    """

    keys: NDArray[np.uint64]
    nodes: Ints
    numbers: Ints
    shift: np.uint64

    @classmethod
    def of(cls, entries: Iterable[tuple[int, str, int]], *, roots: int = 1) -> "Trie":
        """Make one.

        Args:
            entries: root, characters (at least one) and number of each; of equal ones the last counts.
            roots: how many roots there are; they are the first nodes.
        """
        edges: dict[int, int] = {}
        numbers = dict[int, int]()
        for node, text, number in entries:
            for code in map(ord, text):
                node = edges.setdefault(node << 21 | code, len(edges) + roots)
            numbers[node] = number
        return cls._table(edges, numbers, roots)

    @classmethod
    def _table(cls, edges: dict[int, int], numbers: dict[int, int], roots: int) -> "Trie":
        bits = len(edges).bit_length() + 2
        shift, last = np.uint64(64 - bits), (1 << bits) - 1
        wanted = np.fromiter(edges, np.uint64, len(edges))
        slots, keys = _slots(wanted, shift), np.full(last + 1, _FREE)
        left = np.arange(len(wanted))
        while len(left):
            free = left[keys[slots[left]] == _FREE]
            keys[slots[free]] = wanted[free]
            left = left[keys[slots[left]] != wanted[left]]  # another one has the place
            slots[left] = (slots[left] + 1) & last
        nodes = np.full(last + 1, -1)
        nodes[slots] = np.fromiter(edges.values(), np.int64, len(edges))
        ends = np.full(len(edges) + roots, -1)
        ends[np.fromiter(numbers, np.int64, len(numbers))] = np.fromiter(numbers.values(), np.int64, len(numbers))
        return cls(keys, nodes, ends, shift)

    def longest(self, codes: Ints, roots: Ints, left: Ints) -> tuple[Ints, Ints]:
        """The longest entry at each place.

        Args:
            codes: ``(m,)`` code points.
            roots: ``(m,)`` the root below which entries are looked for.
            left: ``(m,)`` how many code points from the place on may belong to an entry, at least one.

        Returns:
            ``(m,)`` its number, or -1, and ``(m,)`` its length, or 0.
        """
        numbers, lengths = np.full(len(codes), -1), np.zeros(len(codes), np.int64)
        places, nodes, depth = np.arange(len(codes)), roots, 0
        while len(places):
            nodes = self._children(nodes, codes[places + depth])
            there = np.flatnonzero(nodes >= 0)
            places, nodes, depth = places[there], nodes[there], depth + 1
            found = self.numbers[nodes]
            ended = np.flatnonzero(found >= 0)
            numbers[places[ended]] = found[ended]
            lengths[places[ended]] = depth
            more = np.flatnonzero(left[places] > depth)
            places, nodes = places[more], nodes[more]
        return numbers, lengths

    def _children(self, nodes: Ints, codes: Ints) -> Ints:
        """Where the edges of these characters lead, or -1."""
        wanted = nodes.astype(np.uint64) << _CODE_BITS | codes.astype(np.uint64)
        slots = _slots(wanted, self.shift)
        keys = self.keys[slots]
        children = np.where(keys == wanted, self.nodes[slots], -1)
        unsure = np.flatnonzero((keys != wanted) & (keys != _FREE))
        while len(unsure):
            slots[unsure] = (slots[unsure] + 1) & (len(self.keys) - 1)
            keys = self.keys[slots[unsure]]
            hit = keys == wanted[unsure]
            children[unsure[hit]] = self.nodes[slots[unsure[hit]]]
            unsure = unsure[~hit & (keys != _FREE)]
        return children


def _slots(keys: NDArray[np.uint64], shift: np.uint64) -> Ints:
    return (keys * _FACTOR >> shift).astype(np.int64)
