"""WordPiece as BERT and ERNIE have it, a batch at a time: Chinese by table, the words of other scripts through a memory of their pieces.

What :meth:`WordPieceTokenizer.encode` means, which a slow twin in the tests spells out character by character:

1. Text is cleaned and split into words (:mod:`nlphub.text.basic`). Each Chinese character, punctuation mark and, for ERNIE, symbol is one.
2. A word becomes the longest entry of the vocabulary that it begins with, then the longest entry ``##...`` that the rest begins with, and
   so on (Wu et al., 2016; Devlin et al., 2019). If that fails, or it has more than 100 characters, the word is one ``[UNK]``.
3. Sequences are cut and put together by :mod:`nlphub.text.assembly`. A special entry cannot be written in text: ``[MASK]`` in an utterance
   is ``[``, ``mask``, ``]``; only :meth:`WordPieceTokenizer.encode_masked` reads it as a mask.

A token spans its characters in the caller's own text, from the first that is kept to the last; two pieces of one code point (a Hangul
syllable) have the same span.

Notation: ``w`` words of a batch, ``k`` tokens, ``m`` characters that are left after cleaning.
"""

import functools
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub import files
from nlphub.text.assembly import Flags, Found, checked_ids, edges_of, encode_batch, places_in, segments_of, strings
from nlphub.text.basic import LETTER, SPACE, Kinds, basic, facts_digest
from nlphub.text.blanks import encode_with_blanks
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import Manifest
from nlphub.text.normalize import CODE_POINTS, Codes, code_points, from_code_points
from nlphub.text.vocabulary import VOCABULARY_FILE, Entered, read_vocabulary
from nlphub.text.words import find_piece_starts

KIND = "wordpiece"
REMEMBERED = 1 << 16  # words whose pieces are remembered

LONGEST_WORD = 100  # characters; a longer one is unknown
_STAND_IN = "一"  # for a mask: a Chinese character is one token in every vocabulary

Pieces = tuple[tuple[int, ...], tuple[int, ...]]  # ids, and where each piece ends in its word


class WordPieceTokenizer(Entered):
    """WordPiece, BERT's or ERNIE's.

    Attributes:
        vocabulary: the entries, at their ids.
        lowercase: whether capitals and accents are folded.
        symbols: whether Unicode symbols stand alone: True is ERNIE's way, False is BERT's.
        max_length: the most tokens of a sequence, special ones included.
        digest: SHA-256 of all that decides ids, 64 hexadecimal digits.
        pad_id, unknown_id, cls_id, sep_id, mask_id: ids of the special entries.
    """

    def __init__(self, vocabulary: Sequence[str], *, lowercase: bool = True, symbols: bool = False, max_length: int = 512) -> None:
        """Make a tokenizer from its parts. Of two equal entries the later one counts, as in Hugging Face's and Paddle's.

        Raises:
            WeightsError: the vocabulary lacks a special entry.
        """
        super().__init__(vocabulary, max_length=max_length)
        self.lowercase, self.symbols = lowercase, symbols
        self._basic = basic(lowercase=lowercase, symbols=symbols)
        self._ids = {entry: number for number, entry in enumerate(self.vocabulary)}
        self._reach = max(map(len, self.vocabulary))
        self._characters = _single(self._ids, self.unknown_id)
        self._memory: dict[str, Pieces] = {}
        self.digest = _digest(self.vocabulary, lowercase=lowercase, symbols=symbols)

    @classmethod
    def load(cls, folder: Path) -> "WordPieceTokenizer":
        """Read a tokenizer's folder.

        Raises:
            StoreError: a file is missing or damaged.
            WeightsError: the vocabulary is not the one that ``nlphub_tokenizer.json`` promises.
        """
        manifest = Manifest.load(folder, kind=KIND)
        lowercase, symbols = manifest.flags("lowercase", "symbols")
        vocabulary = read_vocabulary(folder / VOCABULARY_FILE)
        return manifest.require(cls(vocabulary, lowercase=lowercase, symbols=symbols, max_length=manifest.max_length), folder)

    def save(self, folder: Path) -> None:
        """Write the files that :meth:`load` reads, so that a run or an exported folder is complete in itself."""
        files.publish_text(folder / VOCABULARY_FILE, "\n".join(self.vocabulary) + "\n")
        Manifest(KIND, self.max_length, self.digest, {"lowercase": self.lowercase, "symbols": self.symbols}).save(folder)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int | None = None) -> Encoded:
        """Tokenise a batch; arguments, result and errors are those of :meth:`~nlphub.text.characters.CharacterTokenizer.encode`."""
        return encode_batch(
            self._look_up, texts, pairs, max_length=max_length, longest=self.max_length, cls_id=self.cls_id, sep_id=self.sep_id
        )

    def encode_masked(self, texts: Sequence[str], *, max_length: int | None = None) -> Encoded:
        """Tokenise texts in which ``[MASK]``, in either case, stands for one mask; see :mod:`nlphub.text.blanks`."""
        encode = functools.partial(self.encode, max_length=max_length)
        return encode_with_blanks(encode, strings("texts", texts), stand_in=_STAND_IN, mask_id=self.mask_id)

    def restricted(self, entries: Sequence[str]) -> "WordPieceTokenizer":
        """With only these entries of its vocabulary: a word may fall into other pieces then."""
        return WordPieceTokenizer(entries, lowercase=self.lowercase, symbols=self.symbols, max_length=self.max_length)

    def decode(self, ids: Sequence[int] | Ints) -> str:
        """The text of ids, without [PAD], [CLS] and [SEP]; spaces stand only where two words would run together.

        Raises:
            InputError: an id is not in the vocabulary.
        """
        text, open_word = "", False
        for number in checked_ids(ids, len(self)):
            entry = self.vocabulary[number]
            if number in (self.pad_id, self.cls_id, self.sep_id):
                continue
            goes_on = entry.startswith("##") and len(entry) > 2
            piece = entry[2:] if goes_on else entry
            text += f" {piece}" if open_word and not goes_on and self._ends_in_letter(piece[:1]) else piece
            open_word = self._ends_in_letter(piece)
        return text

    def words(self, texts: Sequence[str], encoded: Encoded, pairs: Sequence[str] | None = None) -> Flags:
        """``(k,)`` bool: where words start in a batch that was encoded from these texts (see :mod:`nlphub.text.words`)."""
        segments, width = segments_of(texts, pairs)
        return find_piece_starts(segments, encoded, width=width)

    def extended(self) -> "WordPieceTokenizer":
        """With an entry ``##字`` behind all others for each Chinese character, as for ERNIE's pretraining on whole words.

        No text becomes these entries; they are targets. The embedding of a network has to grow by as many rows.
        """
        entries = set(self.vocabulary)
        more = [f"##{entry}" for entry in self.vocabulary if len(entry) == 1 and 0x4E00 <= ord(entry) <= 0x9FA5]
        added = [entry for entry in dict.fromkeys(more) if entry not in entries]
        return WordPieceTokenizer((*self.vocabulary, *added), lowercase=self.lowercase, symbols=self.symbols, max_length=self.max_length)

    def _ends_in_letter(self, piece: str) -> bool:
        return bool(piece) and self._basic.kinds[self._basic.starts[ord(piece[-1])]] == LETTER

    def _look_up(self, segments: list[str], lengths: Ints) -> Found:
        """The tokens of texts."""
        edges = edges_of(lengths)
        characters, kinds, places = self._basic.apply(code_points("".join(segments)))
        inner = np.searchsorted(places, edges)  # where the texts start among the characters that are left
        first, stop = _words(kinds, inner)
        ids, first, stop = self._pieces(characters, first, stop)
        counts = np.diff(np.searchsorted(first, inner))
        shift = np.repeat(edges[:-1], counts)
        return Found(ids, places[first] - shift, places[stop - 1] + 1 - shift, counts)

    def _pieces(self, characters: Codes, first: Ints, stop: Ints) -> tuple[Ints, Ints, Ints]:
        """``(k,)`` ids, first and last + 1 character of each token, from those of the words."""
        ids = self._characters[characters[first]].astype(np.int64)
        longer = np.flatnonzero(stop - first > 1)
        if not len(longer):
            return ids, first, stop
        text = from_code_points(characters)
        found = [self._word(text[a:z]) for a, z in zip(first[longer].tolist(), stop[longer].tolist(), strict=True)]
        counts = np.ones(len(first), np.int64)
        counts[longer] = [len(pieces) for pieces, _ in found]
        word = np.repeat(np.arange(len(first)), counts)
        flat = np.isin(word, longer, assume_unique=False)
        ids, start, end = ids[word], first[word], stop[word]
        ids[flat] = np.fromiter(itertools.chain.from_iterable(pieces for pieces, _ in found), np.int64, int(flat.sum()))
        end[flat] = start[flat] + np.fromiter(itertools.chain.from_iterable(ends for _, ends in found), np.int64, int(flat.sum()))
        return ids, np.where(places_in(counts) > 0, np.roll(end, 1), start), end

    def _word(self, word: str) -> Pieces:
        """The pieces of a word of several characters, from memory if it was seen not long ago."""
        pieces = self._memory.get(word)
        if pieces is None:
            if len(self._memory) >= REMEMBERED:
                self._memory.clear()
            pieces = self._memory[word] = self._split(word)
        return pieces

    def _split(self, word: str) -> Pieces:
        ids: list[int] = []
        ends: list[int] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            prefix = "##" if start else ""
            ends_here = range(min(len(word), start + self._reach), start, -1)
            end = next((end for end in ends_here if prefix + word[start:end] in self._ids), None)
            if end is None:
                break
            ids.append(self._ids[prefix + word[start:end]])
            ends.append(end)
            start = end
        return (tuple(ids), tuple(ends)) if start == len(word) else ((self.unknown_id,), (len(word),))


def _digest(vocabulary: Sequence[str], *, lowercase: bool, symbols: bool) -> str:
    ways = f"{KIND} {lowercase} {symbols} {facts_digest()}\n"
    return hashlib.sha256((ways + "\n".join(vocabulary)).encode("utf-8", "surrogatepass")).hexdigest()


def _single(ids: dict[str, int], unknown: int) -> NDArray[np.int32]:
    """``(0x110000,)``: the ids of words of one character."""
    table = np.full(CODE_POINTS, unknown, np.int32)
    for entry, number in ids.items():
        if len(entry) == 1:
            table[ord(entry)] = number
    return table


def _words(kinds: Kinds, inner: Ints) -> tuple[Ints, Ints]:
    """``(w,)`` first and last + 1 character of each word."""
    goes_on = np.zeros(len(kinds) + 1, np.bool_)
    letters = kinds == LETTER
    goes_on[1:-1] = letters[1:] & letters[:-1]
    goes_on[inner] = False
    edges = np.flatnonzero(~goes_on)  # the end is one of them
    first, stop = edges[:-1], edges[1:]
    real = kinds[first] != SPACE
    return first[real], stop[real]
