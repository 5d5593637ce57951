"""Texts that are longer than a network reads, as overlapping windows, so that all of a text is read.

A window holds ``room`` tokens between [CLS] and [SEP]; the next one begins ``stride`` tokens later, and the last one ends where the text
ends. Of the windows that hold a token one *owns* it: the one in whose middle it stands nearest, where the network saw most around it.

Notation: ``b`` texts, ``v`` windows, ``t`` tokens of all windows with [CLS] and [SEP], ``w`` tokens that stand for text, each once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer

_BACK = 32  # code points that a piece may be shorter, so that no Latin word or number is cut


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Texts as windows.

    Attributes:
        encoded: ``v`` windows, ``t`` tokens.
        texts: ``(v,)`` the number of each window's text, ascending.
        firsts: ``(v,)`` which of the tokens that stand for its text comes first in a window.
        lengths: ``(b,)`` tokens that stand for each text.
        offsets: ``(w, 2)`` where they stand in the caller's texts, in code points.
        rows: ``(w,)`` the token of the window that owns each of them.
        cut: ``(b,)`` bool, whether some of a text is in no window.
    """

    encoded: Encoded
    texts: Ints
    firsts: Ints
    lengths: Ints
    offsets: Ints
    rows: Ints
    cut: NDArray[np.bool_]

    @property
    def owners(self) -> Ints:
        """``(w,)`` the window that owns each token."""
        return np.searchsorted(self.encoded.starts, self.rows, side="right") - 1


def read_windows(texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int, stride: int | None = None) -> Windows:
    """Tokenise texts, long ones as windows of ``max_length`` tokens.

    Args:
        stride: tokens from the beginning of a window to that of the next, at most ``max_length - 2``; by default half of it. 0: only the
            beginning of a long text is read, and it counts as cut.

    Raises:
        InputError: a text is not a string, or ``stride`` is out of range.
    """
    room = max_length - 2
    step = max(1, room // 2) if stride is None else stride
    if type(step) is not int or not 0 <= step <= room:
        raise InputError(f"stride={stride!r} must be a whole number of tokens from 1 to {room}, or 0 to read only the beginning of a text")
    encoded = tokenizer.encode(texts, max_length=max_length)
    if not step or not encoded.truncated.any():
        return _whole(encoded)
    return _windowed(encoded, texts, tokenizer, room=room, step=step)


def _whole(encoded: Encoded) -> Windows:
    """Each text as one window."""
    body = encoded.offsets[:, 1] > encoded.offsets[:, 0]
    lengths = np.diff(np.concatenate([[0], np.cumsum(body)])[encoded.starts])
    numbers, rows = np.arange(len(encoded)), np.flatnonzero(body)
    return Windows(encoded, numbers, np.zeros_like(numbers), lengths, encoded.offsets[rows], rows, encoded.truncated)


def _windowed(encoded: Encoded, texts: Sequence[str], tokenizer: Tokenizer, *, room: int, step: int) -> Windows:
    parts, numbers, firsts, rows, offsets, lengths, row = [], [], [], [], [], [], 0
    for number, (start, end) in enumerate(zip(encoded.starts[:-1].tolist(), encoded.starts[1:].tolist(), strict=True)):
        body = encoded.ids[start + 1 : end - 1], encoded.offsets[start + 1 : end - 1]
        ids, places = _body(texts[number], tokenizer) if encoded.truncated[number] else body
        begins = _begins(len(ids), room, step)
        owner = _owners(len(ids), begins, room)
        rows.append(row + 1 + np.arange(len(ids)) + _shifts(begins, len(ids), room)[owner])
        for first in begins:
            parts.append((ids[first : first + room], places[first : first + room]))
            numbers.append(number)
            firsts.append(first)
            row += len(parts[-1][0]) + 2
        offsets.append(places)
        lengths.append(len(ids))
    joined = _joined(parts, tokenizer)
    cut = np.zeros(len(texts), np.bool_)
    return Windows(
        joined, np.array(numbers), np.array(firsts), np.array(lengths, np.int64), np.concatenate(offsets), np.concatenate(rows), cut
    )


def _begins(tokens: int, room: int, step: int) -> list[int]:
    """Where the windows of a text begin: every ``step`` tokens, the last one so that it is full."""
    return [*range(0, tokens - room, step), tokens - room] if tokens > room else [0]


def _owners(tokens: int, begins: Sequence[int], room: int) -> Ints:
    """``(tokens,)`` the window in whose middle each token stands nearest, the first one of two."""
    between = (np.array(begins[:-1]) + np.array(begins[1:]) + room) / 2
    return np.searchsorted(between, np.arange(tokens) + 0.5, side="left")


def _shifts(begins: Sequence[int], tokens: int, room: int) -> Ints:
    """What has to be added to the place of a token in its text to get its place in the windows, laid end to end with two special tokens."""
    laid = np.cumsum([0, *(min(tokens, room) + 2 for _ in begins[:-1])])
    return np.asarray(laid - np.array(begins), np.int64)


def _body(text: str, tokenizer: Tokenizer) -> tuple[Ints, Ints]:
    """Ids and offsets of all tokens that stand for a text of any length.

    Tokenizers read a limited number of tokens, so the text goes through them in pieces. Those of characters and of WordPiece give the
    tokens of the whole text; one that joins pieces across words (SentencePiece) may see another one where a piece begins.
    """
    pieces = [*_pieces(text, tokenizer.max_length - 2)]
    encoded = tokenizer.encode([text[start:end] for start, end in pieces], max_length=tokenizer.max_length)
    while encoded.truncated.any():  # characters of more than one token
        pieces = [part for piece, cut in zip(pieces, encoded.truncated.tolist(), strict=True) for part in _halves(piece, cut)]
        encoded = tokenizer.encode([text[start:end] for start, end in pieces], max_length=tokenizer.max_length)
    body = encoded.offsets[:, 1] > encoded.offsets[:, 0]
    moved = encoded.offsets + np.repeat(np.array([start for start, _ in pieces]), encoded.lengths)[:, None]
    return encoded.ids[body], moved[body]


def _pieces(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Pieces of at most ``most`` code points, cut where no Latin word or number is, if there is such a place nearby."""
    start, end = 0, len(text)
    while end - start > most:
        cut = next((at for at in range(start + most, start + most - min(_BACK, most // 2), -1) if not _inside_word(text, at)), start + most)
        yield start, cut
        start = cut
    yield start, end


def _inside_word(text: str, at: int) -> bool:
    return all(character.isascii() and character.isalnum() for character in text[at - 1 : at + 1])


def _halves(piece: tuple[int, int], cut: bool) -> list[tuple[int, int]]:
    start, end = piece
    middle = (start + end) // 2
    if cut and start == middle:
        raise InputError("a single character has more tokens than the tokenizer makes of a text")
    return [(start, middle), (middle, end)] if cut else [piece]


def _joined(parts: Sequence[tuple[Ints, Ints]], tokenizer: Tokenizer) -> Encoded:
    """Windows of these ids and offsets, with [CLS] and [SEP]; special tokens have an empty span where the text before them ends."""
    ids = np.concatenate([np.concatenate([[tokenizer.cls_id], ids, [tokenizer.sep_id]]) for ids, _ in parts])
    offsets = np.concatenate([_framed(places) for _, places in parts])
    starts = np.concatenate([[0], np.cumsum([len(ids) + 2 for ids, _ in parts])])
    return Encoded(ids.astype(np.int64), np.zeros(len(ids), np.int64), offsets, starts.astype(np.int64), np.zeros(len(parts), np.bool_))


def _framed(places: Ints) -> Ints:
    first, last = (int(places[0, 0]), int(places[-1, 1])) if len(places) else (0, 0)
    return np.concatenate([[[first, first]], places, [[last, last]]]).astype(np.int64)
