"""Where a registry is, as users write it: the path of a hub's folder or of its registry.json, or its http(s) address, and the key given."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from nlphub.errors import InputError
from nlphub.hub.names import check_source
from nlphub.hub.signing import PREFIX

FILE = "registry.json"
_KEY = re.compile(f"(?P<place>.*)#{PREFIX}(?P<key>[0-9a-fA-F]*)", re.DOTALL)
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """Of one registry.

    Attributes:
        place: the absolute path or the address of its registry.json.
        key: the public key that has to have signed it, 64 hexadecimal digits; ``None``: the one that it was signed with at first use.
    """

    place: str
    key: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it needs a network."""
        return self.place.startswith(("http://", "https://"))

    @property
    def is_open_to_changes(self) -> bool:
        """Whether somebody between here and there could change what it sends."""
        return self.place.startswith("http://") and urlsplit(self.place).hostname not in _LOCAL

    @property
    def path(self) -> Path:
        """Of a registry on this machine."""
        return Path(self.place)

    def inside(self, path: str) -> str:
        """The address of a file of this hub: what ``bundle:path`` means there."""
        if self.is_remote:
            return f"{self.place.rpartition('/')[0]}/{quote(path)}"
        return (self.path.parent / path).as_uri()


def address_of(text: str | Path) -> Address:
    """Read ``/path/hub``, ``registry.json``, ``https://host/hub``, each with ``#ed25519:KEY`` behind it where the key is known.

    Raises:
        InputError: it is none of these; the message says which rule it breaks.
    """
    given = _KEY.fullmatch(str(text))
    place, key = (given["place"], given["key"].lower()) if given else (str(text), None)
    if key is not None and len(key) != 64:
        raise InputError(f"{text}: a public key is {PREFIX} and 64 hexadecimal digits, as `nlphub hub init FOLDER --key FILE` prints it")
    if place.startswith(("http://", "https://")):
        return Address(_registry_url(place), key)
    if "://" in place:
        raise InputError(f"NLPHUB_REGISTRY has {place!r}: a registry is a path, or an address that starts with http:// or https://")
    path = Path(place).expanduser()
    return Address(str((path / FILE if path.is_dir() else path).absolute()), key)


def _registry_url(address: str) -> str:
    try:
        check_source(address)
        if urlsplit(address).query:
            raise ValueError("an address of a hub has no '?query'")
    except ValueError as wrong:
        raise InputError(f"NLPHUB_REGISTRY has {address!r}: {wrong}") from wrong
    return address if address.endswith(".json") else f"{address.rstrip('/')}/{FILE}"
