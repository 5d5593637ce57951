"""Numbers in digits and in Chinese numerals."""

import re
from random import Random

DIGITS = "零一二三四五六七八九"
LARGEST = 99_999_999  # that is read as a number; longer ones are codes

_UNITS = {"十": 10, "百": 100, "千": 1000}
_VALUES = {digit: value for value, digit in enumerate(DIGITS)} | {"〇": 0, "两": 2}
_ARABIC = r"[0-9]+(?:\.[0-9]+)?%?"
_CHINESE = rf"[{''.join(_VALUES)}{''.join(_UNITS)}万]+"
_COUNTED = tuple("个次天年月日号元块张笔条位期岁类份台件遍倍")  # behind a single character they show that it is a number: 一个, but 一样
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def digit_styles(text: str, generator: Random) -> str:
    """Every number in another style: digits in full width or as Chinese numerals, Chinese numerals as digits of either width.

    A Chinese numeral is only touched where it surely is a number: not in 一样, 七八个, 三百五 or 千万别.
    """

    def restyled(found: re.Match[str]) -> str:
        if found[0].isascii():
            return generator.choice((_spelt(found), found[0].translate(_FULL_WIDTH)))
        digits = _in_digits(found)
        return generator.choice((digits, digits.translate(_FULL_WIDTH))) if digits else found[0]

    return re.sub(f"{_ARABIC}|{_CHINESE}", restyled, text)


def spelt_out(text: str) -> str:
    """Every number in digits as it is read aloud: 3.5 is 三点五, 50% is 百分之五十; 2024年 and 13800138000 are read digit by digit."""
    return re.sub(_ARABIC, _spelt, text)


def numeral(value: int) -> str:
    """A number from 0 to :data:`LARGEST` as a Chinese numeral: 10 is 十, 2005 is 二千零五, 100010 is 十万零一十."""
    high, low = divmod(value, 10_000)
    gap = "零" if high and 0 < low < 1000 else ""
    text = f"{_section(high)}万{gap}{_section(low)}" if high else _section(low) or "零"
    return text.removeprefix("一") if text.startswith("一十") else text


def _section(value: int) -> str:
    """0 (as nothing) to 9999."""
    digits = zip(f"{value:04}", "千百十 ", strict=True)
    text = "".join(DIGITS[int(digit)] + unit.strip() if digit != "0" else "零" for digit, unit in digits)
    return re.sub("零+", "零", text).strip("零")


def _spelt(found: re.Match[str]) -> str:
    whole, _, decimals = found[0].removesuffix("%").partition(".")
    year = len(whole) == 4 and found.string.startswith("年", found.end())
    spoken = _one_by_one(whole) if year or _is_code(whole) else numeral(int(whole))
    return ("百分之" if found[0].endswith("%") else "") + spoken + ("点" + _one_by_one(decimals) if decimals else "")


def _is_code(digits: str) -> bool:
    """Whether digits are a telephone number, a card's number or the like, which nobody reads as one number."""
    return len(digits) > 1 and (digits.startswith("0") or len(digits) > 8 or (len(digits) > 4 and not digits.endswith("00")))


def _one_by_one(digits: str) -> str:
    return "".join(DIGITS[int(digit)] for digit in digits)


def _in_digits(found: re.Match[str]) -> str | None:
    """A Chinese numeral in digits; ``None`` where it may be no number, or is written as nobody would write that number."""
    written = found[0]
    if len(written) == 1 and not found.string.startswith(_COUNTED, found.end()):
        return None
    if all(character in _VALUES for character in written):
        return "".join(str(_VALUES[digit]) for digit in written) if len(written) != 2 else None  # 七八 is seven or eight
    value = _value(written)
    return str(value) if value <= LARGEST and numeral(value) == written.replace("两", "二") else None


def _value(written: str) -> int:
    """What a numeral with units says, if it is one; anything at all if it is none."""
    total = section = digit = 0
    for character in written:
        if character == "万":
            total, section, digit = (total + section + digit) * 10_000, 0, 0
        elif character in _UNITS:
            section, digit = section + (digit or 1) * _UNITS[character], 0
        else:
            digit = _VALUES[character]
    return total + section + digit
