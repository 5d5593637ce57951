"""What texts of users look like on the page: nothing is hidden, nothing acts.

Escaping is Jinja's (autoescape); this is what escaping leaves: characters that HTML cannot hold, and those that move other characters.
"""

import re
from collections.abc import Mapping
from typing import Any

_CONTROLS: Mapping[int, str] = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"},  # the pictures of control characters: ␀ ␁ ...
    0x7F: "\u2421",
    **{code: f"‹U+{code:04X}›" for code in (*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
_IMPOSSIBLE = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def visible(text: str) -> str:
    """A text that a page can hold: control characters as their pictures, characters that turn the direction of others as their numbers,
    lone surrogates and what is no character as U+FFFD."""
    return _IMPOSSIBLE.sub("\ufffd", text.translate(_CONTROLS))


def cut(text: str, *, most: int = 200) -> str:
    """At most so many characters of a text; how many are missing is said."""
    return text if len(text) <= most else f"{text[:most]}… (+{len(text) - most})"


def finalized(value: Any) -> Any:
    """For Jinja's ``finalize``: every string that reaches the page is :func:`visible`, but finished HTML, which has gone through here."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def percent(share: float | None) -> str:
    """``87.5 %``, or a dash for what is not known."""
    return "–" if share is None else f"{100 * share:.1f} %"
