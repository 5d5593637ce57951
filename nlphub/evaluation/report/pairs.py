"""Labels that are taken for one another, with sentences, words, and what to do about it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nlphub.evaluation.report.judged import Judged
from nlphub.evaluation.report.words import Words, discriminating

_MOST = 8  # pairs
_WRONG, _RIGHT = 4, 2  # sentences of a side
SURE = 0.8  # probability from which on a wrong answer speaks against the label
_OFTEN = 0.15  # of either label's texts taken for the other: no border between them
_CATCHES = 4  # labels whose texts are answered with one label, from which on that one is too broad
_DOUBTFUL = 0.7  # precision below which it is,
_GREEDY = 1.3  # if it is also answered this many times as often as it should be


@dataclass(frozen=True, slots=True)
class Side:
    """Texts of ``label`` that were answered with ``other``.

    Attributes:
        support: judged texts of ``label``.
        errors: how many of them were answered with ``other``.
        trained: training examples of ``label``; ``None`` if not known.
        wrong: some of those, the surest wrong answers first.
        right: some texts of ``label`` that were answered rightly, surest first.
        words: that speak for ``label`` against ``other``, strongest first.
    """

    label: str
    other: str
    support: int
    errors: int
    trained: int | None
    wrong: tuple[Judged, ...]
    right: tuple[Judged, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a pair of labels.

    Attributes:
        kind: ``relabel``: check the labels of ``count`` texts whose wrong answers were sure; ``merge``: the two have no border;
            ``split``: the label takes texts of ``count`` other labels; ``add``: the labels need more examples; ``few``: and one of them
            has less than half as many as the other.
        labels: that it is about.
    """

    kind: str
    labels: tuple[str, ...]
    count: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two labels, the one that is mistaken more often first."""

    sides: tuple[Side, Side]
    advice: tuple[Advice, ...]

    @property
    def errors(self) -> int:
        """Texts of either that were answered with the other."""
        return self.sides[0].errors + self.sides[1].errors


def confused_pairs(judged: Sequence[Judged], trained: Mapping[str, int], words: Mapping[str, Words]) -> list[Pair]:
    """The up to eight pairs with most errors; pairs with a single one only where no pair has more.

    Args:
        trained: label -> training examples, as far as they are known.
        words: label -> words of its training examples, as far as they are known.
    """
    errors = Counter((row.label, row.answer) for row in judged if not row.right)
    together = Counter(_key(a, b) for (a, b), count in errors.items() for _ in range(count))
    ranked = sorted(together.items(), key=lambda item: (-item[1], item[0]))
    chosen = [pair for pair, count in ranked if count > 1 or ranked[0][1] == 1][:_MOST]
    ordered = [pair if errors[pair] >= errors[pair[::-1]] else pair[::-1] for pair in chosen]
    return [_pair(first, second, judged, trained, words) for first, second in ordered]


def _pair(first: str, second: str, judged: Sequence[Judged], trained: Mapping[str, int], words: Mapping[str, Words]) -> Pair:
    speaking: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    if first in words and second in words:
        speaking = discriminating(words[first], words[second], words)
    sides = (
        _side(first, second, judged, trained.get(first), speaking[0]),
        _side(second, first, judged, trained.get(second), speaking[1]),
    )
    return Pair(sides, tuple(_advice(sides, judged)))


def _side(label: str, other: str, judged: Sequence[Judged], trained: int | None, words: tuple[str, ...]) -> Side:
    own = [row for row in judged if row.label == label]
    wrong = sorted((row for row in own if row.answer == other), key=lambda row: -row.probability)
    right = sorted((row for row in own if row.right), key=lambda row: -row.probability)
    return Side(label, other, len(own), len(wrong), trained, tuple(wrong[:_WRONG]), tuple(right[:_RIGHT]), words)


def _advice(sides: tuple[Side, Side], judged: Sequence[Judged]) -> Iterator[Advice]:
    labels = {side.label for side in sides}
    sure = sum(row.probability >= SURE for row in judged if not row.right and {row.label, row.answer} == labels)
    if sure:
        yield Advice("relabel", tuple(side.label for side in sides), sure)
    if all(side.errors >= _OFTEN * side.support and side.errors for side in sides):
        yield Advice("merge", tuple(side.label for side in sides))
    for side in sides:
        if caught := _catches(side.label, judged):
            yield Advice("split", (side.label,), caught)
    yield Advice("add", tuple(side.label for side in sides if side.errors))
    for side, other in (sides, sides[::-1]):
        if side.trained is not None and other.trained is not None and 2 * side.trained < other.trained:
            yield Advice("few", (side.label,), side.trained)


def _catches(label: str, judged: Sequence[Judged]) -> int:
    """How many other labels a label takes texts of, if it is too broad; else 0.

    That is: answered more often than it should be, often wrongly, and for many labels. One that is merely hard is answered less often.
    """
    answered = [row for row in judged if row.answer == label]
    others = {row.label for row in answered} - {label}
    right, wanted = sum(row.right for row in answered), sum(row.label == label for row in judged)
    broad = len(others) >= _CATCHES and right < _DOUBTFUL * len(answered) and len(answered) >= _GREEDY * wanted
    return len(others) if broad else 0


def _key(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)
