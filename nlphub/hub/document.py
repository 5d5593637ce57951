"""The text of a registry: from bytes that anybody may have written to checked cards, and back to the bytes that a signature is over.

``{"schema": 1, "modules": {name: card or list of cards}, "serial": 7, "expires": "2027-01-31", "signature": {"key": ..., "value": ...}}``;
the last three are optional. What is signed is the document itself, without ``signature``, in one canonical form, so it is one file that is
replaced whole.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from nlphub.errors import brief
from nlphub.hub.cards import Card

SCHEMA = 1
MAX_BYTES = 4 << 20
_MOST = 1 << 53  # of a serial: every JSON reader has such numbers exactly
_KEYS = {"schema", "modules", "serial", "signature", "expires"}
_SIGNATURE = {"key": re.compile("[0-9a-f]{64}"), "value": re.compile("[0-9a-f]{128}")}


@dataclass(frozen=True, slots=True)
class Document:
    """What one registry file says.

    Attributes:
        cards: in the order of the file.
        serial: how often it has been changed; 0 where it does not say.
        key: the public key (64 hexadecimal digits) of whoever says to have signed it, or ``None``. Nothing is verified here.
        signature: 128 hexadecimal digits, or ``None``.
        signed: the bytes that the signature is over.
        expires: the last day on which its owner vouches for it; ``None`` where it does not say.
    """

    cards: tuple[Card, ...]
    serial: int = 0
    key: str | None = None
    signature: str | None = None
    signed: bytes = b""
    expires: date | None = None


def parse(data: bytes) -> tuple[Document, list[str]]:
    """The document in some bytes, and everything that is wrong with it."""
    empty = Document(())
    if len(data) > MAX_BYTES:
        return empty, [f"is longer than {MAX_BYTES:,} bytes"]
    try:
        values = json.loads(data, object_pairs_hook=without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as wrong:
        return empty, [f"is not JSON as it should be: {wrong}"]
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or not isinstance(values.get("modules"), dict):
        return empty, [f'should be {{"schema": {SCHEMA}, "modules": {{...}}}}; a newer schema needs a newer nlphub']
    cards, problems = _cards(values["modules"])
    if problems := [*_problems(values), *problems]:
        return Document(tuple(cards)), problems
    signature = values.get("signature", {})
    last = date.fromisoformat(values["expires"]) if "expires" in values else None
    found = Document(tuple(cards), values.get("serial", 0), signature.get("key"), signature.get("value"), canonical(values), last)
    return found, []


def canonical(values: Mapping[str, Any]) -> bytes:
    """The one text of a document without its signature: ASCII, sorted keys, no spaces."""
    unsigned = {key: value for key, value in values.items() if key != "signature"}
    return json.dumps(unsigned, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True).encode("ascii")


def load_values(data: bytes) -> dict[str, Any]:
    """The plain values of a document that :func:`parse` found nothing wrong with, to be changed and written again."""
    values: dict[str, Any] = json.loads(data)
    return values


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``json.loads``: a table in which no key is there twice."""
    repeated = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    if repeated:
        raise ValueError(f"{', '.join(repeated)}: a key that is there twice")
    return dict(pairs)


def without_sources(card: Card) -> tuple[Any, ...]:
    """What makes two cards the same module, wherever its files come from; differs from all others while a digest is unknown."""
    files = tuple(sorted((entry.path, entry.bytes, entry.sha256 or object()) for entry in card.files)) if _is_known(card) else (object(),)
    same = (card.name, card.version, card.licence, card.language, card.architecture, card.tokenizer, card.tasks, card.aliases)
    return (*same, files, card.origins)


def _is_known(card: Card) -> bool:
    return all(entry.sha256 for entry in card.files)


def _problems(values: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(set(values) - _KEYS):
        yield f"{brief(key)} is not a key of a registry; a newer schema needs a newer nlphub"
    serial, signature = values.get("serial", 0), values.get("signature")
    if type(serial) is not int or not 0 <= serial <= _MOST:
        yield f"serial={brief(serial)}: should be a whole number from 0"
    if "expires" in values and not _is_day(values["expires"]):
        yield f"expires={brief(values['expires'])}: should be a day as 2027-01-31"
    if signature is not None and not _is_signature(signature):
        yield 'signature: should be {"key": 64 hexadecimal digits, "value": 128 hexadecimal digits}'
    if signature is None and "signature" in values:
        yield "signature: should be left out where there is none"


def _is_signature(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == _SIGNATURE.keys()
        and all(isinstance(value[key], str) and pattern.fullmatch(value[key]) for key, pattern in _SIGNATURE.items())
    )


def _is_day(value: Any) -> bool:
    with suppress(ValueError):
        return isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value))
    return False


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
        elif not error["loc"] and error["type"] == "value_error":  # of the card as a whole
            yield error["msg"].removeprefix("Value error, ")
        else:
            yield f"{key}={brief(error['input'])}: {error['msg'].removeprefix('Value error, ')}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
