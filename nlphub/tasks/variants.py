"""Tasks that have more than one kind of head, and the names of these: the first is the usual one. Imports nothing heavy."""

from nlphub.errors import InputError, did_you_mean

VARIANTS = {"text-matching": ("cross-encoder", "bi-encoder"), "token-cls": ("linear", "crf", "pointer"), "joint": ("linear", "crf")}


def check_variant(task: str, variant: str | None) -> None:
    """Check that a task has a variant.

    Raises:
        InputError: it has not.
    """
    names = VARIANTS.get(task, ())
    if variant is None or variant in names:
        return
    if not names:
        raise InputError(f"variant={variant!r}: task {task!r} has no variants; leave it out ({', '.join(VARIANTS)} has some)")
    raise InputError(f"variant={variant!r} is none of task {task!r}, which has {', '.join(names)}.{did_you_mean(variant, names)}")
