"""The contract of every recipe in recipes/: short, explained, valid, portable, and its data are there."""

from pathlib import Path

import pytest

from nlphub import paths
from nlphub.data.read import load_splits
from nlphub.recipe import PretrainRecipe, Recipe, load_any_recipe, load_pretrain_recipe, load_recipe
from nlphub.tasks import trainable

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
PRETRAINING = [path for path in RECIPES if load_any_recipe(path).task == "mlm"]
FINE_TUNING = [path for path in RECIPES if path not in PRETRAINING]

every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
every_fine_tuning = pytest.mark.parametrize("path", FINE_TUNING, ids=lambda path: path.stem)
every_pretraining = pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.stem)


def command(path: Path) -> str:
    return f"nlphub {'pretrain' if path in PRETRAINING else 'finetune'} {path.stem}"


def test_there_are_recipes_and_nothing_else_beside_their_data() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*(path.name for path in RECIPES), "data"}
    assert "intent" in [path.stem for path in RECIPES]


@every_recipe
def test_it_is_short_and_begins_with_what_it_does_and_its_command(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    head = [line for line in lines if line.startswith("#")]
    assert lines[: len(head)] == head, "comments come first"
    assert len(head[0].strip("# ")) > 20
    assert f"#     {command(path)}" in head


@every_recipe
def test_it_is_valid_by_name_and_by_path(path: Path) -> None:
    assert load_any_recipe(path).train == load_any_recipe(path.stem).train


@every_recipe
def test_commands_in_its_head_use_keys_that_exist(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.removeprefix("#").strip()
        if words.startswith(command(path)):
            load_any_recipe(path, words.split()[3:])


@every_fine_tuning
def test_it_reads_bundled_data_only_and_they_can_be_trained_on(path: Path) -> None:
    recipe = load_recipe(path)
    for source in recipe.data.sources.values():
        assert source.startswith("bundle:")
        assert paths.resolve(source, base=Path("/nowhere")).is_file()
    splits = load_splits(recipe.data, seed=recipe.train.seed, nested=recipe.nested)
    trainable(recipe.task, recipe.module.variant).check(splits["train"], splits.get("dev"), test=splits.get("test"))
    assert "dev" in splits, "the best weights are chosen by it"


@every_fine_tuning
def test_it_ends_with_an_export_and_predictions(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.run.folder == f"runs/{path.stem}"
    assert recipe.export.folder == f"dist/{path.stem}"
    assert len(recipe.examples) >= 3


@every_fine_tuning
def test_its_examples_are_not_in_its_data(path: Path) -> None:
    recipe = load_recipe(path)
    texts = {text for part in load_splits(recipe.data).values() for text in part.texts}
    assert not texts & set(recipe.examples)


@every_pretraining
def test_text_is_the_users_own_and_the_run_has_the_name_of_its_recipe(path: Path) -> None:
    recipe = load_pretrain_recipe(path)
    assert [Path(folder).parts[-2:] for folder in recipe.data.sources.values()] == [("corpus", "train"), ("corpus", "dev")]
    assert recipe.run.folder == f"runs/{path.stem}"


@pytest.mark.parametrize("schema", [Recipe, PretrainRecipe])
def test_every_key_of_the_schema_is_explained(schema: type[Recipe] | type[PretrainRecipe]) -> None:
    for section in (schema, *(field.annotation for field in schema.model_fields.values())):
        fields = getattr(section, "model_fields", None)
        for name in fields or ():
            assert section is schema or f"        {name}: " in (section.__doc__ or ""), f"{section}.{name} has no explanation"
