"""From the tokens of single texts to a batch: what every tokenizer does in the same way, whatever its tokens are.

1. Only the first ``16 x longest`` code points of a text are looked at (``longest``: the most tokens that the tokenizer ever makes). So a
   text of ten million characters costs what one of eight thousand costs.
2. The tokenizer's own part, a :data:`LookUp`, turns texts into ids and places.
3. ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``; what does not fit is cut at the end of the text, in pairs from the longer one until
   they are equal, then from the second (as ``longest_first`` of Hugging Face's slow tokenizers).

The texts of a batch stand in one string with a *mark* for each special token, so that tokens and special tokens are found in one pass.
One short text alone takes a way of plain Python (:mod:`nlphub.text.alone`), since arrays cost more to make than it costs to read.

Notation: ``b`` sequences, ``s`` texts (``b``, or ``2 b`` for pairs), ``t`` tokens of a batch with special ones.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.text.alone import SHORT, One, encode_one
from nlphub.text.encoding import Encoded, Ints

LOOKED_AT = 16  # code points of a text that are looked at, for each token that could be kept
CHUNK = 1 << 18  # code points that are encoded together, which bounds the memory of the intermediate arrays

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Framed:
    """Texts in a row, each sequence of them in marks: ``|a|`` and ``|a|b|``.

    Attributes:
        segments: ``s`` texts.
        width: of how many texts a sequence is.
        lengths: ``(s,)`` their code points.
        marks: ``(b * (width + 1),)`` int64, where the marks stand.
    """

    segments: list[str]
    width: int
    lengths: Ints
    marks: Ints

    @classmethod
    def of(cls, segments: list[str], lengths: Ints, width: int) -> "Framed":
        """Put marks around texts."""
        steps = np.ones((len(segments) // width, width + 1), np.int64)
        steps[:, :-1] += lengths.reshape(-1, width)
        return cls(segments, width, lengths, np.cumsum(steps) - steps.ravel())

    def codes(self) -> NDArray[np.intp]:
        """The code points of the whole, line ends for marks."""
        parts = [""] * (len(self.marks) + 1)
        for place in range(self.width):
            parts[place + 1 :: self.width + 1] = self.segments[place :: self.width]
        return np.frombuffer("\n".join(parts).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.intp)

    def found(self, tokens: Ints, counts: Ints) -> "Found":
        """The result of a tokenizer that reads one text after the other.

        Args:
            tokens: ``(3, k)`` ids, starts and ends in their own texts.
            counts: ``(s,)`` how many tokens each text has.
        """
        own = np.zeros((len(self.segments) // self.width, self.width + 1), np.int64)  # tokens behind each mark
        own[:, :-1] = counts.reshape(-1, self.width)
        marks = np.cumsum(own + 1) - own.ravel() - 1
        body = np.ones(len(marks) + tokens.shape[1], np.bool_)
        body[marks] = False
        whole = np.zeros((3, len(body)), np.int64)
        whole[:, body] = tokens
        whole[1:, body] += np.repeat(self.marks + 1, own.ravel())
        return Found(whole[0], whole[1], whole[2], marks)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The tokens of framed texts in order, and at each mark one whose values mean nothing.

    Attributes:
        ids: ``(t,)`` int64, writable.
        starts, ends: ``(t,)`` int64, the code points of the framed text that each token spans.
        marks: ``(b * (width + 1),)`` int64, which of the tokens are the marks.
    """

    ids: Ints
    starts: Ints
    ends: Ints
    marks: Ints


LookUp = Callable[[Framed], Found]


def encode_batch(
    look_up: LookUp,
    one: One,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    *,
    max_length: int | None,
    longest: int,
    cls_id: int,
    sep_id: int,
) -> Encoded:
    """Tokenise a batch; see the top of this file.

    Args:
        look_up: the tokens of many texts.
        one: the tokens of one short text, equal to those of ``look_up``.
        texts: ``b`` texts.
        pairs: ``b`` second texts, or None.
        max_length: the most tokens of a sequence, special ones included; ``longest`` by default.

    Raises:
        InputError: something is not a string, texts and pairs differ in number, or ``max_length`` is out of range.
    """
    if pairs is None and type(texts) is list and len(texts) == 1 and type(texts[0]) is str and len(texts[0]) <= min(SHORT, longest):
        return encode_one(one(texts[0]), room=_room(max_length, 1, longest), cls_id=cls_id, sep_id=sep_id)
    segments, width = segments_of(texts, pairs)
    room = _room(max_length, width, longest)
    lengths = np.fromiter(map(len, segments), np.int64, len(segments))
    cap = LOOKED_AT * longest
    capped = lengths > cap
    if capped.any():
        segments, lengths = [text[:cap] for text in segments], np.minimum(lengths, cap)
    chunks = []
    for a, b in _chunks(lengths, width):
        framed = Framed.of(segments[a:b], lengths[a:b], width)
        chunks.append(_cut_and_assemble(look_up(framed), framed, capped[a:b], room, cls_id, sep_id))
    return chunks[0] if len(chunks) == 1 else _joined(chunks)


def segments_of(texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[list[str], int]:
    """``[a0, b0, a1, b1, ...]`` and 2, or ``[a0, a1, ...]`` and 1."""
    first = strings("texts", texts)
    if pairs is None:
        return first, 1
    second = strings("pairs", pairs)
    if len(first) != len(second):
        raise InputError(f"{len(first)} texts have {len(second)} pairs; give one pair for each text")
    return list(itertools.chain.from_iterable(zip(first, second, strict=True))), 2


def strings(name: str, texts: Sequence[str]) -> list[str]:
    """The texts as a list, checked to be strings."""
    if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
        raise InputError(f"{name} is a single {type(texts).__name__}, not a list of texts; write [text] for one")
    found = list(texts)
    if not set(map(type, found)) <= {str}:
        wrong = [(i, text) for i, text in enumerate(found) if not isinstance(text, str)]
        problems = [f"{name}[{i}] is {type(text).__name__} ({text!r:.40})" for i, text in wrong[:10]]
        if wrong:
            raise InputError(f"{len(wrong)} of {len(found)} {name} are not strings", problems)
    return found


def checked_ids(ids: Sequence[int] | Ints, size: int) -> list[int]:
    """Ids as a list, checked to be entries of a vocabulary of this size."""
    values = np.asarray(ids, dtype=np.int64).ravel()
    wrong = values[(values < 0) | (values >= size)]
    if len(wrong):
        raise InputError(f"{wrong[0]} is not an id of this tokenizer; ids go from 0 to {size - 1}")
    listed: list[int] = values.tolist()
    return listed


def edges_of(counts: Ints) -> Ints:
    """``(n + 1,)``: where each of ``n`` neighbours starts, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def places_in(counts: Ints) -> Ints:
    """``(sum,)``: 0, 1, 2, ... anew in each segment."""
    total = int(counts.sum())
    return np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)


def _room(max_length: int | None, width: int, longest: int) -> int:
    limit = longest if max_length is None else max_length
    special = 1 + width
    if type(limit) is int and special < limit <= longest:
        return limit - special
    if not isinstance(limit, int | np.integer) or isinstance(limit, bool) or not special < limit <= longest:
        raise InputError(
            f"max_length={max_length!r} is out of range: {special} special tokens and at least one character have to fit, "
            f"and this tokenizer makes at most {longest}; give a whole number from {special + 1} to {longest}"
        )
    return int(limit) - special


def _chunks(lengths: Ints, width: int) -> Iterator[tuple[int, int]]:
    """Cut a batch between sequences into ranges of about ``CHUNK`` code points; an empty batch is one empty range."""
    numbers = np.cumsum(lengths.reshape(-1, width).sum(axis=1)) // CHUNK
    edges = np.flatnonzero(np.diff(numbers)) + 1
    yield from itertools.pairwise([0, *(edges * width).tolist(), len(lengths)])


def _cut_and_assemble(found: Found, framed: Framed, capped: Flags, room: int, cls_id: int, sep_id: int) -> Encoded:
    """A batch of ``b`` sequences with ``room`` tokens to a sequence."""
    width = framed.width
    counts = np.diff(found.marks, append=len(found.ids)).reshape(-1, width + 1) - 1
    cut = counts.sum(axis=1) > room
    if cut.any():
        found, counts = _shorter(found, counts, room)
    truncated = cut | capped.reshape(-1, width).any(axis=1)
    return _assemble(found, framed, counts, cls_id=cls_id, sep_id=sep_id, truncated=truncated)


def _shorter(found: Found, counts: Ints, room: int) -> tuple[Found, Ints]:
    """With the tokens that fit, and how many those are; ``(b, width + 1)``, behind the last mark of a sequence there are none."""
    kept = np.zeros_like(counts)
    kept[:, :-1] = _longest_first(counts[:, :-1], room)
    lengths = counts.ravel() + 1
    chosen = places_in(lengths) <= np.repeat(kept.ravel(), lengths)
    marks = np.cumsum(kept.ravel() + 1) - kept.ravel() - 1
    return Found(found.ids[chosen], found.starts[chosen], found.ends[chosen], marks), kept


def _longest_first(counts: Ints, room: int) -> Ints:
    """How many tokens each segment keeps: ``(b, 1)`` or ``(b, 2)`` counts, cut to at most ``room`` together."""
    if counts.shape[1] == 1:
        return np.minimum(counts, room)
    first = np.minimum(counts[:, 0], np.maximum(room - counts[:, 1], (room + 1) // 2))
    return np.stack([first, np.minimum(counts[:, 1], room - first)], axis=1)


def _assemble(found: Found, framed: Framed, counts: Ints, *, cls_id: int, sep_id: int, truncated: Flags) -> Encoded:
    """Special tokens at the marks, and places counted from the start of each text."""
    ids, marks, step = found.ids, found.marks, framed.width + 1
    lengths = counts.ravel() + 1
    before = np.repeat(framed.marks + 1, lengths)
    offsets = np.empty((len(ids), 2), np.int64)
    np.subtract(found.starts, before, out=offsets[:, 0])
    np.subtract(found.ends, before, out=offsets[:, 1])
    offsets[marks] = 0
    ids[marks] = sep_id
    ids[marks[::step]] = cls_id
    types = np.zeros(len(ids), np.int64)
    if framed.width == 2:
        types = np.repeat(np.tile(np.array([0, 1, 1]), len(counts)), lengths)
        types[marks[1::step]] = 0
    return Encoded(ids=ids, types=types, offsets=offsets, starts=np.append(marks[::step], len(ids)), truncated=truncated)


def _joined(chunks: list[Encoded]) -> Encoded:
    lengths = np.concatenate([chunk.lengths for chunk in chunks])
    return Encoded(
        ids=np.concatenate([chunk.ids for chunk in chunks]),
        types=np.concatenate([chunk.types for chunk in chunks]),
        offsets=np.concatenate([chunk.offsets for chunk in chunks]),
        starts=edges_of(lengths),
        truncated=np.concatenate([chunk.truncated for chunk in chunks]),
    )
