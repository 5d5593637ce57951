"""Labelled stretches of a text, and the two file formats for them: tags of tokens, and lists of offsets.

Inside nlphub a span counts code points of the caller's original text. Tags are only a format: they say nothing about a text until their
tokens are joined to one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from nlphub.data.cells import is_blank
from nlphub.errors import brief

WORD = "word"  # the label of a span that is a word and nothing else

_CONTINUES, _CLOSES = ("I", "M", "E"), ("E", "S")
_ALSO = {"W": "S", "U": "S", "L": "E"}  # BMEWO's and BILOU's letters


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch of a text: ``text[start:end]``.

    Attributes:
        start: its first code point, from 0.
        end: the one behind its last.
        label: its type, e.g. ``"company"``.
    """

    start: int
    end: int
    label: str


def to_spans(value: Any) -> tuple[Span, ...] | None:
    """Spans from a cell of a file or of the caller, sorted by place: a list of :class:`Span`, of ``{"start", "end", "label"}`` (or
    ``start_offset`` and ``end_offset``, as doccano writes entities) or of ``[start, end, label]``. ``None`` stays ``None``: not known.

    Raises:
        TypeError: it is something else; all bad spans are named.
    """
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{brief(value)} is not a list of spans such as {{'start': 0, 'end': 2, 'label': 'company'}}")
    made: list[Span] = []
    wrong: list[Any] = []
    for item in value:
        if (span := _to_span(item)) is None:
            wrong.append(item)
        else:
            made.append(span)
    if wrong:
        raise TypeError("; ".join(f"{brief(item)} is not a span such as {{'start': 0, 'end': 2, 'label': 'company'}}" for item in wrong))
    return tuple(sorted(made))


def from_tags(tokens: Any, tags: Any) -> tuple[str, tuple[Span, ...]]:
    """The text and the spans of tagged tokens. Tokens are joined as they are, as Chinese is written.

    Tags are ``O``, and ``B-x I-x`` (BIO), or ``B-x M-x E-x S-x`` or ``B-x I-x E-x S-x`` (BMES, BIOES); the latter where a row has an
    M, E or S. W and U (BMEWO, BILOU) are S, L is E. In BIO an ``I-x`` that continues nothing begins a span, as conlleval reads it:
    so IOB1 is read too, whose spans begin with ``I-x`` but behind a neighbour of the same label, and so are sentences that are cut
    inside names (:func:`loose_tags` counts both). In the other schemes it is a mistake.

    Raises:
        TypeError: tokens or tags are no lists of strings, differ in length, or a tag cannot stand where it stands; all of a row at once.
    """
    problems = [*_not_strings("tokens", tokens), *_not_strings("tags", tags)]
    if not problems and len(tokens) != len(tags):
        problems = [f"{len(tokens)} tokens have {len(tags)} tags"]
    problems = problems or [*_misplaced(tags)]
    if problems:
        raise TypeError("; ".join(problems))
    places = list(accumulate(map(len, tokens), initial=0))
    return "".join(tokens), tuple(Span(places[first], places[last], label) for first, last, label in _runs(tags))


def from_words(words: Any, tags: Any = None) -> tuple[str, tuple[Span, ...]]:
    """The text of words, and a span for each of them: labelled with its tag (a part of speech), or with :data:`WORD`.

    Raises:
        TypeError: words or tags are no lists of strings, or differ in length; all of a row at once.
    """
    problems = [*_not_strings("words", words), *([] if tags is None else _not_strings("tags", tags))]
    if not problems and tags is not None and len(words) != len(tags):
        problems = [f"{len(words)} words have {len(tags)} tags"]
    if not problems and (blank := [number for number, word in enumerate(words, start=1) if is_blank(word)]):
        problems = [f"word {number} holds nothing that can be read" for number in blank]
    elif not problems and tags is not None:
        problems = [f"word {number} has no tag" for number, tag in enumerate(tags, start=1) if not tag.strip(" _")]
    if problems:
        raise TypeError("; ".join(problems))
    places = list(accumulate(map(len, words), initial=0))
    names = [WORD] * len(words) if tags is None else [tag.strip() for tag in tags]
    return "".join(words), tuple(Span(start, end, name) for (start, end), name in zip(pairwise(places), names, strict=True))


def loose_tags(tags: Sequence[str]) -> int:
    """How many ``I-x`` of tags that are in order continue nothing."""
    return sum(tags[first].startswith("I-") for first, _, _ in _runs(tags))


def span_problems(text: str, spans: Sequence[Span], *, nested: bool = False) -> Iterator[str]:
    """What is wrong with the spans of one text, as sentences.

    Args:
        nested: whether spans may lie inside each other and overlap.
    """
    for span in spans:
        if not 0 <= span.start < span.end <= len(text):
            yield f"the span {span.start}:{span.end} ({span.label}) is not inside the text of {len(text)} characters"
        elif is_blank(text[span.start : span.end]):
            yield f"the span {span.start}:{span.end} ({span.label}) holds nothing that can be read"
        if not span.label.strip() or not span.label.isprintable():
            yield f"the span {span.start}:{span.end} has the label {span.label!r}, which is empty or cannot be shown"
    for before, after in pairwise(sorted(spans)):
        if before == after:
            yield f"the span {after.start}:{after.end} ({after.label}) is there twice"
        elif after.start < before.end and not nested:
            yield f"the spans {before.start}:{before.end} ({before.label}) and {after.start}:{after.end} ({after.label}) overlap"


def _to_span(item: Any) -> Span | None:
    if isinstance(item, Span):
        return item
    if isinstance(item, dict):
        item = [item.get("start", item.get("start_offset")), item.get("end", item.get("end_offset")), item.get("label")]
    if not isinstance(item, list | tuple) or len(item) != 3:
        return None
    start, end, label = item
    if type(start) is not int or type(end) is not int or not isinstance(label, str):
        return None
    return Span(start, end, label.strip())


def _not_strings(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        yield f"{name} is {brief(value)}, not a list of strings"
    elif not all(isinstance(item, str) and item for item in value):
        yield f"{name} holds {brief(next(item for item in value if not isinstance(item, str) or not item))}, which is no string or empty"


def _parts(tag: str) -> tuple[str, str]:
    """``("B", "company")``; ``("O", "")``; an empty first part for what is no tag."""
    prefix, dash, label = tag.partition("-")
    prefix = _ALSO.get(prefix, prefix)
    if tag == "O":
        return "O", ""
    return (prefix, label) if prefix in ("B", "I", "M", "E", "S") and dash and label.strip() else ("", tag)


def _misplaced(tags: Sequence[str]) -> Iterator[str]:
    """Tags that are none, or that do not follow from the one before; of BIO tags an ``I-x`` may begin a span."""
    closes = any(_parts(tag)[0] in ("M", "E", "S") for tag in tags)
    open_label = ""
    for number, tag in enumerate([*tags, "O"], start=1):
        prefix, label = _parts(tag)
        if not prefix:
            yield f"tag {number}, {tag!r}, is neither O nor B-, I-, M-, E- or S- with a label"
        elif closes and prefix in _CONTINUES and label != open_label:
            yield f"tag {number}, {tag!r}, continues nothing: a span begins with B-{label}"
        elif closes and open_label and prefix not in _CONTINUES:
            yield f"the span before tag {number} does not end with E-{open_label}"
        open_label = "" if prefix in ("", "O", *_CLOSES) else label


def _runs(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """``(first, behind the last, label)`` of the spans of tags that are in order."""
    start, open_label = 0, ""
    for number, tag in enumerate([*tags, "O"]):
        prefix, label = _parts(tag)
        if prefix in _CONTINUES and label == open_label:
            continue
        if open_label:
            yield start, number, open_label
        start, open_label = number, label
