"""WordPiece as BERT and ERNIE have it, a batch at a time: Chinese by table, the words of other scripts by :mod:`nlphub.text.pieces`.

What :meth:`WordPieceTokenizer.encode` means, which a slow twin in the tests spells out character by character:

1. Text is cleaned and split into words (:mod:`nlphub.text.basic`). Each Chinese character, punctuation mark and, for ERNIE, symbol is one.
2. A word becomes the longest entry of the vocabulary that it begins with, then the longest entry ``##...`` that the rest begins with, and
   so on (Wu et al., 2016; Devlin et al., 2019). If that fails, or it has more than 100 characters, the word is one ``[UNK]``.
3. Sequences are cut and put together by :mod:`nlphub.text.assembly`. A special entry cannot be written in text: ``[MASK]`` in an utterance
   is ``[``, ``mask``, ``]``; only :meth:`WordPieceTokenizer.encode_masked` reads it as a mask.

A token spans its characters in the caller's own text, from the first that is kept to the last; two pieces of one code point (a Hangul
syllable) have the same span.

Notation: ``w`` words, ``k`` tokens, ``m`` characters of a batch that are left after cleaning, where they are not Chinese.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub import files
from nlphub.text.alone import SPANS, Meanings, Tokens
from nlphub.text.assembly import Flags, Found, Framed, checked_ids, encode_batch, segments_of, strings
from nlphub.text.basic import ALONE, LETTER, SPACE, Basic, Kinds, basic, facts_digest
from nlphub.text.blanks import encode_with_blanks
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import Manifest
from nlphub.text.normalize import CODE_POINTS
from nlphub.text.pieces import LONGEST_WORD, Memory, Pieces
from nlphub.text.vocabulary import VOCABULARY_FILE, Entered, read_vocabulary
from nlphub.text.words import find_piece_starts

__all__ = ["KIND", "LONGEST_WORD", "WordPieceTokenizer"]

KIND = "wordpiece"

RUNS = 1 << 14  # of neighbours that the table does not know, remembered for single texts

Run = tuple[list[int], list[int]]  # ids, and start, end, start, end, ...

_STAND_IN = "一"  # for a mask: a Chinese character is one token in every vocabulary
_OTHER = -1  # in the table of characters: not one token whatever stands beside it
_PART = 2**31 - 1  # no id: a token that the table does not know starts here


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
        ids = {entry: number for number, entry in enumerate(self.vocabulary)}
        self._pieces = Pieces(ids, self.unknown_id, self._basic.kinds[: len(self._basic.counts)])
        self._table = _table(self._basic, self._pieces)
        self._alone, self._others = Meanings(self._number), Meanings(self._characters)
        self._runs = Memory[Run](RUNS)
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
            self._look_up, self._one, texts, pairs, max_length=max_length, longest=self.max_length, cls_id=self.cls_id, sep_id=self.sep_id
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

    def _look_up(self, framed: Framed) -> Found:
        """The tokens of texts: Chinese by table, and between them the pieces of words."""
        codes = framed.codes()
        ids = self._table.take(codes)
        ids[framed.marks] = 0
        rest = np.flatnonzero(ids < 0)
        if not len(rest):
            places = np.arange(len(codes))
            return Found(ids.astype(np.int64), places, places + 1, framed.marks)
        part_ids, at, part_ends = self._parts(codes[rest], rest)
        ids[rest[at]] = _PART
        places = np.flatnonzero(ids >= 0)
        if (at[1:] == at[:-1]).any():  # two pieces of one code point
            counts = np.ones(len(codes), np.int64)
            counts[rest] = np.bincount(at, minlength=len(rest))
            places = np.repeat(places, counts[places])
        found, ends = ids.take(places).astype(np.int64), places + 1
        parts = np.flatnonzero(found == _PART)
        found[parts], ends[parts] = part_ids, part_ends
        return Found(found, places, ends, np.searchsorted(places, framed.marks))

    def _parts(self, codes: NDArray[np.intp], rest: Ints) -> tuple[Ints, Ints, Ints]:
        """``(k,)`` ids of the tokens of what the table does not know, which of ``rest`` each starts with, and where in the text it ends."""
        characters, kinds, places = self._basic.apply(codes)
        first, stop = _words(kinds, (rest - np.arange(len(rest)))[places])
        ids, first, stop = self._pieces.of(characters.astype(np.intp), first, stop)
        return ids, places[first], rest[places[stop - 1]] + 1

    def _one(self, text: str) -> Tokens:
        """The tokens of a short text: characters that the table knows, and between them runs of others."""
        numbers = [*map(self._alone.__getitem__, text)]
        others = [place for place, number in enumerate(numbers) if number < 0]
        if not others:
            return numbers, None
        ids, spans = list[int](), list[int]()
        done = 0  # up to where the text is read
        for place in others:
            if place < done:
                continue
            ids += numbers[done:place]
            spans += SPANS[2 * done : 2 * place]
            done = place + 1
            while done < len(text) and numbers[done] < 0:
                done += 1
            found, edges = self._run(text[place:done])
            ids += found
            spans += [place + edge for edge in edges]
        return [*ids, *numbers[done:]], [*spans, *SPANS[2 * done : 2 * len(text)]]

    def _run(self, run: str) -> Run:
        """The tokens of neighbours that the table does not know, from memory if they were seen not long ago."""
        tokens = self._runs.get(run)
        if tokens is None:
            tokens = self._read(run)
            self._runs.put(run, tokens)
        return tokens

    def _read(self, run: str) -> Run:
        tokens: Run = [], []
        word, places = "", list[int]()
        for place, (character, kind) in [(place, part) for place, sign in enumerate(run) for part in self._others[sign]]:
            if kind != LETTER:
                word = self._close(word, places, tokens)
            if kind != SPACE:
                word += character
                places.append(place)
            if kind == ALONE:
                word = self._close(word, places, tokens)
        self._close(word, places, tokens)
        return tokens

    def _close(self, word: str, places: list[int], tokens: Run) -> str:
        """Add the pieces of a word, whose characters come from these places, and begin another one."""
        if word:
            ids, stops = self._pieces.word(word)
            tokens[0].extend(ids)
            for first, stop in zip((0, *stops), stops, strict=False):
                tokens[1].extend((places[first], places[stop - 1] + 1))
            places.clear()
        return ""

    def _number(self, character: str) -> int:
        """The id of a character that is a token whatever stands beside it, or -1."""
        return int(self._table[ord(character)])

    def _characters(self, character: str) -> tuple[tuple[str, int], ...]:
        """What a character becomes, and of which kinds."""
        characters, kinds, _ = self._basic.apply(np.array([ord(character)], np.uint32))
        return tuple(zip(map(chr, characters.tolist()), kinds.tolist(), strict=True))


def _digest(vocabulary: Sequence[str], *, lowercase: bool, symbols: bool) -> str:
    ways = f"{KIND} {lowercase} {symbols} {facts_digest()}\n"
    return hashlib.sha256((ways + "\n".join(vocabulary)).encode("utf-8", "surrogatepass")).hexdigest()


def _table(basic: Basic, pieces: Pieces) -> NDArray[np.int32]:
    """``(0x110000,)``: the ids of code points that are one token whatever stands beside them, or -1."""
    table, (codes, characters) = np.full(CODE_POINTS, _OTHER, np.int32), basic.alone()
    table[codes] = pieces.single[characters]
    return table


def _words(kinds: Kinds, before: Ints) -> tuple[Ints, Ints]:
    """``(w,)`` first and last + 1 character of each word.

    Args:
        kinds: ``(m,)`` of characters.
        before: ``(m,)`` how many tokens of the table stand before each, so where that changes a word ends.
    """
    letters = kinds == LETTER
    goes_on = np.zeros(len(kinds) + 1, np.bool_)
    goes_on[1:-1] = letters[1:] & letters[:-1] & (before[1:] == before[:-1])
    edges = np.flatnonzero(~goes_on)  # the end is one of them
    first, stop = edges[:-1], edges[1:]
    real = kinds[first] != SPACE
    return first[real], stop[real]
