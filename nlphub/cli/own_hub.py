"""``nlphub hub init | publish | add | check | serve | sign | update | forget``: hubs of one's own, and what is remembered of others'."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from nlphub.cli.output import note, print_json
from nlphub.errors import InputError, UnknownNameError

Folder = Annotated[Path, typer.Argument(metavar="HUB", help="The hub's folder.")]
To = Annotated[Path, typer.Option("--to", help="The hub's folder; a new or empty one becomes a hub.")]
Key = Annotated[Path | None, typer.Option(help="Private key file of a signed hub; it lies outside of the hub.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]

hubs = typer.Typer(name="hub", no_args_is_help=True, help="Make, fill, check and serve a hub of your own; renew and forget other hubs.")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(hubs)


@hubs.command()
def init(folder: Folder, key: Key = None) -> None:
    """Begin a hub in a new or empty folder; with --key it is signed, and the key is made if its file does not exist.

    Example: nlphub hub init /srv/hub --key ~/hub.key
    """
    from nlphub.hub import own
    from nlphub.hub.signing import PREFIX

    public = own.init(folder, key=key)
    print(f"{folder} is a hub. Whoever uses it sets NLPHUB_REGISTRY={folder.absolute()}{f'#{PREFIX}{public}' if public else ''}")


@hubs.command()
def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or of a saved module.")],
    name: Annotated[str, typer.Argument(help="To install it by: small letters, digits and _.")],
    version: Annotated[str, typer.Option(help="e.g. 1.0.0; a published version never changes.")],
    to: To,
    summary: Annotated[str | None, typer.Option(help="One line; default: base module, task and number of labels.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX identifier; default: that of the base module.")] = None,
    language: Annotated[str, typer.Option(help="BCP 47 tag.")] = "zh",
    alias: Annotated[
        list[str] | None, typer.Option(help="Another name; several times for several; default: those of the newest version.")
    ] = None,
    notes: Annotated[Path | None, typer.Option(help="A Markdown file for the end of the module's card.")] = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a fine-tuned run an installable version, with its labels, calibration and card.

    Example: nlphub hub publish runs/intent my_intent --version 1.0.0 --to /srv/hub
    """
    from nlphub.hub import own, publishing

    _prove(publishing.find_source(run).folder)
    text = _read(notes) if notes else ""
    facts = {"summary": summary, "licence": licence, "language": language, "aliases": alias}
    done = own.publish_module(run, name, version=version, to=to, notes=text, key=key, **facts)  # type: ignore[arg-type]  # of mixed types
    if as_json:
        print_json({"name": name, "version": version, "folder": str(done.folder), "left_out": done.left_out})
        return
    if done.left_out:
        note(f"not published: {', '.join(done.left_out)}")
    print(f"{done.card.title} is in {to} ({', '.join(entry.path for entry in done.card.files)})")


@hubs.command()
def add(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or aliases; my_intent==1.0.0 for a version.")],
    to: To,
    key: Key = None,
) -> None:
    """Put modules of other hubs into yours as they are, so that machines that reach only yours can install them.

    Example: nlphub hub add ernie_tiny --to /srv/hub
    """
    from nlphub.cli.hub import installer
    from nlphub.hub import own
    from nlphub.hub.registry import find_module

    for name in names:
        card = find_module(name, refresh=True)
        installer(card)(card)
        done = own.add(card, to=to, key=key)
        print(f"{done.card.title} is in {to}")


@hubs.command()
def check(folder: Folder, as_json: AsJson = False) -> None:
    """Hash every file of a hub, verify its signature, look for what does not belong there; exit code 1 if anything is wrong.

    Example: nlphub hub check /srv/hub
    """
    from nlphub.hub import own

    wrong = own.check(folder)
    document = own.parse_hub(folder)
    if as_json:
        print_json({"modules": [card.title for card in document.cards], "serial": document.serial, "key": document.key, "problems": wrong})
    else:
        signed = f"signed by ed25519:{document.key}" if document.key else "not signed"
        print(f"{folder}: {len(document.cards)} modules, serial {document.serial}, {signed}, {len(wrong)} problems")
        for problem in wrong:
            note(problem)
    if wrong:
        raise typer.Exit(1)


@hubs.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="To bind to; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = 8090,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log no requests.")] = False,
) -> None:
    """Serve a hub over HTTP until Ctrl-C: only what its layout has, with byte ranges. Any file server or bucket does as well.

    Example: nlphub hub serve /srv/hub --port 8090
    """
    from nlphub.hub.serving import HubServer

    with HubServer(folder, host=host, port=port, quiet=quiet) as server:
        print(f"serving {folder}: NLPHUB_REGISTRY={server.address}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)


@hubs.command()
def sign(folder: Folder, key: Annotated[Path, typer.Option(help="Private key file; made if it does not exist.")]) -> None:
    """Sign a hub, for the first time or with a new key.

    Example: nlphub hub sign /srv/hub --key ~/hub.key
    """
    from nlphub.hub import own
    from nlphub.hub.signing import PREFIX

    print(f"{folder} is signed by {PREFIX}{own.sign(folder, key)}")


@hubs.command()
def yank(
    name: Annotated[str, typer.Argument(help="my_intent==1.0.0: exactly one version.")],
    to: Annotated[Path, typer.Option("--to", help="The hub's folder.")],
    reason: Annotated[str | None, typer.Option(help="One line that says why.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It may be installed again.")] = False,
    key: Key = None,
) -> None:
    """Take a version back: it is not chosen for new installations any more, and where it is installed there is a warning.

    Example: nlphub hub yank my_intent==1.0.0 --to /srv/hub --reason "wrong labels"
    """
    from nlphub.hub import withdrawing

    name, _, version = name.partition("==")
    if undo == (reason is not None):
        raise InputError("give --reason TEXT, or --undo")
    withdrawing.yank(to, name, version, reason=reason, key=key)
    print(f"{name} {version} in {to} {'may be installed again' if undo else 'is yanked'}")


@hubs.command()
def expire(
    folder: Folder,
    on: Annotated[str | None, typer.Option(help="The last day, e.g. 2027-01-31; default: the registry is good for ever.")] = None,
    key: Key = None,
) -> None:
    """Say until which day you vouch for a hub: after it nothing new is installed from its registry until you write it anew.

    Example: nlphub hub expire /srv/hub --on 2027-01-31 --key ~/hub.key
    """
    from datetime import date

    from nlphub.hub import withdrawing

    try:
        last = date.fromisoformat(on) if on is not None else None
    except ValueError as wrong:
        raise InputError(f"--on {on!r} is no day; write it as 2027-01-31") from wrong
    withdrawing.expire(folder, last, key=key)
    print(f"{folder} {f'expires after {last}' if last else 'does not expire'}")


@hubs.command()
def update() -> None:
    """Fetch the registries of all hubs at http(s) addresses again; between two of these calls their copies are used.

    Example: nlphub hub update
    """
    from nlphub.hub.registry import addresses, load_registry

    found = load_registry(refresh=True)
    print(f"{len(found.newest)} modules in {1 + len(addresses())} registries")


@hubs.command()
def forget(address: Annotated[str, typer.Argument(help="The hub's path or address, as NLPHUB_REGISTRY has it.")]) -> None:
    """Forget the key, serial and versions that were seen of a hub that was deliberately begun anew; nothing installed is touched.

    Example: nlphub hub forget https://hub.bank.example
    """
    from nlphub.hub import trust
    from nlphub.hub.addresses import address_of

    place = address_of(address)
    if not trust.forget(place):
        raise UnknownNameError(f"Nothing is remembered of {place.place}; give the address as NLPHUB_REGISTRY has it")
    print(f"forgotten: {place.place}")


def _read(notes: Path) -> str:
    try:
        return notes.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise InputError(f"{notes} is no UTF-8 text: {wrong}") from wrong


def _prove(folder: Path) -> None:
    """Open a module before it is published, where that is possible: what does not load here loads nowhere."""
    if find_spec("torch") is None:
        note("torch is not installed here: the module is published without having been opened")
        return
    from nlphub.module import Module

    Module(directory=folder, import_code=False)
