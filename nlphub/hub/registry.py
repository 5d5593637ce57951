"""What the hubs of this machine know about modules: the bundled registry.json and those of ``NLPHUB_REGISTRY``, checked and merged.

A registry is ``{"schema": 1, "modules": {name: card or list of cards}}``; a list holds several versions of one name. A hub is a folder
or an http(s) address: ``bundle:`` sources of another registry are relative to the place of its own registry.json.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nlphub import paths
from nlphub.errors import InputError, UnknownNameError, brief, did_you_mean
from nlphub.hub import lockfile, sources, versions
from nlphub.hub.addresses import Address, address_of
from nlphub.hub.cards import TASKS, Card, FileEntry
from nlphub.hub.document import without_sources
from nlphub.hub.names import normal

log = logging.getLogger(__name__)


class YankedError(UnknownNameError):
    """There are only versions that their owner took back."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All cards, sorted by name and version."""

    cards: tuple[Card, ...]

    @property
    def newest(self) -> list[Card]:
        """The newest version of every module, sorted by name; one that was yanked only where there is no other."""
        every = {card.name: card for card in self.cards}
        return list((every | {card.name: card for card in self.cards if card.yanked is None}).values())

    def find(self, name: str, version: str | None = None) -> Card:
        """The newest card of a name or alias that meets the version conditions, and was not yanked.

        Args:
            name: ``-`` and ``.`` may stand for ``_``; case does not matter.
            version: ``"1.0.0"`` or conditions as in :mod:`nlphub.hub.versions`; default is the newest.

        Raises:
            UnknownNameError: no such module, or no such version of it.
            YankedError: only versions that were yanked.
            InputError: conditions that cannot be read.
        """
        fitting = self.fitting(name, version)
        offered = [card for card in fitting if card.yanked is None]
        if not offered:
            raise YankedError(f"{fitting[-1].title} is not to be installed any more: {fitting[-1].yanked}")
        return offered[-1]

    def fitting(self, name: str, version: str | None = None) -> list[Card]:
        """All cards of a name or alias that meet the version conditions, the newest one last, yanked ones too. Raises as :meth:`find`."""
        found = [card for card in self.cards if normal(name) in _names_of(card)]
        if not found:
            raise UnknownNameError(self._unknown(name))
        fitting = [card for card in found if version is None or versions.satisfies(card.version, version)]
        if not fitting:
            there = ", ".join(card.version for card in found)
            raise UnknownNameError(f"{found[0].name} has no version {brief(version)} in this registry; there is {there}")
        return fitting

    def search(self, text: str) -> list[Card]:
        """The newest versions of all modules in whose name, aliases, summary, language, upstream or tasks every word occurs."""
        words = text.lower().split()
        return [card for card in self.newest if all(word in _searchable(card) or normal(word) in _names_of(card) for word in words)]

    def _unknown(self, name: str) -> str:
        known = {alias: alias for card in self.cards for alias in _names_of(card)}
        return f"There is no module {brief(name)}.{did_you_mean(normal(name), known)} `nlphub list` shows all {len(self.newest)}."


def find_module(name: str, *, version: str | None = None, refresh: bool = False) -> Card:
    """The card of a module: of the registries, or of what is installed already. See :meth:`Registry.find`.

    A registry at an http(s) address is asked again only when neither its copy nor the store knows the name, or with ``refresh``. A version
    that was yanked goes on being found where it is installed, with a warning; ``refresh`` prefers one that was not.

    Args:
        name: a name or alias; ``my_intent==1.0.0`` is the same as ``version="==1.0.0"``.
        version: a version or conditions; default is the newest.
        refresh: ask the network for newer registries first.
    """
    name, equals, wanted = name.partition("==")
    if equals and version is not None:
        raise InputError(f"{name}=={wanted} names a version already; leave version={brief(version)} out")
    version = f"=={wanted}" if equals else version
    try:
        return _choose(load_registry(refresh=refresh), name, version, renew=refresh)
    except UnknownNameError as unknown:
        if not isinstance(unknown, YankedError) and (card := _found(installed_registry(), name, version)) is not None:
            return card
        if refresh or paths.offline() or not any(address.is_remote for address in addresses()):
            raise unknown
    return _choose(load_registry(refresh=True), name, version, renew=refresh)


def _choose(registry: Registry, name: str, version: str | None, *, renew: bool) -> Card:
    """The card to use: of yanked ones only those that are installed."""
    fitting = registry.fitting(name, version)
    offered = [card for card in fitting if card.yanked is None]
    if len(offered) == len(fitting) or (renew and offered):
        return offered[-1]
    here = {(card.name, card.version) for card in installed_registry().cards}
    usable = [card for card in fitting if card.yanked is None or (card.name, card.version) in here]
    if not usable:
        return registry.find(name, version)  # says why
    if usable[-1].yanked is not None:
        log.warning("%s is installed and was yanked: %s", usable[-1].title, usable[-1].yanked)
    return usable[-1]


def installed_registry() -> Registry:
    """What is installed, as the registries had it: it goes on having a name when its registry is gone."""
    return Registry(tuple(_sorted(lockfile.cards(paths.home() / "modules"))))


def list_modules(*, task: str | None = None) -> list[Card]:
    """The newest version of every module, sorted by name; also of those that are installed and that no registry knows.

    Args:
        task: only modules with a head for this task, e.g. ``"seq-cls"``.

    Raises:
        UnknownNameError: there is no such task.
    """
    if task is not None and task not in TASKS:
        raise UnknownNameError(f"There is no task {brief(task)}.{did_you_mean(task, TASKS)} Tasks are {', '.join(TASKS)}.")
    return [card for card in _everything().newest if task is None or task in card.tasks]


def search_modules(text: str) -> list[Card]:
    """The modules that a word describes. See :meth:`Registry.search`."""
    return _everything().search(text)


def addresses() -> tuple[Address, ...]:
    """Of the registries that ``NLPHUB_REGISTRY`` names, in order.

    Raises:
        InputError: one is no address of a registry.
    """
    return tuple(map(address_of, paths.extra_registries()))


def load_registry(files: Sequence[Path | str] | None = None, *, refresh: bool = False) -> Registry:
    """Read registries, check and merge them.

    Args:
        files: the registry files, or hubs that hold one; default is the bundled one and those of ``NLPHUB_REGISTRY``.
        refresh: ask the network for those that are at http(s) addresses; otherwise the copy of each is used, once there is one.

    Raises:
        InputError: registries that cannot be had, break the schema, are not signed as they should be, are older than they were, or use
            one name for two modules; all mistakes at once.
    """
    bundled = str(paths.bundle() / "registry.json")
    wanted = tuple(map(address_of, files)) if files is not None else (Address(bundled), *addresses())
    cards: dict[str, list[Card]] = {}
    problems: list[str] = []
    for address in wanted:
        own = address.place == bundled
        found, wrong = sources.read_bundled(address.path) if own else sources.read(address, refresh=refresh)
        cards[address.place] = found
        problems += [f"{address.place}: {problem}" for problem in wrong]
    merged, clashes = merge(cards)
    if problems := [*problems, *clashes]:
        raise InputError("The registry is not valid.", problems)
    return Registry(tuple(merged))


def merge(cards: Mapping[str, Sequence[Card]]) -> tuple[list[Card], list[str]]:
    """All cards, sorted by name and version, and which of them clash.

    One name, alias included, belongs to the first registry that has it: otherwise a newer version elsewhere could take a name over. A
    later registry may repeat a version with the same files, whose further sources are then tried last; or have, made and with digests, what
    the first one only knows how to make.

    Args:
        cards: by the place of their registry, in the order of the registries.
    """
    owners: dict[str, tuple[str, str]] = {}
    editions: dict[tuple[str, str], tuple[str, Card]] = {}
    problems: list[str] = []
    for place, found in cards.items():
        for card in found:
            first, known = editions.get((card.name, card.version), (place, None))
            if known is not None and first != place and without_sources(known) == without_sources(card):
                editions[card.name, card.version] = (first, _with_sources(known, card))
                continue
            if known is not None and first != place and _is_made_of(known, card):
                editions[card.name, card.version] = (first, card)
                continue
            problems += _taken(owners, place, card)
            if known is not None and first == place:
                problems.append(f"{place}: {card.name}: version {card.version} is there twice")
            editions.setdefault((card.name, card.version), (place, card))
    return _sorted(card for _, card in editions.values()), problems


def _taken(owners: dict[str, tuple[str, str]], place: str, card: Card) -> Iterator[str]:
    """Names of a card that belong to another module or another registry already."""
    for name in sorted(_names_of(card)):
        other, owner = owners.setdefault(name, (place, card.name))
        if (other, owner) != (place, card.name):
            yield f"{place}: {card.name}: the name {name!r} is taken by {owner} of {other}"


def _is_made_of(recipe: Card, card: Card) -> bool:
    """Whether a card has the files of a module of which another one says how to make it."""
    same = ("architecture", "tokenizer", "language", "tasks", "aliases")
    return recipe.is_made and not card.is_made and all(getattr(recipe, name) == getattr(card, name) for name in same)


def _with_sources(card: Card, other: Card) -> Card:
    further = {entry.path: entry.sources for entry in other.files}

    def joined(entry: FileEntry) -> FileEntry:
        return replace(entry, sources=tuple(dict.fromkeys([*entry.sources, *further[entry.path]]))[:16])

    return replace(card, files=tuple(map(joined, card.files)), yanked=card.yanked or other.yanked)


def _everything() -> Registry:
    """The registries, and what is installed besides."""
    known = load_registry().cards
    names = {name for card in known for name in _names_of(card)}
    further = (card for card in installed_registry().cards if not names & _names_of(card))
    return Registry(tuple(_sorted([*known, *further])))


def _found(registry: Registry, name: str, version: str | None) -> Card | None:
    with suppress(UnknownNameError):
        return registry.find(name, version)
    return None


def _sorted(cards: Iterable[Card]) -> list[Card]:
    return sorted(cards, key=lambda card: (card.name, versions.key(card.version)))


def _names_of(card: Card) -> set[str]:
    return {card.name, *map(normal, card.aliases)}


def _searchable(card: Card) -> str:
    return " ".join((card.name, *card.aliases, card.summary, card.language, card.upstream or "", *card.tasks)).lower()
