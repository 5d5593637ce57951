"""Tasks by name: what each knows besides its network. Imports numpy, never torch."""

from collections.abc import Sequence

from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.labels import check_labels
from nlphub.tasks.base import Task, Trainable
from nlphub.tasks.fill_mask import FillMaskTask
from nlphub.tasks.sequence import SequenceTask
from nlphub.tasks.tokens import TokenTask

TRAINABLE: dict[str, Trainable] = {task.name: task for task in (SequenceTask(), TokenTask())}
TASKS: dict[str, Task] = {**TRAINABLE, **{task.name: task for task in (FillMaskTask(),)}}


def task_named(name: str | None) -> Task:
    """What answers for a task.

    Raises:
        InputError: nothing does.
    """
    if name not in TASKS:
        raise InputError(f"Task {name!r} gives no answers to texts yet: this version predicts with {', '.join(TASKS)} only")
    return TASKS[name]


def trainable(name: str | None) -> Trainable:
    """What fine-tunes a task.

    Raises:
        InputError: nothing does.
    """
    if name not in TRAINABLE:
        raise InputError(f"Task {name!r} cannot be fine-tuned on labelled examples; {', '.join(TRAINABLE)} can")
    return TRAINABLE[name]


def task_of(examples: Examples) -> str:
    """The task that these examples are made for: ``token-cls`` where they have spans, else ``seq-cls``."""
    return "token-cls" if any(example.spans is not None for example in examples) else "seq-cls"


def outputs_of(task: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The names of a head's logits; those of a task that is not known here (a head of your own) are the labels.

    Raises:
        InputError: labels that the task cannot have.
    """
    if task in TASKS:
        return TASKS[task].outputs(labels)
    check_labels(labels)
    return tuple(labels)
