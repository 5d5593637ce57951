"""All checks over all splits."""

from collections.abc import Collection as Names
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nlphub.data.doctor.classes import few_examples, imbalance, odd_labels, unseen_labels
from nlphub.data.doctor.collection import Collection
from nlphub.data.doctor.findings import CHECKS, Finding
from nlphub.data.doctor.rows import empty_texts, garbled_texts, long_texts, missing_labels, personal_data, unreadable_rows
from nlphub.data.doctor.same import near_texts, same_texts
from nlphub.data.examples import Examples
from nlphub.data.sheet import Complaints
from nlphub.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is worth mentioning.

    Attributes:
        at_least: examples of a label in the first split.
        imbalance: how many times the examples of the smallest label the largest may have.
        max_length: tokens of a text, [CLS] and [SEP] included; 512 is what ``zh_char`` allows.
    """

    at_least: int = 8
    imbalance: float = 20.0
    max_length: int = 512

    def __post_init__(self) -> None:
        """Raises InputError for limits that make no sense; all at once."""
        problems = [f"at_least is {self.at_least}; it is 0 or more"] * (self.at_least < 0)
        problems += [f"imbalance is {self.imbalance:g}; it is 1 or more"] * (not self.imbalance >= 1)
        problems += [f"max_length is {self.max_length}; it is 3 or more"] * (self.max_length < 3)
        if problems:
            raise InputError("These limits make no sense.", problems)


def examine(
    splits: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    complaints: Mapping[str, Complaints] | None = None,
    only: Names[str] = (),
) -> list[Finding]:
    """Look for everything that is wrong with labelled texts.

        examine({"train": data["train"], "dev": data["dev"]})

    Args:
        splits: name -> :class:`Examples` or what ``Examples.of`` takes. The first one is what a module will learn from; texts of the
            others that are also in it are leakage.
        limits: from where on something is mentioned.
        complaints: rows of the splits' files that could not be read.
        only: the checks wanted; default: all of :data:`nlphub.data.doctor.findings.CHECKS`.

    Returns:
        The findings, in the order of ``CHECKS``; none is good news.

    Raises:
        InputError: there is no split, or no check of such a name.
        DataError: a split is no list of examples.
    """
    if not splits:
        raise InputError("examine got no split; give it a mapping, e.g. {'train': examples}")
    if wrong := [f"there is no check {name!r}.{did_you_mean(name, CHECKS)}" for name in only if name not in CHECKS]:
        raise InputError(f"The checks are {', '.join(CHECKS)}.", wrong)
    limits, parts = limits or Limits(), {name: Examples.of(part) for name, part in splits.items()}
    train, collection = next(iter(parts.values())), Collection.of(parts)
    findings = [
        *unreadable_rows(complaints or {}),
        *empty_texts(collection),
        *missing_labels(collection),
        *garbled_texts(collection),
        *long_texts(collection, limits.max_length),
        *personal_data(collection),
        *same_texts(collection),
        *near_texts(collection),
        *odd_labels(parts),
        *unseen_labels(parts),
        *few_examples(train, limits.at_least),
        *imbalance(train, limits.imbalance),
    ]
    order = list(CHECKS)
    return sorted((finding for finding in findings if not only or finding.check in only), key=lambda finding: order.index(finding.check))
