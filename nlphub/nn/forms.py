"""Heads of other forms than the usual one of their task: which there are, by the name that callers give and by what config.json says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlphub.errors import InputError, WeightsError, brief
from nlphub.nn import prototype
from nlphub.nn.chain import CRF, ChainHead
from nlphub.nn.heads import Head
from nlphub.nn.joint import JointChainHead
from nlphub.nn.matching import BI_ENCODER, BiEncoderHead
from nlphub.nn.pointer import POINTER, PointerHead
from nlphub.tasks import outputs_of
from nlphub.tasks.variants import VARIANTS, check_variant

_HEADS: dict[str, type[Head]] = {BI_ENCODER: BiEncoderHead, CRF: ChainHead, POINTER: PointerHead}  # those that only their kind decides


def head_class(heads: Mapping[str, type[Head]], task: str, variant: str | None) -> type[Head]:
    """The head of a variant; ``heads`` has the usual one of each task.

    Raises:
        InputError: the task has no such variant.
    """
    check_variant(task, variant)
    if (task, variant) == ("joint", CRF):
        return JointChainHead
    return heads[task] if variant is None else _HEADS.get(variant, heads[task])


def kind_of(config: Mapping[str, Any]) -> str | None:
    """The kind of head that a config.json has, ``None`` for the usual one of its task."""
    kind: str | None = config.get("head", {}).get("kind")
    return kind


def variant_of(head: Head) -> str | None:
    """Which variant of its task a head is; ``None`` where the task has none."""
    names = VARIANTS.get(head.task)
    return head.form.get("kind", names[0]) if names else None


def check_kind(folder: Path, config: Mapping[str, Any], head: Head | None) -> None:
    """Check that a folder with a head of the same task has the same kind of head.

    Raises:
        WeightsError: it has another.
    """
    if head is not None and config.get("task") == head.task and head.form.get("kind") != kind_of(config):
        raise WeightsError(
            f"{folder} holds a head of the kind {kind_of(config) or 'usual'!r} for {head.task}, and this module was made with "
            f"variant={variant_of(head)!r}. Leave variant out to take over that of the checkpoint."
        )


def reformed(head: Head, config: Mapping[str, Any], labels: Sequence[str]) -> Head | None:
    """A new head of the form that a config.json names for the same task and labels; ``None`` where it names none or ``head`` has it."""
    form = config.get("head", {})
    if not form or form == head.form or (config.get("task"), config.get("labels")) != (head.task, list(labels)):
        return None
    outputs = outputs_of(head.task, labels, form.get("kind"))
    if head.task == "joint":
        return head_class({}, head.task, form["kind"]).build(head.width, outputs, dropout=head.probability)
    return head_of_form(form, width=head.width, labels=len(outputs), dropout=head.probability)


def head_of_form(form: Mapping[str, Any], *, width: int, labels: int, dropout: float) -> Head:
    """A head without trained values, of the form that config.json names.

    Raises:
        InputError: it is no form that this version knows.
    """
    if form.get("kind") not in _HEADS:
        return prototype.prototype_head(form, width=width, labels=labels)
    if problems := form_problems(form):
        raise InputError("This head cannot be made:", problems)
    return _HEADS[form["kind"]](width, labels, dropout=dropout)


def form_problems(form: Any) -> list[str]:
    """What is wrong with a head's form in a config.json."""
    if not isinstance(form, Mapping) or form.get("kind") not in _HEADS:
        return prototype.form_problems(form)
    if form.keys() != {"kind", "version"} or form["version"] != 1:
        return [f"head: expected the kind {form['kind']!r} in version 1 and nothing more, found {brief(dict(form))}"]
    return []
