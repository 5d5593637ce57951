"""A recipe to begin with: the shipped recipe ``intent`` with another file, another size and other names."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlphub.data.cells import is_blank
from nlphub.data.checks import check_for_training
from nlphub.data.doctor.classes import count_labels
from nlphub.data.doctor.personal import find_personal
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.data.sheet import Sheet
from nlphub.errors import DataError, InputError
from nlphub.labels import PROTOTYPE_EXAMPLES
from nlphub.recipe import Recipe, TrainSettings, load_recipe
from nlphub.recipe.safe_yaml import dump
from nlphub.recipe.schema import CalibrationSettings
from nlphub.recipe.values import Settings

_USUAL = 1500  # rows of the data for which the shipped recipe's epochs were chosen
_LONGEST_EXAMPLE = 30  # characters


def starter_recipe(sheet: Sheet, examples: Examples, *, text: str, label: str, target: Path, encoding: str | None = None) -> str:
    """YAML that ``nlphub finetune`` runs as it is, comments included.

    Args:
        sheet: the file.
        examples: of its columns ``text`` and ``label``.
        target: where the recipe will be; it names the file relative to that where it can.
        encoding: only where it has to be said.

    Raises:
        InputError: there are fewer than two labels.
    """
    if len(examples.label_names) < 2:
        raise InputError(f"{sheet.path} has {len(examples.label_names) or 'no'} label in column {label!r}; a classifier needs two or more")
    values = _values(sheet, examples, text, label, target, encoding)
    Recipe.model_validate(values)
    command = _line(shlex.quote(target.name))
    head = (
        f"# Which of {len(examples.label_names)} labels a text has, learned from {_line(sheet.path.name)}. Written by nlphub init.\n#\n"
        f"#     nlphub finetune {command}\n#\n# Change what you like; every key with its default: nlphub recipe show {command}\n"
    )
    return head + "\n".join(dump({key: value}) for key, value in values.items())


def refusal(recipe: Path) -> str:
    """Why ``nlphub finetune`` would refuse the data of a recipe that was written; nothing when it would not."""
    loaded = load_recipe(recipe)
    try:
        splits = load_splits(loaded.data, seed=loaded.train.seed)
        check_for_training(splits["train"], splits.get("dev"), test=splits.get("test"))
    except DataError as wrong:
        return str(wrong)
    return ""


def settings_for(rows: int) -> dict[str, Any]:
    """How to train on so many rows: as the shipped recipe does, but fine-tuning where they are too many for prototypes.

    Epochs fall with the square root of the size, batches grow.
    """
    base = load_recipe("intent").train
    epochs = min(2 * base.epochs, max(3, round(base.epochs * (_USUAL / max(rows, 1)) ** 0.5)))
    batch = base.batch_size * (1 if rows < 4000 else 2 if rows < 16000 else 4)
    without = ("epochs", "batch_size", "metric", *(("method",) if rows > PROTOTYPE_EXAMPLES else ()))
    return {"epochs": epochs, "batch_size": batch} | _said(base, TrainSettings(), without=without)


def example_texts(examples: Examples, most: int = 3) -> list[str]:
    """A few texts to predict in the end: of the most frequent labels, short enough to read, without personal data."""
    chosen: dict[str, str] = {}
    for example in examples:
        readable = not is_blank(example.text) and example.text.isprintable() and len(example.text) <= _LONGEST_EXAMPLE
        if example.label is not None and readable and example.label not in chosen and not find_personal(example.text):
            chosen[example.label] = example.text
    frequent = [label for label, _ in count_labels(examples).most_common() if label in chosen]
    return [chosen[label] for label in frequent[:most]]


def _values(sheet: Sheet, examples: Examples, text: str, label: str, target: Path, encoding: str | None) -> dict[str, Any]:
    return {
        "module": {"name": "ernie_tiny"},
        "task": "seq-cls",
        "data": {
            "train": _reference(sheet.path, target),
            "text": text,
            "label": label,
            "split": {"dev": 0.1, "test": 0.1} if len(examples) >= 1000 else {"dev": 0.2},
            **({"encoding": encoding} if encoding else {}),
            **({} if sheet.quotes else {"quotes": False}),
        },
        "train": settings_for(len(examples)) | {"seed": 0},
        "calibration": _said(load_recipe("intent").calibration, CalibrationSettings(), without=("out_of_scope",)),
        "run": {"folder": f"runs/{target.stem}"},
        "export": {"folder": f"dist/{target.stem}"},
        "examples": [text.strip() for text in example_texts(examples)],
    }


def _reference(path: Path, target: Path) -> str:
    """The file as the recipe names it: relative where it lies beside the recipe or below."""
    folder = target.absolute().parent
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""
    return name if name and not name.startswith(("~", "bundle:", "hf:")) else str(path)  # those mean something else in a recipe


def _said(settings: Settings, default: Settings, *, without: Sequence[str]) -> dict[str, Any]:
    """What a section of the shipped recipe says beside the defaults."""
    values, defaults = settings.model_dump(mode="json"), default.model_dump(mode="json")
    return {name: value for name, value in values.items() if value != defaults[name] and name not in without}


def _line(text: str) -> str:
    """A text that cannot leave the line of its comment."""
    return "".join(character if character.isprintable() else "?" for character in text)
