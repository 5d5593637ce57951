"""Folders that nobody else can write to: what the store trusts on later loads must not be planted by another user."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nlphub import paths
from nlphub.errors import StoreError


def make(folder: Path) -> None:
    """Make a folder below ``NLPHUB_HOME``, for its owner only, and check the way to it.

    Raises:
        StoreError: it cannot be made, or see :func:`check`.
    """
    try:
        paths.home().mkdir(mode=0o700, parents=True, exist_ok=True)
        for step in _way(folder):
            if not step.is_symlink():
                step.mkdir(mode=0o700, exist_ok=True)
    except OSError as failure:
        raise StoreError(f"{folder} cannot be made: {failure.strerror}. Set NLPHUB_HOME to a folder of your own.") from failure
    check(folder)


def check(folder: Path) -> None:
    """Check that a folder below ``NLPHUB_HOME`` is reached without links, and belongs to us or to the administrator alone.

    Raises:
        StoreError: a link or a file stands in its way, another user owns it, or everybody may write to it.
    """
    for step in (paths.home(), *_way(folder)):
        status = step.stat() if step == paths.home() else step.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise StoreError(f"{step} is a link or a file where the store has a folder. Look at it, then delete it.")
        if status.st_uid not in (0, os.getuid()):
            raise StoreError(f"{step} belongs to another user (uid {status.st_uid}). Set NLPHUB_HOME to a folder of your own.")
        if status.st_mode & stat.S_IWOTH:
            raise StoreError(f"everybody may write to {step}. Run: chmod o-w {step}")


def _way(folder: Path) -> Iterator[Path]:
    """Every folder from below ``NLPHUB_HOME`` down to ``folder``."""
    step = paths.home()
    for name in folder.relative_to(step).parts:
        step = step / name
        yield step
