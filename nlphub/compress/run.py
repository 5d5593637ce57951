"""``nlphub shrink``: from a run, a saved module or a pretrained name to a folder with a smaller module, whole or not at all.

::

    OUT/
      model.safetensors config.json vocab.txt ...   an ordinary module; config.json says under `smaller` what was cut, from which weights
      README.md                                     the same for people
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlphub.checkpoints import native, upstream
from nlphub.compress.card import card_text
from nlphub.compress.shrink import Shape, Smaller, Words, shrink
from nlphub.data.examples import Examples, Splits
from nlphub.data.read import load_data, load_splits
from nlphub.errors import InputError
from nlphub.files import publish_folder, publish_text, recover_folder
from nlphub.hub.registry import find_module
from nlphub.labels import ONE_LABEL, score_name
from nlphub.module import Module
from nlphub.recipe import Recipe, load_any_recipe
from nlphub.recipe.distillation import DistillSettings
from nlphub.training.calibrated_run import calibrate_run, load_outside
from nlphub.training.distillation.teaching import Teaching
from nlphub.training.run_folder import RECIPE, alone, facts
from nlphub.training.trainer import Report, Trainer


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``nlphub shrink`` is asked for.

    Attributes:
        shape: of the encoder.
        vocabulary: files of texts that decide which entries stay; empty = all.
        held_out: a file of texts on which to count what the vocabulary loses.
        text: the column of texts in these files.
        common: so many of the most frequent characters stay in any case.
        basics: whether digits, Latin letters and punctuation do.
        epochs: of recovery; 0 = none, ``None`` = those of the run's recipe. Where only the vocabulary is cut there is nothing to recover.
        distill: share of the source's own answers in what recovery learns; 0 = the labels alone.
    """

    shape: Shape = field(default_factory=Shape)
    vocabulary: tuple[str, ...] = ()
    held_out: str | None = None
    text: str = "text"
    common: int = 0
    basics: bool = True
    epochs: int | None = None
    distill: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """What :func:`shrink_folder` made.

    Attributes:
        folder: with the module.
        smaller: what was cut.
        sizes: parameters before and after.
        recovery: of the training after it; ``None`` without one.
        scores: on the run's test set, or dev set without one, before, after the cut, and after recovery; empty without labelled data.
        judged_on: which of the two.
    """

    folder: Path
    smaller: Smaller
    sizes: tuple[int, int]
    recovery: Report | None
    scores: dict[str, float]
    judged_on: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "folder": str(self.folder),
            "parameters": list(self.sizes),
            "smaller": self.smaller.as_dict(),
            "recovery_steps": self.recovery.steps if self.recovery else 0,
            "judged_on": self.judged_on,
            "scores": self.scores,
        }


def shrink_folder(source: str | Path, out: str | Path, plan: Plan, *, overwrite: bool = False, progress: bool = True) -> Shrunk:
    """Make a smaller module of what ``source`` names, and publish it as ``out``. Killed at any moment, ``out`` is what it was, or done.

    Args:
        source: the folder of a run (whose recipe says which data to measure and recover on) or of a saved module, or a name of the
            registry, whose masked-language head measures and comes along.
        overwrite: replace a module that lies in ``out``.

    Raises:
        InputError: it is not possible, or ``out`` holds something; all reasons at once.
    """
    place = Path(out).expanduser().absolute()
    with alone(place):
        recover_folder(place)
        _check_place(place, Path(source).expanduser().absolute(), overwrite=overwrite)
        module, recipe = _opened(source)
        splits = load_splits(recipe.data, seed=recipe.train.seed, nested=recipe.nested) if recipe is not None else None
        _check_recovery(module, recipe, plan)
        smaller = shrink(module, plan.shape, words=_words(plan, splits), examples=_measured_on(module, plan, splits))
        recovery, scores, judged_on = _recover(module, smaller.module, recipe, splits, plan, progress=progress)
        sizes = (_parameters(module), _parameters(smaller.module))
        done = Shrunk(Path(out), smaller, sizes, recovery, scores, judged_on)
        _publish(place, done, source)
    return done


def _check_place(place: Path, source: Path, *, overwrite: bool) -> None:
    native.require_own(place)
    if place == source or source.is_relative_to(place):
        raise InputError(f"--out {place} is where the source lies: name another folder")
    if place.is_dir() and any(place.iterdir()) and not overwrite:
        raise InputError(f"{place} holds a module already; add --overwrite to replace it, or name another folder")


def _opened(source: str | Path) -> tuple[Module, Recipe | None]:
    """The module, and the recipe of a run that fine-tuned it."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        card = find_module(str(source))
        shipped = native.load_config(upstream.install(card)).get("heads", [])
        return Module(card.name, version=card.version, task="mlm" if "mlm" in shipped else None), None
    recipe = load_any_recipe(folder / RECIPE) if facts(folder) is not None and (folder / RECIPE).is_file() else None
    module = Module(directory=folder, import_code=False)
    if module.head is None and "mlm" in module.config.get("heads", []):
        module = Module(directory=folder, task="mlm", import_code=False)
    return module, recipe if isinstance(recipe, Recipe) else None


def _words(plan: Plan, splits: Splits | None) -> Words | None:
    """The texts of the files, and of the run's training set, which recovery reads."""
    if not plan.vocabulary:
        return None
    texts = [text for file in plan.vocabulary for text in read_texts(file, plan.text)]
    texts += _all_texts(splits["train"]) if splits is not None else []
    held_out = tuple(read_texts(plan.held_out, plan.text)) if plan.held_out else ()
    return Words(tuple(dict.fromkeys(texts)), common=plan.common, basics=plan.basics, held_out=held_out)


def read_texts(file: str | Path, column: str) -> list[str]:
    """The texts of a table (see :func:`nlphub.load_data`), or of a ``.txt`` file with one a line.

    Raises:
        DataError: it cannot be read.
    """
    if Path(file).suffix == ".txt":
        from nlphub.data.encodings import decode

        return [line for line in decode(Path(file).expanduser().read_bytes(), name=str(file)).splitlines() if line.strip()]
    return load_data(str(file), text=column, label=None)["train"].texts


def _all_texts(examples: Examples) -> list[str]:
    return [*examples.texts, *(examples.pairs or ())]


def _measured_on(module: Module, plan: Plan, splits: Splits | None) -> Examples | None:
    """What importance is measured on: the run's training set; of a pretrained module the texts of the vocabulary."""
    if plan.shape == Shape():
        return None
    if splits is not None:
        return splits["train"]
    if module.head is not None and module.head.answers_words and plan.vocabulary:
        texts = [text for file in plan.vocabulary for text in read_texts(file, plan.text)]
        return Examples.of([{"text": text} for text in texts])
    return None


def _check_recovery(module: Module, recipe: Recipe | None, plan: Plan) -> None:
    problems = []
    if recipe is None and (plan.epochs or plan.distill):
        problems.append("recovery learns from the data of a run, and this is none: fine-tune the result, or name the run's folder")
    if plan.distill and plan.epochs == 0:
        problems.append("distill is of recovery, and epochs=0 leaves it out")
    if plan.epochs is not None and plan.epochs < 0:
        problems.append(f"epochs={plan.epochs} must be at least 0")
    if not 0 <= plan.distill <= 1:
        problems.append(f"distill={plan.distill:g} is a share from 0 to 1")
    if plan.held_out and not plan.vocabulary:
        problems.append("held-out texts judge a smaller vocabulary, and none is asked for")
    if problems:
        raise InputError("This cannot be done:", [*problems, *plan.shape.problems(module.encoder.config)])


def _recover(
    module: Module, small: Module, recipe: Recipe | None, splits: Splits | None, plan: Plan, *, progress: bool
) -> tuple[Report | None, dict[str, float], str | None]:
    if recipe is None or splits is None:
        return None, {}, None
    judged_on = next((name for name in ("test", "dev") if name in splits), None)
    scores = {name: _score(each, recipe, splits, judged_on) for name, each in (("source", module), ("cut", small))} if judged_on else {}
    if plan.shape == Shape() or plan.epochs == 0:
        return None, scores, judged_on
    settings = recipe.train if plan.epochs is None else recipe.train.model_copy(update={"epochs": plan.epochs})
    wanted = DistillSettings(teacher="-", logits=plan.distill)
    teaching = Teaching(module, wanted, labelled=len(splits["train"])) if plan.distill else None
    report = Trainer(small, settings=settings, progress=progress, teaching=teaching).train(splits["train"], eval_dataset=splits.get("dev"))
    if small.task in (*ONE_LABEL, "multi-label"):
        calibrate_run(small, recipe, splits, load_outside(recipe))
    if judged_on:
        scores["recovered"] = _score(small, recipe, splits, judged_on)
    return report, scores, judged_on


def _score(module: Module, recipe: Recipe, splits: Splits, judged_on: str) -> float:
    metrics = Trainer(module, progress=False).evaluate(splits[judged_on])
    return float(metrics.score(score_name(recipe.train.metric, recipe.task)))


def _publish(place: Path, done: Shrunk, source: str | Path) -> None:
    """The folder of a module; one whose head fills masks is a pretrained one again."""
    module = done.smaller.module
    with publish_folder(place) as folder:
        if module.head is not None and module.head.answers_words:
            config = {key: value for key, value in module.config.items() if key != "labels"}
            native.save_checkpoint(
                folder, encoder=module.encoder, head=None, tokenizer=module.tokenizer, config=config, pretrained=[module.head]
            )
        else:
            module.write(folder)
        publish_text(folder / "README.md", card_text(done.as_dict(), source=str(source), architecture=module.config["architecture"]))


def _parameters(module: Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def names_of(folders: Sequence[Path]) -> list[str]:
    """Short different names for folders: their last parts, or as many as are needed."""
    for depth in range(1, max((len(folder.parts) for folder in folders), default=1) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
