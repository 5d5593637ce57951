"""The local store: ``NLPHUB_HOME/modules/<name>/<version>/`` holds a module's files and lock.json, which says that they are all right.

lock.json is written last, so a folder without it is no module, whatever killed the installation; the files that are right are kept and
the next installation goes on from there. Each file is moved into place whole, so two processes that install the same module do each
other no harm; the lock only saves the second one's work. Later loads compare size, time and inode of each file with those of lock.json
instead of hashing it again; :func:`verify` always hashes. ``bundle:`` files are copied too: a module's folder is complete.

A mirror (``NLPHUB_MIRRORS``) is any web server or shared folder over somebody's ``modules`` folder: ``<mirror>/<name>/<version>/<path>``.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nlphub import paths
from nlphub.errors import DigestError, InputError, StoreError, UnknownNameError
from nlphub.files import locked, require_space
from nlphub.hub import lockfile, making, private
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.checking import file_problem, verify_bundle
from nlphub.hub.fetch import PATIENCE, Progress, of_one_moment, refuse_offline
from nlphub.hub.names import check_name, check_source, check_version, is_remote, normal
from nlphub.hub.registry import installed_registry, load_registry
from nlphub.hub.several import fetch_all
from nlphub.hub.transport import Patience

log = logging.getLogger(__name__)

_WAIT = 3600.0  # seconds that a second process waits for the first one's download


@dataclass(frozen=True, slots=True)
class Installed:
    """A module in the store.

    Attributes:
        name: of the module.
        version: of the module.
        files: as they were installed, every size and digest known; empty when lock.json is damaged.
    """

    name: str
    version: str
    files: tuple[FileEntry, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(entry.bytes or 0 for entry in self.files)


def folder(card: Card | Installed) -> Path:
    """Where a module is or would be."""
    return home_of_modules() / card.name / card.version


def install(
    card: Card,
    *,
    rehash: bool = False,
    progress: Progress | None = None,
    patience: Patience = PATIENCE,
    make: making.Make | None = None,
    pins: lockfile.Made | None = None,
) -> Path:
    """Make sure that a module is in the store, complete and verified; no network is touched when it is there.

    Args:
        card: of the registry.
        rehash: hash the files that are there again instead of trusting their stamps.
        progress: called with (bytes done, bytes in all) of what has to be fetched.
        patience: time-outs and retries.
        make: converts the files of others of which a card with ``origins`` is made.
        pins: which files these have to be; default: those of the first installation.

    Returns:
        The module's folder.

    Raises:
        InputError: it has to be made, and there is no ``make``.
        FetchError: a file cannot be had, or not as the registry (or the first installation) promises it.
        StoreError: the store cannot be used.
    """
    place = folder(card)
    if not _is_complete(card, place, rehash=rehash):
        private.make(place)
        with _alone(card.name, card.version):
            if not _is_complete(card, place, rehash=rehash):
                if card.is_made:
                    _sweep(place.parent)
                    making.make_module(card, place, make, pins=pins, progress=progress, patience=patience)
                else:
                    _complete(card, place, progress, patience)
    return place


def settled(card: Card) -> Card:
    """The card of an installed module with the files that it has here, every size and digest known; nothing is left to be made.

    Raises:
        StoreError: it is not installed.
    """
    place = folder(card)
    lock = _read(place)
    if not lock:
        raise StoreError(f"{card.title} is not installed in {place}")
    wanted = {entry.path: entry for entry in _wanted(card, lock)}
    return replace(card, licence=licence_of(card), files=tuple(wanted[path] for path in sorted(wanted)), origins=())


def installed(name: str | None = None) -> list[Installed]:
    """What the store holds, sorted by name; unfinished installations are not among them.

    Args:
        name: only the versions of this name or alias.
    """
    wanted = _stored_name(name) if name is not None else None
    places = (place for place in _version_folders() if wanted in (None, place.parent.name) and (place / lockfile.NAME).is_file())
    return [Installed(place.parent.name, place.name, _files_of(place)) for place in places]


def verify(card: Card | Installed) -> list[str]:
    """Hash every file of a module, and those that ship with this installation of nlphub for it. Returns what is wrong.

    A version that the registry no longer knows is judged by its lock.json alone: what ships now is another version's.
    """
    place = folder(card)
    try:
        lock = _read(place)
    except StoreError as damage:
        return [str(damage)]
    if lock is None:
        return [f"is not installed in {place}"]
    wanted = _wanted(card, lock)
    known = {entry.path for entry in wanted} | {lockfile.NAME}
    return [
        *(problem for entry in wanted if (problem := file_problem(place / entry.path, entry))),
        *(f"{path}: is no file of this module; nothing reads it, delete it" for path in _files_in(place) if path not in known),
        *(verify_bundle(card) if isinstance(card, Card) else ()),
    ]


def remove(name: str, version: str | None = None) -> int:
    """Delete a module from the store, finished or not, and the digests that its lock.json pins.

    Args:
        name: a name or alias.
        version: exactly one version; default is all that there are.

    Returns:
        How many bytes that freed.

    Raises:
        UnknownNameError: there is no such module in the store.
    """
    name = _stored_name(name)
    places = [place for place in _version_folders() if place.parent.name == name and version in (None, place.name)]
    if not places:
        wanted = name if version is None else f"{name} {version}"
        raise UnknownNameError(f"{wanted} is not installed in {home_of_modules()}; `nlphub list` marks what is")
    freed = 0
    for place in places:
        private.check(place)
        with _alone(name, place.name):
            freed += _delete(place)
    with suppress(OSError):  # not empty: another version has come meanwhile
        (home_of_modules() / name).rmdir()
    return freed


def home_of_modules() -> Path:
    """The folder of all modules of the store."""
    return paths.home() / "modules"


@contextmanager
def _alone(name: str, version: str) -> Iterator[None]:
    """Keep other processes waiting, where the file system can; without it they do the same work twice, and no harm."""
    private.make(paths.home() / "locks")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(paths.home() / "locks" / f"{name}-{version}.lock", timeout=_WAIT))
        except OSError as failure:
            log.warning("going on without a lock on %s %s: %s", name, version, failure)
        yield


def _read(place: Path) -> lockfile.Lock | None:
    if not place.exists():
        return None
    private.check(place)
    return lockfile.read(place)


def _wanted(card: Card | Installed, lock: lockfile.Lock) -> list[FileEntry]:
    """What a module's folder has to hold: what its card says, and of one that was made what its lock says."""
    if isinstance(card, Card) and card.is_made:
        return [known.entry for known in lock.values()]
    return lockfile.pinned(card.files, lock)


def _is_complete(card: Card, place: Path, *, rehash: bool) -> bool:
    """Whether all files are there as promised. Stamps that have changed without harm (a copied store) are renewed where possible."""
    lock = _read(place)
    if not lock:
        return False
    wanted = _wanted(card, lock)
    if not rehash and all(lockfile.is_unchanged(place / entry.path, entry, lock) for entry in wanted):
        return True
    if any(file_problem(place / entry.path, entry) for entry in wanted):
        return False
    with suppress(StoreError):  # a store that is shared read-only
        sources = {path: known.entry.sources for path, known in lock.items()}
        entries = [replace(entry, sources=sources.get(entry.path, entry.sources)) for entry in wanted]
        lockfile.write(place, entries, replace(card, licence=licence_of(card)), made=lockfile.made_from(place))
    return True


def _complete(card: Card, place: Path, progress: Progress | None, patience: Patience) -> None:
    """Fetch what is missing or wrong, then write lock.json."""
    _sweep(place.parent)
    lock = lockfile.read(place) or {}
    entries = {entry.path: entry for entry in lockfile.pinned(card.files, lock)}
    missing = [
        replace(entry, sources=_with_pinned(_with_mirrors(card, entry), lock.get(entry.path)))
        for entry in entries.values()
        if file_problem(place / entry.path, entry)
    ]
    title, total = f"{card.name} {card.version}", sum(entry.bytes or 0 for entry in missing)
    refuse_offline(missing, place, label=title)
    require_space(place, total)
    for entry in missing:
        private.make((place / entry.path).parent)
    explain = partial(_explained_pin, card)
    found = fetch_all(of_one_moment(missing), place, label=title, progress=progress, patience=patience, explain=explain)
    entries |= {entry.path: entry for entry in found}
    lockfile.write(place, entries.values(), card)
    log.info("%s is installed in %s", title, place)


def licence_of(card: Card) -> str | None:
    """As the registry says, or as the first installation learnt it from the publisher's card."""
    if card.licence is not None:
        return card.licence
    return next((known.licence for known in installed_registry().cards if known.title == card.title), None)


@contextmanager
def _explained_pin(card: Card, entry: FileEntry) -> Iterator[None]:
    """Say where a digest comes from that the registry does not promise."""
    try:
        yield
    except DigestError as wrong:
        if all(known.sha256 for known in card.files if known.path == entry.path):
            raise
        raise DigestError(
            f"{wrong}\nThe registry knows no digest of {entry.path}; the first installation pinned it. If you trust the new bytes: "
            f"nlphub remove {card.name} --version {card.version}, then install again."
        ) from wrong


def _with_mirrors(card: Card, entry: FileEntry) -> tuple[str, ...]:
    """The sources with this file's place on each mirror before the first source that needs a network."""
    first = next((number for number, source in enumerate(entry.sources) if is_remote(source)), len(entry.sources))
    bases = map(_mirror, paths.mirrors()) if first < len(entry.sources) else ()
    mirrored = (f"{base}/{card.name}/{card.version}/{entry.path}" for base in bases)
    return (*entry.sources[:first], *mirrored, *entry.sources[first:])


def _with_pinned(sources: tuple[str, ...], known: lockfile.Locked | None) -> tuple[str, ...]:
    """The sources, and before them the commit of Hugging Face that gave the file the first time: its branch may have moved on."""
    pinned = [source for source in known.entry.sources if source.startswith("hf://")] if known is not None else []
    return tuple(dict.fromkeys([*pinned, *sources]))


def _mirror(base: str) -> str:
    try:
        if not base.startswith(("http://", "https://", "file:///")):
            raise ValueError("a mirror starts with http://, https:// or file:///")
        return check_source(base).rstrip("/")
    except ValueError as wrong:
        raise InputError(f"NLPHUB_MIRRORS has {base!r}: {wrong}") from wrong


def _files_of(place: Path) -> tuple[FileEntry, ...]:
    with suppress(StoreError):
        return tuple(locked.entry for locked in (_read(place) or {}).values())
    return ()


def _files_in(place: Path) -> Iterator[str]:
    """All that lies in a module's folder, links and hidden things too, but not the rests of interrupted downloads."""
    for top, folders, names in os.walk(place):
        for name in (*names, *(name for name in folders if (Path(top) / name).is_symlink())):
            if not (name.startswith(".") and name.endswith(".part")):
                yield (Path(top) / name).relative_to(place).as_posix()


def _version_folders() -> list[Path]:
    """The folders ``<name>/<version>`` of the store, sorted."""
    return [place for place in sorted(home_of_modules().glob("*/*")) if _is_module(place.parent.name, place.name)]


def _is_module(name: str, version: str) -> bool:
    with suppress(ValueError):
        return bool(check_name(name) and check_version(version))
    return False


def _stored_name(name: str) -> str:
    """The name under which the store has what the registry calls ``name``; also of modules that no registry knows any more."""
    for registry in (load_registry(), installed_registry()):
        with suppress(UnknownNameError):
            return registry.find(name).name
    return normal(name)


def _delete(place: Path) -> int:
    """First the lock, so that a half deleted module is none; then all at once out of sight; then file by file."""
    freed = sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir() or path.is_symlink())
    (place / lockfile.NAME).unlink(missing_ok=True)
    grave = Path(tempfile.mkdtemp(prefix=f".{place.name}~", suffix=".old", dir=place.parent))
    place.replace(grave / place.name)
    _sweep(place.parent)
    return freed


def _sweep(place: Path) -> None:
    """Bury what :func:`_delete` moved out of sight, also before it was killed."""
    for grave in place.glob(".*~*.old"):
        shutil.rmtree(grave, ignore_errors=True)
