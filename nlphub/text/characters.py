"""The character tokenizer: one token per character, a batch at a time, no Python loop over characters.

What :meth:`CharacterTokenizer.encode` means, which a slow twin in the tests spells out character by character:

1. Only the first code points of a text are looked at, see :mod:`nlphub.text.assembly`, which also puts sequences together and cuts them.
2. Every code point goes through the fold table (:mod:`nlphub.text.normalize`): it becomes one character, or nothing.
3. A character becomes its entry of the vocabulary, or ``[UNK]``. Special entries cannot be written in text: ``[MASK]`` in an
   utterance is six characters. Only :meth:`CharacterTokenizer.encode_masked` reads it as a mask.
"""

import functools
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub import files
from nlphub.errors import StoreError, WeightsError
from nlphub.text.alone import Meanings, Tokens
from nlphub.text.assembly import LOOKED_AT, Flags, Found, Framed, checked_ids, encode_batch, segments_of, strings
from nlphub.text.blanks import encode_with_blanks
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import SPECIAL, Manifest
from nlphub.text.normalize import CODE_POINTS, Table
from nlphub.text.vocabulary import VOCABULARY_FILE, Entered
from nlphub.text.words import find_word_starts

__all__ = ["KIND", "LOOKED_AT", "VOCABULARY_FILE", "CharacterTokenizer"]

KIND = "characters"

_NOTHING = 0xFFFF  # in the lookup table: this code point is dropped


class CharacterTokenizer(Entered):
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
        self.ordinary = _check(tuple(vocabulary), table)
        super().__init__(vocabulary, max_length=max_length, random=range(self.ordinary, len(vocabulary)))
        self.table = table
        self.digest = _digest(self.vocabulary, table)
        self._lookup = _lookup(self.vocabulary, table.text)
        self._numbers = Meanings(self._number)

    @classmethod
    def load(cls, folder: Path) -> "CharacterTokenizer":
        """Read a tokenizer's folder.

        Raises:
            StoreError: a file is missing or damaged.
            WeightsError: vocabulary and table are not those that ``nlphub_tokenizer.json`` promises.
        """
        manifest = Manifest.load(folder, kind=KIND)
        try:
            vocabulary = (folder / VOCABULARY_FILE).read_text(encoding="utf-8").removesuffix("\n").split("\n")
            table = Table.load(folder)
        except (OSError, UnicodeDecodeError) as damaged:
            raise StoreError(f"The tokenizer in {folder} is incomplete: {damaged}") from damaged
        return manifest.require(cls(vocabulary, table, max_length=manifest.max_length), folder)

    def save(self, folder: Path) -> None:
        """Write the files that :meth:`load` reads, so that a run or an exported folder is complete in itself."""
        files.publish_text(folder / VOCABULARY_FILE, "\n".join(self.vocabulary) + "\n")
        self.table.save(folder)
        Manifest(KIND, self.max_length, self.digest).save(folder)

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
        return encode_batch(
            self._look_up, self._one, texts, pairs, max_length=max_length, longest=self.max_length, cls_id=self.cls_id, sep_id=self.sep_id
        )

    def encode_masked(self, texts: Sequence[str], *, max_length: int | None = None) -> Encoded:
        """Tokenise texts in which ``[MASK]``, in either case, stands for one mask; see :mod:`nlphub.text.blanks`.

        Args and errors are those of :meth:`encode`. A mask counts as one of the code points that are looked at.
        """
        encode = functools.partial(self.encode, max_length=max_length)
        return encode_with_blanks(encode, strings("texts", texts), stand_in=self.vocabulary[self.ordinary], mask_id=self.mask_id)

    def restricted(self, entries: Sequence[str]) -> "CharacterTokenizer":
        """With only these entries of its vocabulary; the table, and so what each character is folded to, stays."""
        return CharacterTokenizer(entries, self.table, max_length=self.max_length)

    def decode(self, ids: Sequence[int] | Ints) -> str:
        """The normalised text of ids, without [PAD], [CLS] and [SEP]; [UNK], [MASK] and unused entries stand as such.

        Raises:
            InputError: an id is not in the vocabulary.
        """
        hidden = (self.pad_id, self.cls_id, self.sep_id)
        return "".join(self.vocabulary[i] for i in checked_ids(ids, len(self)) if i not in hidden)

    def words(self, texts: Sequence[str], encoded: Encoded, pairs: Sequence[str] | None = None) -> Flags:
        """``(t,)`` bool: where words start in a batch that was encoded from these texts (see :mod:`nlphub.text.words`)."""
        segments, width = segments_of(texts, pairs)
        return find_word_starts(segments, encoded, self.table, width=width)

    def _look_up(self, framed: Framed) -> Found:
        """The characters that are kept."""
        ids = self._lookup.take(framed.codes())
        ids[framed.marks] = 0
        kept, marks = np.flatnonzero(ids != _NOTHING), framed.marks
        if len(kept) < len(ids):
            ids, marks = ids.take(kept), np.searchsorted(kept, marks)
        return Found(ids.astype(np.int64), kept, kept + 1, marks)

    def _one(self, text: str) -> Tokens:
        """The characters of a short text that are kept."""
        ids = [*map(self._numbers.__getitem__, text)]
        if _NOTHING not in ids:
            return ids, None
        places = [place for place, number in enumerate(ids) if number != _NOTHING]
        return [ids[place] for place in places], [edge for place in places for edge in (place, place + 1)]

    def _number(self, character: str) -> int:
        return int(self._lookup[ord(character)])


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
