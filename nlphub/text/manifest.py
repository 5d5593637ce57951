"""``nlphub_tokenizer.json``: what kind of tokenizer lies in a folder, and which."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nlphub import files
from nlphub.errors import StoreError, WeightsError

FILE_NAME = "nlphub_tokenizer.json"
VERSION = 1
SPECIAL = {"pad": "[PAD]", "unknown": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


class HasDigest(Protocol):
    """What :meth:`Manifest.require` judges."""

    @property
    def digest(self) -> str: ...


Described = TypeVar("Described", bound=HasDigest)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a tokenizer.

    Attributes:
        kind: which class reads the folder, e.g. ``"characters"``.
        max_length: the most tokens of a sequence, special ones included.
        digest: SHA-256 of everything that decides ids, as 64 hexadecimal digits.
        options: what a kind has to know beside its files.
    """

    kind: str
    max_length: int
    digest: str
    options: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, *, kind: str | None = None) -> "Manifest":
        """Read and check the file.

        Args:
            kind: which the tokenizer has to be of; any by default.

        Raises:
            StoreError: it is not there, not JSON, of another version or kind, or a value is missing or of a wrong type.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise StoreError(f"{folder} is not a tokenizer's folder: it has no {FILE_NAME}")
        value = _json(path)
        if value.get("version") != VERSION or value.get("special") != SPECIAL:
            raise StoreError(
                f"{path} is not read by this nlphub: it has version {value.get('version')!r}, special {value.get('special')!r}"
            )
        found, max_length, digest = value.get("kind"), value.get("max_length"), value.get("digest")
        if not (isinstance(found, str) and isinstance(digest, str) and type(max_length) is int and max_length > 0):
            raise StoreError(f"{path} needs 'kind' (text), 'max_length' (positive) and 'digest' (text); it has {value!r}")
        options = value.get("options", {})
        if not isinstance(options, dict):
            raise StoreError(f"{path} gives its options wrongly: {options!r:.60}")
        if kind is not None and found != kind:
            raise StoreError(f"{folder} holds a tokenizer of kind {found!r}, not {kind!r}")
        return cls(found, max_length, digest, options)

    def save(self, folder: Path) -> None:
        """Write the file."""
        facts = {name: value for name, value in asdict(self).items() if name != "options" or value}
        files.publish_json(folder / FILE_NAME, {**facts, "special": SPECIAL, "version": VERSION})

    def flags(self, *names: str) -> tuple[bool, ...]:
        """Options that are yes or no.

        Raises:
            StoreError: one is missing or neither, or there are others.
        """
        if self.options.keys() != set(names) or not all(type(value) is bool for value in self.options.values()):
            raise StoreError(
                f"a tokenizer of kind {self.kind!r} needs the options {', '.join(names)}, true or false; it has {self.options!r:.80}"
            )
        return tuple(self.options[name] for name in names)

    def require(self, tokenizer: Described, folder: Path) -> Described:
        """The tokenizer that was read from ``folder``, if it is the one that this describes.

        Raises:
            WeightsError: it is another one.
        """
        if tokenizer.digest != self.digest:
            raise WeightsError(
                f"The tokenizer in {folder} is not the one its {FILE_NAME} describes: "
                f"its files have the digest {tokenizer.digest}, promised is {self.digest}. Install it again."
            )
        return tokenizer


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise StoreError(f"{path} is not valid JSON: {wrong}") from wrong
    if not isinstance(value, dict):
        raise StoreError(f"{path} does not hold a JSON object")
    return value
