"""How people write: punctuation, spaces, emoji, particles at the end."""

from random import Random

from nlphub.evaluation.robustness.places import MARKS, PUNCTUATION, inserted

EMOJI = "😊😂😭😄😅😢😡🤔🥺😤😘🙏👍👌💪🌹🎉💰"
PARTICLES = "吗呢啊吧呀哦啦嘛"

_COMMAS, _SPACES = 0.1, 0.2  # share of the gaps between characters
_ENDS = "。！？~"
_TAIL = MARKS + " \t\n\u3000"


def dropped_punctuation(text: str, generator: Random) -> str:
    """All punctuation is gone, but for what stands inside a number or a Latin word."""
    return PUNCTUATION.sub("", text)


def added_punctuation(text: str, generator: Random) -> str:
    """Commas in a tenth of the gaps between letters or characters, at least in one, and a mark at the end where there is none."""
    gaps = [place for place in range(1, len(text)) if text[place - 1].isalpha() and text[place].isalpha()]
    end = "" if text.endswith(tuple(MARKS)) else generator.choice(_ENDS)
    return inserted(text, gaps, "，", generator, share=_COMMAS) + end


def spaces(text: str, generator: Random) -> str:
    """Spaces in a fifth of the gaps between characters, at least in one. A module of one token per character does not see them."""
    return inserted(text, range(1, len(text)), " ", generator, share=_SPACES)


def emoji(text: str, generator: Random) -> str:
    """One emoji, at the beginning, at the end, or where a part of the sentence ends."""
    ends = [found.end() for found in PUNCTUATION.finditer(text)]
    return inserted(text, sorted({0, *ends, len(text)}), EMOJI, generator, share=0)


def particles(text: str, generator: Random) -> str:
    """One particle (吗, 呢, 啊, ...) more at the end, before the punctuation; where there is one, it becomes another or is dropped."""
    body = text.rstrip(_TAIL)
    tail = text[len(body) :]
    if not body:
        return text
    if body[-1] not in PARTICLES:
        return body + generator.choice(PARTICLES) + tail
    others: list[str] = ["", *PARTICLES.replace(body[-1], "")]
    return body[:-1] + generator.choice(others) + tail
