"""Cutting examples into folds for cross-validation: stratified, seeded, with nearly equal texts in the same fold.

A text that is nearly equal to one of the training part is no test: its label, wrong or right, has been learned by heart.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nlphub.data.doctor.collection import Collection
from nlphub.data.doctor.same import near_groups
from nlphub.data.examples import Examples
from nlphub.data.splitting import content_rank
from nlphub.errors import InputError

log = logging.getLogger(__name__)

Groups = list[list[int]]


def fold_numbers(examples: Examples, *, folds: int, seed: int) -> list[int]:
    """The fold of each example, 0 to ``folds - 1``.

    Groups of equal and nearly equal texts (as in :func:`nlphub.data.doctor.same.near_groups`; both texts of a pair count) stay together,
    unless more than half of a label's examples would be in one fold then, and its training would see too few of them. The largest groups
    are dealt first, the others in the order of a hash of seed and content; each goes to the fold that has the fewest examples of its
    labels, and of these to the one with the fewest examples. Without groups the folds' numbers of examples of a label differ by one at
    most.

    Args:
        folds: 2 or more, and no more than there are examples.

    Raises:
        InputError: ``folds`` is out of these bounds.
        DataError: labels are missing.
    """
    if not 2 <= folds <= len(examples):
        raise InputError(
            f"folds={folds} is not possible with {len(examples)} examples: give 2 or more, and no more than there are examples"
        )
    labels = examples.labels
    groups = _without_captives(text_groups(examples), labels)
    ranks = [content_rank(example, seed) for example in examples]
    groups.sort(key=lambda group: (-len(group), min((ranks[number], number) for number in group)))
    numbers = [0] * len(examples)
    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    for group in groups:
        own = Counter(labels[number] for number in group)
        fold = min(range(folds), key=lambda place: (sum(held[place][name] * own[name] for name in own), held[place].total(), place))
        held[fold] += own
        for number in group:
            numbers[number] = fold
    return numbers


def text_groups(examples: Examples) -> Groups:
    """All examples in groups of equal and nearly equal texts; most are alone."""
    whole = [replace(example, text=f"{example.text}\n{example.pair}") if example.pair else example for example in examples]
    collection = Collection.of({"all": Examples(whole)})
    forms = collection.by_form()
    firsts = [numbers[0] for numbers in forms.values()]
    near = {number: group[0] for group in near_groups(collection, firsts) for number in group}
    groups: dict[int, list[int]] = {}
    for number, form in enumerate(collection.forms):
        first = forms[form][0] if form else number
        groups.setdefault(near.get(first, first), []).append(number)
    return list(groups.values())


def _without_captives(groups: Groups, labels: Sequence[str]) -> Groups:
    """The groups, but those that hold more than half of a label's examples are taken apart."""
    sizes, kept = Counter(labels), []
    for group in groups:
        own = Counter(labels[number] for number in group)
        captives = sorted(name for name in own if 1 < sizes[name] < 2 * own[name])
        if captives:
            log.info("most examples of %s are nearly equal texts: they go to different folds nevertheless", ", ".join(captives))
        kept += [[number] for number in group] if captives else [group]
    return kept
