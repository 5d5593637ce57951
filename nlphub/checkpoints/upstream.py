"""Modules of others by name: what their registry card names is fetched, converted, and lies in the store as any module does.

    upstream.install(find_module("hfl/rbt3"))

The store (:mod:`nlphub.hub.making`) fetches and publishes; this room converts, which needs torch. Whoever opens modules by name calls
:func:`install` here; without torch a module that lies in the store already is opened by :func:`nlphub.hub.store.install` as well.
"""

from pathlib import Path

from nlphub.checkpoints import native
from nlphub.checkpoints.numbers import check_agreement, known_numbers
from nlphub.errors import WeightsError
from nlphub.files import publish
from nlphub.hub import lockfile, store
from nlphub.hub.cards import Card
from nlphub.hub.fetch import PATIENCE, Progress
from nlphub.hub.names import CARD
from nlphub.hub.transport import Patience


def install(
    card: Card,
    *,
    rehash: bool = False,
    progress: Progress | None = None,
    patience: Patience = PATIENCE,
    pins: lockfile.Made | None = None,
) -> Path:
    """Make sure that a module is in the store, made from files of others where its card says so.

    Arguments, result and errors are those of :func:`nlphub.hub.store.install`; besides

    Raises:
        InputError: a config contradicts the numbers that nlphub knows of this module.
        WeightsError: the files are damaged, refused, of another architecture, or hold a key that nobody can explain; the store stays as it
            was.
    """
    return store.install(card, rehash=rehash, progress=progress, patience=patience, make=_make, pins=pins)


def _make(card: Card, raw: Path, out: Path) -> None:
    """Convert the files in ``raw`` to the module's folder ``out``."""
    from nlphub.checkpoints.convert import convert  # what it imports is needed here only

    numbers = known_numbers(card.name)
    paddle = any(raw.glob("*.pdparams"))
    if numbers is not None and not paddle:
        check_agreement(raw / native.CONFIG, native.read_json(raw / native.CONFIG), numbers.facts, of=card.title)
    report = convert(raw, to="native", out=out, numbers=card.name if numbers is not None and paddle else None)
    if report.family != card.architecture:
        raise WeightsError(f"{card.title} is built by {card.architecture!r}, and the files of its publisher are a {report.family!r} model")
    if (raw / CARD).is_file():
        with publish(out / CARD) as card_file:
            card_file.write((raw / CARD).read_bytes())
