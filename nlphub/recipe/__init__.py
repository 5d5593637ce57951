"""Recipes: one YAML file of values for one run, checked before anything else happens.

``load_recipe("intent", ["train.epochs=3"])`` reads a file (:mod:`nlphub.recipe.safe_yaml`, which executes nothing and is bounded),
applies the overrides and checks it against the schema (:mod:`nlphub.recipe.schema`); all mistakes are reported at once, with their lines.
"""

from nlphub.recipe.distillation import DistillSettings
from nlphub.recipe.load import AnyRecipe, load_any_recipe, load_pretrain_recipe, load_recipe, recipe_names, recipe_path
from nlphub.recipe.pretraining import CorpusSettings, PretrainRecipe, PretrainSettings
from nlphub.recipe.schema import DataSettings, ExportSettings, ModuleSettings, Recipe, RunSettings
from nlphub.recipe.training import TrainSettings

__all__ = [
    "AnyRecipe",
    "CorpusSettings",
    "DataSettings",
    "DistillSettings",
    "ExportSettings",
    "ModuleSettings",
    "PretrainRecipe",
    "PretrainSettings",
    "Recipe",
    "RunSettings",
    "TrainSettings",
    "load_any_recipe",
    "load_pretrain_recipe",
    "load_recipe",
    "recipe_names",
    "recipe_path",
]
