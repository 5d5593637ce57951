"""registry.json: facts about every module that this hub knows, merged from the bundled file and the user's own ones.

A registry is ``{"schema": 1, "modules": {name: card or list of cards}}``; a list holds several versions of one name. A hub is a folder:
``bundle:`` sources of another registry are relative to the folder of its own registry.json.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nlphub import paths
from nlphub.errors import InputError, UnknownNameError, brief, did_you_mean
from nlphub.hub import versions
from nlphub.hub.cards import TASKS, Card
from nlphub.hub.names import normal

_SCHEMA = 1
_MAX_BYTES = 4 << 20
_PLANNED = {"ernie_tiny_baidu": "Baidu's checkpoint of the name ernie-tiny is no module to install; nlphub convert makes one of its files."}


@dataclass(frozen=True, slots=True)
class Registry:
    """All cards, sorted by name and version."""

    cards: tuple[Card, ...]

    @property
    def newest(self) -> list[Card]:
        """The newest version of every module, sorted by name."""
        return list({card.name: card for card in self.cards}.values())

    def find(self, name: str, version: str | None = None) -> Card:
        """The newest card of a name or alias that meets the version conditions.

        Args:
            name: ``-`` and ``.`` may stand for ``_``; case does not matter.
            version: ``"1.0.0"`` or conditions as in :mod:`nlphub.hub.versions`; default is the newest.

        Raises:
            UnknownNameError: no such module, or no such version of it.
            InputError: conditions that cannot be read.
        """
        found = [card for card in self.cards if normal(name) in _names_of(card)]
        if not found:
            raise UnknownNameError(self._unknown(name))
        fitting = [card for card in found if version is None or versions.satisfies(card.version, version)]
        if not fitting:
            there = ", ".join(card.version for card in found)
            raise UnknownNameError(f"{found[0].name} has no version {brief(version)} in this registry; there is {there}")
        return fitting[-1]

    def search(self, text: str) -> list[Card]:
        """The newest versions of all modules in whose name, aliases, summary, language, upstream or tasks every word occurs."""
        words = text.lower().split()
        return [card for card in self.newest if all(word in _searchable(card) or normal(word) in _names_of(card) for word in words)]

    def _unknown(self, name: str) -> str:
        known = {alias: alias for card in self.cards for alias in _names_of(card)}
        planned = _PLANNED.get(normal(name))
        why = f" {planned}" if planned else did_you_mean(normal(name), known)
        return f"There is no module {brief(name)}.{why} `nlphub list` shows all {len(self.newest)}."


def find_module(name: str, *, version: str | None = None) -> Card:
    """The registry's card of a module. See :meth:`Registry.find`."""
    return load_registry().find(name, version)


def list_modules(*, task: str | None = None) -> list[Card]:
    """The newest version of every module, sorted by name.

    Args:
        task: only modules with a head for this task, e.g. ``"seq-cls"``.

    Raises:
        UnknownNameError: there is no such task.
    """
    if task is not None and task not in TASKS:
        raise UnknownNameError(f"There is no task {brief(task)}.{did_you_mean(task, TASKS)} Tasks are {', '.join(TASKS)}.")
    return [card for card in load_registry().newest if task is None or task in card.tasks]


def search_modules(text: str) -> list[Card]:
    """The modules that a word describes. See :meth:`Registry.search`."""
    return load_registry().search(text)


def load_registry(files: Sequence[Path] | None = None) -> Registry:
    """Read registry files, check and merge them.

    Args:
        files: the registry files, or hub folders that hold one; default is the bundled one and those of ``NLPHUB_REGISTRY``.

    Raises:
        InputError: files that cannot be read or break the schema, or that use one name for two modules; all mistakes at once.
    """
    bundled = paths.bundle() / "registry.json"
    cards: dict[Path, list[Card]] = {}
    problems = []
    for path in files if files is not None else (bundled, *paths.extra_registries()):
        file = (path / "registry.json" if path.is_dir() else path).absolute()
        found, wrong = _read(file)
        cards[file] = found if file == bundled else [_anchored(card, file.parent) for card in found]
        problems += [f"{file}: {problem}" for problem in wrong]
    problems += _clashes(cards)
    if problems:
        raise InputError("The registry is not valid.", problems)
    everything = (card for found in cards.values() for card in found)
    return Registry(tuple(sorted(everything, key=lambda card: (card.name, versions.key(card.version)))))


def _read(file: Path) -> tuple[list[Card], list[str]]:
    """The cards of one file, and what is wrong with it."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            return [], [f"is longer than {_MAX_BYTES:,} bytes"]
        document = json.loads(data, object_pairs_hook=_without_repeats)
    except OSError as wrong:
        return [], [f"cannot be read: {wrong.strerror}"]
    except (ValueError, RecursionError) as wrong:
        return [], [f"is not JSON as it should be: {wrong}"]
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA or not isinstance(document.get("modules"), dict):
        return [], [f'should be {{"schema": {_SCHEMA}, "modules": {{...}}}}; a newer schema needs a newer nlphub']
    return _cards(document["modules"])


def _cards(modules: Mapping[str, Any]) -> tuple[list[Card], list[str]]:
    cards, problems = [], []
    adapter = TypeAdapter(Card)
    for name, entries in modules.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            try:
                named = {**entry, "name": name} if isinstance(entry, dict) else entry
                cards.append(adapter.validate_json(json.dumps(named)))  # as JSON: lists become tuples and nothing else is coerced
            except ValidationError as wrong:
                problems += [f"{name}: {problem}" for problem in _explain(wrong)]
    return cards, problems


def _explain(wrong: ValidationError) -> Iterator[str]:
    for error in wrong.errors(include_url=False):
        key = ".".join(map(str, error["loc"])) or "its entry"
        if error["type"] == "missing":
            yield f"{key} is missing"
        elif error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            yield f"{key} is not a key of the schema"
        else:
            yield f"{key}={brief(error['input'])}: {error['msg'].removeprefix('Value error, ')}"


def _anchored(card: Card, hub: Path) -> Card:
    """A card of another hub, whose ``bundle:`` means that hub's folder."""

    def anchored(source: str) -> str:
        return (hub / source.removeprefix("bundle:")).as_uri() if source.startswith("bundle:") else source

    return replace(card, files=tuple(replace(entry, sources=tuple(map(anchored, entry.sources))) for entry in card.files))


def _clashes(cards: Mapping[Path, Sequence[Card]]) -> Iterator[str]:
    """One name, alias included, for two modules or in two registries: otherwise a newer version elsewhere could take a name over."""
    owners: dict[str, tuple[Path, str]] = {}
    editions: set[tuple[str, str]] = set()
    for file, found in cards.items():
        for card in found:
            for name in sorted(_names_of(card)):
                other, owner = owners.setdefault(name, (file, card.name))
                if (other, owner) != (file, card.name):
                    yield f"{file}: {card.name}: the name {name!r} is taken by {owner} of {other}"
            if (card.name, card.version) in editions:
                yield f"{file}: {card.name}: version {card.version} is there twice"
            editions.add((card.name, card.version))


def _names_of(card: Card) -> set[str]:
    return {card.name, *map(normal, card.aliases)}


def _searchable(card: Card) -> str:
    return " ".join((card.name, *card.aliases, card.summary, card.language, card.upstream or "", *card.tasks)).lower()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    if repeated:
        raise ValueError(f"{', '.join(repeated)}: a key that is there twice")
    return dict(pairs)
