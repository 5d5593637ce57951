"""What this machine remembers of a registry that others could change: whose key signed it, how new it was, which versions it had.

It lies in ``NLPHUB_HOME/registries/<digest of the address>/trust.json``, private as the store is. A registry is refused when it is

* signed with another key than the given one or the one of its first use, or no longer signed, or its signature is wrong;
* older than one that was seen (a smaller serial), or another one of the same serial, if it is signed;
* changed in a version that was seen: a version names its bytes for ever.

A registry that is deliberately begun anew is accepted after ``nlphub hub forget ADDRESS``, or when its new key is given.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nlphub import paths
from nlphub.errors import StoreError
from nlphub.files import json_text, locked, publish_text, remove
from nlphub.hub import private, signing
from nlphub.hub.addresses import Address
from nlphub.hub.cards import Card
from nlphub.hub.document import Document

log = logging.getLogger(__name__)

_FILE, _COPY = "trust.json", "registry.json"
_MAX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one registry.

    Attributes:
        address: where it is.
        key: that signed it, ``None``: it was not signed.
        serial: the largest one seen.
        sha256: of the signed bytes of that serial.
        editions: ``"name version"`` -> digest of its files, of every version that was ever seen.
    """

    address: str
    key: str | None = None
    serial: int = 0
    sha256: str = ""
    editions: Mapping[str, str] = field(default_factory=dict)


def recall(address: Address) -> Memory | None:
    """What is remembered; ``None`` at first use, and for a local registry that never was signed.

    Raises:
        StoreError: it is damaged, or somebody else's.
    """
    path = folder(address) / _FILE
    if not path.is_file():
        return None
    private.check(path.parent)
    try:
        with path.open("rb") as stream:
            return _memory(json.loads(stream.read(_MAX_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError) as damage:
        raise StoreError(f"{path} is damaged ({damage}). If you trust what is there now: nlphub hub forget {address.place}") from damage


def problems(address: Address, document: Document, memory: Memory | None) -> Iterator[str]:
    """Why a document that was found at an address is not to be used."""
    known = memory.key if memory is not None else None
    wanted = address.key or known
    way_out = f"If that is meant to be: nlphub hub forget {address.place}"
    if document.key is None:
        if wanted:
            yield f"is not signed, and has to be signed by {signing.PREFIX}{wanted}. {way_out}"
    elif wanted not in (None, document.key):
        yield f"is signed by another key, {signing.PREFIX}{document.key}, and not by {signing.PREFIX}{wanted}. {way_out}"
    elif not signing.verifies(document.key, document.signature or "", document.signed):
        yield "has been changed after it was signed: its signature is wrong"
    elif memory is not None and known == document.key:
        yield from _rollback(document, memory, way_out)
    if memory is not None and not _is_new_owner(address, document, memory):
        yield from _rewritten(document, memory, way_out)


def remember(address: Address, document: Document, memory: Memory | None, *, copy: bytes | None = None) -> None:
    """Keep what an accepted document says.

    Args:
        copy: the document itself, to be used while the network is away.

    Raises:
        StoreError: it cannot be written.
    """
    if memory is not None and _is_new_owner(address, document, memory):
        memory = None
    if document.key and (memory is None or memory.key is None) and address.key is None:
        log.warning(
            "%s is signed by %s%s, which is remembered from now on: ask its owner whether that is right",
            address.place, signing.PREFIX, document.key,
        )  # fmt: skip
    editions = {**(memory.editions if memory else {}), **_editions(document)}
    new = Memory(address.place, document.key, document.serial, hashlib.sha256(document.signed).hexdigest(), editions)
    try:
        private.make(folder(address))
        if copy is not None:
            publish_text(folder(address) / _COPY, copy.decode("utf-8"))
        if new != memory:
            publish_text(folder(address) / _FILE, json_text(asdict(new)))
    except OSError as failure:
        raise StoreError(f"{folder(address)} cannot be written: {failure.strerror}") from failure


def kept(address: Address) -> Path:
    """Where the last accepted copy of a registry is, or would be."""
    return folder(address) / _COPY


def forget(address: Address) -> bool:
    """Remember nothing of a registry any more: its key, its serial, its versions, its copy. Returns whether there was anything."""
    place = folder(address)
    if not place.exists():
        return False
    private.check(place)
    with locked(paths.home() / "locks" / "registries.lock"):
        remove(place)
    return True


def folder(address: Address) -> Path:
    """Of all that is remembered of a registry."""
    return paths.home() / "registries" / hashlib.sha256(address.place.encode()).hexdigest()[:32]


def _rollback(document: Document, memory: Memory, way_out: str) -> Iterator[str]:
    if document.serial < memory.serial:
        yield f"has the serial {document.serial}, and {memory.serial} was seen before: it is an old copy. {way_out}"
    elif document.serial == memory.serial and hashlib.sha256(document.signed).hexdigest() != memory.sha256:
        yield f"is another one than was seen with the same serial {document.serial}. {way_out}"


def _rewritten(document: Document, memory: Memory, way_out: str) -> Iterator[str]:
    found = _editions(document)
    changed = sorted(title for title, digest in memory.editions.items() if found.get(title, digest) != digest)
    if changed:
        yield f"has other files than before in {', '.join(changed)}, and a published version never changes. {way_out}"


def _is_new_owner(address: Address, document: Document, memory: Memory) -> bool:
    """Whether the caller names a key that is not the remembered one, and the document has it: nothing older counts any more."""
    return address.key is not None and address.key == document.key != memory.key


def _editions(document: Document) -> dict[str, str]:
    return {card.title: _digest(card) for card in document.cards if card.files and all(entry.sha256 for entry in card.files)}


def _digest(card: Card) -> str:
    lines = sorted(f"{entry.path} {entry.sha256}\n" for entry in card.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _memory(values: dict[str, Any]) -> Memory:
    memory = Memory(**values)
    good = isinstance(memory.address, str) and isinstance(memory.key, str | None) and type(memory.serial) is int
    if not good or not isinstance(memory.sha256, str) or not isinstance(memory.editions, dict):
        raise ValueError("a value of the wrong type")
    return memory
