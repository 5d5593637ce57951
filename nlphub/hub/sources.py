"""Reading one registry from where it is: the bundled file, a hub's folder, or an http(s) address, of which a copy is kept.

The network is asked only when there is no copy yet, or when the caller wants a newer one; a copy is replaced by what has passed
:mod:`nlphub.hub.trust` and by nothing else. When a server cannot be reached, the copy goes on being used, and that is logged.
"""

import logging
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from nlphub import paths
from nlphub.errors import FetchError, OfflineError
from nlphub.files import locked
from nlphub.hub import private, trust
from nlphub.hub.addresses import Address
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.document import MAX_BYTES, Document, parse
from nlphub.hub.transport import PassingError, Patience, request

log = logging.getLogger(__name__)

PATIENCE = Patience(attempts=3, timeout=10.0)
_LONGEST = 60.0  # seconds for a whole registry, which has at most 4 MiB


def read_bundled(file: Path) -> tuple[list[Card], list[str]]:
    """The cards that ship with nlphub, and what is wrong with them. ``bundle:`` means the installation's own folder."""
    document, wrong = _parsed(file)
    return list(document.cards), wrong


def read(address: Address, *, refresh: bool) -> tuple[list[Card], list[str]]:
    """The cards of a registry, and what is wrong with it; ``bundle:`` sources are made those of its hub.

    Args:
        refresh: ask the network for a newer one.
    """
    try:
        document, wrong = _remote(address, refresh=refresh) if address.is_remote else _local(address)
    except FetchError as failure:
        return [], [str(failure)]
    wrong += [problem for card in document.cards for problem in _foreign_sources(address, card)]
    return [_vouched(_anchored(card, address), document.expires) for card in document.cards], wrong


def _vouched(card: Card, last: date | None) -> Card:
    """A card of a registry whose owner vouches for it until ``last``: after that day nothing new is installed from it."""
    if last is None or datetime.now(UTC).date() <= last or card.yanked is not None:
        return card
    return replace(card, yanked=f"its registry expired on {last}, so newer ones may be held back; run: nlphub hub update")


def _local(address: Address) -> tuple[Document, list[str]]:
    """A registry on this machine or on a shared disk; what is signed, or was, is watched."""
    document, wrong = _parsed(address.path)
    memory = trust.recall(address)
    if wrong or (memory is None and document.key is None and address.key is None):
        return document, wrong
    wrong = list(trust.problems(address, document, memory))
    if not wrong:
        trust.remember(address, document, memory)
    return document, wrong


def _remote(address: Address, *, refresh: bool) -> tuple[Document, list[str]]:
    copy = trust.kept(address)
    if copy.is_file() and (paths.offline() or not refresh):
        return _kept(address)
    if paths.offline():
        raise OfflineError("is not here yet, and NLPHUB_OFFLINE forbids fetching. Run on a connected machine: nlphub hub update")
    try:
        data = _download(address)
    except FetchError as failure:
        if not copy.is_file():
            raise
        log.warning(
            "%s %s; going on with the copy of %s", address.place, failure, time.strftime("%F %R", time.localtime(copy.stat().st_mtime))
        )
        return _kept(address)
    return _accepted(address, data)


def _kept(address: Address) -> tuple[Document, list[str]]:
    """The copy: accepted once, so only its key is looked at again, because another one may have been given since."""
    private.check(trust.folder(address))
    document, wrong = _parsed(trust.kept(address))
    return document, wrong or list(trust.problems(address, document, None))


def _accepted(address: Address, data: bytes) -> tuple[Document, list[str]]:
    """What has arrived, if it is to be believed; then it replaces the copy."""
    document, wrong = parse(data)
    if wrong:
        return document, wrong
    private.make(paths.home() / "locks")
    with locked(paths.home() / "locks" / "registries.lock"):
        memory = trust.recall(address)
        if wrong := list(trust.problems(address, document, memory)):
            return document, wrong
        if document.key is None and address.is_open_to_changes:
            log.warning("%s is neither signed nor encrypted: anybody on the way can change it", address.place)
        trust.remember(address, document, memory, copy=data)
    return document, []


def _download(address: Address, patience: Patience = PATIENCE) -> bytes:
    failed = 0
    while True:
        try:
            return _attempt(address, patience)
        except PassingError as trouble:
            failed += 1
            if failed >= patience.attempts:
                raise FetchError(f"{trouble} (tried {failed} times)") from trouble
            patience.wait(failed, at_least=trouble.retry_after)


def _attempt(address: Address, patience: Patience) -> bytes:
    data, end = bytearray(), time.monotonic() + _LONGEST
    with request(address.place, first=0, timeout=patience.timeout) as body:
        if (body.total or 0) > MAX_BYTES:
            raise FetchError(f"is longer than {MAX_BYTES:,} bytes")
        for block in body.blocks:
            data += block
            if len(data) > MAX_BYTES:
                raise FetchError(f"is longer than {MAX_BYTES:,} bytes")
            if time.monotonic() > end:
                raise FetchError(f"sends its {body.total or 'unknown number of'} bytes in more than {_LONGEST:.0f} s")
        if body.total is not None and len(data) < body.total:
            raise PassingError(f"broke off after {len(data):,} of {body.total:,} bytes")
    return bytes(data)


def _parsed(file: Path) -> tuple[Document, list[str]]:
    try:
        with file.open("rb") as stream:
            return parse(stream.read(MAX_BYTES + 1))
    except OSError as wrong:
        return Document(()), [f"cannot be read: {wrong.strerror}"]


def _foreign_sources(address: Address, card: Card) -> list[str]:
    """What a registry from a network may not name: files of the machine that reads it."""
    local = [entry.path for entry in card.files for source in entry.sources if source.startswith("file://")]
    local += [f"what it is made from ({origin.form})" for origin in card.origins if origin.base.startswith("file://")]
    return [
        f"{card.title}: {path} comes from a file:// source, which only a registry on this machine may have"
        for path in local
        if address.is_remote
    ]


def _anchored(card: Card, address: Address) -> Card:
    """A card of another hub, whose ``bundle:`` means that hub's folder."""

    def anchored(entry: FileEntry) -> FileEntry:
        found = (address.inside(source.removeprefix("bundle:")) if source.startswith("bundle:") else source for source in entry.sources)
        return replace(entry, sources=tuple(found))

    return replace(card, files=tuple(map(anchored, card.files)))
