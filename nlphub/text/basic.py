"""What BERT and ERNIE do with text before WordPiece, as a table from one code point to a few characters and their kinds.

BERT's (Devlin et al., 2019, ``BasicTokenizer``; here as the library `tokenizers` does it): control characters are dropped, white space
separates, accents and capitals are folded, and each Chinese character and each punctuation mark stands alone. ERNIE's (PaddleNLP,
``BasicTokenizer``) lets each Unicode symbol stand alone too. No rule sees two characters, so a batch is one look-up.

The facts lie in wordpiece.tsv (``tools/build_wordpiece.py``), so ids do not depend on the Unicode version of the Python that runs this.
"""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.text.encoding import Ints
from nlphub.text.normalize import CODE_POINTS, Codes, code_points

LETTER, ALONE, SPACE = 0, 1, 2  # a character of a word; a word of its own; between words

_FILE = Path(__file__).with_name("wordpiece.tsv")
_HANGUL, _LEADS, _VOWELS, _TAILS = 0xAC00, 0x1100, 0x1161, 0x11A7  # Unicode standard, section 3.12
_SURROGATES = range(0xD800, 0xE000)

Kinds = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Basic:
    """One way to clean and split text.

    Attributes:
        counts: ``(0x110000,)`` uint8, how many characters a code point becomes; 0 for those that are dropped.
        starts: ``(0x110000,)`` int32, where in ``characters`` they stand.
        characters: uint32 code points.
        kinds: of each of ``characters``: LETTER, ALONE or SPACE.
    """

    counts: NDArray[np.uint8]
    starts: NDArray[np.int32]
    characters: Codes
    kinds: Kinds

    def apply(self, codes: NDArray[Any]) -> tuple[Codes, Kinds, Ints]:
        """Clean and fold code points.

        Args:
            codes: ``(n,)`` integers.

        Returns:
            ``(m,)`` characters, their kinds, and the places in ``codes`` that they come from, ascending.
        """
        counts = self.counts[codes]
        places = np.flatnonzero(counts) if counts.max(initial=0) <= 1 else np.repeat(np.arange(len(codes)), counts)
        found = self.starts[codes[places]].astype(np.int64)
        if len(places) and counts.max() > 1:
            first = np.flatnonzero(np.diff(places, prepend=-1))
            found += np.arange(len(places)) - np.repeat(first, np.diff(np.append(first, len(places))))
        return self.characters[found], self.kinds[found], places

    def alone(self) -> tuple[Ints, Codes]:
        """``(n,)`` the code points that become one character that stands alone, and ``(n,)`` that character."""
        once = np.flatnonzero(self.counts == 1)
        once = once[self.kinds[self.starts[once]] == ALONE]
        return once, self.characters[self.starts[once]]

    def split(self, text: str) -> list[str]:
        """The words of one text, cleaned and folded, each isolated character by itself."""
        characters, kinds, _ = self.apply(code_points(text))
        words, open_word = [""], False
        for character, kind in zip(characters.tolist(), kinds.tolist(), strict=True):
            if kind == LETTER and open_word:
                words[-1] += chr(character)
            elif kind != SPACE:
                words.append(chr(character))
            open_word = kind == LETTER
        return words[1:]


@functools.cache
def basic(*, lowercase: bool, symbols: bool) -> Basic:
    """The table of a tokenizer.

    Args:
        lowercase: fold capitals and accents.
        symbols: let Unicode symbols stand alone, as ERNIE does.
    """
    facts = _facts()
    kinds = _kinds(facts, symbols=symbols)
    folded = {int(code, 16): result for name, code, result in facts if name == "fold"} if lowercase else {}
    folded |= _dropped(facts)
    results = {code: [(ord(part), _kind(code, ord(part), kinds)) for part in result] for code, result in folded.items()}
    if lowercase:
        results |= {code: [(part, LETTER) for part in _jamo(code)] for code in range(_HANGUL, 0xD7A4)}
    return _table(results, np.where(kinds == _CHINESE, np.uint8(ALONE), kinds))


@functools.cache
def facts_digest() -> str:
    """SHA-256 of the facts, which is part of the digest of each tokenizer that uses them."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


_CHINESE = 3  # in the making only: alone, whatever it is folded into


def _facts() -> list[tuple[str, str, str]]:
    lines = _FILE.read_text(encoding="utf-8").split("\n")[:-1]
    split = (line.split("\t") for line in lines)
    return [(parts[0], parts[1], parts[2] if len(parts) > 2 else "") for parts in split]


def _kinds(facts: list[tuple[str, str, str]], *, symbols: bool) -> Kinds:
    """``(0x110000,)``: the kind of each code point as it is."""
    kinds = np.full(CODE_POINTS, LETTER, np.uint8)
    meaning = {"space": SPACE, "cjk": _CHINESE, "punctuation": ALONE, "symbol": ALONE if symbols else LETTER}
    for name, codes in _ranges(facts):
        if name in meaning:
            kinds[codes] = meaning[name]
    return kinds


def _dropped(facts: list[tuple[str, str, str]]) -> dict[int, str]:
    """Code point -> nothing, or a space."""
    changed = dict.fromkeys(_SURROGATES, "")
    for name, codes in _ranges(facts):
        if name in ("drop", "space"):
            changed |= dict.fromkeys(range(codes.start, codes.stop), "" if name == "drop" else " ")
    return changed


def _ranges(facts: list[tuple[str, str, str]]) -> Iterator[tuple[str, slice]]:
    for name, codes, _ in facts:
        if name != "fold":
            first, _, last = codes.partition("..")
            yield name, slice(int(first, 16), int(last, 16) + 1)


def _kind(code: int, part: int, kinds: Kinds) -> int:
    """Of a character that a code point is folded into."""
    return ALONE if _CHINESE in (kinds[code], kinds[part]) else int(kinds[part])


def _jamo(code: int) -> list[int]:
    lead, rest = divmod(code - _HANGUL, 588)
    vowel, tail = divmod(rest, 28)
    return [_LEADS + lead, _VOWELS + vowel, *([_TAILS + tail] if tail else [])]


def _table(results: dict[int, list[tuple[int, int]]], kinds: Kinds) -> Basic:
    """All code points stand for themselves, and behind them lie the results of those that do not."""
    counts, starts = np.ones(CODE_POINTS, np.uint8), np.arange(CODE_POINTS, dtype=np.int32)
    more = [pair for parts in results.values() for pair in parts]
    changed = np.fromiter(results, np.int64, len(results))
    counts[changed] = [len(parts) for parts in results.values()]
    starts[changed] = CODE_POINTS + np.cumsum(counts[changed], dtype=np.int64) - counts[changed]
    extra = np.array(more, np.int64).reshape(-1, 2)
    characters = np.concatenate([np.arange(CODE_POINTS), extra[:, 0]]).astype(np.uint32)
    table = Basic(counts, starts, characters, np.concatenate([kinds, extra[:, 1].astype(np.uint8)]))
    for array in (table.counts, table.starts, table.characters, table.kinds):
        array.setflags(write=False)
    return table
