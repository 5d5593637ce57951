"""``nlphub recipe list | show | copy | validate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlphub.cli.output import note, print_json, print_table
from nlphub.errors import InputError
from nlphub.files import publish_text

if TYPE_CHECKING:
    from nlphub.recipe import AnyRecipe

Source = Annotated[str, typer.Argument(help="Name of a shipped recipe, the path of a .yaml file, or - for standard input.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.epochs=3 data.train=my.csv")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]

recipes = typer.Typer(name="recipe", no_args_is_help=True, help="Look at recipes, copy one as a start of your own, check one.")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(recipes)


@recipes.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes that ship with nlphub.

    Example: nlphub recipe list
    """
    from nlphub.recipe import load_any_recipe, recipe_names, recipe_path

    rows = [(name, *_facts(load_any_recipe(name)), _summary(recipe_path(name))) for name in recipe_names()]
    header = ("name", "task", "module", "summary")
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print_table(header, rows)


@recipes.command()
def show(recipe: Source, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a recipe as it will run: with all defaults and the overrides.

    Example: nlphub recipe show intent train.epochs=3
    """
    from nlphub.recipe import load_any_recipe

    loaded = load_any_recipe(recipe, overrides or ())
    if as_json:
        print_json({"recipe": loaded.model_dump(mode="json"), "sha256": loaded.digest()})
    else:
        print(loaded.to_yaml(), end="")


@recipes.command()
def copy(
    name: Annotated[str, typer.Argument(help="Name of a shipped recipe (nlphub recipe list).")],
    target: Annotated[Path, typer.Argument(help="A folder that is there, or a file name that ends in .yaml.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a shipped recipe, comments included, as a start of your own.

    Example: nlphub recipe copy intent mine.yaml
    """
    from nlphub.recipe import recipe_path

    source = recipe_path(name)
    path = target / source.name if target.is_dir() else target
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{target} is no folder, and a recipe's file name ends in .yaml")
    if path.exists() and not force:
        raise InputError(f"{path} is there already; give another name, or --force to replace it")
    publish_text(path, source.read_text(encoding="utf-8"))
    note(f"written: {path}")


@recipes.command()
def validate(recipe: Source, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a recipe without running it; all mistakes are printed at once and the exit code is 2.

    Example: nlphub recipe validate mine.yaml train.epochs=3
    """
    from nlphub.recipe import load_any_recipe

    loaded = load_any_recipe(recipe, overrides or ())
    task, module = _facts(loaded)
    if as_json:
        print_json({"valid": True, "task": task, "module": module, "sha256": loaded.digest()})
    else:
        print(f"{recipe} is valid: {task} with {module}")


def _facts(recipe: "AnyRecipe") -> tuple[str, str]:
    return recipe.task, recipe.module.name or str(recipe.module.directory)


def _summary(path: Path) -> str:
    """The first line of a recipe is a comment that says what it does."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
