"""One file that carries modules to a machine without a network: a zip that is a hub, with a manifest of everything in it.

    bundle.json                          {"schema": 1, "files": {path: {"bytes", "sha256"}}} of all other members
    registry.json                        the cards of the modules; unzipped, the folder is a hub
    modules/<name>/<version>/<file>      complete modules, each with its tokenizer
    recipes/<name>.yaml  wheels/<file>   what else was asked for

Everything is stored, nothing compressed: equal contents give equal bytes whatever zlib is there, and nothing can be larger than it looks.
A reader takes the members that the manifest names one by one, by its own loop, after the names, kinds and sizes of all have been checked.
"""

import hashlib
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from nlphub.errors import InputError, StoreError
from nlphub.files import json_text, publish, require_space, sha256
from nlphub.hub import checking, lockfile, private, store
from nlphub.hub.addresses import FILE
from nlphub.hub.cards import Card, FileEntry, facts_of
from nlphub.hub.document import MAX_BYTES, SCHEMA, parse
from nlphub.hub.manifest import MANIFEST, Member, check_directory, check_members, check_name_of, parse_manifest
from nlphub.hub.part import Part
from nlphub.hub.registry import load_registry
from nlphub.hub.versions import key as version_key

_BLOCK = 1 << 20  # bytes copied at a time
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


@dataclass(frozen=True, slots=True)
class Bundle:
    """What lies in a bundle.

    Attributes:
        path: of the zip.
        cards: of its modules, sorted.
        files: path -> size and digest of every member but the manifest.
    """

    path: Path
    cards: tuple[Card, ...]
    files: Mapping[str, Member]

    @property
    def extras(self) -> list[str]:
        """Recipes and wheels, sorted."""
        return sorted(path for path in self.files if path.startswith(("recipes/", "wheels/")))


def write_bundle(target: Path, cards: Sequence[Card], *, recipes: Sequence[Path] = (), wheels: Path | None = None) -> Bundle:
    """Install modules here, verified, and pack them with what else is asked for. Equal contents give an equal file, to the bit.

    Args:
        target: the zip; replaced if it is there.
        cards: of registries.
        recipes: .yaml files.
        wheels: a folder, e.g. of ``pip download -d wheels 'nlphub[train]'``; its .whl files are packed.

    Raises:
        InputError: nothing to pack, names that cannot be in a bundle, or two files of one name.
        FetchError: a module cannot be had.
        StoreError: the disk is full.
    """
    if target.suffix != ".zip":
        raise InputError(f"{target} is no name of a bundle; it ends in .zip")
    sources = dict(_extras(recipes, wheels))
    chosen = sorted({(card.name, card.version): card for card in cards}.values(), key=lambda card: (card.name, version_key(card.version)))
    if not chosen:
        raise InputError("A bundle carries at least one module: nlphub bundle ernie_tiny -o site.zip")
    packed = []
    for card in chosen:
        place = store.install(card, rehash=True)
        card = store.settled(card)
        lock = lockfile.read(place) or {}
        entries = [_packed(card, lock[entry.path].entry) for entry in card.files]
        packed.append(replace(card, files=tuple(sorted(entries, key=lambda entry: entry.path))))
        sources |= {entry.sources[0].removeprefix("bundle:"): place / entry.path for entry in entries}
    registry = json_text({"schema": SCHEMA, "modules": _modules(packed)}).encode()
    members = {path: Member(source.stat().st_size, sha256(source)) for path, source in sources.items()}
    members[FILE] = Member(len(registry), hashlib.sha256(registry).hexdigest())
    require_space(target.absolute().parent, sum(member.bytes for member in members.values()))
    manifest = json_text({"schema": SCHEMA, "files": {path: asdict(member) for path, member in members.items()}}).encode()
    parse_manifest(manifest)
    with publish(target) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, MANIFEST, [manifest], len(manifest))
        for path in sorted(members):
            blocks = [registry] if path == FILE else _verified(sources[path], members[path])
            _add(archive, path, blocks, members[path].bytes)
    return Bundle(target, tuple(packed), members)


@contextmanager
def open_bundle(path: Path) -> Iterator[tuple[Bundle, zipfile.ZipFile]]:
    """Check the whole table of contents of a bundle before anything of it is used.

    Raises:
        InputError: it is no bundle; all that is wrong with it at once.
    """
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(path.open("rb"))
            check_directory(stream)
            archive = stack.enter_context(zipfile.ZipFile(stream))
            bundle = _contents(path, archive)
        except OSError as failure:
            raise InputError(f"{path} cannot be read: {failure.strerror or failure}") from failure
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, struct.error) as broken:
            raise InputError(f"{path} is no bundle, or a damaged one: {broken}") from broken
        yield bundle, archive


def install_bundle(path: Path, *, extras_to: Path | None = None) -> tuple[Bundle, list[Path]]:
    """Put all modules of a bundle into the store. No network is touched; what is there already and right is left alone.

    Args:
        path: the zip.
        extras_to: a folder for its recipes and wheels; by default they stay in the zip.

    Returns:
        What it holds, and the folders of the modules.

    Raises:
        InputError: it is refused, see :func:`open_bundle`; or a registry here has other files under a name and version of it.
        StoreError: a member has other bytes than the manifest says, or the store cannot be used.
    """
    with open_bundle(path) as (bundle, archive):
        if clashes := list(_clashes(bundle)):
            raise InputError(f"{path} clashes with the registries of this machine; nothing was installed.", clashes)
        require_space(store.home_of_modules(), sum(entry.bytes or 0 for card in bundle.cards for entry in card.files))
        for card in bundle.cards:
            place = store.folder(card)
            private.make(place)
            for entry in card.files:
                private.make((place / entry.path).parent)
                if checking.file_problem(place / entry.path, entry):
                    _receive(archive, entry, place / entry.path)
        for extra in bundle.extras if extras_to else ():
            _extract(archive, extra, bundle.files[extra], Path(str(extras_to)) / extra)
        return bundle, [store.install(card, rehash=True) for card in bundle.cards]


def _contents(path: Path, archive: zipfile.ZipFile) -> Bundle:
    files = parse_manifest(_whole(archive, MANIFEST, None))
    if wrong := list(check_members(archive.infolist(), files, path.stat().st_size)):
        raise InputError(f"{path} is refused; nothing of it was used.", wrong)
    document, wrong = parse(_whole(archive, FILE, files[FILE]))
    if wrong := wrong or list(_card_problems(document.cards, files)):
        raise InputError(f"{path}: {FILE} is not valid; nothing of it was used.", wrong)
    return Bundle(path, document.cards, files)


def _extras(recipes: Sequence[Path], wheels: Path | None) -> Iterator[tuple[str, Path]]:
    found = [(f"recipes/{path.name}", path) for path in recipes]
    found += [(f"wheels/{path.name}", path) for path in sorted(wheels.glob("*.whl"))] if wheels is not None else []
    problems = [f"{path}: is no file" for _, path in found if not path.is_file()]
    problems += [f"{path}: {reason}" for name, path in found if (reason := check_name_of(name))]
    names = [name for name, _ in found]
    problems += [f"{name}: there are two files of this name" for name in sorted({name for name in names if names.count(name) > 1})]
    if wheels is not None and not any(name.startswith("wheels/") for name in names):
        problems.append(f"{wheels}: there is no .whl file in it; fill it: pip download -d {wheels} nlphub")
    if problems:
        raise InputError("This cannot be packed.", problems)
    yield from found


def _packed(card: Card, entry: FileEntry) -> FileEntry:
    return replace(entry, sources=(f"bundle:modules/{card.name}/{card.version}/{entry.path}",))


def _modules(cards: Iterable[Card]) -> dict[str, Any]:
    modules: dict[str, list[dict[str, Any]]] = {}
    for card in cards:
        modules.setdefault(card.name, []).append({key: value for key, value in facts_of(card).items() if key != "name"})
    return dict(modules)


def _add(archive: zipfile.ZipFile, path: str, blocks: Iterable[bytes], size: int) -> None:
    info = zipfile.ZipInfo(path, _TIME)
    info.create_system, info.external_attr, info.file_size = 3, (stat.S_IFREG | 0o644) << 16, size
    with archive.open(info, "w") as member:
        for block in blocks:
            member.write(block)


def _verified(source: Path, member: Member) -> Iterator[bytes]:
    """The bytes of a file that still are those of the manifest."""
    digest = hashlib.sha256()
    with source.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            yield block
    if digest.hexdigest() != member.sha256:
        raise StoreError(f"{source} has been changed while it was packed; run the command again")


def _whole(archive: zipfile.ZipFile, path: str, member: Member | None) -> bytes:
    """A small member; of the manifest nobody says how it should be."""
    try:
        info = archive.getinfo(path)
    except KeyError as missing:
        raise InputError(f"{archive.filename or 'this zip'} is no bundle of nlphub: it has no {path}") from missing
    if info.compress_type != zipfile.ZIP_STORED or max(info.file_size, info.compress_size) > MAX_BYTES:
        raise InputError(f"{path} is compressed, or larger than {MAX_BYTES:,} bytes: nlphub writes no such bundle")
    with archive.open(info) as stream:
        data = stream.read(MAX_BYTES + 1)
    if member is not None and (len(data), hashlib.sha256(data).hexdigest()) != (member.bytes, member.sha256):
        raise InputError(f"{path} has other bytes than {MANIFEST} says: this bundle is damaged; copy it again")
    return data


def _card_problems(cards: Sequence[Card], files: Mapping[str, Member]) -> Iterator[str]:
    """What the registry says that the manifest does not, and the other way round."""
    named = {FILE}
    yield from (f"{card.title}: is only a way to make it; a bundle holds modules whole" for card in cards if card.is_made)
    for card in cards:
        for entry in card.files:
            path = f"modules/{card.name}/{card.version}/{entry.path}"
            named.add(path)
            found = files.get(path)
            if entry.sources != (f"bundle:{path}",):
                yield f"{card.title}: {entry.path} does not come from this bundle"
            if found is None or (found.bytes, found.sha256) != (entry.bytes, entry.sha256):
                yield f"{card.title}: {entry.path} is not in the manifest with this size and digest"
    yield from (f"{path}: belongs to no module" for path in sorted(files.keys() - named) if path.startswith("modules/"))
    titles = [card.title for card in cards]
    yield from (f"{title}: is there twice" for title in sorted({title for title in titles if titles.count(title) > 1}))


def _clashes(bundle: Bundle) -> Iterator[str]:
    here = {(card.name, card.version): card for card in load_registry().cards}
    for card in bundle.cards:
        other = here.get((card.name, card.version))
        known = {entry.path: entry.sha256 for entry in other.files if entry.sha256} if other is not None else {}
        found = {entry.path: entry.sha256 for entry in card.files}
        if other is not None and any(found.get(path) != digest for path, digest in known.items()):
            yield f"{card.title}: has other files than the {card.title} of {other.files[0].sources[0]}"


def _receive(archive: zipfile.ZipFile, entry: FileEntry, target: Path) -> None:
    """One member into the store: under a name of its own, hashed as it is written, moved when it is right."""
    part = Part(target)
    try:
        with _member(archive, entry.sources[0].removeprefix("bundle:")) as stream:
            while block := stream.read(_BLOCK):
                part.write(block)
        part.check(entry)
        part.finish()
    finally:
        part.close(keep=False)


def _extract(archive: zipfile.ZipFile, path: str, member: Member, target: Path) -> None:
    digest = hashlib.sha256()
    with _member(archive, path) as stream, publish(target) as copy:
        while block := stream.read(_BLOCK):
            digest.update(block)
            copy.write(block)
        if digest.hexdigest() != member.sha256:
            raise StoreError(f"{path} has other bytes than {MANIFEST} says: this bundle is damaged; copy it again")


@contextmanager
def _member(archive: zipfile.ZipFile, path: str) -> Iterator[IO[bytes]]:
    try:
        with archive.open(path) as stream:
            yield stream
    except zipfile.BadZipFile as broken:
        raise StoreError(f"{path} is damaged in this bundle ({broken}); copy it again") from broken
