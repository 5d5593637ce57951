"""Cutting dev and test sets off the training examples: stratified, seeded, independent of the order of the file."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

from nlphub.data.examples import Example, Examples
from nlphub.errors import DataError


def split_off(examples: Examples, shares: Mapping[str, float], *, seed: int) -> dict[str, Examples]:
    """``train`` and one part for each share; every example is in exactly one of them, and each part keeps the order of the file.

    Of a label's ``n`` examples a part gets ``n * share``, rounded to the nearest number (halves up) but at least one, in the order in
    which the parts are named and as long as ``train`` keeps one: a label with a single example stays in ``train``. Which ones go is
    decided by a hash of seed and content: the same examples in another order are split the same way. A text with several labels counts
    for the rarest of them, and ``train`` keeps an example of every label.

    Args:
        shares: part -> share of the examples, each above 0, together below 1.

    Raises:
        DataError: shares outside these bounds, or a part called ``train``.
    """
    _check(shares)
    groups: dict[str | None, list[int]] = {}
    for number, name in enumerate(_groups(examples)):
        groups.setdefault(name, []).append(number)
    chosen: dict[str, list[int]] = {"train": [], **{name: [] for name in shares}}
    for numbers in groups.values():
        numbers.sort(key=lambda number: (content_rank(examples[number], seed), number))
        for name, size in _sizes(len(numbers), shares).items():
            chosen[name] += numbers[:size]
            del numbers[:size]
        chosen["train"] += numbers
    _give_back(examples, chosen)
    return {name: examples.take(sorted(numbers)) for name, numbers in chosen.items()}


def _groups(examples: Examples) -> list[str | None]:
    """What each example counts for: its label, or the rarest of its labels."""
    counts = Counter(name for example in examples for name in example.labels or ())
    return [min(example.labels, key=lambda name: (counts[name], name)) if example.labels else example.label for example in examples]


def _give_back(examples: Examples, chosen: dict[str, list[int]]) -> None:
    """Of labels that came to stand in other parts only, ``train`` gets the first example."""
    known = {name for number in chosen["train"] for name in examples[number].labels or ()}
    for part, numbers in chosen.items():
        for number in sorted(numbers) if part != "train" else ():
            if not known.issuperset(examples[number].labels or ()):
                known.update(examples[number].labels or ())
                numbers.remove(number)
                chosen["train"].append(number)


def _sizes(n: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many of a label's ``n`` examples each part gets."""
    sizes, left = {}, n - 1  # train keeps one
    for name, share in shares.items():
        sizes[name] = min(left, max(1, int(n * share + 0.5)))
        left -= sizes[name]
    return sizes


def content_rank(example: Example, seed: int) -> bytes:
    """A place in a seeded order of examples that does not depend on where they stand."""
    content = json.dumps([seed, *example.content]) if example.spans is None else json.dumps([seed, *example.content[:3]])
    return hashlib.sha256(content.encode("ascii")).digest()


def _check(shares: Mapping[str, float]) -> None:
    problems = [f"{name}: {share!r} is not a share between 0 and 1" for name, share in shares.items() if not 0 < share < 1]
    if "train" in shares:
        problems.append("'train' is what the other parts leave; name only the others, e.g. split={'dev': 0.1}")
    elif not problems and sum(shares.values()) >= 1:
        problems.append(f"the shares add up to {sum(shares.values()):g} and leave nothing to train on")
    if problems:
        raise DataError(f"split={dict(shares)!r} is not possible.", problems)
