"""From a name, a file or standard input, and overrides, to a checked :class:`Recipe`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nlphub import paths
from nlphub.errors import InputError, RecipeError, UnknownNameError, brief, did_you_mean
from nlphub.recipe import safe_yaml
from nlphub.recipe.pretraining import PretrainRecipe
from nlphub.recipe.schema import Recipe

AnyRecipe = Recipe | PretrainRecipe

_TABLES = frozenset({".csv", ".tsv", ".jsonl", ".xlsx", ".parquet", ".txt"})
_SUFFIXES = (".yaml", ".yml")
_INPUTS = (
    ("module", "directory"),
    ("data", "train"),
    ("data", "dev"),
    ("data", "test"),
    ("data", "corrections"),
    ("calibration", "out_of_scope"),
    ("distill", "teacher"),
    ("distill", "unlabelled"),
)  # paths that are read


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe that fine-tunes.

    Files to read (``data.*``, ``module.directory``) are relative to the recipe's own folder, in an override to the current one;
    ``bundle:...`` and ``hf://...`` stay as they are. Folders to write (``run.folder``, ``export.folder``) are always relative to the
    current folder.

    Args:
        source: the name of a bundled recipe (``nlphub recipe list``), the path of a ``.yaml`` file, or ``-`` for standard input.
        overrides: ``section.key=value``, where the value is YAML: ``train.epochs=3``, ``data.split={dev: 0.2}``.

    Raises:
        UnknownNameError: there is no bundled recipe of that name.
        RecipeError: the file cannot be read, or keys or values are wrong; all at once, with file and line; or it is for pretraining.
    """
    recipe = load_any_recipe(source, overrides)
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"The recipe {source} pretrains (task: {recipe.task}); run it with: nlphub pretrain {source}")
    return recipe


def load_pretrain_recipe(source: str | Path, overrides: Sequence[str] = ()) -> PretrainRecipe:
    """The same for a recipe that pretrains (``task: mlm``).

    Raises:
        UnknownNameError, RecipeError: as :func:`load_recipe`.
    """
    recipe = load_any_recipe(source, overrides)
    if not isinstance(recipe, PretrainRecipe):
        raise RecipeError(f"The recipe {source} fine-tunes (task: {recipe.task}); run it with: nlphub finetune {source}")
    return recipe


def load_any_recipe(source: str | Path, overrides: Sequence[str] = ()) -> AnyRecipe:
    """A recipe of either kind; its ``task`` decides.

    Raises:
        UnknownNameError, RecipeError: as :func:`load_recipe`.
    """
    text, name, base = _open(source)
    document = safe_yaml.read(text, name=name)
    if not isinstance(document.value, dict):
        raise RecipeError(f"{name} holds no 'key: value' lines; see a whole one with: nlphub recipe show intent")
    problems, values = list(document.problems), document.value
    places = {path: f"{name}:{line}" for path, line in document.lines.items()}
    _anchor(values, base, places, problems)
    for override in overrides:
        problems += _apply(override, values, places)
    recipe = _check(values, places, problems)
    if recipe is None or problems:
        raise RecipeError(f"The recipe {name} is not valid.", problems)
    return recipe


def recipe_names() -> list[str]:
    """The names of the bundled recipes, sorted."""
    return sorted(path.stem for path in (paths.bundle() / "recipes").glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a bundled recipe.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in recipe_names():
        raise UnknownNameError(
            f"There is no recipe {name!r}.{did_you_mean(name, recipe_names())} `nlphub recipe list` shows all "
            f"{len(recipe_names())}; the path of a file of your own ends in .yaml."
        )
    return paths.bundle() / "recipes" / f"{name}.yaml"


def _open(source: str | Path) -> tuple[str, str, Path]:
    """The text, its name for messages, and the folder that its paths are relative to."""
    if source == "-":
        return _decode(sys.stdin.buffer.read(safe_yaml.MAX_BYTES + 1), "<stdin>"), "<stdin>", Path.cwd()
    if Path(source).suffix.lower() in _TABLES:
        raise RecipeError(f"{source} is a file of data, not a recipe; make a recipe of it with: nlphub init {source}")
    is_file = isinstance(source, Path) or source.endswith(_SUFFIXES) or len(Path(source).parts) > 1
    path = Path(source).expanduser() if is_file else recipe_path(str(source))
    try:
        with path.open("rb") as stream:
            base = path.absolute().parent if is_file else Path.cwd()  # a bundled recipe speaks of the caller's files, or of bundle:...
            return _decode(stream.read(safe_yaml.MAX_BYTES + 1), str(path)), str(path), base
    except OSError as wrong:
        raise RecipeError(f"The recipe {path} cannot be read: {wrong.strerror}") from wrong


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        if len(data) > safe_yaml.MAX_BYTES:  # the cut may have split a character; read() refuses the size
            return data.decode("utf-8", "replace")
        line = data.count(b"\n", 0, wrong.start) + 1
        raise RecipeError(f"{name}:{line}: byte 0x{data[wrong.start]:02x} is not UTF-8; save the recipe as UTF-8") from wrong


def _anchor(values: dict[Any, Any], base: Path, places: Mapping[safe_yaml.Path, str], problems: list[str]) -> None:
    """Make relative paths of files to read absolute, in place."""
    for section, key in _INPUTS:
        holder = values.get(section)
        value = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(value, str) and value and not value.startswith("hf://"):
            try:
                path = paths.resolve(value, base=base)
            except (InputError, ValueError, RuntimeError) as wrong:  # outside the bundle, a NUL, the home of no such user
                problems.append(f"{_place((section, key), places)}: {section}.{key}: {wrong}")
                continue
            if not value.startswith("bundle:"):  # stays portable
                values[section][key] = str(path)


def _apply(override: str, values: dict[Any, Any], places: dict[safe_yaml.Path, str]) -> list[str]:
    """Put one ``a.b=c`` into ``values``; what it says replaces what was there. Returns problems."""
    dotted, equals, text = override.partition("=")
    keys, place = tuple(dotted.strip().split(".")), f"override {override!r}"
    if not equals or not all(keys):
        return [f"{place}: an override is section.key=value, e.g. train.epochs=3"]
    try:
        document = safe_yaml.read(text, name=place)
    except RecipeError as wrong:
        return [str(wrong)]
    layer: dict[Any, Any] = {}
    target, holder = layer, values
    for depth, key in enumerate(keys[:-1], start=1):
        target = target.setdefault(key, {})
        if holder.get(key) is None:
            holder[key] = {}
        if not isinstance(holder[key], dict):
            return [f"{place}: {'.'.join(keys[:depth])} is a single value and has no key {keys[depth]!r}"]
        holder = holder[key]
    target[keys[-1]] = document.value
    places[keys] = place
    problems = list(document.problems)
    _anchor(layer, Path.cwd(), places, problems)
    holder[keys[-1]] = target[keys[-1]]
    for path in [path for path in places if path[: len(keys)] == keys]:
        places[path] = place
    return problems


def _check(values: dict[Any, Any], places: Mapping[safe_yaml.Path, str], problems: list[str]) -> AnyRecipe | None:
    """Validate against the schema of the task; mistakes go into ``problems``."""
    schema: type[AnyRecipe] = PretrainRecipe if values.get("task") == "mlm" else Recipe
    try:
        return schema.model_validate(values)
    except ValidationError as wrong:
        problems += _explain(wrong, values, places, schema)
        return None


def _explain(wrong: ValidationError, values: Any, places: Mapping[safe_yaml.Path, str], schema: type[BaseModel]) -> Iterator[str]:
    """One sentence for each wrong key; what several members of a union have to say about one value is joined by "or"."""
    found: dict[safe_yaml.Path, list[Any]] = {}
    for error in wrong.errors(include_url=False):
        path = _existing(error["loc"], values, missing=error["type"] == "missing")
        found.setdefault(path, []).append(error)
    for path, errors in found.items():
        name = ".".join(map(str, path)) or "the recipe"
        yield f"{_place(path, places)}: {name} {_complaint(errors, path, schema)}"


def _complaint(errors: list[Any], path: safe_yaml.Path, schema: type[BaseModel]) -> str:
    first = errors[0]
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "extra_forbidden":
        names = _fields(path[:-1], schema)
        return f"is unknown.{did_you_mean(str(path[-1]), names)} Known here: {', '.join(names)}"
    if first["type"] == "value_error":
        return f"contradicts itself: {first['ctx']['error']}"
    given = "empty" if first["input"] is None else brief(first["input"])
    if first["type"] in ("model_type", "model_attributes_type"):
        return f"should be a section, not {given}; its keys: {', '.join(_fields(path, schema))}"
    rules = dict.fromkeys(str(error["msg"]).removeprefix("Input ") for error in errors)
    return f"{' or '.join(rules)}, not {given}"


def _existing(location: tuple[str | int, ...], values: Any, *, missing: bool) -> safe_yaml.Path:
    """The part of pydantic's location that is in the file: it adds tags of union members, and ``[key]`` for wrong keys."""
    path: list[str | int] = []
    for key in location:
        if isinstance(values, list | tuple):
            values = dict(enumerate(values))
        if isinstance(values, dict) and key in values:
            values = values[key]
            path.append(key)
    return (*path, location[-1]) if missing else tuple(path)


def _fields(path: safe_yaml.Path, schema: type[BaseModel]) -> list[str]:
    """The keys that the schema knows below ``path``."""
    model = schema
    for key in path:
        if str(key) in model.model_fields:  # else it is a key of a mapping, whose values are models
            model = next(_models(model.model_fields[str(key)].annotation))
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _place(path: safe_yaml.Path, places: Mapping[safe_yaml.Path, str]) -> str:
    """The place of the nearest thing that is in the file."""
    return next(places[path[:depth]] for depth in range(len(path), -1, -1) if path[:depth] in places)
