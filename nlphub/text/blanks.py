"""Texts with blanks: ``[MASK]`` written in a text becomes one mask token, where the plain tokenizer sees six characters.

A blank is the six characters ``[MASK]`` with half-width brackets, its letters in either case. Notation: ``t`` tokens of all texts together.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from nlphub.text.encoding import Encoded, Ints

BLANK = re.compile(r"\[MASK\]", re.IGNORECASE | re.ASCII)
GAP = re.compile(r"(?:\[MASK\])+", re.IGNORECASE | re.ASCII)  # blanks without anything between them
WIDTH = len("[MASK]")


def encode_with_blanks(encode: Callable[[Sequence[str]], Encoded], texts: Sequence[str], *, stand_in: str, mask_id: int) -> Encoded:
    """Encode with each blank replaced by one character, then put the mask where it stood.

    Args:
        encode: of a tokenizer that makes exactly one token of ``stand_in``, and whose tokens never join two characters.
        stand_in: one character.
        mask_id: of the mask.

    Returns:
        The batch; the offsets of a mask span the blank in the caller's own text, and those behind it are right too.
    """
    encoded = encode([BLANK.sub(stand_in, text) for text in texts])
    ids, offsets = encoded.ids.copy(), encoded.offsets.copy()
    for row, text in enumerate(texts):
        if BLANK.search(text):
            tokens = slice(encoded.starts[row], encoded.starts[row + 1])
            ids[tokens], offsets[tokens] = _restored(ids[tokens], offsets[tokens], _places(text), mask_id)
    return replace(encoded, ids=ids, offsets=offsets)


def _places(text: str) -> Ints:
    """Where blanks stand in a text in which each of them is one character."""
    starts = [found.start() for found in BLANK.finditer(text)]
    return np.array(starts, np.int64) - np.arange(len(starts)) * (WIDTH - 1)


def _restored(ids: Ints, offsets: Ints, blanks: Ints, mask_id: int) -> tuple[Ints, Ints]:
    """Ids and offsets of one sequence, from those of the text with stand-ins."""
    real = offsets[:, 0] < offsets[:, 1]
    masked = real & np.isin(offsets[:, 0], blanks)
    start = offsets[:, 0] + (WIDTH - 1) * np.searchsorted(blanks, offsets[:, 0])  # blanks before this token
    end = start + np.where(masked, WIDTH, offsets[:, 1] - offsets[:, 0])
    return np.where(masked, mask_id, ids), np.where(real[:, None], np.stack([start, end], axis=1), offsets)
