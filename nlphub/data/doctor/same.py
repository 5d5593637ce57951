"""Texts that occur more than once: conflicting labels, duplicates, leakage between splits; each for equal and for nearly equal texts."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from nlphub.data.corpus.batch import edges_of
from nlphub.data.corpus.minhash import near_partners, signatures
from nlphub.data.doctor.collection import Collection, without_punctuation
from nlphub.data.doctor.findings import Case, Finding, counted, found, listed

SHINGLE = 2  # characters; utterances of ten characters have too few 5-grams to compare

Groups = list[list[int]]


def same_texts(collection: Collection) -> list[Finding]:
    """Conflicts, duplicates and leakage of equal texts."""
    groups = [numbers for numbers in collection.by_form().values() if len(numbers) > 1]
    torn = [numbers for numbers in groups if len(collection.label_names(numbers)) > 1]
    repeated = [numbers for group in groups for numbers in _repetitions(collection, group)]
    return [
        *found(
            "conflicts",
            [Case(collection.rows(numbers), _written(collection, numbers)) for numbers in torn],
            ("text", "with more than one label"),
            "Decide on one label for each text; whatever is learned from them is wrong half of the time.",
            count=len(torn),
        ),
        *found(
            "duplicates",
            [Case(collection.rows(numbers), _written(collection, numbers)) for numbers in repeated],
            ("row", f"more than needed: copies of {counted(len(repeated), 'text')} with the same label"),
            "Keep one of each: a copy that lands in dev or test is no test.",
            count=sum(len(numbers) - 1 for numbers in repeated),
        ),
        *_leakage(collection, groups, "leakage", "also in", "Delete them there: they measure memory, not skill."),
    ]


def near_texts(collection: Collection) -> list[Finding]:
    """Conflicts, duplicates and leakage of texts that differ a little: about a tenth of their characters, or only in punctuation."""
    everywhere = collection.by_form()
    groups = near_groups(collection, [numbers[0] for numbers in everywhere.values()])
    torn = [numbers for numbers in groups if len(collection.label_names(numbers)) > 1]
    alike = [numbers for group in groups for numbers in _repetitions(collection, group)]
    whole = [[other for number in group for other in everywhere[collection.forms[number]]] for group in groups]
    return [
        *found(
            "near-conflicts",
            [Case(collection.rows(numbers)) for numbers in torn],
            ("group", "of nearly equal texts with more than one label"),
            "Read them: is the difference in words the difference in labels?",
            count=len(torn),
        ),
        *found(
            "near-duplicates",
            [Case(collection.rows(numbers)) for numbers in alike],
            ("row", f"nearly equal to one of {counted(len(alike), 'text')} with the same label"),
            "Keep one of each group: split between train and test, they are no test.",
            count=sum(len(numbers) - 1 for numbers in alike),
        ),
        *_leakage(collection, whole, "near-leakage", "nearly in", "Scores on them flatter; replace them by texts of other wording."),
    ]


def near_groups(collection: Collection, numbers: Sequence[int]) -> Groups:
    """Groups of two or more examples of which each is nearly equal to another one of the group; ``numbers`` have different forms.

    Nearly equal: at least 0.8 of the character bigrams of both together, without punctuation, are common to both, as estimated by
    MinHash (:mod:`nlphub.data.corpus.minhash`). Texts of one character have no bigram and are nearly equal to none.
    """
    codes, edges = without_punctuation(collection.batch.codes, collection.batch.edges)
    lengths = np.diff(edges)
    kept = np.zeros(len(lengths), np.bool_)
    kept[list(numbers)] = True
    kept &= lengths >= SHINGLE
    signature = signatures(codes[np.repeat(kept, lengths)], edges_of(lengths[kept]), shingle=SHINGLE)
    members = np.flatnonzero(kept).tolist()
    return [[members[place] for place in group] for group in _joined(near_partners(signature).tolist())]


def _joined(partners: Sequence[int]) -> Groups:
    """Groups from an earlier partner of each, or -1."""
    roots, groups = list(range(len(partners))), dict[int, list[int]]()
    for place, partner in enumerate(partners):
        if partner >= 0:
            roots[place] = roots[partner]
            groups.setdefault(roots[place], [roots[place]]).append(place)
    return sorted(groups.values())


def _repetitions(collection: Collection, numbers: Sequence[int]) -> Iterator[list[int]]:
    """The parts of a group that have the same split and the same label, where there are two or more."""
    parts: dict[tuple[str, str | None], list[int]] = {}
    for number in numbers:
        parts.setdefault((collection.splits[number], collection.examples[number].label), []).append(number)
    return (part for part in parts.values() if len(part) > 1)


def _leakage(collection: Collection, groups: Groups, check: str, where: str, advice: str) -> list[Finding]:
    """Groups that are in several splits; rows of all splits but the first one count, unless another finding has them."""
    if len(set(collection.splits)) < 2:
        return []
    first = collection.splits[0]
    forms = {collection.forms[number] for group in groups for number in group if collection.splits[number] == first}
    cases, leaked = [], Counter[str]()
    for group in groups:
        inside = [number for number in group if collection.splits[number] == first]
        outside = [n for n in group if collection.splits[n] != first and (check == "leakage" or collection.forms[n] not in forms)]
        if inside and outside:
            cases.append(Case(collection.rows([*inside, *outside]), _disagreement(collection, inside, outside)))
            leaked.update(collection.splits[number] for number in outside)
    parts = listed([f"{leaked[name]:,} of {name}" for name in dict.fromkeys(collection.splits) if leaked[name]])
    return found(check, cases, ("row", f"{where} {first}: {parts}"), advice, count=leaked.total())


def _disagreement(collection: Collection, inside: Sequence[int], outside: Sequence[int]) -> str:
    return "" if len(collection.label_names([*inside, *outside])) < 2 else "under another label"


def _written(collection: Collection, numbers: Sequence[int]) -> str:
    """Whether texts of one form are also written alike."""
    alike = len({collection.examples[number].text for number in numbers}) == 1
    return "" if alike else "the same to the tokenizer"
