"""One short text, token by token in plain Python: a few microseconds, where arrays made for a batch cost fifty.

Its result is that of the batch, which tests compare on random strings.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from nlphub.text.encoding import Encoded, Ints

SHORT = 128  # code points: longer texts are as fast in arrays
KEPT = 1 << 16  # characters whose meaning is remembered

Key = TypeVar("Key")
Meaning = TypeVar("Meaning")
Tokens = tuple[list[int], list[int] | None]  # ids, and start, end, start, end, ...; None: the token at i spans character i
One = Callable[[str], Tokens]

SPANS = [edge for place in range(SHORT) for edge in (place, place + 1)]
"""Of characters one by one: 0, 1, 1, 2, 2, 3, ..."""

_EACH = np.array([0, 0, *SPANS, 0, 0]).reshape(-1, 2)
_EACH.setflags(write=False)


class Meanings(dict[Key, Meaning]):
    """What each character means to a tokenizer, looked up when first met. Of very many characters the later ones are not kept."""

    def __init__(self, look_up: Callable[[Key], Meaning]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, character: Key) -> Meaning:
        meaning = self._look_up(character)
        if len(self) < KEPT:
            self[character] = meaning
        return meaning


def encode_one(tokens: Tokens, *, room: int, cls_id: int, sep_id: int) -> Encoded:
    """A batch of one sequence.

    Args:
        tokens: of the text.
        room: how many of them fit between [CLS] and [SEP].
    """
    ids, spans = tokens
    count = min(len(ids), room)
    truncated = np.zeros(1, np.bool_)
    if count < len(ids):
        ids, truncated[0] = ids[:count], True
    return Encoded(
        ids=np.fromiter([cls_id, *ids, sep_id], np.int64, count + 2),
        types=np.zeros(count + 2, np.int64),
        offsets=_offsets(spans, count),
        starts=np.fromiter((0, count + 2), np.int64, 2),
        truncated=truncated,
    )


def _offsets(spans: list[int] | None, count: int) -> Ints:
    """``(count + 2, 2)``."""
    if spans is None:
        offsets = _EACH[: count + 2].copy()
        offsets[-1] = 0
        return offsets
    return np.fromiter([0, 0, *spans[: 2 * count], 0, 0], np.int64, 2 * count + 4).reshape(-1, 2)
