"""From logits to accepted answers: every confidence against a slow twin, thresholds by label, and what is kept in files."""

import math
from pathlib import Path

import numpy as np
import pytest

from nlphub.calibration import ACCEPT_ALL, CONFIDENCES, REFERENCES, Calibration, confidences, reference_rows, references_of, softmax
from nlphub.errors import InputError
from nlphub.tasks.predictions import classify

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(40, 5)).astype(np.float32) * 3
TRAINED = GENERATOR.normal(size=(30, 5)).astype(np.float32) * 3
LABELS = tuple("abcde")


def slowly(row: np.ndarray, calibration: Calibration) -> float:
    values = [float(value) for value in row]
    if calibration.confidence == "probability":
        exponents = [math.exp(value / calibration.temperature) for value in values]
        return max(exponents) / sum(exponents)
    if calibration.confidence == "energy":
        return math.log(sum(math.exp(value) for value in values))
    own = [value - sum(values) / len(values) for value in values]
    similar = []
    for reference in np.asarray(calibration.references, np.float64):
        similar.append(sum(a * b for a, b in zip(own, reference, strict=True)) / math.sqrt(sum(a * a for a in own)))
    return sorted(similar, reverse=True)[min(5, len(similar)) - 1]


@pytest.mark.parametrize("kind", CONFIDENCES)
@pytest.mark.parametrize("references", [30, 2])
def test_confidences_equal_those_computed_one_by_one(kind: str, references: int) -> None:
    calibration = Calibration(1.7, kind, references=references_of(TRAINED[:references]))
    expected = [slowly(row, calibration) for row in LOGITS]
    np.testing.assert_allclose(confidences(LOGITS, calibration), expected, rtol=1e-9)


def test_large_logits_do_not_overflow() -> None:
    huge = np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32)
    for kind in CONFIDENCES:
        assert np.isfinite(confidences(huge, Calibration(1.0, kind, references=references_of(huge)))).all()
    assert softmax(huge).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_only_the_rows_that_are_kept_have_to_be_answered() -> None:
    for count in (1, 30, 4096, 4097, 9999):
        many = np.resize(TRAINED, (count, 5)) + np.arange(count, dtype=np.float32)[:, None] * GENERATOR.normal(size=5).astype(np.float32)
        rows = reference_rows(count)
        assert len(rows) == min(count, 4096)
        np.testing.assert_array_equal(references_of(many), references_of(many[rows]))


@pytest.mark.parametrize("together", [1, 7, 40])
def test_neighbours_are_the_same_a_few_answers_at_a_time(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = Calibration(1.0, "neighbours", references=references_of(TRAINED))
    whole = confidences(LOGITS, calibration)
    monkeypatch.setattr("nlphub.calibration._COMPARED", together)
    np.testing.assert_allclose(confidences(LOGITS, calibration), whole, rtol=1e-12)
    assert confidences(LOGITS[:0], calibration).shape == (0,)


def test_neighbours_do_not_see_a_constant_or_a_scale() -> None:
    calibration = Calibration(1.0, "neighbours", references=references_of(TRAINED))
    np.testing.assert_allclose(confidences(LOGITS * 3 + 7, calibration), confidences(LOGITS, calibration), rtol=1e-4)


@pytest.mark.parametrize("kind", CONFIDENCES)
def test_the_lowest_threshold_accepts_everything(kind: str) -> None:
    calibration = Calibration(1.0, kind, ACCEPT_ALL[kind], references=references_of(TRAINED))
    assert calibration.accepts(LOGITS, LABELS).all()


def test_a_label_can_have_a_threshold_of_its_own() -> None:
    logits = np.log(np.array([[0.7, 0.3], [0.3, 0.7], [0.1, 0.9]], np.float32))
    calibration = Calibration(threshold=0.6, thresholds={"no": 0.8})
    assert calibration.accepts(logits, ("yes", "no")).tolist() == [True, False, True]
    answers = classify(logits, ("yes", "no"), calibration=calibration)
    assert [answer.label for answer in answers] == ["yes", None, "no"]
    assert answers[1].top[0] == ("no", pytest.approx(0.7)), "what was rejected can still be seen"


def test_references_are_at_most_4096_and_spread_over_all_examples() -> None:
    many = GENERATOR.normal(size=(10_000, 3)).astype(np.float32)
    kept = references_of(many)
    assert kept.shape == (4096, 3)
    np.testing.assert_array_equal(kept[[0, -1]], references_of(many[[0, -1]]))


@pytest.mark.parametrize("kind", CONFIDENCES)
def test_what_is_written_is_read_back(kind: str, tmp_path: Path) -> None:
    made = Calibration(1.5, kind, 0.25, {"b": 0.5}, references=references_of(TRAINED) if kind == "neighbours" else None)
    made.write(tmp_path)
    again = Calibration.of(made.as_dict(), tmp_path)
    assert again == made
    np.testing.assert_array_equal(confidences(LOGITS, again), confidences(LOGITS, made))
    assert (tmp_path / REFERENCES).exists() == (kind == "neighbours")


def test_no_facts_mean_the_neutral_calibration() -> None:
    assert Calibration.of(None) == Calibration.of({}) == Calibration()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"temperature": 0.0}, "temperature: expected a number above 0"),
        ({"temperature": "hot"}, "temperature: expected"),
        ({"confidence": "gut"}, "confidence: expected probability, energy, neighbours, found 'gut'"),
        ({"threshold": 1.5}, "threshold: expected a number from 0 to 1"),
        ({"threshold": float("nan"), "confidence": "energy"}, "threshold: expected a finite number"),
        ({"thresholds": [0.5]}, "thresholds: expected a number for each label"),
        ({"thresholds": {"a": -1}}, r"thresholds\['a'\]: expected a number from 0 to 1"),
        ({"temprature": 1.0}, "temprature: unknown"),
        ({"confidence": "neighbours"}, "has none"),
    ],
)
def test_what_is_no_calibration_is_refused(facts: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        Calibration.of(facts, tmp_path)


def test_damaged_or_foreign_references_are_refused(tmp_path: Path) -> None:
    facts = {"confidence": "neighbours"}
    (tmp_path / REFERENCES).write_bytes(b"torn")
    with pytest.raises(InputError, match="damaged"):
        Calibration.of(facts, tmp_path)
    Calibration(1.0, "neighbours", references=np.full((2, 2), np.nan, np.float16)).write(tmp_path)
    with pytest.raises(InputError, match="does not hold references"):
        Calibration.of(facts, tmp_path)
    Calibration(1.0, "neighbours", references=references_of(TRAINED)).write(tmp_path)
    with pytest.raises(InputError, match="have 5 labels, the logits 2"):
        confidences(LOGITS[:, :2], Calibration.of(facts, tmp_path))
