"""One file of a module, from the first of its sources that gives the right bytes: retried, resumed, verified, moved into place.

Sources are ``bundle:path`` (ships with nlphub), ``file:///path``, ``http(s)://...`` and ``hf://org/repo@commit/path``. The name of a branch
or tag is made the commit that it means at this moment, which the entry that is returned then says.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nlphub import paths
from nlphub.errors import DigestError, FetchError, OfflineError, StoreError
from nlphub.files import require_space, sha256
from nlphub.hub.cards import FileEntry
from nlphub.hub.names import is_commit, is_remote, split_hub
from nlphub.hub.part import Part, workshop
from nlphub.hub.revisions import ask, commit_of
from nlphub.hub.transport import AbsentError, PassingError, Patience, request

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all (None: unknown)
PATIENCE = Patience()
_BLOCK = 1 << 20  # bytes of a local file copied at a time


def fetch(entry: FileEntry, target: Path, *, label: str, progress: Progress | None = None, patience: Patience = PATIENCE) -> FileEntry:
    """Put the bytes that ``entry`` promises at ``target``, whole or not at all; a link planted there is replaced, not followed.

    Bytes of an interrupted download of a file whose digest is known are hashed again and the rest is asked for. A file of unknown
    digest always starts from zero.

    Args:
        entry: what to fetch; its sources are tried in order.
        target: the file to write, in an existing folder.
        label: the module and version, for messages.
        progress: called with (bytes done, bytes in all) as bytes arrive.
        patience: time-outs and retries.

    Returns:
        The entry with the size and digest that arrived, and the one source that gave them.

    Raises:
        OfflineError: only a network has it, and ``NLPHUB_OFFLINE`` is set.
        DigestError: a source has other bytes than promised, and no other source is right.
        AbsentError: every source answers that there is no such file.
        FetchError: no source has it.
        StoreError: the disk is full or fails.
    """
    refuse_offline([entry], target.parent, label=label)
    part, keep = Part(target), entry.sha256 is not None
    try:
        found = _Delivery(entry, target, part, progress or _ignore, patience).from_first_right(label)
        _settle(part, target, found)
        return found
    except (DigestError, StoreError):
        keep = False
        raise
    finally:
        part.close(keep=keep)


def refuse_offline(entries: Iterable[FileEntry], folder: Path, *, label: str) -> None:
    """Check that nothing needs a network, if ``NLPHUB_OFFLINE`` forbids it.

    Raises:
        OfflineError: some of ``entries`` do; the message names them all, where they should be, and the command to run elsewhere.
    """
    missing = [entry for entry in entries if all(map(is_remote, entry.sources))]
    if not missing or not paths.offline():
        return
    files = ", ".join(f"{entry.path} ({_size(entry.bytes)})" for entry in missing)
    name, _, version = label.partition(" ")
    raise OfflineError(
        f"{label} lacks {files} in {folder}, and NLPHUB_OFFLINE forbids fetching. On a connected machine run\n"
        f"  nlphub install {name} --version {version}\n"
        f"and copy its folder modules/{name}/{version} of NLPHUB_HOME (default ~/.nlphub) to {folder}"
    )


def of_one_moment(entries: Iterable[FileEntry]) -> list[FileEntry]:
    """Entries whose branches of Hugging Face are made the commits that they mean now, one for all files of a repository.

    Where nobody answers, a branch stays as it is: fetching it says why.
    """
    commits: dict[tuple[str, str], str] = {}

    def settled(source: str) -> str:
        if not source.startswith("hf://") or is_commit(split_hub(source)[1]) or paths.offline():
            return source
        name, revision, path = split_hub(source)
        with suppress(FetchError):
            commit = commits.setdefault((name, revision), commits.get((name, revision)) or commit_of(name, revision, path))
            return f"hf://{name}@{commit}/{path}"
        return source

    return [replace(entry, sources=tuple(map(settled, entry.sources))) for entry in entries]


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One call of :func:`fetch`."""

    entry: FileEntry
    target: Path
    part: Part
    progress: Progress
    patience: Patience

    def from_first_right(self, label: str) -> FileEntry:
        failures: list[tuple[str, FetchError]] = []
        for source in self.entry.sources:
            log.info("%s: fetching %s from %s", label, self.entry.path, source)
            try:
                settled = _settled(source)
                return replace(self._from(settled), sources=(settled,))
            except FetchError as failure:
                log.info("%s: %s %s", label, source, failure)
                failures.append((source, failure))
        kind = DigestError if any(isinstance(failure, DigestError) for _, failure in failures) else FetchError
        kind = AbsentError if all(isinstance(failure, AbsentError) for _, failure in failures) else kind
        reasons = "".join(f"\n  - {source} {failure}" for source, failure in failures)
        raise kind(f"{label}: {self.entry.path} could not be fetched:{reasons}")

    def _from(self, source: str) -> FileEntry:
        if is_remote(source) and paths.offline():
            raise FetchError("was not asked: NLPHUB_OFFLINE is set")
        if source.startswith("hf://"):
            return self._from_hugging_face(source)
        if source.startswith("bundle:"):
            return self._copy(paths.resolve(source, base=paths.bundle()))
        if source.startswith("file://"):
            return self._copy(Path(url2pathname(urlsplit(source).path)))
        return self._download(source)

    def _copy(self, path: Path) -> FileEntry:
        """A file of this machine."""
        self.part.restart()
        try:
            total = self._agreed(path.stat().st_size)
            with path.open("rb") as stream:
                self._receive(iter(lambda: stream.read(_BLOCK), b""), total)
        except FileNotFoundError as missing:
            raise AbsentError("cannot be read: No such file or directory") from missing
        except OSError as failure:
            raise FetchError(f"cannot be read: {failure.strerror}") from failure
        return self._checked()

    def _from_hugging_face(self, source: str) -> FileEntry:
        """A file of a Hugging Face repository, through its own client, which knows endpoints, tokens and storage. Where the repository only
        points to a large file elsewhere, by an address that needs no token, that is fetched as any other: with resuming."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        name, commit, path = split_hub(source)
        if self.entry.sha256 is not None and (address := _linked(name, path, commit)):
            try:
                return self._download(address)
            except DigestError:
                raise
            except FetchError as failure:
                log.info("%s: %s %s; asking for it in the usual way", source, address.partition("?")[0], failure)
        with workshop(self.target) as folder:
            try:
                found = hf_hub_download(name, path, revision=commit, local_dir=folder)
            except EntryNotFoundError as missing:
                raise AbsentError(f"cannot be had: {missing}") from missing
            except Exception as failure:  # its client raises errors of several libraries; each is the failure of one source, no more
                raise FetchError(f"cannot be had: {failure}") from failure
            return self._copy(Path(found))

    def _download(self, address: str) -> FileEntry:
        """A file over http(s); when bytes of another source or of an earlier process turn out wrong, once more without them."""
        if self.entry.sha256 is None:
            self.part.restart()
        elif not self.part.size:
            self.part.resume(self.entry.bytes or 0)
        inherited = self.part.size > 0
        try:
            if not inherited or self.part.size != self.entry.bytes:
                self._persist(address)
            return self._checked()
        except DigestError:
            if not inherited:
                raise
        self._persist(address)
        return self._checked()

    def _persist(self, address: str) -> None:
        """Ask again and again, with growing pauses, until all bytes are there or patience is at its end."""
        failed = 0
        while True:
            before = self.part.size
            try:
                return self._attempt(address)
            except PassingError as trouble:
                if trouble.restart or self.entry.sha256 is None:
                    self.part.restart()
                failed += self.part.size - before < self.patience.worthwhile  # only bytes that are kept are worth another attempt
                if failed >= self.patience.attempts:
                    raise FetchError(f"{trouble} (tried {failed} times)") from trouble
                log.info("%s %s; trying again", address, trouble)
                self.patience.wait(failed, at_least=trouble.retry_after)

    def _attempt(self, address: str) -> None:
        with request(address, first=self.part.size, timeout=self.patience.timeout) as body:
            total = self._agreed(body.total)
            if self.entry.bytes is None:
                require_space(self.target.parent, total)
            if body.first != self.part.size:
                self.part.restart()
            self._receive(body.blocks, total)
        if self.part.size < total:
            raise PassingError(f"broke off after {self.part.size:,} of {total:,} bytes")

    def _agreed(self, told: int | None) -> int:
        """The size on which registry and source agree; when neither knows it, a body without an end could fill the disk."""
        promised = self.entry.bytes
        if promised is not None and told is not None and promised != told:
            raise FetchError(f"has {told:,} bytes where {promised:,} are promised")
        total = promised if promised is not None else told
        if total is None:
            raise FetchError("does not tell the size of the file, and neither does the registry")
        return total

    def _receive(self, blocks: Iterator[bytes], total: int) -> None:
        self.progress(self.part.size, total)
        for block in blocks:
            if self.part.size + len(block) > total:
                self.part.restart()
                raise FetchError(f"sends more than the {total:,} bytes that are promised")
            self.part.write(block)
            self.progress(self.part.size, total)

    def _checked(self) -> FileEntry:
        """The entry as it arrived; wrong bytes are deleted at once."""
        try:
            return self.part.check(self.entry)
        except DigestError:
            self.part.restart()
            raise


def _settled(source: str) -> str:
    """A source that names its bytes for ever: the commit in place of a branch."""
    if not source.startswith("hf://") or is_commit(split_hub(source)[1]) or paths.offline():
        return source
    name, revision, path = split_hub(source)
    return f"hf://{name}@{commit_of(name, revision, path)}/{path}"


def _linked(name: str, path: str, commit: str) -> str | None:
    """Where a file of Hugging Face really lies, if that is another server and as safe as the first one."""
    from huggingface_hub import hf_hub_url

    asked = hf_hub_url(name, path, revision=commit)
    try:
        found = urlsplit(place := ask(name, commit, path).location)
    except FetchError as failure:  # the client asks again, and its failure is the one that counts
        log.info("%s tells nothing about itself: %s", asked, failure)
        return None
    same_server = found.netloc == urlsplit(asked).netloc
    return None if same_server or found.scheme not in ("https", urlsplit(asked).scheme) else place


def _settle(part: Part, target: Path, found: FileEntry) -> None:
    try:
        part.finish()
    except FileNotFoundError as lost:  # see Part.finish
        if not target.is_file() or target.is_symlink() or sha256(target) != found.sha256:
            raise StoreError(f"{target}: another process interfered; run the command again") from lost


def _size(size: int | None) -> str:
    return "size unknown" if size is None else f"{size:,} bytes"


def _ignore(done: int, total: int | None) -> None:
    """No progress is shown."""
