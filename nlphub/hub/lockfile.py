"""lock.json of a module in the store: what was installed, the digests that this pins, and the stamp of each verified file.

Of a module that was made here from files of others (:mod:`nlphub.hub.making`) it pins those files too, under ``made_from``.
"""

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nlphub.errors import StoreError
from nlphub.files import json_text
from nlphub.hub import private
from nlphub.hub.cards import Card, FileEntry, facts_of
from nlphub.hub.names import check_path, check_raw_path, check_source
from nlphub.hub.part import Part

NAME = "lock.json"
_MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Locked:
    """One file as it was installed.

    Attributes:
        entry: with its size, digest and the source that gave it.
        stamp: size, modification time (ns) and inode at that time.
    """

    entry: FileEntry
    stamp: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Made:
    """What a module was made from.

    Attributes:
        form: of the checkpoint, see :class:`~nlphub.hub.cards.Origin`.
        files: as they were fetched, every size and digest known, with the source that gave each.
    """

    form: str
    files: tuple[FileEntry, ...]

    def facts(self) -> dict[str, Any]:
        """As it stands in a lock; :func:`made_of` reads it."""
        return {"form": self.form, "files": {entry.path: _plain(entry) for entry in self.files}}


Lock = Mapping[str, Locked]  # by path


def read(folder: Path) -> Lock | None:
    """The lock of a folder, ``None`` if there is none: an installation that never came to its end.

    Raises:
        StoreError: it cannot be read, or is not what this file writes.
    """
    found = _read(folder)
    return None if found is None else found[0]


def made_from(folder: Path) -> Made | None:
    """What a module was made from; ``None`` where it was fetched as it is, or never came to its end. Raises as :func:`read`."""
    found = _read(folder)
    return None if found is None else found[1]


def made_of(facts: Any) -> Made:
    """What :meth:`Made.facts` gave.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    files = {check_raw_path(path): _checked(path, entry) for path, entry in facts["files"].items()}
    if facts["form"] not in ("transformers", "paddle") or not files:
        raise ValueError("made_from: a form or files that are none")
    return Made(facts["form"], tuple(files.values()))


def _read(folder: Path) -> tuple[Lock, Made | None] | None:
    try:
        with open(os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            facts = json.loads(stream.read(_MAX_BYTES))
        made = facts.get("made_from")
        return {path: _locked(path, entry) for path, entry in facts["files"].items()}, made_of(made) if made is not None else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as damage:
        module = f"{folder.parent.name} --version {folder.name}"
        raise StoreError(f"{folder / NAME} is damaged ({damage}). Run: nlphub remove {module} && nlphub install {module}") from damage


def write(folder: Path, entries: Iterable[FileEntry], card: Card | None = None, *, made: Made | None = None) -> None:
    """Publish the lock of verified files.

    Args:
        card: what the registry says of the module; kept, so that it goes on having a name when its registry is gone.
        made: from what it was made here.

    Raises:
        StoreError: it cannot be written.
    """
    files = {entry.path: _facts(entry, folder / entry.path) for entry in entries}
    facts = {"card": facts_of(card) if card is not None else None, "files": files, "name": folder.parent.name, "version": folder.name}
    facts |= {"made_from": made.facts()} if made is not None else {}
    part = Part(folder / NAME)
    try:
        part.write(json_text(facts).encode())
        with suppress(FileNotFoundError):  # another process was faster, and its lock says the same
            part.finish()
    finally:
        part.close(keep=False)


def cards(modules: Path) -> Iterator[Card]:
    """The cards of all modules in a store, as their registries had them when they were installed, sorted; those of damaged locks are left
    out. Only what belongs to us is read, see :mod:`nlphub.hub.private`. For ``bundle:``, which meant a hub that may be gone, stands the
    place of the file itself.
    """
    for path in sorted(modules.glob(f"*/*/{NAME}")):
        with suppress(StoreError, OSError, ValueError, RecursionError):
            private.check(path.parent)
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                facts = json.loads(stream.read(_MAX_BYTES))
            card = TypeAdapter(Card).validate_json(json.dumps(facts["card"] if isinstance(facts, dict) and "card" in facts else None))
            if (card.name, card.version) == (path.parent.parent.name, path.parent.name):
                yield replace(card, files=tuple(_placed(entry, path.parent) for entry in card.files))


def pinned(files: Sequence[FileEntry], lock: Lock) -> list[FileEntry]:
    """The files of a card; what the registry does not know of them is taken from the first installation."""
    return [_pinned(entry, lock[entry.path].entry) if entry.path in lock and entry.sha256 is None else entry for entry in files]


def is_unchanged(path: Path, entry: FileEntry, lock: Lock) -> bool:
    """Whether a file is the one that was verified to be ``entry``, judged by its stamp."""
    known = lock.get(entry.path)
    with suppress(OSError):
        return known is not None and known.entry.sha256 == entry.sha256 and stamp(path) == known.stamp
    return False


def stamp(path: Path) -> tuple[int, int, int]:
    """Size, modification time (ns) and inode of a regular file; of anything else what no lock holds."""
    status = path.lstat()
    return (status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else (-1, -1, -1)


def _facts(entry: FileEntry, path: Path) -> dict[str, object]:
    mark = stamp(path)
    return {"bytes": mark[0], "sha256": entry.sha256, "sources": entry.sources, "stamp": mark}


def _locked(path: str, facts: Mapping[str, object]) -> Locked:
    marks = facts["stamp"]
    if not isinstance(marks, list):
        raise ValueError(f"{path}: a value of the wrong type")
    length, modified, inode = (int(mark) for mark in marks)
    return Locked(_checked(check_path(path), facts), (length, modified, inode))


def _checked(path: str, facts: Mapping[str, object]) -> FileEntry:
    size, digest, sources = facts["bytes"], facts["sha256"], facts["sources"]
    if not isinstance(size, int) or not isinstance(digest, str) or not isinstance(sources, list):
        raise ValueError(f"{path}: a value of the wrong type")
    return FileEntry(path, size, digest, tuple(map(check_source, sources)))


def _plain(entry: FileEntry) -> dict[str, Any]:
    return {"bytes": entry.bytes, "sha256": entry.sha256, "sources": list(entry.sources)}


def _placed(entry: FileEntry, folder: Path) -> FileEntry:
    here = (folder / entry.path).as_uri()
    return replace(entry, sources=tuple(here if source.startswith("bundle:") else source for source in entry.sources))


def _pinned(entry: FileEntry, pin: FileEntry) -> FileEntry:
    return replace(entry, sha256=pin.sha256, bytes=pin.bytes if entry.bytes is None else entry.bytes)
