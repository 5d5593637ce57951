"""A file that is being received: under a name of its own beside its target, hashed as it is written, moved when it is right.

Every process writes to a new file that it alone has created, so no lock is needed for two of them to be right. What an interrupted
process left behind is never written to: its bytes are copied and hashed again.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nlphub.errors import DigestError, StoreError
from nlphub.files import publish_file, remove
from nlphub.hub.cards import FileEntry

_BLOCK = 1 << 20  # bytes copied at a time
MODE = 0o400  # a module's files are never written again


class Part:
    """Bytes received so far.

    Attributes:
        size: how many.
    """

    def __init__(self, target: Path) -> None:
        self.size = 0
        self._target = target
        self._digest = hashlib.sha256()
        try:
            handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=".part", dir=target.parent)
        except OSError as failure:
            raise StoreError(f"{target} cannot be written: {failure.strerror}") from failure
        self._path = Path(name)
        self._stream = os.fdopen(handle, "wb")

    def write(self, block: bytes) -> None:
        """Append.

        Raises:
            StoreError: the disk is full or fails.
        """
        try:
            self._stream.write(block)
        except OSError as failure:
            raise StoreError(f"{self._target} cannot be written: {failure.strerror}") from failure
        self._digest.update(block)
        self.size += len(block)

    def restart(self) -> None:
        """Forget all bytes."""
        try:
            self._stream.seek(0)
            self._stream.truncate()
        except OSError as failure:
            raise StoreError(f"{self._target} cannot be written: {failure.strerror}") from failure
        self._digest, self.size = hashlib.sha256(), 0

    def resume(self, most: int) -> None:
        """Start with what an interrupted process received: the longest rest beside the target of at most ``most`` bytes."""
        rests = [(_plain_size(path), path) for path in leftovers(self._target) if path != self._path]
        size, path = max((rest for rest in rests if 0 < rest[0] <= most), default=(0, self._target))
        if size:
            with suppress(FileNotFoundError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as rest:
                while self.size < size and (block := rest.read(min(_BLOCK, size - self.size))):
                    self.write(block)

    def check(self, entry: FileEntry) -> FileEntry:
        """The entry with the size and digest that arrived.

        Raises:
            DigestError: they are not what the entry promises.
        """
        found = self._digest.hexdigest()
        if entry.bytes not in (None, self.size):
            raise DigestError(f"has {self.size:,} bytes where {entry.bytes:,} are promised")
        if entry.sha256 not in (None, found):
            raise DigestError(f"has sha256 {found} where {entry.sha256} is promised")
        return FileEntry(entry.path, self.size, found, entry.sources)

    def finish(self) -> None:
        """Move the file to its target, and remove what interrupted processes left of it.

        Raises:
            FileNotFoundError: another process finished the same target and removed this file as a leftover (locks did not work).
            StoreError: it cannot be moved there.
        """
        try:
            self._stream.close()
            publish_file(self._path, self._target, mode=MODE)
        except FileNotFoundError:
            raise
        except OSError as failure:
            raise StoreError(f"{self._target} cannot be written: {failure.strerror}") from failure
        for path in leftovers(self._target):
            remove(path)

    def close(self, *, keep: bool) -> None:
        """Let go of an unfinished file; ``keep`` leaves its bytes for the next process."""
        with suppress(OSError):
            self._stream.close()
        if not keep or not self.size:
            self._path.unlink(missing_ok=True)


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A private folder beside a target for a library that insists on choosing file names; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=".part", dir=target.parent))
    try:
        yield folder
    finally:
        remove(folder)


def leftovers(target: Path) -> list[Path]:
    """Unfinished files and folders of a target; '~' is in no file name of a module, so they belong to no other one."""
    return sorted(target.parent.glob(f"{_prefix(target)}*.part"))


def _prefix(target: Path) -> str:
    return f".{target.name}~"


def _plain_size(path: Path) -> int:
    """Bytes of a regular file; 0 for all else: links, folders, what is gone."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        return status.st_size if stat.S_ISREG(status.st_mode) else 0
    return 0
