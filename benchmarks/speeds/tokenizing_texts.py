"""Texts for tokenising: with runs of letters and digits that nobody has seen before, or without any."""

import random
import re
import string
from collections.abc import Sequence

RUN = re.compile(r"[A-Za-z0-9]+")
_ASCII = re.compile(r"[\x00-\x7f]+")
_SIGNS = string.ascii_lowercase + string.digits


def with_runs(texts: Sequence[str], every: int, *, seed: int) -> list[str]:
    """Each run of letters and digits replaced by a random one of 2 to 9 signs, and one put into every ``every``-th text without any."""
    chance = random.Random(seed)
    found = []
    for number, text in enumerate(texts):
        changed, count = RUN.subn(lambda _: _run(chance), text)
        if not count and number % every == 0:
            place = chance.randrange(len(text) + 1)
            changed = text[:place] + _run(chance) + text[place:]
        found.append(changed)
    return found


def chinese_only(texts: Sequence[str]) -> list[str]:
    """Without ASCII, and without texts of which nothing is left."""
    return [left for text in texts if (left := _ASCII.sub("", text))]


def _run(chance: random.Random) -> str:
    return "".join(chance.choices(_SIGNS, k=chance.randint(2, 9)))
