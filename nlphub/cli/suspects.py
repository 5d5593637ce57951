"""``nlphub suspects``: labels that are probably wrong, as a file to correct."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nlphub
from nlphub.cli.output import note, print_json, print_table
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.data.corrections import Suspect
    from nlphub.evaluation.folds import CrossValidation, Fold
    from nlphub.recipe import Recipe

_WIDTH = 40  # characters of a text that are shown
_CREDIBLE = 0.5  # accuracy of modules whose doubts are worth a person's time


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(suspects)


def suspects(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe (nlphub recipe list) or a path.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.epochs=3 data.train=my.csv")] = None,
    folds: Annotated[int, typer.Option(help="Trainings, each without its share of the examples.")] = 5,
    out: Annotated[Path, typer.Option(help="The csv file for you to edit.")] = Path("suspects.csv"),
    by: Annotated[str, typer.Option(help="Who is a suspect: noise_rate, class, both (fewer), joint.")] = "noise_rate",
    ranked_by: Annotated[str, typer.Option(help="The order: self_confidence or normalised_margin.")] = "self_confidence",
    fill: Annotated[str, typer.Option(help="What stands in the column 'corrected': nothing, suggested, drop.")] = "nothing",
    show: Annotated[int, typer.Option(min=0, help="Suspects that are printed.")] = 10,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train again what is kept, and replace the csv file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the suspects and the scores as JSON.")] = False,
) -> None:
    """Look for wrong labels in a recipe's training data: train on all folds but one, for each fold, and ask about that one.

    Fill in the column 'corrected' (a label; - or drop to leave the row out; nothing to keep it) and train with data.corrections=FILE.
    Finished folds are kept beside the run: the same command goes on after an interruption, and answers at once when all are there.

    Example: nlphub suspects intent --out suspects.csv
    """
    from nlphub.data.corrections import FILLS, suspects_csv
    from nlphub.evaluation.label_errors import RANKINGS, RULES
    from nlphub.files import publish_text
    from nlphub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    _check(out, overwrite, {"--by": (by, RULES), "--ranked-by": (ranked_by, RANKINGS), "--fill": (fill, FILLS)})
    made = _cross_validated(loaded, folds, overwrite=overwrite)
    found = made.suspects(by=by, ranked_by=ranked_by)
    publish_text(out, suspects_csv(found, fill=fill))
    files = _kept(loaded, found)
    if as_json:
        print_json({"out": str(out), "files": files, **made.as_dict(), "suspects": [suspect.as_dict() for suspect in found]})
    else:
        _print(made, found[:show], len(found))
        command = shlex.join(["nlphub", "finetune", recipe, *(overrides or ()), f"data.corrections={out}"])
        print("\n".join((f"\nwritten: {out}", *(f"         {file}" for file in files))))
        print(f"next:    fill in the column 'corrected' of {out}, then: {command}")


def _check(out: Path, overwrite: bool, choices: dict[str, tuple[str, Any]]) -> None:
    """What is wrong is said before an hour of training, and a file that somebody edited is not replaced."""
    problems = [f"{option} {word!r} is none of {', '.join(known)}" for option, (word, known) in choices.items() if word not in known]
    problems += [f"--out {out} has no suffix .csv"] * (out.suffix.lower() != ".csv")
    problems += [f"--out {out} is there already; name another one, or replace it and the folds with --overwrite"] * (
        out.exists() and not overwrite
    )
    if problems:
        raise InputError("These options cannot be.", problems)


def _cross_validated(recipe: "Recipe", folds: int, *, overwrite: bool) -> "CrossValidation":
    def told(fold: "Fold") -> None:
        note(f"fold {fold.number} of {folds}: macro-F1 {fold.scores['macro_f1']:.4f} on {fold.rows:,} examples, {fold.seconds:.0f} s")

    try:
        return nlphub.cross_validate(recipe, folds=folds, overwrite=overwrite, told=told)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on after the last finished fold")
        raise typer.Exit(130) from None


def _kept(recipe: "Recipe", found: "list[Suspect]") -> list[str]:
    from nlphub.training.folds import publish_suspects

    return [str(path) for path in publish_suspects(recipe, found)]


def _print(made: "CrossValidation", shown: "list[Suspect]", count: int) -> None:
    print(f"{made.table()}\n\n{count:,} of {len(made.examples):,} labels are suspected to be wrong")
    if made.means["accuracy"].value < _CREDIBLE:
        note("The folds get most labels wrong: their suspects mean little. Train longer, or on more examples of each label.")
    if shown:
        rows = [(suspect.row or "-", _short(suspect.text), suspect.label, suspect.suggested, f"{suspect.score:.3f}") for suspect in shown]
        print()
        print_table(("row", "text", "label", "suggested", "score"), rows)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line[:_WIDTH] + "…" * (len(line) > _WIDTH)
