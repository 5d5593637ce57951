"""Temperature and calibration error against searching and counting."""

import numpy as np
import pytest

from nlphub.calibration import softmax
from nlphub.errors import InputError
from nlphub.evaluation.calibration import bootstrap, calibration_error, fit_temperature, log_loss


def overconfident(size: int = 2000, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``factor`` times too large for the labels that were drawn from them."""
    generator = np.random.default_rng(0)
    honest = generator.normal(size=(size, 4)) * 2
    targets = np.array([generator.choice(4, p=row) for row in softmax(honest)])
    return (honest * factor).astype(np.float32), targets


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_the_factor(factor: float) -> None:
    assert fit_temperature(*overconfident(factor=factor)) == pytest.approx(factor, rel=0.1)


def test_no_temperature_on_a_grid_is_better() -> None:
    logits, targets = overconfident(300)
    fitted = log_loss(logits, targets, temperature=fit_temperature(logits, targets))
    assert all(fitted <= log_loss(logits, targets, temperature=heat) + 1e-4 for heat in np.geomspace(0.05, 20, 200))


def test_few_examples_that_are_all_right_do_not_make_for_certainty() -> None:
    logits = np.eye(3, dtype=np.float32) * 4
    assert 0.5 < fit_temperature(logits, np.arange(3)) < 2
    assert fit_temperature(np.zeros((5, 3), np.float32), np.zeros(5, np.int64)) <= 20
    with pytest.raises(InputError, match="without examples"):
        fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))


def test_the_calibration_error_equals_counting() -> None:
    generator = np.random.default_rng(1)
    probability, right = generator.uniform(size=500), generator.uniform(size=500) < 0.6
    probability[:3] = 0.0, 1.0, 0.2
    total = 0.0
    for number in range(15):
        inside = [i for i, value in enumerate(probability) if number / 15 <= value < (number + 1) / 15 or (value == 1.0 and number == 14)]
        if inside:
            total += abs(sum(probability[i] for i in inside) - sum(right[i] for i in inside)) / len(probability)
    assert calibration_error(probability, right) == pytest.approx(total)


def test_a_fitted_temperature_lowers_the_calibration_error() -> None:
    logits, targets = overconfident()
    right = logits.argmax(axis=1) == targets
    before, after = (
        calibration_error(softmax(logits, temperature=heat).max(axis=1), right) for heat in (1.0, fit_temperature(logits, targets))
    )
    assert after < before / 3


def test_the_log_loss_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, targets = overconfident(200)
    assert log_loss(logits, targets) == pytest.approx(sklearn.log_loss(targets, softmax(logits), labels=range(4)), rel=1e-6)


def test_a_bootstrap_interval_holds_the_value_and_follows_its_seed() -> None:
    values = np.random.default_rng(2).normal(size=400)
    found = bootstrap(lambda rows: float(values[rows].mean()), 400)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(4 * values.std() / 20, rel=0.1), "of a mean: two standard errors each way"
    assert found == bootstrap(lambda rows: float(values[rows].mean()), 400)
    assert found.as_dict() == {"value": found.value, "low": found.low, "high": found.high}
