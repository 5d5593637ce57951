"""The `distill` section of a recipe, carried out: the teacher, its texts, and what the lock of the run says of it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlphub.checkpoints.native import weights_digest
from nlphub.data.examples import Examples
from nlphub.data.read import load_data
from nlphub.errors import InputError
from nlphub.module import Module
from nlphub.recipe import Recipe
from nlphub.training.distillation.teaching import TASKS, Teaching
from nlphub.training.distillation.texts import labelled_by, variants

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class School:
    """What a run with a teacher has besides its module and data.

    Attributes:
        teaching: for the Trainer.
        train: the labelled texts, and behind them those that the teacher labelled.
        lock: facts for lock.json.
    """

    teaching: Teaching
    train: Examples
    lock: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the teacher, which the module gets."""
        return self.teaching.teacher.labels


def open_school(recipe: Recipe, splits: Mapping[str, Examples]) -> School | None:
    """What the recipe's `distill` asks for; ``None`` where it has no such section.

    Raises:
        InputError: the teacher cannot teach this task, or a label of the data is none of its labels.
    """
    if recipe.distill is None:
        return None
    teacher = Module(directory=recipe.distill.teacher, import_code=False)
    train = splits["train"]
    if teacher.task != recipe.task or teacher.task not in TASKS:
        raise InputError(
            f"{recipe.distill.teacher} answers task {teacher.task}, and the recipe is of {recipe.task}; teachers are of {', '.join(TASKS)}"
        )
    if unknown := sorted({name for split in splits.values() for example in split for name in example.names} - {*teacher.labels}):
        raise InputError(
            f"{recipe.distill.teacher} does not know all labels of the data:", [f"{name!r} is none of its labels" for name in unknown]
        )
    more, counts = _further(recipe, splits, teacher)
    taught = Examples([*train, *more], source=train.source, unit=train.unit) if len(more) else train
    lock = {"teacher": {"folder": recipe.distill.teacher, "weights_sha256": weights_digest(teacher.encoder, teacher.head), **counts}}
    return School(Teaching(teacher, recipe.distill, labelled=len(train)), taught, lock)


def _further(recipe: Recipe, splits: Mapping[str, Examples], teacher: Module) -> tuple[Examples, dict[str, int]]:
    """Texts that the teacher labels, and how many of which kind."""
    wanted, train = recipe.distill, splits["train"]
    assert wanted is not None
    found = _unlabelled(recipe, splits) if wanted.unlabelled is not None else Examples([])
    more = [*labelled_by(teacher, found.texts, found.pairs)] if len(found) else []
    made: list[str] = []
    if wanted.copies:
        place = Path(wanted.filler).expanduser()
        filler = Module(
            None if place.is_dir() else wanted.filler, directory=place if place.is_dir() else None, task="mlm", import_code=False
        )
        made = variants(filler, train.texts, copies=wanted.copies, rate=wanted.replaced, seed=recipe.train.seed)
        pairs = [pair for pair in train.pairs for _ in range(wanted.copies)] if train.pairs is not None else None
        more += labelled_by(teacher, made, pairs)
    return Examples(more), {"unlabelled": len(found), "variants": len(made)}


def _unlabelled(recipe: Recipe, splits: Mapping[str, Examples]) -> Examples:
    """The texts of the file, without those that judge."""
    data, wanted = recipe.data, recipe.distill
    assert wanted is not None
    found = load_data(wanted.unlabelled, text=data.text, label=None, pair=data.pair, encoding=data.encoding, quotes=data.quotes)["train"]
    judging = {(example.text, example.pair) for name in ("dev", "test") if name in splits for example in splits[name]}
    kept = [example for example in found if (example.text, example.pair) not in judging]
    if len(kept) < len(found):
        log.warning("%d of %d unlabelled texts are texts of dev or test, and are left out", len(found) - len(kept), len(found))
    return Examples(kept, source=found.source, unit=found.unit)
