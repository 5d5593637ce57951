"""From the tokens of single texts to a batch: what every tokenizer does in the same way, whatever its tokens are.

1. Only the first ``16 x longest`` code points of a text are looked at (``longest``: the most tokens that the tokenizer ever makes). So a
   text of ten million characters costs what one of eight thousand costs.
2. The tokenizer's own part, a :data:`LookUp`, turns texts into ids and places.
3. ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``; what does not fit is cut at the end of the text, in pairs from the longer one until
   they are equal, then from the second (as ``longest_first`` of Hugging Face's slow tokenizers).

Notation: ``b`` sequences, ``k`` tokens of all texts of a batch, without the special ones.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.text.encoding import Encoded, Ints

LOOKED_AT = 16  # code points of a text that are looked at, for each token that could be kept
CHUNK = 1 << 20  # code points that are encoded together, which bounds the memory of the intermediate arrays

Flags = NDArray[np.bool_]


class Found(NamedTuple):
    """The tokens of some texts, one behind the other.

    Attributes:
        ids: ``(k,)`` any integers.
        starts, ends: ``(k,)`` int64, the code points of its own text that each token spans.
        counts: ``(texts,)`` int64, how many tokens each text has.
    """

    ids: NDArray[Any]
    starts: Ints
    ends: Ints
    counts: Ints


LookUp = Callable[[list[str], Ints], Found]  # texts and their lengths -> tokens


def encode_batch(
    look_up: LookUp,
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
        texts: ``b`` texts.
        pairs: ``b`` second texts, or None.
        max_length: the most tokens of a sequence, special ones included; ``longest`` by default.

    Raises:
        InputError: something is not a string, texts and pairs differ in number, or ``max_length`` is out of range.
    """
    segments, width = segments_of(texts, pairs)
    room = _room(max_length, width, longest)
    lengths = np.fromiter(map(len, segments), np.int64, len(segments))
    cap = LOOKED_AT * longest
    capped = lengths > cap
    if capped.any():
        segments, lengths = [text[:cap] for text in segments], np.minimum(lengths, cap)
    chunks = [
        _cut_and_assemble(look_up(segments[a:b], lengths[a:b]), capped[a:b], width, room, cls_id, sep_id)
        for a, b in _chunks(lengths, width)
    ]
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


def _cut_and_assemble(found: Found, capped: Flags, width: int, room: int, cls_id: int, sep_id: int) -> Encoded:
    """A batch of ``b * width`` segments, ``width`` of them to a sequence, with ``room`` tokens to a sequence."""
    kept = _longest_first(found.counts.reshape(-1, width), room).ravel()
    cut = kept < found.counts
    if cut.any():
        chosen = places_in(found.counts) < np.repeat(kept, found.counts)
        found = Found(found.ids[chosen], found.starts[chosen], found.ends[chosen], kept)
    truncated = np.any((cut | capped).reshape(-1, width), axis=1)
    return _assemble(found, width, cls_id=cls_id, sep_id=sep_id, truncated=truncated)


def _longest_first(counts: Ints, room: int) -> Ints:
    """How many tokens each segment keeps: ``(b, 1)`` or ``(b, 2)`` counts, cut to at most ``room`` together."""
    if counts.shape[1] == 1:
        return np.minimum(counts, room)
    first = np.minimum(counts[:, 0], np.maximum(room - counts[:, 1], (room + 1) // 2))
    return np.stack([first, np.minimum(counts[:, 1], room - first)], axis=1)


def _assemble(found: Found, width: int, *, cls_id: int, sep_id: int, truncated: Flags) -> Encoded:
    """Put [CLS] before each sequence and [SEP] behind each segment."""
    lengths = found.counts + 1
    lengths[::width] += 1
    edges = edges_of(lengths)
    cls, sep = edges[:-1:width], edges[1:] - 1
    body = np.ones(edges[-1], dtype=np.bool_)
    body[cls] = body[sep] = False
    where = np.flatnonzero(body)
    row, offsets = np.empty(len(body), np.int64), np.zeros((len(body), 2), np.int64)
    row[cls], row[sep], row[where] = cls_id, sep_id, found.ids
    offsets[where, 0], offsets[where, 1] = found.starts, found.ends
    types = np.repeat(np.arange(len(found.counts), dtype=np.int64) % width, lengths)
    return Encoded(ids=row, types=types, offsets=offsets, starts=edges[::width], truncated=truncated)


def _joined(chunks: list[Encoded]) -> Encoded:
    lengths = np.concatenate([chunk.lengths for chunk in chunks])
    return Encoded(
        ids=np.concatenate([chunk.ids for chunk in chunks]),
        types=np.concatenate([chunk.types for chunk in chunks]),
        offsets=np.concatenate([chunk.offsets for chunk in chunks]),
        starts=edges_of(lengths),
        truncated=np.concatenate([chunk.truncated for chunk in chunks]),
    )
