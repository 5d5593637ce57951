"""Where things are: the bundle that ships with nlphub, the user's home folder and cache.

This is the only file that reads the environment:

``NLPHUB_HOME``     store, cache and locks (default ``~/.nlphub``)
``NLPHUB_OFFLINE``  ``1``, ``true``, ``yes`` or ``on``: nothing is ever fetched from a network; implied by ``HF_HUB_OFFLINE``
``NLPHUB_MIRRORS``  comma-separated base addresses, tried before a file's own http(s) sources
``NLPHUB_REGISTRY`` comma-separated further hubs: paths or http(s) addresses, ``#ed25519:KEY`` behind them where the key is known
``NLPHUB_DATA``     folder of real data sets for benchmarks and tests (never needed by users)
``NLPHUB_KERNELS``  who computes on packed rows: ``auto`` (default), ``reference``, ``builtin`` (PyTorch's own) or ``triton``
``TRITON_INTERPRET`` Triton's own: ``1`` runs its kernels in Python, on any device, for tests
"""

import os
from pathlib import Path

from nlphub.errors import InputError, StoreError

KERNELS = ("auto", "reference", "builtin", "triton")
"""Values of ``NLPHUB_KERNELS``."""

_PACKAGE = Path(__file__).resolve().parent
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def bundle() -> Path:
    """The folder of registry.json, modules/, tokenizers/ and recipes/: inside a wheel, or the root of a checkout."""
    for root in (_PACKAGE / "_bundle", _PACKAGE.parent):
        if (root / "registry.json").is_file():
            return root
    raise StoreError(f"This installation is incomplete: no registry.json near {_PACKAGE}. Reinstall nlphub.")


def home() -> Path:
    """``NLPHUB_HOME`` or ``~/.nlphub``. Not created here: reading must not write."""
    value = os.environ.get("NLPHUB_HOME", "").strip()
    return Path(value).expanduser().absolute() if value else Path.home() / ".nlphub"


def offline() -> bool:
    """Whether fetching is forbidden."""
    return _flag("NLPHUB_OFFLINE") or _flag("HF_HUB_OFFLINE")


def mirrors() -> tuple[str, ...]:
    """Base addresses that are tried before a file's own http(s) sources, in order."""
    return _list("NLPHUB_MIRRORS")


def extra_registries() -> tuple[str, ...]:
    """Further hubs named by the user, in order, as :func:`nlphub.hub.addresses.address_of` reads them."""
    return _list("NLPHUB_REGISTRY")


def refuse_telemetry() -> None:
    """Keep onnxruntime from collecting and sending usage data (on by default since 1.31); it reads this once, when it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def ray_address() -> str | None:
    """The Ray cluster that ``RAY_ADDRESS`` names, in Ray's own words: ``host:port``, ``ray://host:port`` or ``auto``."""
    return os.environ.get("RAY_ADDRESS", "").strip() or None


def real_data() -> Path | None:
    """The folder of real data sets, when ``NLPHUB_DATA`` names one."""
    value = os.environ.get("NLPHUB_DATA", "").strip()
    return Path(value).expanduser() if value else None


def kernels() -> str:
    """Who computes on packed rows: ``NLPHUB_KERNELS``, or ``auto``.

    Raises:
        InputError: the value is none of those that there are.
    """
    value = os.environ.get("NLPHUB_KERNELS", "").strip().lower() or "auto"
    if value not in KERNELS:
        raise InputError(f"NLPHUB_KERNELS={value!r} is none of {', '.join(KERNELS)}; unset it to let nlphub choose")
    return value


def triton_interpreted() -> bool:
    """Whether Triton runs its kernels in Python, on any device: ``TRITON_INTERPRET=1``, which Triton itself reads when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "").strip().lower() in ("1", "true", "yes", "on")


def resolve(reference: str, *, base: Path) -> Path:
    """A path as recipes and commands write it: ``bundle:recipes/data/x.csv``, absolute, or relative to ``base``.

    Raises:
        InputError: a ``bundle:`` reference that leaves the bundle.
    """
    if reference.startswith("bundle:"):
        root, path = bundle(), (bundle() / reference.removeprefix("bundle:")).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"{reference!r} points outside the bundle {root}")
        return path
    return (base / Path(reference).expanduser()).absolute()


def _flag(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InputError(f"{name}={value!r} is neither on nor off; use {name}=1 or {name}=0")


def _list(name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in os.environ.get(name, "").split(",") if item.strip())
