"""Ed25519 signatures (RFC 8032) of registries, through the ``cryptography`` package: keys as files, signing, verifying."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from nlphub.errors import InputError, require
from nlphub.files import publish

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = "ed25519:"  # of a public key, as people write it
_MAX_BYTES = 1 << 14  # of a key file


def make_key(path: Path) -> str:
    """Write a new private key (PEM, for its owner only) that nothing overwrites. Returns the public one, 64 hexadecimal digits.

    Raises:
        InputError: the file exists.
        MissingExtraError: there is no ``cryptography``.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} exists; a key is never overwritten")
    serialization = require("cryptography.hazmat.primitives.serialization", extra="sign", purpose="signing a hub")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    form, kind, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with publish(path) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(private.private_bytes(form, kind, plain))
    return _public(private)


def public_key(path: Path) -> str:
    """The public key, 64 hexadecimal digits, of a private one.

    Raises:
        InputError: the file is no such key, or others may read it.
    """
    return _public(_load(path))


def sign(path: Path, message: bytes) -> tuple[str, str]:
    """Public key and signature, in hexadecimal digits.

    Args:
        path: of the private key.
        message: what to sign.
    """
    private = _load(path)
    return _public(private), private.sign(message).hex()


def verifies(key: str, signature: str, message: bytes) -> bool:
    """Whether ``signature`` (128 hexadecimal digits) of ``message`` was made with the private key of ``key`` (64).

    Raises:
        MissingExtraError: there is no ``cryptography``; what is signed is never taken unverified.
    """
    require("cryptography", extra="sign", purpose="verifying the signature of a registry")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _load(path: Path) -> "Ed25519PrivateKey":
    serialization = require("cryptography.hazmat.primitives.serialization", extra="sign", purpose="signing a hub")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InputError(f"others may read the private key {path}. Run: chmod 600 {path}")
            key = serialization.load_pem_private_key(stream.read(_MAX_BYTES), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise InputError(f"{path} is no private key as nlphub writes it: {wrong}") from wrong
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is a private key of another kind than Ed25519")
    return key


def _public(private: "Ed25519PrivateKey") -> str:
    return private.public_key().public_bytes_raw().hex()
