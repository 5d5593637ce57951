"""Text as speech recognition hands it on."""

from random import Random

from nlphub.evaluation.robustness.numerals import spelt_out
from nlphub.evaluation.robustness.places import PUNCTUATION
from nlphub.evaluation.robustness.slips import homophones

FILLERS = ("嗯", "呃", "那个", "就是", "这个", "然后")

_MISHEARD = 0.05  # share of the characters; half of what the perturbation "homophones" does


def as_speech(text: str, generator: Random) -> str:
    """Numbers spelt out, a twentieth of the characters misheard, no punctuation, fillers (嗯, 那个) before the first part of the sentence
    and before half of the others.

    Raises:
        MissingExtraError: pypinyin is not installed.
    """
    heard = spelt_out(homophones(text, generator, share=_MISHEARD))
    parts = [part.strip() for part in PUNCTUATION.split(heard) if not part.isspace() and part]
    return "".join(generator.choice(FILLERS) + part if not place or generator.random() < 0.5 else part for place, part in enumerate(parts))
