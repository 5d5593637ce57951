"""The character tokenizer: one token per character, a batch at a time, no Python loop over characters.

What :meth:`CharacterTokenizer.encode` means, which a slow twin in the tests spells out character by character:

1. Only the first ``16 x max_length`` code points of a text are looked at (``max_length`` of the tokenizer, not of the call: 8,192 for
   512). So a text of ten million characters costs what one of eight thousand costs.
2. Every code point goes through the fold table (:mod:`nlphub.text.normalize`): it becomes one character, or nothing.
3. A character becomes its entry of the vocabulary, or ``[UNK]``. Special entries cannot be written in text: ``[MASK]`` in an
   utterance is six characters. Only :meth:`CharacterTokenizer.encode_masked` reads it as a mask.
4. ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``; what does not fit is cut at the end of the text, in pairs from the longer one until
   they are equal, then from the second (as ``longest_first`` of Hugging Face's slow tokenizers).
"""

import functools
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub import files
from nlphub.errors import InputError, StoreError, WeightsError
from nlphub.text.blanks import encode_with_blanks
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import SPECIAL, Manifest
from nlphub.text.masking import Entries, Masked, Spans, mask_words
from nlphub.text.normalize import CODE_POINTS, Table, code_points
from nlphub.text.words import find_word_starts

KIND = "characters"
VOCABULARY_FILE = "vocab.txt"
LOOKED_AT = 16  # code points of a text that are looked at, for each token that could be kept
CHUNK = 1 << 20  # code points that are encoded together, which bounds the memory of the intermediate arrays

Flags = NDArray[np.bool_]

_NOTHING = 0xFFFF  # in the lookup table: this code point is dropped


class CharacterTokenizer:
    """One token per character.

    Attributes:
        vocabulary: the entries, at their ids.
        table: the normaliser.
        max_length: the most tokens of a sequence, special ones included.
        digest: SHA-256 of vocabulary and table, 64 hexadecimal digits: part of a checkpoint's configuration.
        ordinary: the first id after the special and the unused entries.
        pad_id, unknown_id, cls_id, sep_id, mask_id: ids of the special entries.
    """

    def __init__(self, vocabulary: Sequence[str], table: Table, *, max_length: int = 512) -> None:
        """Make a tokenizer from its parts.

        Raises:
            WeightsError: the vocabulary lacks a special entry, repeats one, or holds one that no text can reach.
        """
        self.vocabulary = tuple(vocabulary)
        self.table = table
        self.max_length = max_length
        self.ordinary = _check(self.vocabulary, table)
        special = tuple(map(self.vocabulary.index, SPECIAL.values()))
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = special
        self._entries = Entries(mask=self.mask_id, special=special, random=range(self.ordinary, len(self.vocabulary)))
        self.digest = _digest(self.vocabulary, table)
        self._lookup = _lookup(self.vocabulary, table.text)

    @classmethod
    def load(cls, folder: Path) -> "CharacterTokenizer":
        """Read a tokenizer's folder.

        Raises:
            StoreError: a file is missing or damaged.
            WeightsError: vocabulary and table are not those that ``nlphub_tokenizer.json`` promises.
        """
        manifest = Manifest.load(folder)
        if manifest.kind != KIND:
            raise StoreError(f"{folder} holds a tokenizer of kind {manifest.kind!r}, not {KIND!r}")
        try:
            vocabulary = (folder / VOCABULARY_FILE).read_text(encoding="utf-8").removesuffix("\n").split("\n")
            table = Table.load(folder)
        except (OSError, UnicodeDecodeError) as damaged:
            raise StoreError(f"The tokenizer in {folder} is incomplete: {damaged}") from damaged
        tokenizer = cls(vocabulary, table, max_length=manifest.max_length)
        if tokenizer.digest != manifest.digest:
            raise WeightsError(
                f"The tokenizer in {folder} is not the one its nlphub_tokenizer.json describes: "
                f"vocabulary and fold table have the digest {tokenizer.digest}, promised is {manifest.digest}. Install it again."
            )
        return tokenizer

    def save(self, folder: Path) -> None:
        """Write the files that :meth:`load` reads, so that a run or an exported folder is complete in itself."""
        files.publish_text(folder / VOCABULARY_FILE, "\n".join(self.vocabulary) + "\n")
        self.table.save(folder)
        Manifest(KIND, self.max_length, self.digest).save(folder)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int | None = None) -> Encoded:
        """Tokenise a batch.

        Args:
            texts: ``b`` texts; any string is welcome, lone surrogates too.
            pairs: ``b`` second texts, or None.
            max_length: the most tokens of a sequence, special ones included; the tokenizer's own by default.

        Returns:
            The batch, without padding. Offsets count code points of the caller's own strings.

        Raises:
            InputError: something is not a string, texts and pairs differ in number, or ``max_length`` is out of range.
        """
        segments, width = _segments(texts, pairs)
        room = self._room(max_length, width)
        lengths = np.fromiter(map(len, segments), np.int64, len(segments))
        cap = LOOKED_AT * self.max_length
        capped = lengths > cap
        if capped.any():
            segments, lengths = [text[:cap] for text in segments], np.minimum(lengths, cap)
        chunks = [self._encode(segments[a:b], lengths[a:b], capped[a:b], width, room) for a, b in _chunks(lengths, width)]
        return chunks[0] if len(chunks) == 1 else _joined(chunks)

    def encode_masked(self, texts: Sequence[str], *, max_length: int | None = None) -> Encoded:
        """Tokenise texts in which ``[MASK]``, in either case, stands for one mask; see :mod:`nlphub.text.blanks`.

        Args and errors are those of :meth:`encode`. A mask counts as one of the code points that are looked at.
        """
        encode = functools.partial(self.encode, max_length=max_length)
        return encode_with_blanks(encode, _strings("texts", texts), stand_in=self.vocabulary[self.ordinary], mask_id=self.mask_id)

    def decode(self, ids: Sequence[int] | Ints) -> str:
        """The normalised text of ids, without [PAD], [CLS] and [SEP]; [UNK], [MASK] and unused entries stand as such.

        Raises:
            InputError: an id is not in the vocabulary.
        """
        values = np.asarray(ids, dtype=np.int64).ravel()
        wrong = values[(values < 0) | (values >= len(self))]
        if len(wrong):
            raise InputError(f"{wrong[0]} is not an id of this tokenizer; ids go from 0 to {len(self) - 1}")
        return "".join(self.vocabulary[i] for i in values.tolist() if i not in (self.pad_id, self.cls_id, self.sep_id))

    def words(self, texts: Sequence[str], encoded: Encoded, pairs: Sequence[str] | None = None) -> Flags:
        """``(t,)`` bool: where words start in a batch that was encoded from these texts (see :mod:`nlphub.text.words`)."""
        segments, width = _segments(texts, pairs)
        return find_word_starts(segments, encoded, self.table, width=width)

    def mask(
        self,
        encoded: Encoded,
        word_starts: Flags,
        *,
        generator: np.random.Generator,
        rate: float = 0.15,
        spans: Spans | None = None,
    ) -> Masked:
        """Mask whole words and, as units, the caller's entities or phrases; see :func:`nlphub.text.masking.mask_words`."""
        return mask_words(encoded, word_starts, self._entries, generator=generator, rate=rate, spans=spans)

    def _room(self, max_length: int | None, width: int) -> int:
        limit = self.max_length if max_length is None else max_length
        special = 1 + width
        if not isinstance(limit, int | np.integer) or isinstance(limit, bool) or not special < limit <= self.max_length:
            raise InputError(
                f"max_length={max_length!r} is out of range: {special} special tokens and at least one character have to fit, "
                f"and this tokenizer makes at most {self.max_length}; give a whole number from {special + 1} to {self.max_length}"
            )
        return int(limit) - special

    def _encode(self, segments: list[str], lengths: Ints, capped: Flags, width: int, room: int) -> Encoded:
        """Encode ``b * width`` segments, ``width`` of them to a sequence, with ``room`` characters to a sequence."""
        ids, places, counts = self._look_up(segments, lengths)
        kept = _longest_first(counts.reshape(-1, width), room).ravel()
        cut = kept < counts
        if cut.any():
            chosen = _places_in(counts) < np.repeat(kept, counts)
            ids, places = ids[chosen], places[chosen]
        return self._assemble(ids, places, kept, width, truncated=np.any((cut | capped).reshape(-1, width), axis=1))

    def _look_up(self, segments: list[str], lengths: Ints) -> tuple[NDArray[np.uint16], Ints, Ints]:
        """``(k,)`` ids of the characters that are kept, ``(k,)`` their places in their segments, and how many each segment has."""
        ids = self._lookup[code_points("".join(segments))]
        kept = np.flatnonzero(ids != _NOTHING)
        edges = _edges(lengths)
        counts = np.diff(np.searchsorted(kept, edges))
        return ids[kept], kept - np.repeat(edges[:-1], counts), counts

    def _assemble(self, ids: NDArray[np.uint16], places: Ints, counts: Ints, width: int, *, truncated: Flags) -> Encoded:
        """Put [CLS] before each sequence and [SEP] behind each segment."""
        lengths = counts + 1
        lengths[::width] += 1
        edges = _edges(lengths)
        cls, sep = edges[:-1:width], edges[1:] - 1
        body = np.ones(edges[-1], dtype=np.bool_)
        body[cls] = body[sep] = False
        where = np.flatnonzero(body)
        row, offsets = np.empty(len(body), np.int64), np.zeros((len(body), 2), np.int64)
        row[cls], row[sep], row[where] = self.cls_id, self.sep_id, ids
        offsets[where, 0], offsets[where, 1] = places, places + 1
        types = np.repeat(np.arange(len(counts), dtype=np.int64) % width, lengths)
        return Encoded(ids=row, types=types, offsets=offsets, starts=edges[::width], truncated=truncated)


def _check(vocabulary: tuple[str, ...], table: Table) -> int:
    """Check the entries; return how many special and unused ones stand before the characters."""
    missing = [name for name in SPECIAL.values() if name not in vocabulary]
    if missing or len(set(vocabulary)) != len(vocabulary) or len(vocabulary) >= _NOTHING:
        raise WeightsError(
            f"This is no vocabulary of characters: it has {len(vocabulary)} entries (fewer than {_NOTHING} are possible), "
            f"{len(vocabulary) - len(set(vocabulary))} repeated, and lacks {missing or 'no special entry'}"
        )
    ordinary = sum(1 for _ in itertools.takewhile(lambda entry: len(entry) > 1, vocabulary))
    wrong = [entry for entry in vocabulary[ordinary:] if len(entry) != 1 or table.codes[ord(entry)] != ord(entry)]
    if wrong:
        raise WeightsError(f"{len(wrong)} entries of the vocabulary are not single characters that the table keeps, e.g. {wrong[:5]}")
    return ordinary


def _digest(vocabulary: tuple[str, ...], table: Table) -> str:
    parts = ("\n".join(vocabulary) + "\n").encode(), table.text.encode()
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


@functools.lru_cache(maxsize=8)
def _lookup(vocabulary: tuple[str, ...], table: str) -> NDArray[np.uint16]:
    """``(0x110000,)`` ids by code point. Tokenizers of equal vocabulary and table share it."""
    of_character = np.full(CODE_POINTS + 1, vocabulary.index(SPECIAL["unknown"]), dtype=np.uint16)
    of_character[CODE_POINTS] = _NOTHING
    for i, entry in enumerate(vocabulary):
        if len(entry) == 1:
            of_character[ord(entry)] = i
    lookup = of_character[Table.parse(table).codes]
    lookup.setflags(write=False)
    return lookup


def _segments(texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[list[str], int]:
    """``[a0, b0, a1, b1, ...]`` and 2, or ``[a0, a1, ...]`` and 1."""
    first = _strings("texts", texts)
    if pairs is None:
        return first, 1
    second = _strings("pairs", pairs)
    if len(first) != len(second):
        raise InputError(f"{len(first)} texts have {len(second)} pairs; give one pair for each text")
    return list(itertools.chain.from_iterable(zip(first, second, strict=True))), 2


def _strings(name: str, texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
        raise InputError(f"{name} is a single {type(texts).__name__}, not a list of texts; write [text] for one")
    strings = list(texts)
    if not set(map(type, strings)) <= {str}:
        wrong = [(i, text) for i, text in enumerate(strings) if not isinstance(text, str)]
        problems = [f"{name}[{i}] is {type(text).__name__} ({text!r:.40})" for i, text in wrong[:10]]
        if wrong:
            raise InputError(f"{len(wrong)} of {len(strings)} {name} are not strings", problems)
    return strings


def _chunks(lengths: Ints, width: int) -> Iterator[tuple[int, int]]:
    """Cut a batch between sequences into ranges of about ``CHUNK`` code points; an empty batch is one empty range."""
    numbers = np.cumsum(lengths.reshape(-1, width).sum(axis=1)) // CHUNK
    edges = np.flatnonzero(np.diff(numbers)) + 1
    yield from itertools.pairwise([0, *(edges * width).tolist(), len(lengths)])


def _longest_first(counts: Ints, room: int) -> Ints:
    """How many characters each segment keeps: ``(b, 1)`` or ``(b, 2)`` counts, cut to at most ``room`` together."""
    if counts.shape[1] == 1:
        return np.minimum(counts, room)
    first = np.minimum(counts[:, 0], np.maximum(room - counts[:, 1], (room + 1) // 2))
    return np.stack([first, np.minimum(counts[:, 1], room - first)], axis=1)


def _edges(counts: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _places_in(counts: Ints) -> Ints:
    """``(sum,)``: 0, 1, 2, ... anew in each segment."""
    total = int(counts.sum())
    return np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)


def _joined(chunks: list[Encoded]) -> Encoded:
    lengths = np.concatenate([chunk.lengths for chunk in chunks])
    return Encoded(
        ids=np.concatenate([chunk.ids for chunk in chunks]),
        types=np.concatenate([chunk.types for chunk in chunks]),
        offsets=np.concatenate([chunk.offsets for chunk in chunks]),
        starts=_edges(lengths),
        truncated=np.concatenate([chunk.truncated for chunk in chunks]),
    )
