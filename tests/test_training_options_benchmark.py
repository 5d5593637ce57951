"""The benchmark of training options: fair pairs, cells that are found again, a table of what was measured."""

import sys
from pathlib import Path

import pytest

from nlphub.data.examples import Examples

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import training_options as bench

ROWS = Examples.of([(f"问题{number}", "a" if number % 3 else "b") for number in range(60)])
DECIDED = {"weights_sha256": "0", "train_sha256": "1", "test_sha256": "2"}


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bench, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


def score(settings, train, test) -> dict[str, float]:
    value = 0.5 + 0.1 * settings.seed + (0.05 if settings.r_drop else 0.0)
    return {"macro_f1": value, "accuracy": value}


def test_every_option_differs_from_plain_training_in_nothing_else() -> None:
    plain = bench.settings_of("demo", bench.PLAIN, 3).model_dump()
    for option, changes in bench.OPTIONS.items():
        own = bench.settings_of("demo", option, 3).model_dump()
        assert {key for key in own if own[key] != plain[key]} == set(changes)


def test_finished_cells_are_not_made_again_and_other_ones_are_others(kept: Path) -> None:
    cells = bench.cells_of("smp2017-16", 2, DECIDED)
    asked = []

    def counted(settings, train, test) -> dict[str, float]:
        asked.append(len(train))
        return score(settings, train, test)

    bench.measure(cells[:5], ROWS, ROWS, counted)
    bench.measure(cells, ROWS, ROWS, counted)
    assert asked == [32] * len(cells), "16 of each label, each cell once"
    assert len({cell.path for cell in cells}) == len(cells) == 2 * len(bench.OPTIONS)
    assert not {cell.path for cell in cells} & {cell.path for cell in bench.cells_of("smp2017-16", 2, {**DECIDED, "train_sha256": "9"})}


def test_the_table_pairs_seeds(kept: Path) -> None:
    bench.measure(bench.cells_of("demo", 3, DECIDED), ROWS, ROWS, score)
    lines = {line.split("  ")[0]: line for line in bench.table("demo", bench.kept_cells()).splitlines()}
    assert "0.600 (0.352 to 0.848)" in lines["plain"]
    assert "+0.050 (+0.050 to +0.050)" in lines["r_drop 1"]
    assert "+0.000 (+0.000 to +0.000)" in lines["focal 2"]
    assert bench.table("smp2017", bench.kept_cells()).splitlines() == [
        lines["option"].replace(lines["option"], "option  seeds  macro-F1  accuracy  gain in macro-F1  time")
    ]


def test_the_demo_rows_are_those_of_the_recipe() -> None:
    train, test = bench.rows_of("demo")
    assert set(test.label_names) <= set(train.label_names)
    assert not set(train.texts) & set(test.texts)
