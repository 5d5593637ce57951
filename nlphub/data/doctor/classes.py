"""What is wrong with labels: written in several ways, unseen in training, with few examples or with far too many."""

import unicodedata
from collections import Counter
from collections.abc import Mapping

from nlphub.data.doctor.collection import default_table
from nlphub.data.doctor.findings import Case, Finding, counted, found, listed
from nlphub.data.examples import Examples


def count_labels(examples: Examples) -> Counter[str]:
    """How many examples each label has; an example with several counts for each."""
    return Counter(name for example in examples for name in (example.label, *(example.labels or ())) if name is not None)


def odd_labels(splits: Mapping[str, Examples]) -> list[Finding]:
    """Labels that differ in width, case, script or spaces only; labels with characters that cannot be shown; a single label."""
    counts = sum((count_labels(part) for part in splits.values()), Counter[str]())
    table, forms = default_table(), dict[str, list[str]]()
    for name in counts:
        forms.setdefault(table.normalize(unicodedata.normalize("NFKC", name)), []).append(name)
    cases = [Case(note=f"{_each(names, counts)} look like one label") for names in forms.values() if len(names) > 1]
    cases += [Case(note=f"{name!r} holds characters that cannot be shown") for name in counts if not name.isprintable()]
    cases += [Case(note=f"{name!r} is the only label; a classifier needs two or more") for name in counts if len(counts) == 1]
    advice = "Write each label in one way; `nlphub finetune` refuses most of these."
    return found("labels", cases, ("label", "oddly written"), advice, count=len(cases))


def unseen_labels(splits: Mapping[str, Examples]) -> list[Finding]:
    """Labels of later splits that the first one lacks."""
    (first, train), *others = splits.items()
    known = count_labels(train)
    cases = [
        Case(note=f"{name}: {counted(count, 'example')} in {split}, none in {first}")
        for split, part in others
        for name, count in count_labels(part).items()
        if name not in known
    ]
    advice = f"Give {first} examples of them, or correct how they are written."
    return found("unseen", cases, ("label", f"without any example in {first}"), advice, count=len(cases))


def few_examples(train: Examples, least: int) -> list[Finding]:
    """Labels with fewer examples than ``least``."""
    counts = count_labels(train)
    few = sorted((count, name) for name, count in counts.items() if count < least)
    cases = [Case(note=f"{name}: {counted(count, 'example')}") for count, name in few]
    what = ("label", f"(of {len(counts):,}) with fewer than {least} examples")
    return found("few", cases, what, "Write more, or merge them with a neighbour.", count=len(cases))


def imbalance(train: Examples, most: float) -> list[Finding]:
    """Whether the largest label has more than ``most`` times the examples of the smallest."""
    counts = count_labels(train)
    if len(counts) < 2:
        return []
    (big, many), (small, few) = counts.most_common()[0], min(counts.items(), key=lambda item: (item[1], item[0]))
    cases = [Case(note=f"{big}: {many:,} examples; {small}: {few:,}")] if many > most * few else []
    what = ("label", f"with {many / few:.0f} times the examples of the smallest one")
    return found("imbalance", cases, what, "Judge by macro F1; try train.class_weights=balanced.", count=len(cases))


def _each(names: list[str], counts: Counter[str]) -> str:
    return listed([f"{name!r} ({counts[name]:,})" for name in names])
