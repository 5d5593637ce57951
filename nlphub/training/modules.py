"""The module that a recipe starts from."""

from nlphub.data.examples import Examples
from nlphub.module import Module
from nlphub.recipe import Recipe
from nlphub.tasks import trainable


def new_module(recipe: Recipe, train: Examples) -> Module:
    """A new module for the labels of these examples; what it is made of follows the recipe, seed included. Code of others is not run.

    Raises:
        UnknownNameError, InputError, WeightsError: as :class:`nlphub.Module`.
    """
    return Module(
        recipe.module.name,
        directory=recipe.module.directory,
        version=recipe.module.version,
        task=recipe.task,
        variant=recipe.module.variant,
        labels=trainable(recipe.task).label_names(train),
        max_length=recipe.data.max_length,
        seed=recipe.train.seed,
        import_code=False,
    )


def pinned(recipe: Recipe, module: Module) -> Recipe:
    """The recipe with the version of the module that it came to, so that what is kept of it repeats it later too."""
    if recipe.module.name is None:
        return recipe
    chosen = recipe.module.model_copy(update={"version": module.config["base"]["version"]})
    return recipe.model_copy(update={"module": chosen})
