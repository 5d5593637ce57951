"""Scores of frames: against loops that count one by one, on random frames."""

import random

import pytest

from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.evaluation.joint import joint_report
from nlphub.evaluation.spans import span_report

INTENTS, SLOTS = ("a", "b", "c"), ("x", "y")
FIRST = ("a", (Span(0, 2, "x"), Span(3, 4, "y")))


def frame(source: random.Random) -> tuple[str, tuple[Span, ...]]:
    edges = sorted(source.sample(range(6), 2 * source.randint(0, 2)))
    spans = [Span(a, b, source.choice(SLOTS)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    source.shuffle(spans)
    return source.choice(INTENTS[:2]), tuple(spans)


def test_scores_are_those_of_counting_one_by_one() -> None:
    source = random.Random(1)
    for _ in range(1000):
        truth = [frame(source) for _ in range(source.randint(1, 8))]
        found = [one if source.random() < 0.4 else frame(source) for one in truth]
        metrics = joint_report(truth, found, intents=INTENTS, slots=SLOTS)
        right = sum(a == c and sorted(b) == sorted(d) for (a, b), (c, d) in zip(truth, found, strict=True))
        assert metrics.frame_accuracy == pytest.approx(right / len(truth))
        assert metrics.intents.accuracy == pytest.approx(sum(a == b for (a, _), (b, _) in zip(truth, found, strict=True)) / len(truth))
        hits = sum(len({*a} & {*b}) for (_, a), (_, b) in zip(truth, found, strict=True))
        total = sum(len(a) + len(b) for (_, a), (_, b) in zip(truth, found, strict=True))
        assert metrics.slots.f1 == pytest.approx(2 * hits / total if total else 0.0)
        assert metrics.slots == span_report([a for _, a in truth], [a for _, a in found], SLOTS)
        assert metrics.frame_accuracy <= metrics.intents.accuracy


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (FIRST, 1.0),
        (("a", FIRST[1][::-1]), 1.0),
        (("b", FIRST[1]), 0.0),
        (("a", FIRST[1][:1]), 0.0),
        (("a", (*FIRST[1], Span(5, 6, "x"))), 0.0),
        (("a", (Span(0, 2, "y"), FIRST[1][1])), 0.0),
        (("a", (Span(0, 1, "x"), FIRST[1][1])), 0.0),
    ],
)
def test_a_frame_is_right_when_everything_is(answer: tuple[str, tuple[Span, ...]], right: float) -> None:
    assert joint_report([FIRST], [answer], intents=INTENTS, slots=SLOTS).frame_accuracy == right


def test_the_table_and_the_dictionary_hold_all_three() -> None:
    metrics = joint_report([FIRST, ("b", ())], [FIRST, ("a", ())], intents=INTENTS, slots=SLOTS)
    assert dict(metrics.headlines) == {"frame_accuracy": 0.5, "intent_accuracy": 0.5, "slot_f1": 1.0}
    assert metrics.score("slot_f1") == 1.0
    said = metrics.as_dict()
    assert (said["frame_accuracy"], said["support"], said["intents"]["support"], said["slots"]["support"]) == (0.5, 2, 2, 2)
    assert all(word in metrics.table() for word in ("frame accuracy", "slot f1", "macro avg"))


def test_what_cannot_be_compared_is_refused() -> None:
    for truth, found in (([], []), ([FIRST], [])):
        with pytest.raises(InputError, match="cannot be scored"):
            joint_report(truth, found, intents=INTENTS, slots=SLOTS)
    with pytest.raises(InputError, match="cannot be scored"):
        joint_report([FIRST], [("z", ())], intents=INTENTS, slots=SLOTS)
    with pytest.raises(InputError, match="cannot be scored"):
        joint_report([FIRST], [("a", (Span(0, 1, "z"),))], intents=INTENTS, slots=SLOTS)
