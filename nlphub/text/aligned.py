"""SentencePiece's pieces of many texts and where each of them stands, from its ids alone.

SentencePiece (Kudo and Richardson, 2018) tells ids fast and places slowly. But almost every text is normalised character by character
(capitals and full width folded), and then its pieces, spelled one behind the other, are the normalised text: their lengths are their
places. Where the two differ (an unknown character, spaces in a row, ½) a text is left to :meth:`Aligner.slowly`.

Notation: ``r`` texts, ``k`` pieces. The *target* of a text is what its pieces should spell: ``▁`` and its characters, folded.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nlphub.text.alone import Meanings
from nlphub.text.assembly import Flags, edges_of, places_in
from nlphub.text.encoding import Ints
from nlphub.text.normalize import CODE_POINTS, Codes, code_points

_SPACE = "▁"  # how SentencePiece writes a space
_CHANGED, _UNKNOWN = "\ud800", "\ud801"  # in no piece: not folded into one character; the piece of unknown characters
_UNSEEN = CODE_POINTS  # not looked up yet

Parts = tuple[list[int], list[int]]  # ids, and start, end, start, end, ...


@dataclass(frozen=True, slots=True, eq=False)
class Pieced:
    """Pieces of some texts.

    Attributes:
        aligned: ``(r,)`` whether the pieces of a text are here; of others there are none.
        counts: ``(r,)`` pieces of each.
        ids: ``(k,)`` entries of the vocabulary.
        first, last: ``(k,)`` first and last character of each in its own text.
    """

    aligned: Flags
    counts: Ints
    ids: Ints
    first: Ints
    last: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """The pieces of a model, by their numbers.

    Attributes:
        texts: as they are written; that of unknown characters never occurs.
        ids: their entries of the vocabulary.
        sizes: ``(pieces,)`` their characters.
        spaces: ``(pieces,)`` the spaces in front of something else.
        starts: ``(pieces,)`` where those stand in ``codes``.
        codes: all characters.
    """

    texts: list[str]
    ids: Ints
    sizes: Ints
    spaces: Ints
    starts: Ints
    codes: Codes


class Aligner:
    """A SentencePiece model whose pieces are entries of a vocabulary. Texts are without lone surrogates."""

    def __init__(self, model: Any, entries: Mapping[str, int], unknown: int) -> None:
        """Make one.

        Args:
            model: a ``SentencePieceProcessor``.
            entries: of the vocabulary, and their ids.
            unknown: the id of pieces that are not there.
        """
        self._model, self._entries, self._unknown = model, entries, unknown
        self._prefix = int(model.normalize("x").startswith(_SPACE))  # whether a text begins with a space of its own
        self._folds = Meanings(self._fold)
        self._folded = np.full(CODE_POINTS, _UNSEEN, np.uint32)

    def many(self, texts: Sequence[str]) -> Pieced:
        """The pieces of texts, where they can be aligned."""
        spelling, lengths = self._spelling, np.fromiter(map(len, texts), np.int64, len(texts)) + self._prefix
        listed = self._model.encode(list(texts), return_type=int, num_threads=1)
        counts = np.fromiter(map(len, listed), np.int64, len(listed))
        pieces = np.fromiter(itertools.chain.from_iterable(listed), np.int64, int(counts.sum()))
        target = self._fold_all(code_points("".join([" " * self._prefix + text for text in texts])))
        aligned = self._aligned(pieces, counts, target, lengths)
        pieces, counts = pieces[np.repeat(aligned, counts)], np.where(aligned, counts, 0)
        starts = edges_of(np.where(aligned, lengths, 0))[:-1] + self._prefix
        end = np.cumsum(spelling.sizes[pieces]) - np.repeat(starts, counts)
        first = end - spelling.sizes[pieces] + spelling.spaces[pieces]
        return Pieced(aligned, counts, spelling.ids[pieces], np.maximum(first, 0), np.maximum(end - 1, 0))

    def one(self, text: str, places: Sequence[int]) -> Parts | None:
        """The pieces of a text; None: it cannot be aligned.

        Args:
            text: at least one character.
            places: of its characters in the text that spans are to count in.
        """
        pieces, table = self._model.encode(text, return_type=int), self._listed
        if "".join([table[piece][0] for piece in pieces]) != _SPACE * self._prefix + text.translate(self._folds):
            return None
        shifted, end, spans = [places[0]] * self._prefix + [*places], 0, list[int]()
        for piece in pieces:
            _, _, size, spaces = table[piece]
            spans.append(shifted[end + spaces])
            end += size
            spans.append(shifted[end - 1] + 1)
        return [table[piece][1] for piece in pieces], spans

    def slowly(self, text: str, places: Sequence[int]) -> Parts:
        """As :meth:`one`, of any text, by what SentencePiece tells of its pieces."""
        told = self._model.encode(text, return_type="offset_mapping")
        spans, most = list[int](), len(text) - 1
        for begin, end in told["offsets"]:
            while begin < end - 1 and text[begin].isspace():
                begin += 1
            spans += (places[min(begin, most)], places[min(max(end - 1, begin), most)] + 1)
        return [self._entries.get(piece, self._unknown) for piece in told["pieces"]], spans

    @cached_property
    def _spelling(self) -> Spelling:
        model, unknown = self._model, self._model.unk_id()
        written = [model.id_to_piece(number) for number in range(model.get_piece_size())]
        ids = np.array([self._entries.get(piece, self._unknown) for piece in written])
        texts = [_UNKNOWN if number == unknown else piece for number, piece in enumerate(written)]
        sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        spaces = np.array([min(len(text) - len(text.lstrip(_SPACE)), len(text) - 1) for text in texts])
        return Spelling(texts, ids, sizes, spaces, np.cumsum(sizes) - sizes, code_points("".join(texts)))

    @cached_property
    def _listed(self) -> list[tuple[str, int, int, int]]:
        spelling = self._spelling
        return [*zip(spelling.texts, spelling.ids.tolist(), spelling.sizes.tolist(), spelling.spaces.tolist(), strict=True)]

    def _aligned(self, pieces: Ints, counts: Ints, target: Codes, lengths: Ints) -> Flags:
        """``(r,)`` whether the pieces of each text spell its target."""
        spelling = self._spelling
        spelled = np.diff(edges_of(spelling.sizes[pieces])[edges_of(counts)])
        same: Flags = spelled == lengths
        chosen = pieces[np.repeat(same, counts)]
        sizes = spelling.sizes[chosen]
        written = spelling.codes[np.repeat(spelling.starts[chosen], sizes) + places_in(sizes)]
        wrong = written != target[np.repeat(same, lengths)]
        same[np.repeat(np.flatnonzero(same), lengths[same])[wrong]] = False
        return same

    def _fold_all(self, codes: Codes) -> Codes:
        folded = self._folded[codes]
        unseen = np.unique(codes[folded == _UNSEEN])
        if not len(unseen):
            return folded
        self._folded[unseen] = [ord(self._folds[code]) for code in unseen.tolist()]
        return self._folded[codes]

    def _fold(self, code: int) -> str:
        """What the model makes of a character that stands between others."""
        found = self._model.normalize(f"x{chr(code)}x").removeprefix(_SPACE * self._prefix)
        alike = len(found) == 3 and found[0] == found[2] == "x" and chr(code).isspace() == (found[1] == _SPACE)
        return found[1] if alike else _CHANGED
