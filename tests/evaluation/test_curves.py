"""Training curves: a panel for what was measured, the same picture for the same facts."""

from typing import Any

import pytest

from nlphub.evaluation.curves import smooth, training_curves


def facts(**more: Any) -> list[dict[str, Any]]:
    return [{"tokens": step * 1000, "accuracy": step / 100, "loss": 5.0 - step / 50, **more} for step in range(1, 50)]


@pytest.mark.parametrize(
    ("lines", "titles"),
    [(facts(), ["masked accuracy", "loss (nats)"]), (facts(pairs=0.6), ["masked accuracy", "loss (nats)", "pairs told right"])],
    ids=["words", "pairs"],
)
def test_there_is_a_panel_for_everything_that_was_measured(lines: list[dict[str, Any]], titles: list[str]) -> None:
    picture = training_curves(lines)
    shown = [title for title in ("masked accuracy", "loss (nats)", "pairs told right") if f">{title}<" in picture]
    assert shown == titles
    assert picture == training_curves(lines)


def test_held_out_scores_are_drawn_where_there_are_some() -> None:
    lines = facts()
    plain = training_curves(lines)
    lines[10]["held_out"] = {"accuracy": 0.2, "mean_loss": 4.0}
    assert training_curves(lines) != plain


def test_long_curves_are_averaged_down() -> None:
    x, y = smooth([float(i) for i in range(1000)], [1.0] * 1000)
    assert len(x) == len(y) == 200
    assert x[0] == 2.0
    assert set(y) == {1.0}
