"""SentencePiece, alone or behind a dictionary of words as Baidu's ernie-tiny has it; with offsets, which that one lacks.

What :meth:`SubwordTokenizer.encode` means (PaddleNLP, ``ErnieTinyTokenizer``), which a slow twin in the tests spells out:

1. With a dictionary a text is cut by forward maximum matching: at each place the longest word of at most 5 characters that the dictionary
   has, in the text's own capitals, or else one character. Pieces that are one space are dropped, the others are joined with spaces.
2. Capitals become small letters.
3. SentencePiece (Kudo and Richardson, 2018) splits the whole text. Ids are those of vocab.txt; a piece that is not there is ``[UNK]``.
4. Sequences are cut and put together by :mod:`nlphub.text.assembly`. Special entries cannot be written in text; only
   :meth:`SubwordTokenizer.encode_masked` reads ``[MASK]``, and pieces never reach over one.

A token spans its characters in the caller's own text, without white space in front. A piece that stands for less than one character (a
lone ``▁``, a part of ½) spans that character, or the next one.
"""

import functools
import hashlib
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlphub import files
from nlphub.errors import StoreError, WeightsError
from nlphub.text.assembly import Flags, Found, checked_ids, encode_batch, segments_of
from nlphub.text.blanks import BLANK
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import Manifest
from nlphub.text.vocabulary import VOCABULARY_FILE, Entered, read_vocabulary
from nlphub.text.words import find_piece_starts

KIND = "subword"
MODEL_FILE, WORDS_FILE = "sentencepiece.model", "words.txt"

_WINDOW = 5  # characters of the longest word that is looked for
_MOST = 1 << 26  # bytes of a model or a dictionary
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACED = re.compile(r"(?<=[0-9A-Za-z])▁+(?=[0-9A-Za-z])")


class SubwordTokenizer(Entered):
    """SentencePiece, with or without a dictionary of words.

    Attributes:
        vocabulary: the entries, at their ids.
        dictionary: the words of step 1; ``None`` is no such step.
        lowercase: whether step 2 is done.
        max_length: the most tokens of a sequence, special ones included.
        digest: SHA-256 of all that decides ids, 64 hexadecimal digits.
        pad_id, unknown_id, cls_id, sep_id, mask_id: ids of the special entries.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        model: bytes,
        *,
        dictionary: Collection[str] | None = None,
        lowercase: bool = True,
        max_length: int = 512,
    ) -> None:
        """Make a tokenizer from its parts.

        Args:
            model: the bytes of a SentencePiece model. The library reads them in C++: give it only a model that you trust.

        Raises:
            WeightsError: the vocabulary lacks a special entry, a word has no place in a file of one word a line, or this is no model.
        """
        super().__init__(vocabulary, max_length=max_length)
        self.lowercase = lowercase
        self.dictionary = frozenset(dictionary) if dictionary is not None else None
        self._ids = {entry: number for number, entry in enumerate(self.vocabulary)}
        self._bytes, self._model = model, _model(model)
        if wrong := [word for word in self.dictionary or () if not word or "\n" in word or _SURROGATE.search(word)]:
            raise WeightsError(f"{len(wrong)} words of the dictionary are empty or hold a line end, e.g. {wrong[0]!r}")
        self.digest = _digest(self.vocabulary, model, self.dictionary, lowercase)

    @classmethod
    def load(cls, folder: Path) -> "SubwordTokenizer":
        """Read a tokenizer's folder. The model is given to SentencePiece only when its digest is the promised one.

        Raises:
            StoreError: a file is missing or damaged.
            WeightsError: the files are not those that ``nlphub_tokenizer.json`` promises.
        """
        manifest = Manifest.load(folder, kind=KIND)
        lowercase, cuts = manifest.flags("lowercase", "dictionary")
        vocabulary, model = read_vocabulary(folder / VOCABULARY_FILE), _read(folder / MODEL_FILE)
        words = frozenset(_text(folder / WORDS_FILE).split("\n")[:-1]) if cuts else None
        manifest.require(_Promise(_digest(vocabulary, model, words, lowercase)), folder)
        return cls(vocabulary, model, dictionary=words, lowercase=lowercase, max_length=manifest.max_length)

    def save(self, folder: Path) -> None:
        """Write the files that :meth:`load` reads, so that a run or an exported folder is complete in itself."""
        files.publish_text(folder / VOCABULARY_FILE, "\n".join(self.vocabulary) + "\n")
        with files.publish(folder / MODEL_FILE) as stream:
            stream.write(self._bytes)
        if self.dictionary is not None:
            files.publish_text(folder / WORDS_FILE, "".join(f"{word}\n" for word in sorted(self.dictionary)))
        options = {"lowercase": self.lowercase, "dictionary": self.dictionary is not None}
        Manifest(KIND, self.max_length, self.digest, options).save(folder)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int | None = None) -> Encoded:
        """Tokenise a batch; arguments, result and errors are those of :meth:`~nlphub.text.characters.CharacterTokenizer.encode`."""
        return self._encode(texts, pairs, max_length, blanks=False)

    def encode_masked(self, texts: Sequence[str], *, max_length: int | None = None) -> Encoded:
        """Tokenise texts in which ``[MASK]``, in either case, stands for one mask."""
        return self._encode(texts, None, max_length, blanks=True)

    def restricted(self, entries: Sequence[str]) -> "SubwordTokenizer":
        """With only these entries of its vocabulary; texts fall into the same pieces, of which more are unknown."""
        return SubwordTokenizer(entries, self._bytes, dictionary=self.dictionary, lowercase=self.lowercase, max_length=self.max_length)

    def decode(self, ids: Sequence[int] | Ints) -> str:
        """The text of ids, without [PAD], [CLS] and [SEP]; spaces stand only between two Latin words or numbers.

        Raises:
            InputError: an id is not in the vocabulary.
        """
        hidden = (self.pad_id, self.cls_id, self.sep_id)
        text = "".join(self.vocabulary[number] for number in checked_ids(ids, len(self)) if number not in hidden)
        return _SPACED.sub(" ", text).replace("▁", "")

    def words(self, texts: Sequence[str], encoded: Encoded, pairs: Sequence[str] | None = None) -> Flags:
        """``(k,)`` bool: where words start in a batch that was encoded from these texts (see :mod:`nlphub.text.words`)."""
        segments, width = segments_of(texts, pairs)
        return find_piece_starts(segments, encoded, width=width)

    def cut(self, text: str) -> list[str]:
        """Step 1 without its second sentence: the text in words by forward maximum matching."""
        words, place, known = [], 0, self.dictionary or frozenset()
        while place < len(text):
            ends = range(min(len(text), place + _WINDOW), place, -1)
            end = next((end for end in ends if text[place:end] in known), place + 1)
            words.append(text[place:end])
            place = end
        return words

    def _encode(self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None, *, blanks: bool) -> Encoded:
        look_up = functools.partial(self._look_up, blanks=blanks)
        return encode_batch(look_up, texts, pairs, max_length=max_length, longest=self.max_length, cls_id=self.cls_id, sep_id=self.sep_id)

    def _look_up(self, segments: list[str], lengths: Ints, *, blanks: bool) -> Found:
        """The tokens of texts."""
        rows = [list(self._tokens(text, blanks=blanks)) for text in segments]
        flat = np.array(list(itertools.chain.from_iterable(rows)), np.int64).reshape(-1, 3)
        return Found(flat[:, 0], flat[:, 1], flat[:, 2], np.fromiter(map(len, rows), np.int64, len(rows)))

    def _tokens(self, text: str, *, blanks: bool) -> Iterator[tuple[int, int, int]]:
        """Id, start and end of the tokens of one text."""
        start = 0
        for found in BLANK.finditer(text) if blanks else ():
            yield from self._part(text[start : found.start()], start)
            yield self.mask_id, found.start(), found.end()
            start = found.end()
        yield from self._part(text[start:], start)

    def _part(self, text: str, shift: int) -> Iterator[tuple[int, int, int]]:
        """The tokens of a text without masks that stands ``shift`` characters behind the start of the caller's."""
        shown, places = self._prepared(_SURROGATE.sub("�", text))
        if not shown:
            return
        raw = np.frombuffer(shown.encode("utf-8"), np.uint8)
        of_byte = np.append(np.cumsum((raw & 0xC0) != 0x80) - 1, len(shown))
        for piece in self._model.encode(shown, return_type="proto").pieces:
            begin, end = int(of_byte[piece.begin]), int(of_byte[piece.end])
            while begin < end - 1 and shown[begin].isspace():
                begin += 1
            first, last = places[min(begin, len(places) - 1)], places[min(max(end - 1, begin), len(places) - 1)]
            yield self._ids.get(piece.piece, self.unknown_id), shift + first, shift + last + 1

    def _prepared(self, text: str) -> tuple[str, list[int]]:
        """What SentencePiece sees, and for each character of it a place in ``text``; for a space put in, that of the next word."""
        parts: list[str] = []
        places: list[int] = []
        at = 0
        for word in self.cut(text) if self.dictionary is not None else [text]:
            if self.dictionary is None or word != " ":
                places.extend([at] if parts else [])
                places.extend(range(at, at + len(word)))
                parts.append(word)
            at += len(word)
        shown = " ".join(parts)
        if not self.lowercase:
            return shown, places
        counts = [len(character.lower()) for character in shown]
        return shown.lower(), list(itertools.chain.from_iterable(map(itertools.repeat, places, counts)))


class _Promise:
    """A digest that :meth:`Manifest.require` can judge before anything is made of the files."""

    def __init__(self, digest: str) -> None:
        self.digest = digest


def _digest(vocabulary: Sequence[str], model: bytes, words: Collection[str] | None, lowercase: bool) -> str:
    listed = "\n".join(sorted(words)) if words is not None else "none"
    parts = [f"{KIND} {lowercase}".encode(), "\n".join(vocabulary).encode(), model, listed.encode("utf-8", "surrogatepass")]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def _model(data: bytes) -> Any:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(data)
    except (RuntimeError, ValueError, OSError) as wrong:
        raise WeightsError(f"{len(data):,} bytes are no SentencePiece model: {wrong}") from wrong
    return model


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST:
            raise StoreError(f"{path} is larger than {_MOST:,} bytes, and no tokenizer's file is")
        return path.read_bytes()
    except OSError as damaged:
        raise StoreError(f"The tokenizer in {path.parent} is incomplete: {damaged}") from damaged


def _text(path: Path) -> str:
    try:
        return _read(path).decode("utf-8")
    except UnicodeDecodeError as damaged:
        raise StoreError(f"{path} is not UTF-8: {damaged}") from damaged
