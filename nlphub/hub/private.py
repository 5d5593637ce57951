"""Folders and files that nobody else can write to: what the store trusts on later loads must not be planted by another user."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nlphub import paths
from nlphub.errors import StoreError


def make(folder: Path) -> None:
    """Make a folder below ``NLPHUB_HOME`` for its owner only, and check each step before the next one is made in it.

    Raises:
        StoreError: it cannot be made, or see :func:`check`.
    """
    try:
        paths.home().mkdir(mode=0o700, parents=True, exist_ok=True)
        for step in _way(folder):
            with suppress(FileExistsError):
                step.mkdir(mode=0o700)
            _judge(step)
    except OSError as failure:
        raise StoreError(f"{folder} cannot be made: {failure.strerror}. Set NLPHUB_HOME to a folder of your own.") from failure


def check(folder: Path) -> None:
    """Check that a folder below ``NLPHUB_HOME`` is reached without links, and belongs to us or to the administrator alone.

    Raises:
        StoreError: a link or a file stands in its way, another user owns it, or everybody may write to it.
    """
    for step in _way(folder):
        _judge(step)


def cache(name: str, file: str) -> Path:
    """A cache file of ours below ``NLPHUB_HOME``, there or not, in a folder that is made: nobody else can have written it.

    Args:
        name: of the folder.
        file: the file's name.

    Raises:
        StoreError: the file is a link, another user's or open to everybody; or see :func:`make`.
    """
    path = paths.home() / "cache" / name / file
    make(path.parent)
    if os.path.lexists(path):
        _judge(path, is_folder=False)
    return path


def _judge(step: Path, *, is_folder: bool = True) -> None:
    try:
        status = step.stat() if step == paths.home() else step.lstat()  # the home may be a link: the user has named it
    except OSError as failure:
        raise StoreError(f"{step} cannot be read: {failure.strerror}") from failure
    if is_folder and not stat.S_ISDIR(status.st_mode):
        raise StoreError(f"{step} is a link or a file where the store has a folder. Look at it, then delete it.")
    if not is_folder and not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{step} is a link or a folder where a file should be. Look at it, then delete it.")
    if status.st_uid not in (0, os.getuid()):
        raise StoreError(f"{step} belongs to another user (uid {status.st_uid}). Set NLPHUB_HOME to a folder of your own.")
    if status.st_mode & stat.S_IWOTH:
        way_out = f"Run: chmod o-w {step}" if is_folder else "Delete it; it will be made anew."
        raise StoreError(f"everybody may write to {step}. {way_out}")


def _way(folder: Path) -> Iterator[Path]:
    """``NLPHUB_HOME`` and every folder on the way down to ``folder``."""
    step = paths.home()
    yield step
    for name in folder.relative_to(step).parts:
        step = step / name
        yield step
