"""``nlphub_tokenizer.json``: what kind of tokenizer lies in a folder, and which."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nlphub import files
from nlphub.errors import StoreError

FILE_NAME = "nlphub_tokenizer.json"
VERSION = 1
SPECIAL = {"pad": "[PAD]", "unknown": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a tokenizer.

    Attributes:
        kind: which class reads the folder, e.g. ``"characters"``.
        max_length: the most tokens of a sequence, special ones included.
        digest: SHA-256 of everything that decides ids, as 64 hexadecimal digits.
    """

    kind: str
    max_length: int
    digest: str

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read and check the file.

        Raises:
            StoreError: it is not there, not JSON, of another version, or a value is missing or of a wrong type.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise StoreError(f"{folder} is not a tokenizer's folder: it has no {FILE_NAME}")
        value = _json(path)
        if value.get("version") != VERSION or value.get("special") != SPECIAL:
            raise StoreError(
                f"{path} is not read by this nlphub: it has version {value.get('version')!r}, special {value.get('special')!r}"
            )
        kind, max_length, digest = value.get("kind"), value.get("max_length"), value.get("digest")
        if not (isinstance(kind, str) and isinstance(digest, str) and type(max_length) is int and max_length > 0):
            raise StoreError(f"{path} needs 'kind' (text), 'max_length' (positive) and 'digest' (text); it has {value!r}")
        return cls(kind, max_length, digest)

    def save(self, folder: Path) -> None:
        """Write the file."""
        files.publish_json(folder / FILE_NAME, {**asdict(self), "special": SPECIAL, "version": VERSION})


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise StoreError(f"{path} is not valid JSON: {wrong}") from wrong
    if not isinstance(value, dict):
        raise StoreError(f"{path} does not hold a JSON object")
    return value
