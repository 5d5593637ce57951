"""Figures, pairs, advice, words and charts of a report, each beside a slow obvious twin."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlphub.data.examples import Examples
from nlphub.evaluation.calibration import calibration_error
from nlphub.evaluation.metrics import classification_report
from nlphub.evaluation.report.chart import Axis, Mark, line_chart
from nlphub.evaluation.report.headline import figures, macro_f1
from nlphub.evaluation.report.judged import Judged
from nlphub.evaluation.report.pairs import confused_pairs
from nlphub.evaluation.report.run_files import read_run
from nlphub.evaluation.report.shown import cut, visible
from nlphub.evaluation.report.words import Words, discriminating, label_words, log_odds


def answer(label: str, given: str, probability: float = 0.6, text: str = "好") -> Judged:
    truth = probability if label == given else 0.1
    return Judged(text, label, ((given, probability),), truth, probability, True)


def answers(**counts: int) -> list[Judged]:
    """``answers(ab=3)``: three texts of ``a`` answered with ``b``."""
    return [answer(names[0], names[1], text=f"{names}{number}") for names, count in counts.items() for number in range(count)]


def test_macro_f1_is_that_of_the_classification_report() -> None:
    random = np.random.default_rng(0)
    truth, given = random.integers(7, size=200), random.integers(5, size=200)
    names = [str(number) for number in range(9)]
    report = classification_report([names[i] for i in truth], [names[i] for i in given], names)
    assert macro_f1(truth, given, 9) == pytest.approx(report.macro_f1, abs=1e-12)


def test_the_headline_figures_are_those_of_the_run_and_lie_in_their_intervals(make_run: Callable[..., Path]) -> None:
    run = read_run(make_run())
    found = {figure.kind: figure for figure in figures(run)}
    metrics = run.scores.classification() if run.scores else None
    assert metrics is not None
    kept = [row.right for row in run.judged if row.accepted]
    wanted = {
        "accuracy": metrics.accuracy,
        "macro_f1": metrics.macro_f1,
        "precision": np.mean(kept),
        "coverage": len(kept) / len(run.judged),
    }
    sure, right = np.array([row.probability for row in run.judged]), np.array([row.right for row in run.judged])
    wanted["calibration_error"] = calibration_error(sure, right)
    assert {kind: figure.value for kind, figure in found.items()} == pytest.approx(wanted)
    for figure in found.values():
        assert figure.interval is not None
        assert figure.interval.low <= figure.value <= figure.interval.high
    assert found["calibration_error"].before is not None


def test_precision_is_not_known_where_nothing_was_accepted(make_run: Callable[..., Path]) -> None:
    from dataclasses import replace

    run = read_run(make_run())
    none = replace(run, judged=tuple(replace(row, accepted=False) for row in run.judged))
    found = {figure.kind: figure for figure in figures(none)}
    assert found["precision"].value is None
    assert found["coverage"].value == 0


def test_pairs_count_both_ways_and_the_most_confused_come_first() -> None:
    found = confused_pairs(answers(aa=9, bb=9, cc=9, ab=1, ba=3, bc=2, ca=1), {"a": 5}, {})
    assert [[side.label for side in pair.sides] for pair in found] == [["b", "a"], ["b", "c"]], "a pair of one error is noise here"
    first, second = found[0].sides
    assert (first.errors, first.support, first.trained) == (3, 14, None)
    assert (second.errors, second.support, second.trained) == (1, 10, 5)
    assert [row.answer for row in first.wrong] == ["a"] * 3
    assert all(row.right for row in first.right)
    assert [pair.errors for pair in confused_pairs(answers(aa=9, ab=1), {}, {})] == [1], "better than nothing"
    assert confused_pairs(answers(aa=9, bb=2), {}, {}) == []


@pytest.mark.parametrize(
    ("judged", "trained", "kinds"),
    [
        (answers(aa=20, bb=20, ab=2), {}, ["add"]),
        ([*answers(aa=20, bb=20, ab=2), answer("a", "b", 0.95)], {}, ["relabel", "add"]),
        (answers(aa=6, bb=6, ab=4, ba=4), {}, ["merge", "add"]),
        (answers(aa=9, bb=9, ab=3), {"a": 10, "b": 30}, ["add", "few"]),
        (answers(bb=4, ab=3, cb=1, db=1, eb=1, aa=5, cc=5, dd=5, ee=5), {}, ["split", "add"]),
    ],
    ids=["border", "sure", "both ways", "few", "broad"],
)
def test_advice_follows_from_the_errors(judged: list[Judged], trained: dict[str, int], kinds: list[str]) -> None:
    assert [advice.kind for advice in confused_pairs(judged, trained, {})[0].advice] == kinds


def test_log_odds_are_those_of_monroe_written_out() -> None:
    first, second = Words(20, {"卡": 5, "丢": 9}), Words(30, {"卡": 6, "钱": 12})
    prior = {"卡": 11 / 32 * 25, "丢": 9 / 32 * 25, "钱": 12 / 32 * 25}
    for word, (a, b) in {"卡": (5, 6), "丢": (9, 0), "钱": (0, 12)}.items():
        p, q = a + prior[word], b + prior[word]
        delta = math.log(p / (20 + 25 - p)) - math.log(q / (30 + 25 - q))
        assert log_odds(first, second, word, prior) == pytest.approx(delta / math.sqrt(1 / p + 1 / q))
    assert discriminating(first, second, {"a": first, "b": second})[0] == ("丢",)


def test_words_tell_labels_apart_and_common_ones_do_not() -> None:
    rows = [(f"请问{what}怎么办{end}", label) for what, label in (("银行卡丢了", "挂失"), ("还款", "还款")) for end in "啊呢吗呀吧" * 4]
    words = label_words(Examples.of(rows))
    loss, pay = discriminating(words["挂失"], words["还款"], words)
    assert "银行卡" in loss
    assert pay == ("还款",)
    assert not {"请问", "怎么办"} & {*loss, *pay}
    assert words["挂失"].total >= sum(words["挂失"].counts.values())


def test_words_are_folded_and_punctuation_is_none() -> None:
    counts = label_words(Examples.of([("ＡＰＰ　登錄！！\n…", "a"), ("app登录?", "b")]))
    assert set(counts["a"].counts) == set(counts["b"].counts) == {"app", "登录"}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.05), (0.4, 0.7), (0, 3.2), (0, 15), (-2, 1e6), (0.9999, 1)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Axis("", "", low, high).ticks()
    assert 3 <= len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert len({f"{tick:.4g}" for tick in ticks}) == len(ticks) or high - low < 1e-3


def test_charts_are_well_formed_and_inside_their_frame() -> None:
    x, y = Axis("横", "x", 0, 1, percent=True), Axis("<纵>", "a & b", 0, 0.3, percent=True)
    svg = line_chart([(0.1, 0.0), (1.0, 0.3)], x, y, zh="图", en='"picture"', mark=Mark(0.5, 0.1, "点", "dot"))
    root = ET.fromstring(svg)
    assert "<纵>" in [element.text for element in root.iter("text")]
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    assert all(0 <= float(c.attrib["cx"]) <= width and 0 <= float(c.attrib["cy"]) <= height for c in root.iter("circle"))
    classes = [(element.get("class") or "").split() for element in root.iter("text")]
    assert sum("zh" in names for names in classes) == sum("en" in names for names in classes) == 3


def test_nothing_is_hidden_by_making_it_visible() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("\x00\x1b\x7f\x85\u202e\ud800\ufffe") == "␀␛␡‹U+0085›‹U+202E›\ufffd\ufffd"
    assert visible("Ünïcode 中文 👋 שלום") == "Ünïcode 中文 👋 שלום"
    assert cut("长" * 250).endswith("… (+50)")
    assert cut("短") == "短"
