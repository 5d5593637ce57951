"""Cutting dev and test sets off the training examples: stratified, seeded, independent of the order of the file."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nlphub.data.examples import Example, Examples
from nlphub.data.growing import Growing
from nlphub.errors import DataError

Ints = NDArray[np.int64]


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
    counted = _counted(examples)
    chosen: dict[str, list[Ints]] = {"train": [], **{name: [] for name in shares}}
    for numbers in _groups(examples, counted, seed):
        rest = numbers
        for name, size in _sizes(len(numbers), shares).items():
            chosen[name].append(rest[:size])
            rest = rest[size:]
        chosen["train"].append(rest)
    parts = {name: np.sort(np.concatenate(numbers)) for name, numbers in chosen.items()}
    if counted:
        parts = _given_back(examples, parts)
    return {name: examples.take(map(int, numbers)) for name, numbers in parts.items()}


def _groups(examples: Examples, counted: Counter[str], seed: int) -> list[Ints]:
    """Numbers of the examples that count for the same label, in the order of their ranks; one empty group if there are no examples."""
    kinds, ranks, kind_of = Growing(np.int32), Growing("S32"), dict[str | None, int]()
    for example in examples:  # one walk: a list that lies in a file is not looked up here and there
        kinds.add(np.array([kind_of.setdefault(_group(example, counted), len(kind_of))]))
        ranks.add(np.array([content_rank(example, seed)], "S32"))
    by_rank, kind = np.argsort(ranks.array(), kind="stable"), kinds.array()
    by_kind = by_rank[np.argsort(kind[by_rank], kind="stable")]
    return np.split(by_kind, np.cumsum(np.bincount(kind, minlength=1))[:-1])


def _counted(examples: Examples) -> Counter[str]:
    """How many examples have each label of sets of labels; nothing where there are no sets."""
    return Counter(name for example in examples for name in example.labels or ())


def _group(example: Example, counts: Counter[str]) -> str | None:
    """What an example counts for: its label, or the rarest of its labels."""
    return min(example.labels, key=lambda name: (counts[name], name)) if example.labels else example.label


def _given_back(examples: Examples, parts: dict[str, Ints]) -> dict[str, Ints]:
    """The parts where ``train`` has got the first example of each label that had come to stand in other parts only."""
    known = {name for number in parts["train"].tolist() for name in examples[number].labels or ()}
    given = list[int]()
    for name in [name for name in parts if name != "train"]:
        back = [number for number in parts[name].tolist() if _adds(known, examples[number].labels or ())]
        parts[name], given = np.setdiff1d(parts[name], back), given + back
    return {**parts, "train": np.sort(np.append(parts["train"], np.array(given, np.int64)))}


def _adds(known: set[str], labels: tuple[str, ...]) -> bool:
    """Whether there are labels that were not known; they are from now on."""
    new = not known.issuperset(labels)
    known.update(labels)
    return new


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
