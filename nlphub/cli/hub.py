"""``nlphub list | search | show | install | verify | remove | bundle``: the modules of the registries and those in the local store."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlphub.cli.output import note, print_json, print_table
from nlphub.errors import InputError, require

if TYPE_CHECKING:
    from nlphub.hub.cards import Card
    from nlphub.hub.fetch import Progress
    from nlphub.hub.store import Installed

_UNKNOWN = "not verified: pinned at first install"

Name = Annotated[str, typer.Argument(help="A name or alias of nlphub list.")]
Conditions = Annotated[str | None, typer.Option("--version", help="1.0.0, or conditions such as '>=0.1,<2'; default: the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_command)
    for command in (search, show, install, verify, remove, bundle):
        app.command()(command)


def list_command(
    task: Annotated[str | None, typer.Option(help="Only modules for this task, e.g. seq-cls.")] = None, as_json: Json = False
) -> None:
    """List all modules; INSTALLED tells what is in the local store, `nlphub show NAME` all else: tasks, licence, origins.

    Example: nlphub list --task seq-cls
    """
    from nlphub.hub.registry import list_modules

    _print_cards(list_modules(task=task), as_json)


def search(text: Annotated[str, typer.Argument(help="Words; each has to occur in a module's facts.")], as_json: Json = False) -> None:
    """Find modules by name, alias, summary, language, upstream or task.

    Example: nlphub search "ernie seq-cls"
    """
    from nlphub.hub.registry import list_modules, search_modules

    found = search_modules(text)
    if not found:
        note(f"nothing matches {text!r}; `nlphub list` shows all {len(list_modules())}")
    if found or as_json:
        _print_cards(found, as_json)


def show(name: Name, version: Conditions = None, as_json: Json = False) -> None:
    """Show all facts about a module: licence, size, tasks, files and where they come from.

    Example: nlphub show ernie_tiny
    """
    from nlphub.hub.registry import find_module

    card = find_module(name, version=version)
    if as_json:
        print_json(_facts([card])[0])
    else:
        _print_card(card)


def install(
    name: Annotated[
        str | None, typer.Argument(help="A name or alias of nlphub list, my_intent==1.0.0, or a .zip of nlphub bundle.")
    ] = None,
    version: Conditions = None,
    pin: Annotated[bool, typer.Option("--pin", help="Note version and digests in nlphub.lock of this folder.")] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Exactly what nlphub.lock says; without a name all that is in it.")] = False,
    lock_file: Annotated[Path, typer.Option(help="Another lock than the one of this folder.")] = Path("nlphub.lock"),
    out: Annotated[Path | None, typer.Option(help="Of a .zip: a folder for its recipes and wheels; default: they stay in it.")] = None,
    as_json: Json = False,
) -> None:
    """Put a module into the local store, verified; what is there already is hashed again and mended. A .zip needs no network.

    A module of others (ernie_3_0_nano, hfl/rbt3) is fetched from its publisher and converted; the first time pins commit and digests.

    Example: nlphub install ernie_tiny --version ">=0.1,<1"
    """
    from nlphub.hub.registry import find_module

    _check_words(name, version, out, pin=pin, locked=locked)
    if locked:
        _install_locked(name, lock_file, as_json)
        return
    if name is not None and name.endswith(".zip"):
        _install_bundle(Path(name), version, out, as_json)
        return
    card = find_module(name or "", version=version, refresh=True)
    with _progress_bar(f"{card.name} {card.version}") as progress:
        folder = installer(card)(card, rehash=True, progress=progress)
    if pin:
        _pin(card, lock_file)
    if as_json:
        print_json({"name": card.name, "version": card.version, "folder": str(folder)})
    else:
        print(f"{card.name} {card.version} is installed in {folder}")


def verify(
    name: Annotated[str | None, typer.Argument(help="A name or alias; default: everything that is installed.")] = None,
    version: Conditions = None,
    as_json: Json = False,
) -> None:
    """Hash the files of installed modules again; exit code 1 if anything is wrong.

    Example: nlphub verify ernie_tiny
    """
    from nlphub.hub import store
    from nlphub.hub.registry import find_module

    modules = _installed_modules(name, version) or ([find_module(name, version=version)] if name else [])
    results = [(module, store.verify(module)) for module in modules]
    if as_json:
        print_json([{"name": module.name, "version": module.version, "problems": problems} for module, problems in results])
    else:
        _print_results(results)
    if any(problems for _, problems in results):
        raise typer.Exit(1)


def remove(
    name: Name,
    version: Annotated[str | None, typer.Option("--version", help="Exactly one version; default: all that are installed.")] = None,
    as_json: Json = False,
) -> None:
    """Delete a module from the local store.

    Example: nlphub remove ernie_tiny
    """
    from nlphub.hub import store

    freed = store.remove(name, version)
    if as_json:
        print_json({"name": name, "version": version, "bytes_freed": freed})
    else:
        print(f"removed {name}{f' {version}' if version else ''}: {freed:,} bytes freed")


def bundle(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or aliases; my_intent==1.0.0 for a version.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .zip to write.")],
    recipe: Annotated[list[Path] | None, typer.Option(help="A .yaml recipe to pack too; give it several times for several.")] = None,
    wheels: Annotated[Path | None, typer.Option(help="A folder of .whl files to pack too, as pip download -d fills it.")] = None,
    as_json: Json = False,
) -> None:
    """Pack modules, complete and verified, into one file for machines without a network. Equal contents give equal bytes.

    Example: nlphub bundle ernie_tiny -o site.zip
    """
    from nlphub.files import sha256
    from nlphub.hub.bundles import write_bundle
    from nlphub.hub.registry import find_module

    cards = [find_module(name, refresh=True) for name in names]
    for card in cards:
        installer(card)(card)
    packed = write_bundle(out, cards, recipes=recipe or (), wheels=wheels)
    facts: dict[str, Any] = {
        "file": str(out),
        "bytes": out.stat().st_size,
        "sha256": sha256(out),
        "modules": [card.title for card in packed.cards],
    }
    if as_json:
        print_json({**facts, "extras": packed.extras})
        return
    print(f"{out}: {', '.join([*facts['modules'], *packed.extras])}; {facts['bytes']:,} bytes, sha256 {facts['sha256']}")
    print(f"on the other machine: nlphub install {out.name}")


def _check_words(name: str | None, version: str | None, out: Path | None, *, pin: bool, locked: bool) -> None:
    """What cannot be said together."""
    is_zip = name is not None and name.endswith(".zip")
    problems = ["name a module, or give --locked"] if name is None and not locked else []
    problems += ["--out is for the recipes and wheels of a .zip"] if out is not None and not is_zip else []
    problems += ["--pin and --locked: the first writes nlphub.lock, the second obeys it"] if pin and locked else []
    problems += ["--locked says the version already; leave --version out"] if locked and version is not None else []
    problems += ["a .zip is what it is: --pin and --locked are for modules by name"] if is_zip and (pin or locked) else []
    if problems:
        raise InputError("Nothing was installed:", problems)


def _pin(card: "Card", path: Path) -> None:
    from nlphub.hub import project

    pins = project.read(path) if path.exists() else {}
    project.write(path, pins | {card.name: project.pin_of(card)})
    note(f"{card.title} is pinned in {path}")


def _install_locked(name: str | None, path: Path, as_json: bool) -> None:
    """Everything that a project pins, or one module of it; any difference is an error."""
    from nlphub.hub import project
    from nlphub.hub.names import normal

    pins = project.read(path)
    if name is not None and normal(name) not in pins:
        raise InputError(
            f"{path} does not pin {name!r}; it has {', '.join(sorted(pins)) or 'nothing'}. Add it: nlphub install {name} --pin"
        )
    facts = []
    for known in sorted(pins) if name is None else [normal(name)]:
        card = project.locked_card(known, pins[known])
        made = {"pins": pins[known].made} if card.is_made else {}
        with _progress_bar(card.title) as progress:
            folder = installer(card)(card, rehash=True, progress=progress, **made)
        project.check(card, pins[known])
        facts.append({"name": card.name, "version": card.version, "folder": str(folder)})
    if as_json:
        print_json({"modules": facts})
    else:
        for fact in facts:
            print(f"{fact['name']} {fact['version']} is installed in {fact['folder']}, as {path} pins it")


def _install_bundle(path: Path, version: str | None, out: Path | None, as_json: bool) -> None:
    from nlphub.hub.bundles import install_bundle

    if version is not None:
        raise InputError("--version is not for a .zip: all that is in it is installed")
    found, folders = install_bundle(path, extras_to=out)
    if as_json:
        modules = [
            {"name": card.name, "version": card.version, "folder": str(folder)} for card, folder in zip(found.cards, folders, strict=True)
        ]
        print_json({"modules": modules, "extras": [str(out / extra) for extra in found.extras] if out else []})
        return
    for card, folder in zip(found.cards, folders, strict=True):
        print(f"{card.title} is installed in {folder}")
    if found.extras and out is None:
        note(f"{len(found.extras)} recipes and wheels are in it too: nlphub install {path} --out FOLDER")


def _print_cards(cards: "Sequence[Card]", as_json: bool) -> None:
    facts = _facts(cards)
    if as_json:
        print_json(facts)
        return
    header = ("NAME", "VERSION", "PARAMETERS", "DIGESTS", "INSTALLED", "SUMMARY")
    facts = [fact | {"digests": "pinned at install" if fact["verified"] is False else "known"} for fact in facts]
    print_table(header, [[_text(fact[column.lower()]) for column in header] for fact in facts])


def _print_card(card: "Card") -> None:
    (facts,) = _facts([card])
    for key, value in facts.items():
        if key not in ("files", "origins", "verified") and (value or key != "yanked"):
            print(f"{key + ':':<14}{_text(value)}")
    if facts["verified"] is False:
        print(f"{'files:':<14}{_UNKNOWN}")
    print()
    if card.is_made:
        print_table(("FORM", "MADE FROM"), [(origin.form, origin.base) for origin in card.origins])
        return
    rows = [(entry.path, _text(entry.bytes), (entry.sha256 or "-")[:12], entry.sources[0]) for entry in card.files]
    print_table(("FILE", "BYTES", "SHA256", "FROM"), rows)


def _print_results(results: "Sequence[tuple[Card | Installed, Sequence[str]]]") -> None:
    if not results:
        note("nothing is installed")
        return
    rows = [(module.name, module.version, len(problems) or "-", "wrong" if problems else "right") for module, problems in results]
    print_table(("NAME", "VERSION", "PROBLEMS", "RESULT"), rows)
    for module, problems in results:
        for problem in problems:
            note(f"{module.name} {module.version}: {problem}")
        if problems:
            note(f"to mend it: nlphub install {module.name} --version {module.version}")


def _installed_modules(name: str | None, version: str | None) -> "list[Card | Installed]":
    """What is installed, judged by the registry's card; by its own lock.json where the registry no longer knows it."""
    from nlphub.hub import store, versions
    from nlphub.hub.registry import load_registry

    cards = {(card.name, card.version): card for card in load_registry().cards}
    there = (found for found in store.installed(name) if version is None or versions.satisfies(found.version, version))
    return [cards.get((found.name, found.version), found) for found in there]


def _facts(cards: "Sequence[Card]") -> list[dict[str, Any]]:
    """Cards as JSON, each with the versions of its name that are in the store."""
    from nlphub.hub import store

    there = store.installed()
    return [_known(card, [found.version for found in there if found.name == card.name]) for card in cards]


def _known(card: "Card", installed: list[str]) -> dict[str, Any]:
    """A card, what is here of it, and what its first installation learnt."""
    from nlphub.hub import store

    verified = bool(installed) or (not card.is_made and all(entry.sha256 for entry in card.files))
    licence = store.licence_of(card) if installed else card.licence
    return asdict(card) | {"licence": licence, "installed": installed, "verified": verified}


def installer(card: "Card") -> "Callable[..., Path]":
    """What puts a module into the store: one that is made from files of others needs torch, unless it is there already."""
    from nlphub.hub import store

    is_there = any(found.version == card.version for found in store.installed(card.name))
    if not card.is_made or (is_there and find_spec("torch") is None):
        return store.install
    require("torch", extra="train", purpose=f"making {card.name} from its publisher's files")
    from nlphub.checkpoints import upstream

    return upstream.install


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(value) or "-"
    return f"{value:,}" if isinstance(value, int) else value or "-"


@contextmanager
def _progress_bar(title: str) -> "Iterator[Progress | None]":
    """A bar on standard error while something is fetched; nothing when that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
