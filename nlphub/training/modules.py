"""The module that a recipe starts from."""

from collections.abc import Sequence

from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.module import Module
from nlphub.recipe import Recipe
from nlphub.tasks import trainable


def new_module(recipe: Recipe, train: Examples, *, labels: Sequence[str] | None = None) -> Module:
    """A new module for the labels of these examples; what it is made of follows the recipe, seed included. Code of others is not run.

    Args:
        labels: of the recipe's teacher, which the module has then.

    Raises:
        InputError: the recipe has a teacher, and the caller does not know any.
        UnknownNameError, InputError, WeightsError: as :class:`nlphub.Module`.
    """
    if recipe.distill is not None and labels is None:
        raise InputError("Only `nlphub finetune` and `nlphub repeat` learn from a teacher; for this command leave it out: distill=null")
    return Module(
        recipe.module.name,
        directory=recipe.module.directory,
        version=recipe.module.version,
        task=recipe.task,
        variant=recipe.module.variant,
        labels=labels or trainable(recipe.task).label_names(train),
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
