"""What has to hold for examples before a training or a judgement starts; everything that does not is reported at once."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
    seen = {name: _look(examples, name=name, **rules) for name, examples in splits.items()}
    problems = [problem for one in seen.values() for problem in one.problems]
    problems += [] if pairs else _lonely(seen.values())
    known = set(seen["train"].names)
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
        problems += _strangers(seen["train"], set(labels), "is not one of the module's labels")
    for name in ("dev", "test"):
        if name in splits and known:
            problems += _strangers(seen[name], known, "never occurs in train")
    if problems:
        raise DataError("This data cannot be trained on.", problems)


def check_labels_known(
    examples: Examples, labels: Sequence[str], *, needs: Needs = "label", nested: bool = False, pairs: bool = False
) -> None:
    """Check that a module with these labels can be judged on ``examples``.

    Raises:
        DataError: no examples, empty texts, missing labels or spans, or labels that the module does not know; all at once.
    """
    seen = _look(examples, needs=needs, nested=nested, pairs=pairs)
    problems = seen.problems
    problems += [] if pairs else _lonely([seen])
    problems += _strangers(seen, set(labels), "is not one of the module's labels")
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
    return _look(examples, name=name, needs=needs, nested=nested, bounds=bounds, pairs=pairs).problems


@dataclass(slots=True)
class _Seen:
    """What one walk over examples finds: lists in a file (:mod:`nlphub.data.kept`) cost something at each.

    Attributes:
        problems: as of :func:`problems_of`.
        names: the label of each text or span -> the place of the first example that has it, and how many have it.
        rows: examples.
        alone: those of them without a second text.
        first_alone: the place of the first one.
    """

    problems: list[str] = field(default_factory=list)
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    rows: int = 0
    alone: int = 0
    first_alone: str = ""


def _look(
    examples: Examples, *, name: str = "", needs: Needs, nested: bool = False, bounds: Bounds | None = None, pairs: bool = False
) -> _Seen:
    place = f"{name} ({examples.source})" if name and examples.source else name or examples.source or "the data"
    seen = _Seen([] if len(examples) else [f"{place} holds no examples"], rows=len(examples))
    for example in examples:
        wrong = _wrong_with(example, needs=needs, nested=nested, bounds=bounds, pairs=pairs)
        seen.problems += [f"{examples.place(example)}: {problem}" for problem in wrong]
        for label in sorted(_names(example, needs)):
            first, count = seen.names.get(label) or (examples.place(example), 0)
            seen.names[label] = first, count + 1
        if example.pair is None:
            seen.first_alone = seen.first_alone or examples.place(example)
            seen.alone += 1
    return seen


def _wrong_with(example: Example, *, needs: Needs, nested: bool, bounds: Bounds | None, pairs: bool) -> list[str]:
    problems = []
    if is_blank(example.text):
        problems.append("the text is empty (nothing but spaces or invisible characters)")
    if (pairs and example.pair is None) or (example.pair is not None and is_blank(example.pair)):
        problems.append(f"the second text is {'missing' if example.pair is None else 'empty'}")
    if needs in ("label", "joint") and (example.label is None or not example.label.strip()):
        problems.append(f"the {'label' if needs == 'label' else 'intent'} is missing")
    if example.label is not None and not example.label.isprintable():
        problems.append(f"the label {example.label!r} holds characters that cannot be shown")
    if needs in ("spans", "joint") and example.spans is None:
        problems.append(f"the {'spans' if needs == 'spans' else 'slots'} are missing")
    if needs == "labels":
        problems += labels_problems(example.labels)
    if needs == "value":
        problems += value_problems(example.value, bounds)
    return [*problems, *span_problems(example.text, example.spans, nested=nested)] if example.spans else problems


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


def _lonely(splits: Iterable[_Seen]) -> Iterator[str]:
    """Examples with one text among others with two."""
    seen = list(splits)
    rows, alone = sum(one.rows for one in seen), sum(one.alone for one in seen)
    if 0 < alone < rows:
        first = next(one.first_alone for one in seen if one.alone)
        yield f"{alone} of {rows} examples have no second text and the others have one, the first of them {first}"


def _look_alikes(names: Sequence[str]) -> list[str]:
    """Labels that differ only in width or compatibility forms, which nobody means as two classes."""
    seen: dict[str, str] = {}
    twins = [(seen.setdefault(unicodedata.normalize("NFKC", name).strip(), name), name) for name in names]
    return [f"the labels {first!r} and {name!r} look the same; write both alike" for first, name in twins if first != name]


def _strangers(seen: _Seen, known: set[str], complaint: str) -> list[str]:
    """One problem for each label outside ``known``, with its first place and its count."""
    return [
        f"{place}: label {label!r} {complaint} ({count} example{'s' if count > 1 else ''}).{did_you_mean(label, known)}"
        for label, (place, count) in seen.names.items()
        if label not in known
    ]
