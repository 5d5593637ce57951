"""Pairs whose two texts are read each by itself: as tokens, as packed batches, and with the vectors of texts that were read before.

A pair is one row of :class:`~nlphub.text.encoding.Encoded`: ``[CLS] a [SEP] [CLS] b [SEP]``, token type 1 from the second [CLS] on. So what
counts, orders and cuts rows (batches, token budgets, targets) needs to know nothing of it; only what the encoder sees is taken apart.

Notation: ``b`` pairs, ``n`` texts, ``t`` tokens, ``d`` width.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import Packed, places_in, token_rows
from nlphub.errors import InputError
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer

MOST_VECTORS = 4096  # texts whose vectors are kept: 6 MB of a network 384 wide

Floats = NDArray[np.float32]


def encode_apart(tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str] | None, *, max_length: int) -> Encoded:
    """``b`` pairs, each text cut to ``max_length`` tokens of its own; offsets count in the text of their token type.

    Raises:
        InputError: there are no second texts, or not as many as first ones, or as ``tokenizer.encode``.
    """
    if pairs is None or len(pairs) != len(texts):
        raise InputError(f"{len(texts)} texts have {0 if pairs is None else len(pairs)} second ones; this head compares two texts")
    sides = [tokenizer.encode(side, max_length=max_length) for side in (texts, pairs)]
    places = np.arange(2 * len(texts)).reshape(2, -1).T.ravel()  # first, second, first, second, ...
    both = take(_stacked(*sides), places)
    types = np.repeat(np.arange(len(places), dtype=np.int64) % 2, both.lengths)
    return Encoded(both.ids, types, both.offsets, both.starts[::2], both.truncated[0::2] | both.truncated[1::2])


def texts_of(encoded: Encoded) -> Encoded:
    """``2b`` texts, first and second by turns, of ``b`` pairs from :func:`encode_apart`."""
    lengths = _lengths(encoded.types, encoded.starts[:-1], encoded.lengths)
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Encoded(encoded.ids, np.zeros_like(encoded.types), encoded.offsets, edges, np.repeat(encoded.truncated, 2))


def pack_apart(packed: Packed[np.ndarray[Any, Any]]) -> Packed[np.ndarray[Any, Any]]:
    """A packed batch of ``b`` pairs as one of ``2b`` texts, first and second by turns.

    Text ``k`` (0 or 1) of example ``e`` is example ``2e + k``: the dropout masks of the two differ, and follow them wherever they stand.
    """
    lengths = _lengths(packed.types, packed.starts, packed.lengths)
    starts = np.cumsum(lengths) - lengths
    return Packed(
        ids=packed.ids,
        types=np.zeros_like(packed.types),
        positions=places_in(lengths),
        lengths=lengths,
        starts=starts,
        cls_rows=starts,
        examples=(2 * packed.examples[:, None] + np.arange(2)).ravel(),
    )


def take(encoded: Encoded, rows: Ints) -> Encoded:
    """The sequences ``rows``, in that order."""
    places = token_rows(encoded, rows)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(encoded.lengths[rows])])
    return Encoded(encoded.ids[places], encoded.types[places], encoded.offsets[places], starts, encoded.truncated[rows])


class Vectors:
    """The vectors of the texts that were read last, so that a text that stands in many pairs is read once.

    Texts are told apart by their tokens. Safe to use from several threads; copies and pickles begin empty.

    Args:
        most: texts that are kept; the one that was not asked for the longest goes first.
    """

    def __init__(self, most: int = MOST_VECTORS) -> None:
        self.most = most
        self._held: OrderedDict[bytes, Floats] = OrderedDict()
        self._stamp: Hashable = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._held.clear()

    def of(self, encoded: Encoded, read: Callable[[Encoded], Floats], *, stamp: Hashable = None) -> Floats:
        """``(n, d)`` of ``n`` texts; those that are not held are read, each once.

        Args:
            read: texts -> their vectors, in order.
            stamp: of the weights; vectors that were made under another one are forgotten.
        """
        keys = [ids.tobytes() for ids in np.split(encoded.ids, encoded.starts[1:-1])] if len(encoded) else []
        known = self._look_up(keys, stamp)
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key not in known}
        if first:
            made = read(take(encoded, np.array(sorted(first.values()), np.int64)))
            found = dict(zip(sorted(first, key=first.__getitem__), made, strict=True))
            self._keep(found, stamp)
            known |= found
        return np.stack([known[key] for key in keys]) if keys else read(encoded)

    def _look_up(self, keys: Sequence[bytes], stamp: Hashable) -> dict[bytes, Floats]:
        with self._lock:
            if stamp != self._stamp:
                self._held.clear()
                self._stamp = stamp
            known = {key: self._held[key] for key in keys if key in self._held}
            for key in known:
                self._held.move_to_end(key)
        return known

    def _keep(self, found: dict[bytes, Floats], stamp: Hashable) -> None:
        with self._lock:
            if stamp == self._stamp:
                self._held.update((key, np.array(vector)) for key, vector in found.items())  # a copy: a row would keep its whole batch
                while len(self._held) > self.most:
                    self._held.popitem(last=False)

    def __getstate__(self) -> dict[str, int]:
        return {"most": self.most}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(state["most"])  # type: ignore[misc]


def _lengths(types: Ints, starts: Ints, lengths: Ints) -> Ints:
    """``(2b,)`` tokens of first and second texts by turns."""
    if not len(starts):
        return np.zeros(0, np.int64)
    second = np.add.reduceat(types, starts)
    return np.stack([lengths - second, second], axis=1).ravel()


def _stacked(first: Encoded, second: Encoded) -> Encoded:
    return Encoded(
        ids=np.concatenate([first.ids, second.ids]),
        types=np.concatenate([first.types, second.types]),
        offsets=np.concatenate([first.offsets, second.offsets]),
        starts=np.concatenate([first.starts, second.starts[1:] + first.starts[-1]]),
        truncated=np.concatenate([first.truncated, second.truncated]),
    )
