"""Whether an installation works: Python, packages and extras, what ships with nlphub, the store, the settings of the environment."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any, Literal

from nlphub import __version__, paths
from nlphub.errors import NlphubError

State = Literal["ok", "absent", "broken"]

_HIDDEN = ("all", "dev")  # extras that only repeat others, or that users do not need
_IMPORTED_AS = {"pyyaml": "yaml", "huggingface-hub": "huggingface_hub"}  # all other packages are imported under their own name
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)[^;]*?(?:>=\s*([0-9.]+))?[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")
_TESTED = ((3, 11), (3, 13))


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the answer.

    Attributes:
        name: what was looked at.
        state: ``absent`` is an option that nobody has to have.
        text: what was found, and for all but ``ok`` the next command.
    """

    name: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that nlphub declares.

    Attributes:
        package: its name.
        least: the lowest version, or nothing.
        extra: that brings it; ``None`` for the base installation.
    """

    package: str
    least: str
    extra: str | None


def check_installation() -> Iterator[Fact]:
    """Look at everything; nothing is written and no network is touched. Packages that are there are imported, which takes seconds."""
    paths.refuse_telemetry()  # before onnxruntime is imported
    yield Fact("nlphub", "ok", f"{__version__} in {os.path.dirname(os.path.dirname(__file__))}")
    yield _python()
    requirements = declared()
    yield _packages([need for need in requirements if need.extra is None], None)
    for extra in dict.fromkeys(need.extra for need in requirements if need.extra not in (None, *_HIDDEN)):
        yield _packages([need for need in requirements if need.extra == extra], extra)
    yield _guarded("threads", _threads)
    yield from _guarded_all("modules", _shipped)
    yield from _guarded_all("store", _store)
    yield _guarded("network", lambda: "offline: nothing is fetched" if paths.offline() else "online")
    yield _guarded("mirrors", _mirrors)
    yield _guarded("registries", lambda: ", ".join(paths.extra_registries()) or "only the one that ships")


def declared() -> list[Requirement]:
    """The packages in the metadata of the installed nlphub; none when it runs from a folder that was never installed."""
    with suppress(metadata.PackageNotFoundError):
        matches = map(_REQUIREMENT.fullmatch, metadata.requires("nlphub") or ())
        return [Requirement(match[1].lower(), match[2] or "", match[3]) for match in matches if match]
    return []


def _python() -> Fact:
    here, (first, last) = sys.version_info[:2], _TESTED
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    tested = first <= here <= last
    return Fact("python", "ok", text if tested else f"{text}; tested are {first[0]}.{first[1]} to {last[0]}.{last[1]}")


def _packages(needs: Sequence[Requirement], extra: str | None) -> Fact:
    """One line for the base installation or an extra."""
    name, target = (f"extra {extra}", f"nlphub[{extra}]") if extra else ("packages", "nlphub")
    versions = {need.package: _version(need.package) for need in needs}
    missing = [package for package, version in versions.items() if version is None]
    command = f"pip install '{target}'"
    problems = [problem for need in needs if versions[need.package] is not None and (problem := _problem(need, versions[need.package]))]
    if problems:
        return Fact(name, "broken", f"{'; '.join(problems)}: {command}")
    if missing:
        return Fact(name, "absent" if extra else "broken", f"without {', '.join(missing)}: {command}")
    if not needs:
        return Fact(name, "broken", "nlphub runs from a folder that is not installed: pip install -e .")
    return Fact(name, "ok", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _problem(need: Requirement, version: str | None) -> str:
    """Why a package that is there cannot be used; nothing when it can."""
    if need.least and _numbers(version or "") < _numbers(need.least):
        return f"{need.package} {version} is older than {need.least}"
    try:
        import_module(_IMPORTED_AS.get(need.package, need.package.replace("-", "_")))
    except Exception as wrong:  # whatever a damaged package raises, it is what the user has to know
        reason = str(wrong).strip().splitlines() or [type(wrong).__name__]
        return f"{need.package} {version} cannot be imported ({reason[0]})"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    """``"2.13.0+cpu"`` as ``(2, 13, 0)``."""
    return tuple(int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part)  # type: ignore[index]  # it matches nothing, too


def _threads() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch = sys.modules.get("torch")  # imported by the check of the extra, if it is there
    if torch is None:
        return f"{cores} cores for this process"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return f"{cores} cores for this process, {torch.get_num_threads()} threads in torch; GPU: {device}"


def _shipped() -> Iterator[Fact]:
    """The bundle: every file of every module hashed, every tokenizer and recipe opened."""
    from nlphub.hub import checking
    from nlphub.hub.registry import load_registry
    from nlphub.recipe import load_any_recipe, recipe_names
    from nlphub.text.tokenizers import load_tokenizer

    cards = load_registry().cards
    problems = [f"{card.title}: {problem}" for card in cards for problem in checking.verify_bundle(card)]
    yield _judged("modules", problems, f"{len(cards)} in the registry; files that ship with nlphub have their digests")
    folders = sorted(folder.parent for folder in (paths.bundle() / "tokenizers").glob("*/nlphub_tokenizer.json"))
    yield _judged("tokenizers", _failures(lambda folder: load_tokenizer(folder), folders), ", ".join(folder.name for folder in folders))
    names = recipe_names()
    yield _judged("recipes", _failures(load_any_recipe, names), ", ".join(names))


def _store() -> Iterator[Fact]:
    from nlphub.hub import store
    from nlphub.hub.registry import load_registry

    home = paths.home()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{home}, {free / 1e9:.1f} GB free"
    cards = {(card.name, card.version): card for card in load_registry().cards}
    found = store.installed()
    problems = [] if os.access(there, os.W_OK) else [f"{there} cannot be written; set NLPHUB_HOME elsewhere"]
    problems += [
        f"{one.name} {one.version}: {problem}; mend it: nlphub install {one.name} --version {one.version}"
        for one in found
        for problem in store.verify(cards.get((one.name, one.version), one))
    ]
    inside = ", ".join(f"{one.name} {one.version}" for one in found) or "nothing installed"
    yield _judged("store", problems, f"{text}; {inside}")


def _mirrors() -> str:
    from nlphub.hub.names import check_source

    for mirror in paths.mirrors():
        try:
            check_source(mirror)
        except ValueError as wrong:
            raise NlphubError(f"NLPHUB_MIRRORS has {mirror!r}: {wrong}") from wrong
    return ", ".join(paths.mirrors()) or "none"


def _judged(name: str, problems: Sequence[str], text: str) -> Fact:
    return Fact(name, "broken", "; ".join(problems)) if problems else Fact(name, "ok", text)


def _failures(action: Callable[[Any], object], items: Sequence[Any]) -> list[str]:
    """What goes wrong with each item, as messages."""
    messages = []
    for item in items:
        try:
            action(item)
        except (NlphubError, OSError) as wrong:
            messages.append(str(wrong))
    return messages


def _guarded(name: str, look: Callable[[], str]) -> Fact:
    """A look as a fact; what it raises on purpose is one, too."""
    try:
        return Fact(name, "ok", look())
    except (NlphubError, OSError) as wrong:
        return Fact(name, "broken", " ".join(str(wrong).split()))


def _guarded_all(name: str, look: Callable[[], Iterator[Fact]]) -> Iterator[Fact]:
    try:
        yield from look()
    except (NlphubError, OSError) as wrong:
        yield Fact(name, "broken", " ".join(str(wrong).split()))
