"""Names of labels and tasks in the forms in which callers give them, PaddleHub's among them, and what has to hold for them."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

from nlphub.errors import InputError

SCORES = {  # what "better" can mean on dev, the default first
    "seq-cls": ("macro_f1", "accuracy"),
    "text-matching": ("macro_f1", "accuracy", "auc"),
    "token-cls": ("span_f1",),
    "multi-label": ("micro_f1", "macro_f1", "subset_accuracy"),
    "regression": ("spearman", "pearson"),
    "joint": ("frame_accuracy", "intent_accuracy", "slot_f1"),
}
ONE_LABEL = ("seq-cls", "text-matching")  # tasks with one label for each text or pair
CLASSLESS = {  # tasks whose targets are no classes, and what they are
    "multi-label": "in multi-label a text has any number of its labels",
    "regression": "in regression a text has a number",
    "joint": "in joint a text has an intent and each token a tag",
}
WHOLE_TEXTS = ("crf", "pointer")  # variants of token-cls whose losses are of whole texts
VALUE = ("value",)  # what a module of regression calls its one output
FIXED_LABELS = {"regression": VALUE}  # tasks that need no labels
INTENT, SLOT = "intent:", "slot:"  # how the two kinds of labels of joint begin in a module's one list of labels
PROTOTYPE_EXAMPLES = 4096  # the most that train.method=prototype learns from: its closed form is of their size squared
_OLD_TASKS = {  # PaddleHub's deprecated names, and those that say the same in its manner
    "sequence_classification": "seq-cls",
    "seq_cls": "seq-cls",
    "text_classification": "seq-cls",
    "token_classification": "token-cls",
    "token_cls": "token-cls",
    "sequence_labeling": "token-cls",
    "text_matching": "text-matching",
    "multi_label": "multi-label",
    "multilabel_classification": "multi-label",
    "fill_mask": "mlm",
    "intent_slot": "joint",
    "intent_and_slot": "joint",
    "slot_filling": "joint",
    "joint_intent_slot": "joint",
}


def label_names(
    labels: Sequence[str] | Mapping[str, Sequence[str]] | None, *, num_classes: int | None, label_map: Mapping[int, str] | None
) -> Sequence[str] | None:
    """The names that a caller gives in one of PaddleHub's three forms, or as the two lists of joint, or ``None``.

    Raises:
        InputError: two forms contradict each other, ``label_map`` does not number its labels 0, 1, 2, ..., or two lists have other names.
    """
    if isinstance(labels, Mapping):
        if labels.keys() != {"intents", "slots"}:
            raise InputError(f"labels has {', '.join(map(repr, labels)) or 'nothing'}; joint takes {{'intents': [...], 'slots': [...]}}")
        labels = joint_labels(labels["intents"], labels["slots"])
    if labels is not None and label_map is not None:
        raise InputError("Give labels or label_map, not both")
    if label_map is not None:
        if sorted(label_map) != list(range(len(label_map))):
            raise InputError(f"label_map must number its labels 0 to {len(label_map) - 1}, and has {sorted(label_map)}")
        labels = [label_map[number] for number in range(len(label_map))]
    if labels is None:
        return None if num_classes is None else [str(number) for number in range(num_classes)]
    if num_classes is not None and num_classes != len(labels):
        raise InputError(f"num_classes={num_classes} contradicts the {len(labels)} labels that are given")
    return labels


def check_labels(labels: Sequence[str], *, least: int = 2) -> None:
    """Check that a head can be made for these names.

    Raises:
        InputError: fewer than ``least``, repeated, empty, or no strings; all at once.
    """
    if isinstance(labels, str) or len(labels) < least:
        raise InputError(f"a head needs at least {'two labels' if least == 2 else 'one label'}, got {labels!r}")
    repeated = sorted(str(name) for name, count in Counter(labels).items() if count > 1)
    wrong = [repr(name) for name in labels if not isinstance(name, str) or not name.strip()]
    if repeated or wrong:
        raise InputError("labels must be different non-empty strings", [*(f"{name!r} is repeated" for name in repeated), *wrong])


def joint_labels(intents: Sequence[str], slots: Sequence[str]) -> tuple[str, ...]:
    """The one list of labels of a module of joint, intents and types of slots, which are told apart by :data:`INTENT` and :data:`SLOT`."""
    return (*(f"{INTENT}{name}" for name in intents), *(f"{SLOT}{name}" for name in slots))


def joint_parts(labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Intents and types of slots of such a list; see :func:`joint_labels`.

    Raises:
        InputError: it is none, has fewer than two intents or no slot, or repeats a name.
    """
    intents = tuple(name.removeprefix(INTENT) for name in labels if str(name).startswith(INTENT))
    slots = tuple(name.removeprefix(SLOT) for name in labels if str(name).startswith(SLOT))
    if len(intents) + len(slots) < len(labels) or not intents or not slots:
        raise InputError(f"labels={list(labels)}: joint needs both lists, labels={{'intents': ['查订单', '退货'], 'slots': ['日期']}}")
    check_labels(intents)
    check_labels(slots, least=1)
    return intents, slots


def named(labels: Sequence[str], names: Sequence[str]) -> list[str]:
    """PaddleHub's data have numbers where ``label_map`` has names: the names behind ``labels``, if all of them are such numbers."""
    numbers = {str(number): name for number, name in enumerate(names)}
    if set(labels) <= numbers.keys() and not set(labels) & set(names):
        return [numbers[label] for label in labels]
    return list(labels)


def score_name(wanted: str | None, task: str) -> str:
    """The score that decides between weights: the one wanted, or the default of the task.

    Raises:
        InputError: the task has no such score.
    """
    names = SCORES[task]
    if wanted is not None and wanted not in names:
        raise InputError(f"metric {wanted!r} is no score of {task}; it has {', '.join(names)}")
    return wanted or names[0]


def task_name(task: str | None) -> str | None:
    """The task under its present name; a deprecated one is warned about."""
    if task not in _OLD_TASKS:
        return task
    warnings.warn(f"task {task!r} is now called {_OLD_TASKS[task]!r}", DeprecationWarning, stacklevel=3)
    return _OLD_TASKS[task]
