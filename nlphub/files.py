"""Publishing files so that no reader ever sees half of one: temporary name in the same folder, fsync, rename.

Every file and folder that nlphub leaves behind goes through this module.
"""

import ctypes
import glob
import hashlib
import json
import logging
import mmap
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from nlphub.errors import InputError, StoreError

log = logging.getLogger(__name__)

_BLOCK = 1 << 20  # bytes read at a time when hashing
_PART, _OLD = ".part", ".old"  # unfinished, and on its way out


@contextmanager
def publish(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary binary file beside ``path``; on a clean exit it replaces ``path`` whole, otherwise it is removed."""
    _real(path.parent).mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("xb") as stream:
            yield stream
        publish_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish_file(temporary: Path, path: Path, *, mode: int | None = None) -> None:
    """Let a finished file in the folder of ``path`` replace ``path`` whole: fsync, permissions, rename, fsync of the folder.

    Args:
        mode: permissions; ``None`` leaves them as they are.
    """
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    if mode is not None:
        temporary.chmod(mode)
    temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def grow(path: Path, *, kept: int = 0) -> Iterator[IO[bytes]]:
    """Open a file to write on behind its first ``kept`` bytes; what is behind them, which a crash left, is cut off.

    For results that grow for hours under a name of their own, and are given their final one by :func:`publish_file`. Call :func:`sync`
    before you note anywhere how far it has grown.
    """
    _real(path.parent).mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if kept else "wb") as stream:
        stream.truncate(kept)
        stream.seek(kept)
        yield stream


def sync(stream: IO[bytes]) -> None:
    """Let what was written into a growing file outlive a crash of the machine."""
    stream.flush()
    os.fsync(stream.fileno())


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
    never nothing. Elsewhere there is an instant in which neither has its name; :func:`recover_folder` mends that. If ``path`` is a link,
    it stays one: all of this happens where it points to.

    Raises:
        StoreError: ``path`` is a file.
    """
    path = _real(path)
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file, and a folder is to be written there. Move it away or choose another name.")
    temporary = _beside(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _sync_tree(temporary)
        _put_in_place(temporary, path)
    finally:
        remove(temporary)


def recover_folder(path: Path) -> None:
    """Mend what a killed :func:`publish_folder` or :func:`discard_folder` left beside ``path``: call it where nobody else publishes it."""
    path = _real(path)
    leftovers = f".{glob.escape(path.name)}.*"
    for old in sorted(path.parent.glob(leftovers + _OLD)):
        if not path.exists() and old.is_dir() and not old.is_symlink():
            old.replace(path)
        remove(old)
    for unfinished in path.parent.glob(leftovers + _PART):
        remove(unfinished)


def discard_folder(path: Path) -> None:
    """Remove a folder, or what a link to one points to, so that a crash leaves it whole or gone from its name."""
    path = _real(path)
    if path.exists():
        aside = _beside(path)
        path.replace(aside)
        remove(aside)


def remove(path: Path) -> None:
    """Remove what has this name: a folder with all that is in it, a file, or a link, which is not followed. What resists is logged."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if os.path.lexists(path):
        log.warning("%s could not be removed; delete it", path)


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


@contextmanager
def alone(path: Path, *, otherwise: str) -> Iterator[None]:
    """Keep other processes from writing a file or folder for as long as this one does, without waiting for them.

    Raises:
        InputError: another process is writing it; the message is ``otherwise``.
    """
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(lock, timeout=0))
        except Timeout as busy:
            raise InputError(otherwise) from busy
        yield


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


class Scratch:
    """A file without a name, for what is needed for a while and would fill the memory: it is gone with this process, however that ends.

    It lies in the system's folder for temporary files (the first of TMPDIR, TEMP, TMP that is set, else /tmp). Threads, and processes
    forked off, may read it together.
    """

    def __init__(self) -> None:
        self._file, self._size = tempfile.TemporaryFile(buffering=0), 0  # noqa: SIM115 - open as long as this lives
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes | bytearray) -> None:
        """Write bytes behind the others.

        Raises:
            StoreError: the disk is full.
        """
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._file.fileno(), rest, self._size)
                rest, self._size = rest[written:], self._size + written
        except OSError as full:
            raise StoreError(
                f"{tempfile.gettempdir()} took {self._size:,} bytes of what is too large for memory, and then no more: {full}. "
                "Free some space there, or name another folder: TMPDIR=/large/disk"
            ) from full

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``, both within what was written."""
        parts = []
        while start < stop and (part := os.pread(self._file.fileno(), stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def map(self) -> mmap.mmap:
        """All bytes, at least one, to read: what is looked at stays in memory for as long as the system does not need it."""
        return mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)


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
        remove(old)
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


def _beside(path: Path) -> Path:
    """A name for what is not finished or on its way out, in the folder of ``path``, that no process ever gives again.

    What is made under it takes its permissions from the system, so a published file is as readable as any other. (``tempfile`` makes
    0600, and the umask that says what to change that to cannot be read without changing it for all threads.)
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{_PART}")


def _real(path: Path) -> Path:
    """Where links lead to, whether something is there or not."""
    return Path(os.path.realpath(path))
