"""Personal data in Chinese texts: what can be told by its form alone, with check digits where there are any.

Names and addresses have no form and are not found. Sources: GB 11643-1999 (ID numbers: ISO 7064 MOD 11-2), ISO/IEC 7812-1 annex B (card
numbers: Luhn), the numbering plan of the MIIT (mobile numbers begin with 13 to 19; area codes with 0). A card number that only looks like
one passes Luhn in one case of ten, so order numbers of 16 to 19 digits that begin with 3 to 6 are sometimes taken for cards.
"""

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_WIDE = {0xFF01 + shift: 0x21 + shift for shift in range(94)} | {0x3000: 0x20}  # one to one, so that places stay the same
_WORTH_LOOKING = re.compile(r"[@＠]|[0-9０-９]{3}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of personal data.

    Attributes:
        name: for people and JSON.
        mask: what is written instead.
        pattern: over half-width characters.
        holds: whether what the pattern found has right check digits.
    """

    name: str
    mask: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Personal:
    """Personal data in a text: ``text[start:end]``."""

    start: int
    end: int
    kind: Kind


def find_personal(text: str) -> list[Personal]:
    """All personal data of a text, in order; what could be two kinds is the first one of :data:`KINDS`."""
    if not _WORTH_LOOKING.search(text):
        return []
    narrow, result = text.translate(_WIDE), list[Personal]()
    for kind in KINDS:
        for match in kind.pattern.finditer(narrow):
            free = all(match.end() <= other.start or other.end <= match.start() for other in result)
            if free and kind.holds(match[0]):
                result.append(Personal(*match.span(), kind))
    return sorted(result, key=lambda item: item.start)


def mask_personal(text: str) -> str:
    """The text with each piece of personal data replaced by the name of its kind: ``我的手机是[手机号]``."""
    return "".join(_pieces(text, find_personal(text)))


def is_id_number(number: str) -> bool:
    """Whether 17 digits and a check character are an ID number: the date exists and the check character is right."""
    try:
        datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number[:17], strict=True))
    return number[6:8] in ("18", "19", "20") and "10X98765432"[total % 11] == number[17].upper()


def is_card_number(number: str) -> bool:
    """Whether the digits of a text pass Luhn's check."""
    digits = [int(character) for character in number if character.isdigit()][::-1]
    return len(set(digits)) > 1 and sum(digits[::2] + [2 * digit - 9 * (digit > 4) for digit in digits[1::2]]) % 10 == 0


def _pieces(text: str, items: list[Personal]) -> Iterator[str]:
    end = 0
    for item in items:
        yield text[end : item.start]
        yield item.kind.mask
        end = item.end
    yield text[end:]


def _always(_: str) -> bool:
    return True


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


KINDS = (
    Kind("ID card", "[身份证号]", _pattern(r"(?<![0-9A-Za-z])[1-9][0-9]{16}[0-9Xx](?![0-9A-Za-z])"), is_id_number),
    Kind(
        "bank card",
        "[银行卡号]",
        _pattern(r"(?<![0-9])[3-6](?:[0-9]{15,18}|[0-9]{3}(?:[ -][0-9]{4}){3}(?:[ -][0-9]{1,3})?)(?![0-9])"),
        is_card_number,
    ),
    Kind("mobile phone", "[手机号]", _pattern(r"(?<![0-9])(?:(?:\+|00)?86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}(?![0-9])"), _always),
    Kind("landline", "[座机号]", _pattern(r"(?<![0-9-])\(?0(?:10|2[0-9]|[3-9][0-9]{2})\)?[ -]?[2-8][0-9]{6,7}(?![0-9])"), _always),
    Kind("e-mail", "[邮箱]", _pattern(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"), _always),
)
