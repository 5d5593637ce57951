"""Publishing files so that no reader ever sees half of one: temporary name in the same folder, fsync, rename.

Every file and folder that nlphub leaves behind goes through this module.
"""

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from nlphub.errors import StoreError

_BLOCK = 1 << 20  # bytes read at a time when hashing
_PART, _OLD = ".part", ".old"  # unfinished, and on its way out


@contextmanager
def publish(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary binary file beside ``path``; on a clean exit it replaces ``path`` whole, otherwise it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        publish_file(temporary, path, mode=0o666 & ~_umask())  # mkstemp makes 0600: a published file is as readable as any other
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish_file(temporary: Path, path: Path, *, mode: int) -> None:
    """Let a finished file in the folder of ``path`` replace ``path`` whole: fsync, permissions, rename, fsync of the folder."""
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.chmod(mode)
    temporary.replace(path)
    sync_folder(path.parent)


def publish_text(path: Path, text: str) -> None:
    """Publish UTF-8 text with ``\\n`` line ends."""
    with publish(path) as stream:
        stream.write(text.encode("utf-8"))


def publish_json(path: Path, value: Any) -> None:
    """Publish sorted, indented JSON that keeps Chinese readable."""
    publish_text(path, json_text(value))


def json_text(value: Any) -> str:
    """The text that :func:`publish_json` writes."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary folder beside ``path``; on a clean exit it takes the place of ``path`` whole.

    Where the system can exchange two folders in one step (Linux), a crash leaves the old folder or the new one, never a mixture and
    never nothing. Elsewhere there is an instant in which neither has its name; :func:`recover_folder` mends that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _sync_tree(temporary)
        _put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Mend what a killed :func:`publish_folder` left beside ``path``: call it where nobody else publishes ``path``."""
    for old in sorted(path.parent.glob(f".{path.name}.*{_OLD}")):
        if not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    for unfinished in path.parent.glob(f".{path.name}.*{_PART}"):
        shutil.rmtree(unfinished, ignore_errors=True)


def discard_folder(path: Path) -> None:
    """Remove a folder so that a crash leaves it whole or gone from its name."""
    if path.exists():
        aside = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
        path.replace(aside)
        shutil.rmtree(aside)


@contextmanager
def locked(path: Path, *, timeout: float = 600.0) -> Iterator[None]:
    """Hold an inter-process lock file. It saves duplicate work; correctness never depends on it (network file systems).

    Args:
        timeout: seconds to wait for another process.

    Raises:
        StoreError: another process kept the lock for longer than ``timeout``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=timeout):
            yield
    except Timeout as late:
        raise StoreError(f"{path} has been held by another process for {timeout:.0f} s; is an installation hanging?") from late


def sha256(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Check that ``needed`` bytes fit on the disk of ``folder`` before anything is written.

    Raises:
        StoreError: there is less free space than that.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StoreError(f"{folder} needs {needed:,} bytes, and its disk has {free:,} free. Free some or set NLPHUB_HOME elsewhere.")


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(temporary: Path, path: Path) -> None:
    """Give ``temporary`` the name ``path``; what had it before is under the name of ``temporary`` or gone afterwards."""
    if not path.exists():
        temporary.replace(path)
    elif not _exchange(temporary, path):
        old = temporary.with_suffix(_OLD)
        path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, where the C library and the file system can (``renameat2`` with RENAME_EXCHANGE, Linux 3.15)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here = -100  # AT_FDCWD
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), 2) == 0)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            with (Path(folder) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(folder))


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
