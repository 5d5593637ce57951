"""What goes into a preparation: sources of text with their caps, weights, licences and origins, and the tokenizer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlphub import paths
from nlphub.data.corpus.documents import SUFFIXES, inner_suffix
from nlphub.errors import InputError, brief, did_you_mean
from nlphub.recipe import safe_yaml

_KEYS = ("cap", "weight", "licence", "origin")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of text.

    Attributes:
        name: of the file, without suffixes; shards are named by it.
        path: of the file.
        cap: the most tokens that are kept (counted as normalised characters), or None.
        weight: how often its tokens are sampled in training; 1.0 is once in an epoch.
        licence, origin: for the data card, as the user wrote them.
    """

    name: str
    path: Path
    cap: int | None = None
    weight: float = 1.0
    licence: str = ""
    origin: str = ""


def find_sources(
    paths: Sequence[Path], *, config: Path | None = None, caps: Sequence[str] = (), weights: Sequence[str] = ()
) -> list[Source]:
    """The sources in the given order, which is also the order in which the first copy of a text wins; those of a folder by name.

    Args:
        config: a YAML file ``{name: {cap: 1000000, weight: 0.5, licence: ..., origin: ...}}``, every key optional.
        caps: ``NAME=TOKENS``, before what ``config`` says.
        weights: ``NAME=WEIGHT``, likewise.

    Raises:
        InputError: a file is missing or of an unknown kind, two have one name, or a cap, weight or key of ``config`` is wrong.
    """
    problems: list[str] = []
    found = [Source(_name(path), path) for path in _files(paths, problems)]
    names = [source.name for source in found]
    problems += [f"{name!r} is the name of several files; rename one" for name in sorted({n for n in names if names.count(n) > 1})]
    facts: dict[str, dict[str, Any]] = _config(config, problems) if config else {}
    for key, pairs, convert in (("cap", caps, int), ("weight", weights, float)):
        for pair in pairs:
            name, value = _pair(pair, key, convert, problems)
            facts.setdefault(name, {})[key] = value
    problems += [f"{name!r} is no source here.{did_you_mean(name, names)}" for name in sorted(facts.keys() - {*names, ""})]
    problems += [problem for name in sorted(facts) for problem in _wrong(name, facts[name])]
    if problems:
        raise InputError("These sources cannot be prepared", problems)
    return [replace(source, **facts.get(source.name, {})) for source in found]


def find_tokenizer(name: str) -> Path:
    """The folder of a bundled tokenizer by its name, or the folder itself.

    Raises:
        InputError: there is neither.
    """
    bundled = paths.bundle() / "tokenizers"
    for folder in (Path(name).expanduser(), bundled / name):
        if (folder / "nlphub_tokenizer.json").is_file():
            return folder
    names = sorted(folder.name for folder in bundled.iterdir() if folder.is_dir())
    raise InputError(
        f"{name!r} is no tokenizer: bundled are {', '.join(names)}, or name a folder that holds one.{did_you_mean(name, names)}"
    )


def _files(given: Sequence[Path], problems: list[str]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_text(file)) if path.is_dir() else [path]
        if not path.exists():
            problems.append(f"{path} does not exist")
        elif not inside or not all(map(_is_text, inside)):
            problems.append(f"{path} is no text: {' and '.join(SUFFIXES)} are read, also packed as .zst, .xz or .gz, and folders of those")
        found += inside
    return list(dict.fromkeys(found))


def _is_text(path: Path) -> bool:
    return inner_suffix(path) in SUFFIXES and not path.name.startswith(".")


def _name(path: Path) -> str:
    return path.name[: path.name.lower().rindex(inner_suffix(path))] or path.name


def _config(path: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    try:
        document = safe_yaml.read(path.read_text("utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as wrong:
        raise InputError(f"{path} cannot be read: {wrong}") from wrong
    problems += document.problems
    table = document.value if isinstance(document.value, dict) else {"": document.value}
    for name, facts in table.items():
        if not isinstance(name, str) or not name or not isinstance(facts, dict):
            problems.append(f"{path}: {brief(name)} has to be the name of a source with a table of {', '.join(_KEYS)}")
        else:
            problems += [f"{path}: {name}.{key} is unknown.{did_you_mean(str(key), _KEYS)}" for key in facts if key not in _KEYS]
    return {
        name: {k: v for k, v in facts.items() if k in _KEYS}
        for name, facts in table.items()
        if isinstance(name, str) and name and isinstance(facts, dict)
    }


def _pair(pair: str, key: str, convert: Callable[[str], Any], problems: list[str]) -> tuple[str, Any]:
    name, _, value = pair.rpartition("=")
    try:
        return name, convert(value.replace("_", ""))
    except ValueError:
        problems.append(f"--{key} {pair!r} has to look like NAME={1000000 if key == 'cap' else 0.5}")
        return "", None


def _wrong(name: str, facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values of a source's facts."""
    cap, weight = facts.get("cap"), facts.get("weight", 1.0)
    problems = []
    if cap is not None and (type(cap) is not int or cap < 1) and name:
        problems.append(f"the cap of {name!r} is {brief(cap)}; it is a number of tokens, at least 1")
    if (type(weight) not in (int, float) or not 0 < weight < 1000) and name:
        problems.append(f"the weight of {name!r} is {brief(weight)}; it is a number above 0 and below 1000")
    problems += [
        f"the {key} of {name!r} is {brief(facts[key])}; it is a text" for key in _KEYS[2:] if not isinstance(facts.get(key, ""), str)
    ]
    return problems
