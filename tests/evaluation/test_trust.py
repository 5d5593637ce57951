"""Choosing a calibration, and saying what it is worth."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from nlphub.calibration import ACCEPT_ALL, Calibration, confidences, softmax
from nlphub.errors import InputError
from nlphub.evaluation.rejection import Aim, choose_threshold
from nlphub.evaluation.trust import Held, Judgement, fit_calibration, judge_calibration, separation

LABELS = ("a", "b", "c")


def held(seed: int = 0, size: int = 400, *, outside: int = 0, factor: float = 2.0) -> Held:
    """Overconfident logits; out-of-scope texts have small ones, all with the same gap between the best two."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(size=(size, 3)) * 2
    targets = np.array([generator.choice(3, p=row) for row in softmax(honest)])
    strange = np.tile([-4.0, -4.0, 0.0], (outside, 1)) + generator.normal(size=(outside, 3)) * 0.1
    return Held((honest * factor).astype(np.float32), targets, strange.astype(np.float32))


def test_an_aim_is_kept_on_unseen_examples() -> None:
    found = fit_calibration(held(0, 2000), LABELS, aim=Aim("precision", 0.9))
    judged = judge_calibration(held(1, 2000), LABELS, found.calibration)
    assert found.missed == ()
    assert judged.precision is not None
    assert judged.precision > 0.88 > judged.accuracy
    assert 0.2 < judged.coverage < 1
    assert judged.error.value < judged.error_before.value
    assert judged.loss < judged.loss_before


def test_left_out_training_examples_count_as_held_ones_do() -> None:
    few, many, both = held(0, 60), held(1, 600), held(0, 60).joined(held(1, 600))
    found = fit_calibration(few, LABELS, left_out=many, aim=Aim("precision", 0.9))
    assert found.calibration == fit_calibration(both, LABELS, aim=Aim("precision", 0.9)).calibration
    assert found.calibration != fit_calibration(few, LABELS, aim=Aim("precision", 0.9)).calibration
    assert found.separations["energy"].auroc == separation(few, replace(found.calibration, confidence="energy")).auroc


def test_thresholds_of_neighbours_do_not_ask_the_examples_that_they_compare_with() -> None:
    few, many = held(0, 60), held(1, 600)
    choose = partial(fit_calibration, few, LABELS, trained=many.logits, aim=Aim("precision", 0.9), confidence="neighbours")
    found = choose(left_out=many).calibration
    assert found.temperature == fit_calibration(few.joined(many), LABELS).calibration.temperature
    values = confidences(few.logits, found)
    assert found.threshold == choose_threshold(values, few.right, Aim("precision", 0.9)).value


def test_without_an_aim_every_answer_is_accepted() -> None:
    found = fit_calibration(held(), LABELS, confidence="energy")
    assert found.calibration.threshold == ACCEPT_ALL["energy"]
    assert judge_calibration(held(1), LABELS, found.calibration).coverage == 1


def test_the_confidence_that_separates_best_is_kept() -> None:
    data = held(outside=100)
    found = fit_calibration(data, LABELS, trained=data.logits)
    scores = {kind: one.auroc for kind, one in found.separations.items()}
    assert list(scores) == ["probability", "energy", "neighbours"]
    assert found.calibration.confidence == max(scores, key=lambda kind: scores[kind] or 0)
    assert scores[found.calibration.confidence] > scores["probability"] + 0.01
    assert (found.calibration.references is not None) == (found.calibration.confidence == "neighbours")


def test_the_probability_is_kept_unless_another_is_clearly_better() -> None:
    generator = np.random.default_rng(3)
    right = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 300)] * generator.uniform(1, 6, (300, 1)).astype(np.float32)
    data = Held(right, np.where(right.max(axis=1) > 2, right.argmax(axis=1), 0))
    found = fit_calibration(data, LABELS)
    assert found.separations["energy"].auroc == pytest.approx(found.separations["probability"].auroc, abs=0.01)
    assert found.calibration.confidence == "probability"


@pytest.mark.parametrize(("size", "kept"), [(40, "probability"), (400, "energy")])
def test_a_gain_that_chance_explains_does_not_displace_the_probability(size: int, kept: str) -> None:
    """The height of all logits, which energies see and probabilities do not, knows something: 40 examples do not prove it, 400 do."""
    generator = np.random.default_rng(8)
    sure, known = generator.normal(0, 1, (2, size))
    logits = np.zeros((size, 3), np.float32)
    logits[:, 0] = 3 + sure
    logits += (2 * known)[:, None]
    data = Held(logits, np.where(sure + known + generator.normal(0, 1, size) > -1, 0, 1))
    found = fit_calibration(data, LABELS)
    assert (found.separations["energy"].auroc or 0) > (found.separations["probability"].auroc or 0) + 0.05
    assert found.calibration.confidence == kept


def test_labels_with_enough_answers_get_their_own_thresholds() -> None:
    data = held(0, 400)
    few = Held(data.logits[:230].copy(), data.targets[:230])
    few.logits[:, 2] = -50
    few.logits[:10, 2] = 50
    found = fit_calibration(few, LABELS, aim=Aim("coverage", 0.9), per_label=True)
    assert set(found.calibration.thresholds) == {"a", "b"}, "c has 10 answers"
    accepted, answers = found.calibration.accepts(few.logits, LABELS), few.logits.argmax(axis=1)
    for number in (0, 1):
        assert accepted[answers == number].mean() == pytest.approx(0.9, abs=0.02)


def test_labels_for_which_the_aim_was_missed_are_named() -> None:
    data = held(0, 200)
    wrong = Held(data.logits, np.where(data.logits.argmax(axis=1) == 1, 2, data.logits.argmax(axis=1)))
    found = fit_calibration(wrong, LABELS, aim=Aim("precision", 0.9), per_label=True)
    assert "b" in found.missed
    assert "a" not in found.missed


def test_a_confidence_without_anything_to_tell_apart_has_no_score() -> None:
    perfect = Held(np.eye(3, dtype=np.float32) * 5, np.arange(3))
    one = separation(perfect, Calibration())
    assert (one.auroc, one.fpr95, one.aurc) == (None, None, 0.0)
    assert fit_calibration(perfect, LABELS).calibration.confidence == "probability"


def test_a_judgement_is_plain_values_of_bounded_size() -> None:
    judged = judge_calibration(held(2, 3000, outside=50), LABELS, Calibration(threshold=1.0))
    assert isinstance(judged, Judgement)
    facts = json.loads(json.dumps(judged.as_dict()))
    assert facts["precision"] is None or facts["coverage"] < 0.1
    assert facts["rejected"] == 1.0
    assert len(facts["risk_coverage"]["risk"]) <= 200
    assert facts["risk_coverage"]["coverage"][-1] == 1.0


def test_wishes_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(InputError, match="none of auto, probability"):
        fit_calibration(held(), LABELS, confidence="gut")
    with pytest.raises(InputError, match="needs the training examples"):
        fit_calibration(held(), LABELS, confidence="neighbours")
    with pytest.raises(InputError, match="needs out-of-scope texts"):
        fit_calibration(held(), LABELS, aim=Aim("rejection", 0.9))
