"""Where a perturbation strikes: some of the places that are open to it, drawn by the caller's generator."""

import re
from collections.abc import Sequence
from random import Random

_CHINESE, _ASCII = "，。！？；：、…—～·“”‘’（）《》【】「」『』", ",.!?;:~\"'()[]"
MARKS = _CHINESE + _ASCII
PUNCTUATION = re.compile(rf"[{_CHINESE}]|(?<![0-9A-Za-z])[{re.escape(_ASCII)}]|[{re.escape(_ASCII)}](?![0-9A-Za-z])")
"""One mark of punctuation. What stands inside a number or a Latin word (3.5, it's, a@b.com) is part of it."""


def some(places: Sequence[int], generator: Random, *, share: float) -> set[int]:
    """A share of the places, at least one of them where there are any."""
    return set(generator.sample(places, max(1, round(share * len(places))))) if places else set()


def replaced(text: str, forms: Sequence[str], generator: Random, *, share: float) -> str:
    """The text with a share of its characters written in another form.

    Args:
        forms: for each character of the text, the characters that may stand for it; ``""``: it stays.
        share: of the characters that have forms.
    """
    struck = some([place for place, characters in enumerate(forms) if characters], generator, share=share)
    return "".join(generator.choice(forms[place]) if place in struck else character for place, character in enumerate(text))


def inserted(text: str, places: Sequence[int], additions: Sequence[str], generator: Random, *, share: float) -> str:
    """The text with one of the additions before the characters at a share of the places; ``len(text)`` is its end."""
    struck = some(places, generator, share=share)
    pieces = (generator.choice(additions) + character if place in struck else character for place, character in enumerate([*text, ""]))
    return "".join(pieces)
