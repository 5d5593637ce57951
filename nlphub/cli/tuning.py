"""``nlphub tune``, ``nlphub repeat`` and ``nlphub find-rate``: which settings, how much luck, which learning rate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from nlphub.cli.output import note, print_json

if TYPE_CHECKING:
    from nlphub.training.repeats import Repeat
    from nlphub.training.tuning import Trial

Source = Annotated[str, typer.Argument(help="Name of a shipped recipe (nlphub recipe list) or a path.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.epochs=3 data.train=my.csv")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew instead of going on with what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(tune)
    app.command()(repeat)
    app.command("find-rate")(find_rate)


def tune(
    recipe: Source,
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, help="How many sets of values to try, earlier ones included.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="Begin no further trial after this time.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Search learning rate, batch size, epochs, ... by the dev score; the recipe's section `tune` says where. Goes on when called again.

    Example: nlphub tune intent --trials 20 --minutes 60 && nlphub finetune runs/intent-tune/best.yaml
    """
    from nlphub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    from nlphub.training import tuning  # torch is imported here, only for a recipe that is right

    with _going_on(str(tuning.tuning_folder(loaded))):
        found = tuning.tune(loaded, trials=trials, minutes=minutes, overwrite=overwrite, told=_tell_trial)
    if as_json:
        print_json({**found.as_dict(), "recipe": str(found.recipe)})
        return
    print(f"{found.table()}\n")
    print(f"best recipe  {found.recipe}")
    print(f"next         nlphub finetune {found.recipe}")


def repeat(
    recipe: Source,
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(help="How many runs, with the seeds from train.seed upwards.")] = 5,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune with several seeds: mean scores with 95 % intervals. Goes on when called again.

    Example: nlphub repeat intent --seeds 5
    """
    from nlphub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    from nlphub.training import repeats

    with _going_on(str(repeats.repeats_folder(loaded))):
        found = repeats.repeat(loaded, seeds=seeds, overwrite=overwrite, told=_tell_repeat)
    if as_json:
        print_json({**found.as_dict(), "folder": str(found.folder)})
        return
    print(f"Scores on the {found.judged_on} set\n\n{found.table()}\n")
    print(f"runs  {found.folder}")


def find_rate(
    recipe: Source,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps, at least 10.")] = 100,
    low: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last one.")] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Suggest a learning rate from a short training at rising rates. Writes nothing.

    Example: nlphub find-rate intent
    """
    from nlphub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    from nlphub.training.rates import find_learning_rate

    curve = find_learning_rate(loaded, low=low, high=high, steps=steps)
    if as_json:
        print_json(curve.as_dict())
        return
    print(f"{curve.table()}\n")
    print(f"train.learning_rate={curve.suggestion:g}  (a third of the rate of the lowest loss)")


def _tell_trial(trial: "Trial") -> None:
    score = "no score" if trial.score is None else f"dev {trial.score:.4f}"
    values = ", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in trial.values.items())
    note(f"trial {trial.number}: {score}, {trial.state}: {values or 'the values of the recipe'}")


def _tell_repeat(run: "Repeat") -> None:
    note(f"seed {run.seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in run.scores.items()))


@contextmanager
def _going_on(folder: str) -> Iterator[None]:
    """Say how to go on when the user stops the command."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"interrupted; the same command goes on with what is kept in {folder}")
        raise typer.Exit(130) from None
