"""Perturbed texts, their answers, and what is counted."""

import csv
import io
import json
import sys
from typing import Any

import pytest

from nlphub.data.examples import Example, Examples
from nlphub.errors import DataError, InputError, MissingExtraError, UnknownNameError
from nlphub.evaluation.robustness import PERTURBATIONS, Robustness, check_robustness

ROWS = [
    ("我的卡丢了，快帮我停掉！", "挂失"),
    ("lost my Card 怎么办?", "挂失"),
    ("昨天还了3000咋还没到账", "转账"),
    ("转给我妈的钱", "转账"),
    ("？", "挂失"),
]


def predict(texts: list[Any]) -> list[str]:
    """Knows a few words, as it is written today."""
    return ["挂失" if "卡丢" in text or "Card" in text or "？" in text else "转账" for text in texts]


def slow(name: str, seed: int) -> dict[str, Any]:
    """What the check counts for one perturbation, text by text."""
    changed = right_before = right_after = 0
    flips = []
    for text, label in ROWS:
        other = PERTURBATIONS[name](text, seed=seed)
        if other == text:
            continue
        before, after = predict([text])[0], predict([other])[0]
        changed += 1
        right_before += before == label
        right_after += after == label
        if before != after:
            flips.append((name, text, other, label, before, after))
    return {"changed": changed, "right_before": right_before, "right_after": right_after, "flips": flips}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_counts_are_those_of_a_loop_over_the_texts(seed: int) -> None:
    found = check_robustness(predict, ROWS, seed=seed)
    assert (found.seed, found.texts, found.accuracy) == (seed, 5, 1.0)
    assert [outcome.perturbation.name for outcome in found.outcomes] == list(PERTURBATIONS)
    flips = []
    for outcome in found.outcomes:
        wanted = slow(outcome.perturbation.name, seed)
        flips += wanted.pop("flips")
        assert {key: getattr(outcome, key) for key in wanted} == wanted
    assert rows_of(found) == flips
    assert flips


def rows_of(found: Robustness) -> list[tuple[str, ...]]:
    text = found.flips_csv()
    assert text.startswith("\ufeffperturbation,original,perturbed,label,before,after\n")
    return [tuple(row) for row in csv.reader(io.StringIO(text.removeprefix("\ufeff")))][1:]


def test_the_same_seed_gives_the_same_result_and_a_choice_does_not_change_it() -> None:
    everything = check_robustness(predict, ROWS, seed=4)
    assert everything == check_robustness(predict, Examples.of(ROWS), seed=4)
    some = check_robustness(predict, ROWS, seed=4, only=["speech", "spaces"])
    assert list(some.outcomes) == [outcome for outcome in everything.outcomes if outcome.perturbation.name in ("speech", "spaces")]


def test_a_text_is_perturbed_alike_wherever_it_stands() -> None:
    asked: list[list[str]] = []
    check_robustness(lambda texts: asked.append(texts) or predict(texts), ROWS, only=["homophones"])  # type: ignore[func-returns-value]
    check_robustness(lambda texts: asked.append(texts) or predict(texts), ROWS[::-1], only=["homophones"])  # type: ignore[func-returns-value]
    assert asked[1] == asked[3][::-1]
    assert asked[1] != asked[0]


def test_all_texts_are_asked_about_together_each_time() -> None:
    sizes: list[int] = []
    check_robustness(lambda texts: sizes.append(len(texts)) or predict(texts), ROWS, only=["digits", "case"])  # type: ignore[func-returns-value]
    assert sizes == [5, 5, 5]


def test_a_text_that_stays_is_not_counted_even_if_its_answer_wavers() -> None:
    answers = iter([["a"] * 5, ["b"] * 5])
    found = check_robustness(lambda texts: next(answers), [(text, "a") for text, _ in ROWS], only=["digits"])
    (outcome,) = found.outcomes
    assert (outcome.changed, len(outcome.flips), outcome.accuracy_before, outcome.accuracy_after, outcome.flip_rate) == (1, 1, 1, 0, 1)


def test_a_perturbation_that_changes_nothing_has_no_shares() -> None:
    found = check_robustness(predict, [("转账", "转账")], only=["digits", "full-width"])
    facts = found.as_dict()["perturbations"]["digits"]
    assert facts == {
        "strength": "every number",
        "changed": 0,
        "accuracy_before": None,
        "accuracy_after": None,
        "flips": 0,
        "flip_rate": None,
    }
    assert found.table().splitlines()[1].split()[:6] == ["full-width", "0", "-", "-", "0", "-"]


def test_plain_values_are_ready_for_json() -> None:
    facts = json.loads(json.dumps(check_robustness(predict, ROWS, seed=1).as_dict()))
    assert (facts["seed"], facts["texts"], facts["accuracy"]) == (1, 5, 1.0)
    assert list(facts["perturbations"]) == list(PERTURBATIONS)


def test_the_table_says_of_what_the_figures_are() -> None:
    table = check_robustness(predict, ROWS, only=["case"]).table().splitlines()
    assert table[0].split() == ["perturbation", "changed", "before", "after", "flips", "rate", "strength"]
    assert table[1].split()[:6] == ["case", "1", "1.0000", "0.0000", "1", "1.0000"]
    assert table[-1] == "accuracy of all 5 texts as they are: 1.0000"


def test_of_pairs_both_texts_are_perturbed_and_stand_in_one_cell() -> None:
    examples = [Example("Card", "same", pair="lost"), Example("卡", "other", pair="丢")]
    answers = {("Card", "lost"): "same", ("cARD", "LOST"): "other", ("卡", "丢"): "other"}
    found = check_robustness(lambda pairs: [answers[pair] for pair in pairs], examples, only=["case"])
    assert rows_of(found) == [("case", "Card\nlost", "cARD\nLOST", "same", "same", "other")]


def test_the_list_of_flips_can_be_written_whatever_the_texts_hold() -> None:
    text = 'say "A, b"\nthen \ud800'
    answers = iter([["x"], ["y"]])
    found = check_robustness(lambda texts: next(answers), [(text, "x")], only=["case"])
    assert found.flips_csv().encode("utf-8")
    assert rows_of(found) == [("case", text.replace("\ud800", "\ufffd"), text.swapcase().replace("\ud800", "\ufffd"), "x", "x", "y")]


def no_answers(texts: list[Any]) -> list[str]:
    raise AssertionError("this was asked too early")


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([], {}, DataError, "no examples"),
        ([("转账", None)], {}, DataError, "label is missing"),
        (ROWS, {"only": ["cases"]}, UnknownNameError, "Did you mean 'case'"),
        (ROWS, {"only": []}, InputError, "No perturbation is chosen"),
        ("转账", {}, DataError, "not a list of examples"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_predicted(
    rows: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_robustness(no_answers, rows, **options)


def test_a_missing_package_is_said_before_anything_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.raises(MissingExtraError, match="pypinyin"):
        check_robustness(no_answers, ROWS)
    assert check_robustness(predict, ROWS, only=["case", "look-alikes"]).outcomes


def test_answers_have_to_be_as_many_as_texts() -> None:
    with pytest.raises(InputError, match="4 labels for 5 texts"):
        check_robustness(lambda texts: predict(texts)[1:], ROWS)
