"""Taking back what a hub of one's own offers: a version that is not to be installed any more, a day after which nothing is.

A version that was published never changes, and never disappears: machines that have it go on with it, and are warned.
"""

from datetime import date
from pathlib import Path

from nlphub.errors import InputError, brief
from nlphub.hub.own import changed
from nlphub.hub.versions import key as version_key


def yank(hub: Path, name: str, version: str, *, reason: str | None, key: Path | None = None) -> None:
    """Say why a version is not to be installed any more, or (``None``) that it may be again.

    Args:
        hub: the folder.
        name: of the module.
        version: exactly one.
        reason: one line.
        key: the private key of a hub that is signed.

    Raises:
        InputError: there is no such version, or the reason is none.
    """
    if reason is not None and not reason.strip():
        raise InputError("say in one line why this version is not to be installed any more")
    with changed(hub, key) as values:
        entry = values["modules"].get(name, [])
        cards = entry if isinstance(entry, list) else [entry]
        found = [card for card in cards if version_key(card["version"]) == version_key(version)] if _is_version(version) else []
        if not found:
            there = ", ".join(card["version"] for card in cards) or "no version of it"
            raise InputError(f"{hub} has no {name} {brief(version)}; there is {there}")
        found[0].pop("yanked", None)
        if reason is not None:
            found[0]["yanked"] = reason


def expire(hub: Path, last: date | None, *, key: Path | None = None) -> None:
    """Say until which day the owner of a hub vouches for its registry; ``None``: for ever. Sign it anew before that day."""
    with changed(hub, key) as values:
        values.pop("expires", None)
        if last is not None:
            values["expires"] = last.isoformat()


def _is_version(text: str) -> bool:
    return all(part.isdecimal() and part.isascii() for part in text.split("."))
