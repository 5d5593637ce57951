"""Modules that are made when they are installed: files of others, fetched as they are, and converted by a function of an upper room.

A card with ``origins`` names the places of a checkpoint. The first that has all its files is taken; files of two places are never mixed.
What arrived is noted in ``fetched.json``, so an installation that was killed goes on with it; digests, commits and sizes are pinned in the
module's lock.json, and from then on other bytes are refused. Nothing here opens a checkpoint.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nlphub import paths
from nlphub.errors import DigestError, FetchError, InputError, NlphubError, OfflineError
from nlphub.files import publish_file, publish_json, remove, require_space, sha256
from nlphub.hub import lockfile, private
from nlphub.hub.cards import Card, FileEntry, Origin
from nlphub.hub.fetch import Progress, fetch
from nlphub.hub.lockfile import Made, made_of
from nlphub.hub.names import CARD, check_path, is_commit, is_remote, split_hub
from nlphub.hub.part import MODE, leftovers, workshop
from nlphub.hub.revisions import commit_of, described
from nlphub.hub.transport import AbsentError, Patience

log = logging.getLogger(__name__)

Make = Callable[[Card, Path, Path], None]  # the card, the folder of what was fetched, and a folder to write that does not exist yet

NOTES = "fetched.json"
_MADE = "made"  # where a conversion writes
_NEEDED, _FURTHER, _WEIGHTS = ("config.json", "vocab.txt"), ("tokenizer_config.json", CARD), ("model.safetensors", "pytorch_model.bin")
_NAMES = {CARD: "README.md"}  # as transformers' repositories call it
_LICENCE = re.compile(r"\A---\s*\n(?:.*\n)*?license:\s*[\"']?([A-Za-z0-9][A-Za-z0-9.+-]{0,63})[\"']?\s*\n(?:.*\n)*?---", re.MULTILINE)
_CARD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Gathering:
    """One fetching of a checkpoint.

    Attributes:
        card: of the module that is to be made.
        folder: where its files come to lie.
        progress: called with (bytes done, bytes in all) of the file that is being fetched.
        patience: time-outs and retries.
    """

    card: Card
    folder: Path
    progress: Progress | None
    patience: Patience

    def gather(self, pins: Made | None) -> Made:
        """Fetch what an origin has, or exactly what ``pins`` say.

        Raises:
            OfflineError: a network is needed, and ``NLPHUB_OFFLINE`` is set.
            DigestError: other bytes than were pinned.
            FetchError: no origin has all that is needed; the reasons of each are named.
        """
        self._refuse_offline()
        private.make(self.folder)
        if pins is not None:
            made = Made(pins.form, tuple(self._fetched(self._pinned(entry, pins.form)) for entry in pins.files))
        else:
            made = self._first_whole()
        for path in self.folder.iterdir():  # what a place had that turned out not to have all
            if path.name != NOTES and path.name not in {entry.path for entry in made.files}:
                remove(path)
        return made

    def _first_whole(self) -> Made:
        failures = []
        for origin in self.card.origins:
            try:
                if paths.offline() and is_remote(origin.base):
                    raise FetchError("was not asked: NLPHUB_OFFLINE is set")
                return self._from(origin)
            except FetchError as failure:
                log.info("%s: %s %s", self.card.title, origin.base, failure)
                failures.append(f"{origin.base}: {failure}")
        way = (
            f"Without a network: `nlphub bundle {self.card.name} -o site.zip` where there is one, then `nlphub install site.zip` here; "
            "a checkpoint that you have: nlphub convert FOLDER --out OTHER."
        )
        raise FetchError("\n  - ".join([f"{self.card.title} cannot be made: no place has all of its files. {way}", *failures]))

    def _from(self, origin: Origin) -> Made:
        base = _settled(origin)
        if origin.files:
            return Made(origin.form, tuple(self._fetched(_entry(base, path, name)) for path, name in origin.files.items()))
        files = [self._fetched(_entry(base, path)) for path in _NEEDED]
        files += [entry for path in _FURTHER if (entry := self._if_there(_entry(base, path))) is not None]
        for path in _WEIGHTS:
            if (weights := self._if_there(_entry(base, path))) is not None:
                return Made(origin.form, (*files, weights))
        raise AbsentError(f"has neither {' nor '.join(_WEIGHTS)}; weights in several files are not read")

    def _if_there(self, entry: FileEntry) -> FileEntry | None:
        with suppress(AbsentError):
            return self._fetched(entry)
        return None

    def _fetched(self, entry: FileEntry) -> FileEntry:
        """A file as it arrived, now or before an interruption."""
        known = self._notes().get(entry.path)
        if known is not None and _is_same(entry, known) and (file := self.folder / entry.path).is_file() and sha256(file) == known.sha256:
            return known
        if entry.sha256 is None and entry.sources[0].startswith("hf://"):
            entry = replace(described(entry.sources[0]), path=entry.path)
        require_space(self.folder, 3 * (entry.bytes or 0))  # as it is, converted, and what is written meanwhile
        found = fetch(entry, self.folder / entry.path, label=self.card.title, progress=self.progress, patience=self.patience)
        publish_json(self.folder / NOTES, Made("transformers", (*(self._notes() | {entry.path: found}).values(),)).facts())
        return found

    def _notes(self) -> dict[str, FileEntry]:
        """Of an earlier run that was interrupted; what cannot be read was never written to its end, and is nothing."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {entry.path: entry for entry in made_of(json.loads((self.folder / NOTES).read_bytes())).files}
        return {}

    def _pinned(self, entry: FileEntry, form: str) -> FileEntry:
        """A pinned file, which may come from any place of the same form: its digest decides."""
        others = (
            f"{origin.base}/{origin.files.get(entry.path, _NAMES.get(entry.path, entry.path))}"
            for origin in self.card.origins
            if origin.form == form and (entry.path in origin.files or not origin.files)
        )
        return replace(entry, sources=tuple(dict.fromkeys([*entry.sources, *others]))[:16])

    def _refuse_offline(self) -> None:
        if paths.offline() and all(is_remote(origin.base) for origin in self.card.origins):
            raise OfflineError(
                f"{self.card.title} is made from files of others, which are not here, and NLPHUB_OFFLINE forbids fetching. On a connected "
                f"machine run\n  nlphub bundle {self.card.name}=={self.card.version} -o site.zip\nand here: nlphub install site.zip"
            )


def make_module(card: Card, place: Path, make: Make | None, *, pins: Made | None, progress: Progress | None, patience: Patience) -> None:
    """Fetch files of others, convert them beside the module's folder, move the results into it one by one, then write lock.json.

    Args:
        card: with origins.
        place: the module's folder in the store; it exists, and nobody else works on it.
        make: converts.
        pins: which files of others they have to be; default: those of an earlier installation.
        progress: called with (bytes done, bytes in all) of the file that is being fetched.
        patience: time-outs and retries.

    Raises:
        InputError: there is no ``make``; others as :meth:`Gathering.gather`, and whatever ``make`` raises.
    """
    if make is None:
        raise needs_making(card)
    for rest in leftovers(place / _MADE):
        remove(rest)
    gathering = Gathering(card, folder(card), progress, patience)
    try:
        source = gathering.gather(pins or lockfile.made_from(place))
    except DigestError as wrong:
        raise DigestError(
            f"{wrong}\nThese digests were pinned by the first installation. If you trust the new bytes: "
            f"nlphub remove {card.name} --version {card.version}, then install again."
        ) from wrong
    licence = licence_in(gathering.folder)
    if card.licence and licence and licence.lower() != card.licence.lower():
        log.warning("%s: the registry says that its licence is %s, and its publisher's card says %s", card.title, card.licence, licence)
    with workshop(place / _MADE) as workplace:
        try:
            make(card, gathering.folder, workplace / _MADE)
        except NlphubError:  # of no use: the next installation fetches them anew
            forget(card)
            raise
        for path in (paths_made := [check_path(path) for path in made_entries(workplace / _MADE)]):
            private.make((place / path).parent)
            publish_file(workplace / _MADE / path, place / path, mode=MODE)
    entries = [_entry_of(place, path) for path in paths_made]
    lockfile.write(place, entries, replace(card, licence=card.licence or licence), made=source)
    forget(card)
    log.info("%s is installed in %s", card.title, place)


def _entry_of(place: Path, path: str) -> FileEntry:
    file = place / path
    return FileEntry(path, file.stat().st_size, sha256(file), (file.as_uri(),))


def folder(card: Card) -> Path:
    """Where the files of others lie while a module is made of them."""
    return paths.home() / "cache" / "upstream" / card.name / card.version


def forget(card: Card) -> None:
    """Remove them."""
    remove(folder(card))


def licence_in(folder: Path) -> str | None:
    """The licence that the publisher's card names in its head, ``None`` where there is no card or it names none."""
    with suppress(OSError, UnicodeDecodeError):
        with (folder / CARD).open("rb") as stream:
            found = _LICENCE.match(stream.read(_CARD_BYTES).decode("utf-8").replace("\r\n", "\n"))
        return found[1] if found else None
    return None


def needs_making(card: Card) -> InputError:
    """For those who cannot convert: what to run first."""
    return InputError(f"{card.title} is made from a checkpoint of others when it is installed. Run: nlphub install {card.name}")


def made_entries(made: Path) -> Iterator[str]:
    """The files that a conversion wrote, sorted."""
    yield from sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())


def _settled(origin: Origin) -> str:
    """The place of an origin, with the commit that its branch means now: all files are of one moment."""
    if not origin.base.startswith("hf://"):
        return origin.base
    first = next(iter(origin.files.values()), _NEEDED[0])
    name, revision, _ = split_hub(f"{origin.base}/{first}")
    return origin.base if is_commit(revision) else f"hf://{name}@{commit_of(name, revision, first)}"


def _entry(base: str, path: str, name: str | None = None) -> FileEntry:
    return FileEntry(path, None, None, (f"{base}/{name or _NAMES.get(path, path)}",))


def _is_same(wanted: FileEntry, known: FileEntry) -> bool:
    return wanted.sha256 == known.sha256 if wanted.sha256 else known.sources[0] in wanted.sources
