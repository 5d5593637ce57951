"""Other forms of the same characters: width, case, traditional script.

Each character becomes one character that the fold table of ``zh_char`` takes to the same entry (:func:`_same` lets nothing else pass). So a
module with that tokenizer sees equal ids at equal places, and not one of its answers can change. With another tokenizer these are
measurements like all others.
"""

import functools
from collections.abc import Callable
from random import Random

from nlphub import paths
from nlphub.evaluation.robustness.places import replaced
from nlphub.text.normalize import Table

_FULL_WIDTH = 0xFEE0  # from an ASCII character to its full-width form
_LEVELS = (0xC9, 0xFA), (0xA4, 0xC7)  # lead bytes of Big5's rarer characters and of its 5,401 common ones, which win


def full_width(text: str, generator: Random) -> str:
    """Every printable ASCII character, spaces included, in its full-width form."""
    return _rewritten(text, _wide, generator)


def swapped_case(text: str, generator: Random) -> str:
    """Every letter in the other case, where that is one letter (ß stays)."""
    return _rewritten(text, _other_case, generator)


def traditional(text: str, generator: Random) -> str:
    """Every simplified character as one of those that Taiwan's standard set (Big5) has for it, each character alone and never by phrases.

    Where there are several (发 is 發 or 髮, 后 is 後 or 后), one is drawn: the text need not be good Chinese, and is read alike.
    """
    return _rewritten(text, lambda character: _traditional_forms().get(character, ""), generator)


def _rewritten(text: str, forms: Callable[[str], str], generator: Random) -> str:
    return replaced(text, [_same(character, forms(character)) for character in text], generator, share=1)


def _same(character: str, forms: str) -> str:
    """Those of the forms that the table takes to what it takes the character to."""
    codes = _table().codes
    return "".join(form for form in forms if codes[ord(form)] == codes[ord(character)])


def _wide(character: str) -> str:
    if character == " ":
        return "\u3000"
    return chr(ord(character) + _FULL_WIDTH) if "!" <= character <= "~" else ""


def _other_case(character: str) -> str:
    other = character.swapcase()
    return other if len(other) == 1 else ""


@functools.cache
def _traditional_forms() -> dict[str, str]:
    """Simplified characters with the characters of Big5 that are folded to them, themselves included where Big5 has them."""
    forms: dict[str, str] = {}
    for first, last in _LEVELS:
        level: dict[str, str] = {}
        for character in _big5(range(first, last)):
            kept = chr(_table().codes[ord(character)])
            level[kept] = level.get(kept, "") + character
        forms |= level
    return forms


def _big5(rows: range) -> list[str]:
    """The Chinese characters with these lead bytes, each once, in the order of the code."""
    decoded = (bytes([row, cell]).decode("big5", "ignore") for row in rows for cell in range(0x40, 0xFF))
    return [character for character in dict.fromkeys(decoded) if len(character) == 1 and not character.isascii()]


@functools.cache
def _table() -> Table:
    return Table.load(paths.bundle() / "tokenizers" / "zh_char")
