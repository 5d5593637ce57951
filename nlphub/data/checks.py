"""What has to hold for examples before a training or a judgement starts; everything that does not is reported at once."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from nlphub.data.answers import Bounds, labels_problems, value_problems
from nlphub.data.cells import is_blank
from nlphub.data.examples import Example, Examples
from nlphub.data.spans import span_problems
from nlphub.errors import DataError, did_you_mean
from nlphub.labels import INTENT, SLOT

Needs = Literal["label", "spans", "labels", "value", "joint", "nothing"]


def check_for_training(
    train: Examples,
    dev: Examples | None = None,
    *,
    test: Examples | None = None,
    labels: Sequence[str] | None = None,
    needs: Needs = "label",
    nested: bool = False,
    pairs: bool = False,
) -> None:
    """Check that a module can be trained on ``train`` and judged on ``dev`` and ``test``.

    Args:
        labels: the labels that the module can answer, where they are fixed already; default is those of ``train``.
        needs: whether texts are labelled, or spans in them, or both (joint), or have sets of labels, or numbers.
        nested: whether spans may overlap.
        pairs: whether every example must have a second text.

    Raises:
        DataError: a split without examples, empty texts, missing labels or spans, spans that are none, one class only (of texts), second
            texts that only some examples have, labels that are unknown to the module or that training never saw; all at once.
    """
    given = {"train": train, "dev": dev, "test": test}
    splits = {name: examples for name, examples in given.items() if examples is not None}
    rules: dict[str, Any] = {"needs": needs, "nested": nested, "pairs": pairs}
    problems = [problem for name, examples in splits.items() for problem in problems_of(examples, name=name, **rules)]
    problems += [] if pairs else _lonely(splits.values())
    known = known_names(train, needs)
    problems += _look_alikes(sorted(known))
    if len(train) and (needs == "label" and len(known) == 1):
        problems.append(f"train has one class only, {next(iter(known))!r}; a classifier needs two or more")
    if len(train) and needs == "spans" and not known:
        problems.append("train has no span at all, so there is nothing to learn")
    if len(train) and needs == "labels" and not known:
        problems.append("train has no label at all, so there is nothing to learn")
    if len(train) and needs == "joint":
        problems += _too_little(known)
    if needs == "value" and len({example.value for example in train} - {None}) == 1:
        problems.append(f"train has one value only, {train[0].value}, so there is nothing to learn")
    if labels is not None:
        problems += _strangers(train, set(labels), "is not one of the module's labels", needs)
    for name in ("dev", "test"):
        if name in splits and known:
            problems += _strangers(splits[name], known, "never occurs in train", needs)
    if problems:
        raise DataError("This data cannot be trained on.", problems)


def check_labels_known(
    examples: Examples, labels: Sequence[str], *, needs: Needs = "label", nested: bool = False, pairs: bool = False
) -> None:
    """Check that a module with these labels can be judged on ``examples``.

    Raises:
        DataError: no examples, empty texts, missing labels or spans, or labels that the module does not know; all at once.
    """
    problems = problems_of(examples, needs=needs, nested=nested, pairs=pairs)
    problems += [] if pairs else _lonely([examples])
    problems += _strangers(examples, set(labels), "is not one of the module's labels", needs)
    if problems:
        raise DataError("A module cannot be judged on this data.", problems)


def known_names(examples: Examples, needs: Needs) -> set[str]:
    """The distinct labels of the texts, or of their spans."""
    return {name for example in examples for name in _names(example, needs)}


def problems_of(
    examples: Examples,
    *,
    name: str = "",
    needs: Needs = "label",
    nested: bool = False,
    bounds: Bounds | None = None,
    pairs: bool = False,
) -> list[str]:
    """What is wrong with each example by itself, as sentences: empty texts, empty second texts, missing labels or spans, wrong spans.

    Args:
        name: of the split, for the message about a split without examples.
        needs: what each example must have beside its text.
        nested: whether spans may overlap.
        bounds: of values.
        pairs: whether each example must have a second text.
    """
    place = f"{name} ({examples.source})" if name and examples.source else name or examples.source or "the data"
    problems = [] if len(examples) else [f"{place} holds no examples"]
    for example in examples:
        if is_blank(example.text):
            problems.append(f"{examples.place(example)}: the text is empty (nothing but spaces or invisible characters)")
        if (pairs and example.pair is None) or (example.pair is not None and is_blank(example.pair)):
            problems.append(f"{examples.place(example)}: the second text is {'missing' if example.pair is None else 'empty'}")
        if needs in ("label", "joint") and (example.label is None or not example.label.strip()):
            problems.append(f"{examples.place(example)}: the {'label' if needs == 'label' else 'intent'} is missing")
        if example.label is not None and not example.label.isprintable():
            problems.append(f"{examples.place(example)}: the label {example.label!r} holds characters that cannot be shown")
        if needs in ("spans", "joint") and example.spans is None:
            problems.append(f"{examples.place(example)}: the {'spans' if needs == 'spans' else 'slots'} are missing")
        if needs == "labels":
            problems += [f"{examples.place(example)}: {problem}" for problem in labels_problems(example.labels)]
        if needs == "value":
            problems += [f"{examples.place(example)}: {problem}" for problem in value_problems(example.value, bounds)]
        problems += [f"{examples.place(example)}: {problem}" for problem in span_problems(example.text, example.spans or (), nested=nested)]
    return problems


def _names(example: Example, needs: Needs) -> set[str]:
    if needs == "spans":
        return {span.label for span in example.spans or ()}
    if needs == "joint":
        intents = {f"{INTENT}{example.label}"} if example.label is not None else set()
        return intents | {f"{SLOT}{span.label}" for span in example.spans or ()}
    if needs == "labels":
        return set(example.labels or ())
    if needs == "value":
        return set()
    return {example.label} if example.label is not None else set()


def _too_little(known: set[str]) -> Iterator[str]:
    """What a module of joint could not learn from these names."""
    intents = [name for name in known if name.startswith(INTENT)]
    if len(intents) == 1:
        yield f"train has one intent only, {intents[0].removeprefix(INTENT)!r}; joint needs two or more"
    if len(intents) == len(known):
        yield "train has no slot at all; texts with intents alone are for task seq-cls"


def _lonely(splits: Iterable[Examples]) -> Iterator[str]:
    """Examples with one text among others with two."""
    rows = [(examples, example) for examples in splits for example in examples]
    alone = [examples.place(example) for examples, example in rows if example.pair is None]
    if 0 < len(alone) < len(rows):
        yield f"{len(alone)} of {len(rows)} examples have no second text and the others have one, the first of them {alone[0]}"


def _look_alikes(names: Sequence[str]) -> list[str]:
    """Labels that differ only in width or compatibility forms, which nobody means as two classes."""
    seen: dict[str, str] = {}
    twins = [(seen.setdefault(unicodedata.normalize("NFKC", name).strip(), name), name) for name in names]
    return [f"the labels {first!r} and {name!r} look the same; write both alike" for first, name in twins if first != name]


def _strangers(examples: Examples, known: set[str], complaint: str, needs: Needs) -> list[str]:
    """One problem for each label of ``examples`` outside ``known``, with its first place and its count."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        for name in sorted(_names(example, needs) - known):
            found.setdefault(name, []).append(example)
    return [
        f"{examples.place(rows[0])}: label {label!r} {complaint} ({len(rows)} example{'s' if len(rows) > 1 else ''})."
        f"{did_you_mean(label, known)}"
        for label, rows in found.items()
    ]
