"""Versions are numbers with dots, conditions are PaddleHub's: ``"1.0.0"``, ``"==1.0"``, ``">=0.1,<2"``."""

import operator
import re

from nlphub.errors import InputError, brief

_CONDITION = re.compile(r"\s*(==|!=|>=|<=|>|<)?\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})\s*", re.ASCII)
_OPERATORS = {"==": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def key(version: str) -> tuple[int, ...]:
    """What versions are compared by; ``1.0`` equals ``1.0.0``, and ``0.10`` is newer than ``0.9``."""
    numbers = [int(number) for number in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


def satisfies(version: str, conditions: str) -> bool:
    """Whether a version meets all conditions, which have commas between; a condition without an operator means ``==``.

    Raises:
        InputError: a condition that cannot be read.
    """
    for text in conditions.split(","):
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise InputError(f"version={brief(conditions)}: {text!r} is no condition; write 1.0.0, ==1.0 or >=0.1,<2")
        if not _OPERATORS[match[1] or "=="](key(version), key(match[2])):
            return False
    return True
