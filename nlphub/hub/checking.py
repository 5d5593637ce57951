"""Whether files are what they should be, by their bytes."""

import stat
from collections.abc import Iterator
from pathlib import Path

from nlphub import paths
from nlphub.files import sha256
from nlphub.hub.cards import Card, FileEntry


def verify_bundle(card: Card) -> list[str]:
    """Hash every file of a module that ships with this installation of nlphub, installed or not. Returns what is wrong."""
    return [problem for entry in card.files for problem in _bundle_problems(entry)]


def file_problem(path: Path, entry: FileEntry) -> str | None:
    """What is wrong with a file, by its bytes."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return f"{entry.path}: is no regular file"
        if entry.bytes not in (None, status.st_size):
            return f"{entry.path}: has {status.st_size:,} bytes, and should have {entry.bytes:,}"
        found = sha256(path)
    except FileNotFoundError:
        return f"{entry.path}: is missing"
    except OSError as failure:
        return f"{entry.path}: cannot be read: {failure.strerror}"
    if entry.sha256 is None:
        return f"{entry.path}: neither the registry nor lock.json knows its digest"
    return None if found == entry.sha256 else f"{entry.path}: has sha256 {found}, and should have {entry.sha256}"


def _bundle_problems(entry: FileEntry) -> Iterator[str]:
    for source in entry.sources:
        if source.startswith("bundle:") and entry.sha256:
            problem = file_problem(paths.resolve(source, base=paths.bundle()), entry)
            if problem:
                yield f"{source}: this installation of nlphub is damaged, reinstall it: {problem}"
