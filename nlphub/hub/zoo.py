"""From the name of an architecture to the code that builds it: a closed table of the module folders that ship with nlphub.

A folder of the user's own joins the table when the caller names it. Nothing else is ever imported: what is downloaded is data, its
``architecture`` is looked up here, and the store and the caches are refused even when a caller names them.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from nlphub import paths
from nlphub.errors import InputError, UnknownNameError, brief, did_you_mean
from nlphub.hub.names import check_name

_PARTS = ("transformer", "tokenizer", "heads")  # the files of a module folder, and the name that each one defines
_added: dict[str, Path] = {}  # the callers' own folders


@dataclass(frozen=True, slots=True)
class Parts:
    """What a module folder defines.

    Attributes:
        transformer: ``transformer(**changes)`` gives the encoder.
        tokenizer: ``tokenizer(folder)`` gives the tokenizer whose files lie there.
        heads: task -> class of the head.
    """

    transformer: Callable[..., Any]
    tokenizer: Callable[[Path], Any]
    heads: dict[str, type[Any]]


def names() -> list[str]:
    """Architectures that can be built: the shipped ones and those of :func:`add_directory`, sorted."""
    shipped = (path.parent.name for path in (paths.bundle() / "modules").glob("*/transformer.py"))
    return sorted({*shipped, *_added})


def load(name: str) -> Parts:
    """Import the parts of an architecture.

    Raises:
        UnknownNameError: it is not in the table; a downloaded config.json cannot name anything else.
        InputError: its folder does not define what a module folder has to.
    """
    if name not in names():
        raise UnknownNameError(
            f"There is no architecture {brief(name)}.{did_you_mean(str(name), names())} This installation builds {', '.join(names())}."
        )
    return Parts(**{part: _attribute(name, part) for part in _PARTS})


def add_directory(folder: Path) -> str:
    """Let a module folder of the caller's own be imported as ``nlphub.zoo.<name of the folder>``.

    Its code then runs with the caller's rights. A process that unpickles its objects has to call this first too.

    Args:
        folder: with transformer.py, tokenizer.py and heads.py.

    Returns:
        The name of the folder, which is the name of the architecture.

    Raises:
        InputError: the folder is no module folder, lies in the store, or its name is no Python name or taken.
    """
    folder = folder.resolve()
    if folder == paths.bundle() / "modules" / folder.name or _added.get(folder.name) == folder:
        return folder.name
    problems = list(_problems(folder))
    if problems:
        raise InputError(f"{folder} cannot be used as a module folder.", problems)
    _import(folder)
    _added[folder.name] = folder
    return folder.name


def _problems(folder: Path) -> Iterator[str]:
    if any(folder.is_relative_to((paths.home() / part).resolve()) for part in ("modules", "cache")):
        yield "it lies in the store, and what is downloaded is never run. Copy it to a place of your own, and read its code first"
    try:
        check_name(folder.name)
    except ValueError as wrong:
        yield f"its name {folder.name!r} would be a Python package: {wrong}"
    if folder.name in names():
        yield f"the name {folder.name!r} is taken by {_added.get(folder.name, 'a module that ships with nlphub')}: rename the folder"
    yield from (f"there is no {part}.py in it" for part in _PARTS if not (folder / f"{part}.py").is_file())


def _import(folder: Path) -> None:
    """As the import system does it, but for this one folder: its neighbours do not become importable."""
    zoo = import_module("nlphub.zoo")
    name, start = f"nlphub.zoo.{folder.name}", folder / "__init__.py"
    if start.is_file():
        spec = spec_from_file_location(name, start, submodule_search_locations=[str(folder)])
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None, "there is a loader for .py files"
    package = sys.modules[name] = module_from_spec(spec)
    try:
        if spec.loader:
            spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    setattr(zoo, folder.name, package)


def _attribute(name: str, part: str) -> Any:
    module = import_module(f"nlphub.zoo.{name}.{part}")
    if not hasattr(module, part):
        raise InputError(f"{module.__file__} defines no {part!r}; a module folder has transformer(**changes), tokenizer(folder) and heads")
    return getattr(module, part)
