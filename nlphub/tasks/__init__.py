"""Tasks by name: what each knows besides its network. Imports numpy, never torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.labels import check_labels
from nlphub.tasks.base import Task, Trainable
from nlphub.tasks.fill_mask import FillMaskTask
from nlphub.tasks.joint import JointTask, joint_task
from nlphub.tasks.labelsets import LabelSetTask
from nlphub.tasks.matching import MatchingTask
from nlphub.tasks.sequence import SequenceTask
from nlphub.tasks.tokens import TokenTask, decoder_of
from nlphub.tasks.values import ValueTask

TRAINABLE: dict[str, Trainable] = {
    task.name: task for task in (SequenceTask(), TokenTask(), JointTask(), MatchingTask(), LabelSetTask(), ValueTask())
}
TASKS: dict[str, Task] = {**TRAINABLE, **{task.name: task for task in (FillMaskTask(),)}}


_VARIANTS: dict[tuple[str, str], Task] = {("text-matching", "bi-encoder"): MatchingTask(apart=True)}  # of tasks that read otherwise


def task_named(name: str | None, variant: str | None = None, *, facts: Mapping[str, Any] | None = None, stride: int | None = None) -> Task:
    """What answers for a task, or for a variant of it.

    Args:
        facts: ``Head.decoding``: what the head knows that decoding needs.
        stride: of token-cls and joint, see :func:`nlphub.text.windows.read_windows`.

    Raises:
        InputError: nothing does, or the task has no windows that a ``stride`` could be of.
    """
    if name == "token-cls":
        return TokenTask(decoder_of(variant, facts or {}), stride)
    if name == "joint":
        return joint_task(variant, facts, stride)
    if stride is not None:
        raise InputError(f"stride={stride!r} is of token-cls and joint, which read long texts in windows; task {name!r} does not")
    if (name or "", variant or "") in _VARIANTS:
        return _VARIANTS[name or "", variant or ""]
    if name not in TASKS:
        raise InputError(f"Task {name!r} gives no answers to texts yet: this version predicts with {', '.join(TASKS)} only")
    return TASKS[name]


def trainable(name: str | None, variant: str | None = None) -> Trainable:
    """What fine-tunes a task, or a variant of it.

    Raises:
        InputError: nothing does.
    """
    if name not in TRAINABLE:
        raise InputError(f"Task {name!r} cannot be fine-tuned on labelled examples; {', '.join(TRAINABLE)} can")
    if name == "joint":
        return joint_task(variant)
    return TokenTask(decoder_of(variant, {})) if name == "token-cls" else TRAINABLE[name]


def task_of(examples: Examples) -> str:
    """The task that these examples are made for: ``token-cls`` where they have spans, ``joint`` where these have an intent beside them,
    ``multi-label`` where texts have sets of labels, ``regression`` where they have numbers, else ``seq-cls``."""
    if any(example.spans is not None and example.label is not None for example in examples):
        return "joint"
    kinds = {"spans": "token-cls", "labels": "multi-label", "value": "regression"}
    return next((task for kind, task in kinds.items() if any(getattr(example, kind) is not None for example in examples)), "seq-cls")


def outputs_of(task: str, labels: Sequence[str], variant: str | None = None) -> tuple[str, ...]:
    """The names of a head's logits; those of a task that is not known here (a head of your own) are the labels.

    Raises:
        InputError: labels that the task cannot have.
    """
    if task in TASKS:
        return task_named(task, variant).outputs(labels)
    check_labels(labels)
    return tuple(labels)
