"""The folder of a run, of fine-tuning or pretraining: whose it is, who may write into it, and what was there before."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nlphub import files
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.errors import InputError
from nlphub.files import discard_folder, publish_json, publish_text, recover_folder
from nlphub.recipe import AnyRecipe, Recipe, load_any_recipe

LOCK, RECIPE = "lock.json", "recipe.yaml"

_OURS = {LOCK, RECIPE, "metrics.jsonl", "best", "last", "module", "report", "folds", "seeds", "trials", "best.yaml"}
_DECISIVE = ("module", "task", "data", "train", "distill")  # sections of a recipe that decide the weights


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run for as long as this one writes it.

    Raises:
        InputError: another process is there already.
    """
    with files.alone(folder, otherwise=f"Another process is training in {folder}; wait for it or choose another run.folder=..."):
        yield


def check(folder: Path, recipe: AnyRecipe, *, overwrite: bool, resume: bool) -> None:
    """Check that a run may be written into ``folder``, and its artefact into the recipe's export folder.

    Raises:
        InputError: something there would be lost or mixed; the message names the way out.
    """
    if resume and overwrite:
        raise InputError("--resume goes on with a run, --overwrite throws it away: give one of them")
    if resume:
        _check_same(folder, recipe)
        return
    _check_free(folder, recipe, overwrite=overwrite)
    export = _export_folder(recipe)
    if export and (export / "nlphub.json").is_file() and not overwrite:
        raise InputError(f"{export} holds an exported module already; add --overwrite to replace it, or export.folder=another/folder")


def begin(folder: Path, recipe: AnyRecipe, lock: Mapping[str, Any]) -> None:
    """Make the folder of a new run; an earlier one is removed. lock.json comes first: it is what marks a folder as a run."""
    recover_folder(folder)
    discard_folder(folder)
    publish_json(folder / LOCK, lock)
    publish_text(folder / RECIPE, recipe.to_yaml())


def begin_or_continue(
    folder: Path, recipe: AnyRecipe, lock: Mapping[str, Any], *, known: Mapping[str, str], what: str, overwrite: bool
) -> None:
    """Make the folder of several trainings, or make sure that what is there belongs to the same settings.

    Args:
        known: keys of ``lock`` that have to be equal, and what they are, for the message.
        what: the folder holds, for the message, e.g. ``"a search"``.

    Raises:
        InputError: it holds something else, or of other settings; all differences are named.
    """
    before = facts(folder)
    if before is None or overwrite:
        check(folder, recipe, overwrite=overwrite, resume=False)
    if before is None or overwrite or not (folder / RECIPE).is_file():  # killed between its two first files
        begin(folder, recipe, lock)
        return
    check(folder, recipe, overwrite=False, resume=True)
    if changes := [f"{name}: {before.get(key)} -> {lock[key]}" for key, name in known.items() if before.get(key) != lock[key]]:
        raise InputError(f"{folder} holds {what} of something else; add --overwrite (overwrite=True) to replace it:", changes)


def _check_free(folder: Path, recipe: AnyRecipe, *, overwrite: bool) -> None:
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()
    if not names and not folder.is_file():
        return
    export = _export_folder(recipe)
    foreign = sorted(names - _OURS - ({export.name} if export else set()))
    if foreign or facts(folder) is None:
        what = f"holds {', '.join(foreign[:5])}, which no run writes" if foreign else "is not empty and is no run of nlphub"
        raise InputError(f"{folder} {what}, so it is left alone; choose another run.folder=...")
    if not overwrite:
        raise InputError(f"{folder} holds a run already; add --overwrite, --resume, or run.folder=another/folder")
    sources = [*recipe.data.sources.values(), *filter(None, [recipe.module.directory])]
    if isinstance(recipe, Recipe):
        sources += filter(None, [recipe.data.corrections, recipe.calibration.out_of_scope])
        sources += filter(None, [recipe.distill.teacher, recipe.distill.unlabelled] if recipe.distill else [])
    if inside := [source for source in sources if Path(source).absolute().is_relative_to(folder.absolute())]:
        raise InputError(f"--overwrite would delete {inside[0]}, which this run needs; choose another run.folder=...")


def _check_same(folder: Path, recipe: AnyRecipe) -> None:
    """Only a run with the same values goes on; the others are named."""
    if facts(folder) is None:
        raise InputError(f"{folder} holds no run to resume; leave --resume out to start one")
    if not (folder / RECIPE).is_file():
        return  # killed between the two first files: it begins again
    before, now = (_decisive(each) for each in (load_any_recipe(folder / RECIPE), recipe))
    changes = [f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in sorted(before | now) if before.get(key) != now.get(key)]
    if changes:
        raise InputError(f"{folder} was started with other settings; resume it with the same, or start anew with --overwrite:", changes)


def _decisive(recipe: AnyRecipe) -> dict[str, Any]:
    """``section.key`` -> value of everything that decides the weights."""
    values = recipe.model_dump(mode="json")
    flat: dict[str, Any] = {"task": values["task"]}
    for section in _DECISIVE:
        if isinstance(values.get(section), dict):
            flat |= {f"{section}.{key}": value for key, value in values[section].items()}
    del flat["module.version"]  # pinned in the run's recipe; the fingerprint of the initial weights tells whether it is another one
    return flat


def _export_folder(recipe: AnyRecipe) -> Path | None:
    """Where the artefact goes, if the recipe asks for one."""
    wanted = recipe.export.folder if isinstance(recipe, Recipe) else None
    return Path(wanted).expanduser() if wanted else None


def facts(folder: Path) -> dict[str, Any] | None:
    """What lock.json says, ``None`` where there is none of ours."""
    try:
        found = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "recipe_sha256" in found else None


def export_options(folder: Path) -> dict[str, Any]:
    """What a run knows about its export, as ``Module.export`` takes it: its recipe's digest, whether it learnt from pairs, and which
    smaller graphs its recipe asks for. Nothing of what is no run."""
    if facts(folder) is None or not (folder / RECIPE).is_file():
        return {}
    recipe = load_any_recipe(folder / RECIPE)
    return options_of(recipe) if isinstance(recipe, Recipe) else {}


def options_of(recipe: Recipe) -> dict[str, Any]:
    """:func:`export_options` of a run that was made from ``recipe``."""
    smaller = {"int8": recipe.export.int8, "int8_bound": recipe.export.int8_bound, "fp16": recipe.export.fp16}
    return {"recipe": recipe.digest(), "pairs": True if recipe.data.pair is not None else None, **smaller}


def dev_examples(folder: Path) -> Examples | None:
    """The development data of a run, read again; ``None`` of what is no run, or has none.

    Raises:
        InputError: the data are not those of the training any more, or cannot be read.
    """
    known = facts(folder)
    if known is None or not (folder / RECIPE).is_file():
        return None
    recipe = load_any_recipe(folder / RECIPE)
    digest = known.get("data_sha256", {}).get("dev")
    if not isinstance(recipe, Recipe) or digest is None:
        return None
    dev = load_splits(recipe.data, seed=recipe.train.seed, nested=recipe.nested).get("dev")
    if dev is None or dev.digest() != digest:
        raise InputError(f"The dev set of {folder} is not what it was at its training; name labelled data with --data FILE")
    return dev
