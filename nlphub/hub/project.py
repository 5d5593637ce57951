"""nlphub.lock of a project: which modules it uses, in which versions, with which bytes. It lies beside the recipe and is kept with it.

    {"schema": 1, "modules": {name: {"version": ..., "files": {path: {"bytes", "sha256"}}, "made_from": ...}}}

Of a module that is made from files of others those files are what is pinned, with commit and digests: what is made of them may differ with
the version of nlphub in its config.json.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlphub.errors import InputError, StoreError, brief
from nlphub.files import publish_json
from nlphub.hub import lockfile, store
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.document import SCHEMA, without_repeats
from nlphub.hub.lockfile import Made
from nlphub.hub.names import check_name, check_path, check_version
from nlphub.hub.registry import find_module

NAME = "nlphub.lock"
_MOST = 4 << 20  # bytes
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Pin:
    """One module of a project.

    Attributes:
        version: exactly this one.
        files: what its folder holds, path -> (bytes, sha256).
        made: what it was made from, ``None`` where it was fetched as it is.
    """

    version: str
    files: Mapping[str, tuple[int, str]]
    made: Made | None = None


def read(path: Path) -> dict[str, Pin]:
    """The modules of a project, by name.

    Raises:
        InputError: there is no such file, or it is not what :func:`write` writes.
    """
    try:
        with path.open("rb") as stream:
            values = json.loads(stream.read(_MOST), object_pairs_hook=without_repeats)
        if values["schema"] != SCHEMA:
            raise ValueError("a newer schema needs a newer nlphub")
        return {check_name(name): _pin(facts) for name, facts in values["modules"].items()}
    except FileNotFoundError as missing:
        raise InputError(f"there is no {path}; write one with: nlphub install NAME --pin") from missing
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as damage:
        raise InputError(
            f"{path} is damaged ({damage}); take it from your version control, or write it anew: nlphub install NAME --pin"
        ) from damage


def write(path: Path, pins: Mapping[str, Pin]) -> None:
    """Publish the lock, whole."""
    publish_json(path, {"schema": SCHEMA, "modules": {name: _facts(pin) for name, pin in pins.items()}})


def pin_of(card: Card) -> Pin:
    """An installed module as it is.

    Raises:
        StoreError: it is not installed.
    """
    lock = lockfile.read(store.folder(card))
    if not lock:
        raise StoreError(f"{card.title} is not installed in {store.folder(card)}")
    files = {path: (known.entry.bytes or 0, known.entry.sha256 or "") for path, known in lock.items()}
    return Pin(card.version, files, lockfile.made_from(store.folder(card)))


def locked_card(name: str, pin: Pin) -> Card:
    """The card of a pinned module, with the digests of the lock where the registry has none.

    Raises:
        UnknownNameError: no registry has this version any more.
        InputError: a registry has other bytes for it; all differences are named.
    """
    card = find_module(name, version=f"=={pin.version}", refresh=True)
    if card.is_made:
        return card
    if wrong := list(_differences({entry.path: (entry.bytes, entry.sha256) for entry in card.files}, pin.files)):
        raise InputError(f"{card.title} is not what {NAME} pins:", wrong)
    return replace(card, files=tuple(_filled(entry, pin) for entry in card.files))


def check(card: Card, pin: Pin) -> None:
    """Compare an installed module with its pin.

    Raises:
        InputError: it is another one; all differences are named.
    """
    here = pin_of(card)
    if here.made is not None and pin.made is not None:
        wrong = list(_differences(_raw(here.made), _raw(pin.made)))
    else:
        wrong = list(_differences(here.files, pin.files))
    if wrong:
        way_out = f"If the lock is right: nlphub remove {card.name} --version {card.version}, then install again."
        raise InputError(f"{card.title} in the store is not what {NAME} pins. {way_out}", wrong)


def _differences(found: Mapping[str, tuple[int | None, str | None]], wanted: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    yield from (f"{path}: is pinned and not there" for path in sorted(wanted.keys() - found.keys()))
    yield from (f"{path}: is there and not pinned" for path in sorted(found.keys() - wanted.keys()))
    for path in sorted(found.keys() & wanted.keys()):
        size, digest = found[path]
        if digest is not None and digest != wanted[path][1]:
            yield f"{path}: has sha256 {digest}, and {wanted[path][1]} is pinned"
        elif size is not None and size != wanted[path][0]:
            yield f"{path}: has {size:,} bytes, and {wanted[path][0]:,} are pinned"


def _raw(made: Made) -> dict[str, tuple[int, str]]:
    return {entry.path: (entry.bytes or 0, entry.sha256 or "") for entry in made.files}


def _filled(entry: FileEntry, pin: Pin) -> FileEntry:
    size, digest = pin.files[entry.path]
    return replace(entry, bytes=size, sha256=digest)


def _facts(pin: Pin) -> dict[str, Any]:
    files = {path: {"bytes": size, "sha256": digest} for path, (size, digest) in pin.files.items()}
    return {"version": pin.version, "files": files, **({"made_from": pin.made.facts()} if pin.made is not None else {})}


def _pin(facts: Mapping[str, Any]) -> Pin:
    if unknown := sorted(facts.keys() - {"version", "files", "made_from"}):
        raise ValueError(f"{brief(unknown[0])} is no key of a pin")
    files = {check_path(path): (entry["bytes"], entry["sha256"]) for path, entry in facts["files"].items()}
    if not files or not all(type(size) is int and _is_digest(digest) for size, digest in files.values()):
        raise ValueError("files: sizes and digests that are none")
    made = lockfile.made_of(facts["made_from"]) if "made_from" in facts else None
    if made is not None and not all(_is_digest(entry.sha256) for entry in made.files):
        raise ValueError("made_from: digests that are none")
    return Pin(check_version(facts["version"]), files, made)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and _DIGITS.issuperset(value)
