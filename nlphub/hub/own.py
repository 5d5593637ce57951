"""A hub of one's own: a folder ``registry.json`` + ``modules/<name>/<version>/<file>`` that any file server, bucket or shared disk offers.

The registry is written last and whole, so a reader sees a version with all its files or not at all, and a writer that was killed leaves at
most a folder that the registry does not name. A version that was published never changes. The serial counts the changes; a hub that was
begun with a key is signed anew with each of them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlphub import paths
from nlphub.errors import InputError
from nlphub.files import json_text, locked, publish, publish_folder, publish_text, recover_folder, require_space, sha256
from nlphub.hub import checking, lockfile, publishing, signing, store
from nlphub.hub.addresses import FILE
from nlphub.hub.cards import Card, facts_of
from nlphub.hub.document import MAX_BYTES, SCHEMA, Document, canonical, load_values, parse
from nlphub.hub.names import CARD, check_name, check_version
from nlphub.hub.registry import merge
from nlphub.hub.sources import read_bundled
from nlphub.hub.versions import key as version_key

MODULES, LOCK = "modules", ".nlphub.lock"
_BLOCK = 1 << 20  # bytes copied at a time
_SECRETS = (".key", ".pem")


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is in a hub now.

    Attributes:
        card: as the registry has it.
        folder: where its files are.
        left_out: what lay beside the module and was not published.
    """

    card: Card
    folder: Path
    left_out: tuple[str, ...] = ()


def init(hub: Path, *, key: Path | None = None) -> str | None:
    """Begin a hub in a new or empty folder.

    Args:
        hub: the folder.
        key: a private key to sign it with; made if the file does not exist. It lies outside of the hub, which is for everybody.

    Returns:
        The public key, 64 hexadecimal digits, or ``None`` for a hub that is not signed.

    Raises:
        InputError: the folder holds something, or the key lies in it or is none.
        MissingExtraError: a key is given and there is no ``cryptography``.
    """
    if _is_hub(hub):
        raise InputError(f"{hub} is a hub already; put modules into it with: nlphub hub publish RUN NAME --version 1.0.0 --to {hub}")
    if hub.exists() and (not hub.is_dir() or any(path.name != LOCK for path in hub.iterdir())):
        raise InputError(f"{hub} is not empty and no hub, so it is left alone; choose another folder")
    if key is not None:
        _check_outside(hub, key)
        if not key.exists():
            signing.make_key(key)
    hub.mkdir(parents=True, exist_ok=True)
    return _write(hub, {"schema": SCHEMA, "serial": 0, "modules": {}}, key)


def publish_module(
    directory: Path,
    name: str,
    *,
    version: str,
    to: Path,
    summary: str | None = None,
    licence: str | None = None,
    language: str = "zh",
    aliases: Sequence[str] | None = None,
    notes: str = "",
    key: Path | None = None,
) -> Published:
    """Make a run or a saved module an installable version: weights, tokenizer, labels, calibration and card.

    Args:
        directory: the folder of a run, or what ``Module.save`` wrote.
        name: to install it by.
        version: two to four numbers; one that nobody has published yet.
        to: the hub; a folder that does not exist, or is empty, becomes one that is not signed.
        summary: one line; default: the base module, its task and the number of labels.
        licence: an SPDX identifier; default: that of the base module.
        language: a BCP 47 tag.
        aliases: other names; default: those of the newest version that is there.
        notes: Markdown for the end of card.md.
        key: the private key of a hub that is signed.

    Raises:
        InputError: something is wrong with the folder or the facts, the version is there already, or the name is taken; nothing is written.
        StoreError: the disk is full.
    """
    _check_names(name, version)
    source = publishing.find_source(directory)
    known = publishing.facts(source, summary=summary, licence=licence, language=language, aliases=aliases or ())
    if not _is_hub(to):
        init(to, key=key)
    with changed(to, key) as values:
        modules = values["modules"]
        _refuse_overwriting(modules, name, version, to)
        if aliases is None and name in modules:
            known["aliases"] = _versions_of(modules, name)[-1]["aliases"]
        text = publishing.card_text(name, version, known, source, notes)
        with _filled(to, name, version, [source.folder / file for file in source.files], text) as files:
            _add(modules, name, {**known, "version": version, "files": files})
            card = _checked(to, modules, name, version)
    return Published(card, to / MODULES / name / version, source.left_out)


def add(card: Card, *, to: Path, key: Path | None = None) -> Published:
    """Put a module of a registry into a hub as it is, so that machines that reach only this hub can install it.

    Raises:
        InputError: this version is there with other files; FetchError: it cannot be had.
    """
    place = store.install(card, rehash=True)
    card = store.settled(card)
    lock = lockfile.read(place) or {}
    if not _is_hub(to):
        init(to, key=key)
    with changed(to, key) as values:
        modules = values["modules"]
        known = next((one for one in parse_hub(to).cards if (one.name, one.version) == (card.name, card.version)), None)
        if known is not None and {entry.path: entry.sha256 for entry in known.files} == {p: f.entry.sha256 for p, f in lock.items()}:
            return Published(known, to / MODULES / card.name / card.version)
        _refuse_overwriting(modules, card.name, card.version, to)
        facts = {name: value for name, value in facts_of(card).items() if name not in ("name", "files")}
        with _filled(to, card.name, card.version, [place / path for path in sorted(lock)], None, root=place) as files:
            _add(modules, card.name, {**facts, "files": files})
            added = _checked(to, modules, card.name, card.version)
    return Published(added, to / MODULES / card.name / card.version)


def sign(hub: Path, key: Path) -> str:
    """Sign a hub with a key, for the first time or with a new one. Returns the public key. See :func:`init`."""
    _check_outside(hub, key)
    if not key.exists():
        signing.make_key(key)
    with locked(hub / LOCK):
        return _write(hub, _values(hub), key) or ""


def parse_hub(hub: Path) -> Document:
    """The registry of a hub of one's own.

    Raises:
        InputError: there is none, or what is wrong with it.
    """
    try:
        with (hub / FILE).open("rb") as stream:
            document, wrong = parse(stream.read(MAX_BYTES + 1))
    except OSError as failure:
        raise InputError(f"{hub} is no hub ({failure.strerror}: {FILE}); begin one: nlphub hub init {hub}") from failure
    if wrong:
        raise InputError(f"{hub / FILE} is not valid.", wrong)
    return document


def check(hub: Path) -> list[str]:
    """Hash every file of a hub. Returns what is wrong with it, and what lies there that has no business to.

    Raises:
        InputError: its registry cannot be read.
    """
    document = parse_hub(hub)
    wrong = _clashes(hub, document.cards)
    if document.key and not signing.verifies(document.key, document.signature or "", document.signed):
        wrong.append(f"{FILE}: has been changed after it was signed; look at it, then: nlphub hub sign {hub} --key FILE")
    named = {FILE, LOCK}
    for card in document.cards:
        for entry in card.files:
            for path in (source.removeprefix("bundle:") for source in entry.sources if source.startswith("bundle:")):
                named.add(path)
                problem = (
                    checking.file_problem(hub / path, entry) if _is_inside(hub, path) else f"{entry.path}: a link leads out of the hub"
                )
                wrong += [f"{card.title}: {problem}"] if problem else []
    return wrong + sorted(_foreign(hub, named))


def _foreign(hub: Path, named: set[str]) -> Iterator[str]:
    for top, folders, names in os.walk(hub):
        links = [name for name in folders if (Path(top) / name).is_symlink()]
        for path in ((Path(top) / name).relative_to(hub).as_posix() for name in [*names, *links]):
            if path not in named:
                secret = path.endswith(_SECRETS)
                yield f"{path}: " + (
                    "a private key in a folder that is for everybody; move it away" if secret else "no file of this hub; nothing reads it"
                )


@contextmanager
def changed(hub: Path, key: Path | None) -> Iterator[dict[str, Any]]:
    """The registry of a hub as plain values, to be changed; written with the next serial, and signed, when that ends well."""
    with locked(hub / LOCK):
        values = _values(hub)
        _check_key(hub, values, key)
        before = canonical(values)
        yield values
        if canonical(values) != before:
            _write(hub, values, key)


def _values(hub: Path) -> dict[str, Any]:
    parse_hub(hub)
    return load_values((hub / FILE).read_bytes())


def _write(hub: Path, values: dict[str, Any], key: Path | None) -> str | None:
    """Publish a registry with the next serial, signed if there is a key. Returns the public key."""
    values = {name: value for name, value in values.items() if name != "signature"} | {"serial": values.get("serial", 0) + 1}
    public = None
    if key is not None:
        public, signature = signing.sign(key, canonical(values))
        values["signature"] = {"key": public, "value": signature}
    text = json_text(values)
    if wrong := parse(text.encode())[1]:
        raise InputError(f"{hub / FILE} would not be valid; nothing was written.", wrong)
    publish_text(hub / FILE, text)
    return public


@contextmanager
def _filled(
    hub: Path, name: str, version: str, files: Sequence[Path], card: str | None, *, root: Path | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Copy files into the folder of a version, and yield their entries; the folder is there whole when the block ends well."""
    place = hub / MODULES / name / version
    recover_folder(place)
    require_space(hub, sum(path.stat().st_size for path in files))
    with publish_folder(place) as temporary:
        for path in files:
            _copy(path, temporary / (path.relative_to(root) if root else path.name))
        if card is not None:
            publish_text(temporary / CARD, card)
        there = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        yield [_entry(temporary / path, path, f"bundle:{MODULES}/{name}/{version}/{path}") for path in there]


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as stream, publish(target) as copy:
        while block := stream.read(_BLOCK):
            copy.write(block)


def _entry(path: Path, name: str, source: str) -> dict[str, Any]:
    return {"path": name, "bytes": path.stat().st_size, "sha256": sha256(path), "sources": [source]}


def _versions_of(modules: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The cards of a name, the newest one last."""
    entries = modules.get(name, [])
    return sorted(entries if isinstance(entries, list) else [entries], key=lambda card: version_key(card["version"]))


def _add(modules: dict[str, Any], name: str, new: dict[str, Any]) -> None:
    """One more version of a name, sorted."""
    modules[name] = [*_versions_of(modules, name), new]
    modules[name] = _versions_of(modules, name)


def _checked(hub: Path, modules: dict[str, Any], name: str, version: str) -> Card:
    """The new card, if the registry with it is valid and takes no name away."""
    document, wrong = parse(json_text({"schema": SCHEMA, "modules": modules}).encode())
    if wrong := wrong or _clashes(hub, document.cards):
        raise InputError(f"{name} {version} cannot be published in {hub}.", wrong)
    return next(card for card in document.cards if (card.name, card.version) == (name, version))


def _clashes(hub: Path, cards: Sequence[Card]) -> list[str]:
    bundled = paths.bundle() / FILE
    return merge({str(bundled): read_bundled(bundled)[0], str(hub / FILE): cards})[1]


def _refuse_overwriting(modules: dict[str, Any], name: str, version: str, hub: Path) -> None:
    there = [card["version"] for card in _versions_of(modules, name)]
    if any(version_key(other) == version_key(version) for other in there):
        newest = there[-1]
        raise InputError(
            f"{name} {version} is in {hub} already, and a published version never changes. The newest one there is {newest}: "
            f"choose a greater one, e.g. --version {_next(newest)}"
        )


def _next(version: str) -> str:
    *head, last = version.split(".")
    return ".".join([*head, str(int(last) + 1)])


def _check_names(name: str, version: str) -> None:
    problems = []
    for check, value, what in ((check_name, name, "name"), (check_version, version, "version")):
        try:
            check(value)
        except ValueError as wrong:
            problems.append(f"{what} {value!r}: {wrong}")
    if problems:
        raise InputError("This module cannot be published.", problems)


def _check_key(hub: Path, values: dict[str, Any], key: Path | None) -> None:
    signed = values.get("signature", {}).get("key")
    if key is None and signed:
        raise InputError(f"{hub} is signed by {signing.PREFIX}{signed}: give its private key with --key FILE")
    if key is not None:
        _check_outside(hub, key)
        given = signing.public_key(key)
        if given != signed:
            before = f"by another key, {signing.PREFIX}{signed}" if signed else "by nobody"
            raise InputError(f"{hub} is signed {before}; to sign it with this one from now on: nlphub hub sign {hub} --key {key}")


def _check_outside(hub: Path, key: Path) -> None:
    if key.resolve().is_relative_to(hub.resolve()):
        raise InputError(f"{key} lies in the hub, which everybody may read; keep the private key elsewhere")


def _is_hub(hub: Path) -> bool:
    return (hub / FILE).is_file()


def _is_inside(hub: Path, path: str) -> bool:
    return (hub / path).resolve().is_relative_to(hub.resolve())
