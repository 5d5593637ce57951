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
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlphub import files
from nlphub.errors import StoreError, WeightsError
from nlphub.text.aligned import Aligner, Parts, Pieced
from nlphub.text.assembly import Flags, Found, Framed, checked_ids, edges_of, encode_batch, places_in, segments_of
from nlphub.text.blanks import BLANK
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import Manifest
from nlphub.text.matching import Matching, spaced
from nlphub.text.vocabulary import VOCABULARY_FILE, Entered, read_vocabulary
from nlphub.text.words import find_piece_starts

KIND = "subword"
MODEL_FILE, WORDS_FILE = "sentencepiece.model", "words.txt"

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
        self._matching, self._aligner = Matching(self.dictionary or ()), Aligner(self._model, self._ids, self.unknown_id)
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
        return self._matching.cut(text)

    def _encode(self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None, *, blanks: bool) -> Encoded:
        look_up, one = functools.partial(self._look_up, blanks=blanks), functools.partial(self._one, blanks=blanks)
        return encode_batch(
            look_up, one, texts, pairs, max_length=max_length, longest=self.max_length, cls_id=self.cls_id, sep_id=self.sep_id
        )

    def _look_up(self, framed: Framed, *, blanks: bool) -> Found:
        """The tokens of texts: of those that can be aligned all at once, of the others one by one."""
        texts = framed.segments
        if _SURROGATE.search("".join(texts)):
            texts = [_SURROGATE.sub("�", text) for text in texts]
        shown, places = spaced([self.cut(text) for text in texts]) if self.dictionary is not None else (texts, places_in(framed.lengths))
        starts = edges_of(np.fromiter(map(len, shown), np.int64, len(shown)))[:-1]
        shown = [self._small(text) for text in shown]
        if blanks:
            shown = ["" if BLANK.search(text) else row for text, row in zip(texts, shown, strict=True)]
        found = self._aligner.many(shown)
        before = np.repeat(starts, found.counts)
        quick = np.stack([found.ids, places[found.first + before], places[found.last + before] + 1])
        return framed.found(*self._completed(quick, found, texts, blanks))

    def _completed(self, quick: Ints, found: Pieced, texts: list[str], blanks: bool) -> tuple[Ints, Ints]:
        """``(3, k)`` ids, starts and ends of all texts and ``(r,)`` how many each has, from those of the aligned ones."""
        others = np.flatnonzero(~found.aligned)
        rows = [self._one(texts[number], blanks=blanks) for number in others.tolist()]
        counts = found.counts.copy()
        counts[others] = [len(ids) for ids, _ in rows]
        tokens, aligned = np.empty((3, int(counts.sum())), np.int64), np.repeat(found.aligned, counts)
        tokens[:, aligned] = quick
        tokens[0, ~aligned] = [*itertools.chain.from_iterable(ids for ids, _ in rows)]
        tokens[1:, ~aligned] = np.array([*itertools.chain.from_iterable(spans for _, spans in rows)], np.int64).reshape(-1, 2).T
        return tokens, counts

    def _small(self, text: str) -> str:
        """In small letters; nothing where those are more than the letters were, for such a text goes the slow way."""
        small = text.lower() if self.lowercase else text
        return small if len(small) == len(text) else ""

    def _one(self, text: str, *, blanks: bool) -> Parts:
        """The tokens of one text."""
        if not blanks or not BLANK.search(text):
            return self._part(text)
        ids, spans, start = list[int](), list[int](), 0
        for found in BLANK.finditer(text):
            more, edges = self._part(text[start : found.start()])
            ids += (*more, self.mask_id)
            spans += (*[start + edge for edge in edges], *found.span())
            start = found.end()
        more, edges = self._part(text[start:])
        return ids + more, spans + [start + edge for edge in edges]

    def _part(self, text: str) -> Parts:
        """The tokens of a text without masks."""
        shown, places = self._prepared(_SURROGATE.sub("�", text))
        if not shown:
            return [], []
        return self._aligner.one(shown, places) or self._aligner.slowly(shown, places)

    def _prepared(self, text: str) -> tuple[str, Sequence[int]]:
        """What SentencePiece sees, and for each character of it a place in ``text``; for a space put in, that of the next word."""
        shown: str = text
        places: Sequence[int] = range(len(text))
        if self.dictionary is not None and " " not in text:  # then each space is one put in
            shown = " ".join(self.cut(text))
            places = [*itertools.accumulate([sign != " " for sign in shown], initial=0)]
        elif self.dictionary is not None:
            shown, places = _spaced_alone(self.cut(text))
        small = shown.lower() if self.lowercase else shown
        if len(small) == len(shown):
            return small, places
        counts = [len(character.lower()) for character in shown]
        return small, [*itertools.chain.from_iterable(map(itertools.repeat, places, counts))]


def _spaced_alone(words: Sequence[str]) -> tuple[str, list[int]]:
    """As :func:`nlphub.text.matching.spaced`, of one text."""
    parts, places, at = list[str](), list[int](), 0
    for word in words:
        if word != " ":
            places += ([at] if parts else []) + [*range(at, at + len(word))]
            parts.append(word)
        at += len(word)
    return " ".join(parts), places


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
