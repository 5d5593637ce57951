"""``benchmarks/speed.py`` on toy networks: the timing, the rows and their bars, missing peers, what is printed and drawn."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import speed
from speeds import children, kernels, machine, networks, peers, predicting, scaling, show, starting, texts, timing, training_peers, turns
from speeds.rows import Bar, Options, Row, missing

from nlphub.kernels.native import build

LEAST, MOST = Bar("at least two", 2.0), Bar("at most three", 3.0, kind="most", of="ours")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Options]:
    import torch

    before = torch.get_num_threads()
    yield Options(quick=True, threads=1, work=tmp_path_factory.mktemp("speed"), rounds=1, configurations=("toy",))
    torch.set_num_threads(before)


def without(*absent: str) -> Any:
    def maker(*given: Any) -> Any:
        raise ImportError(f"No module named {absent[0]!r}")

    return maker


def test_variants_run_in_turns_and_ratios_are_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    order, clock = [], [0.0]
    lengths = {"ours": iter([9.0, 1.0, 2.0, 4.0]), "peer": iter([9.0, 3.0, 4.0, 20.0])}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing, "cpu_seconds", lambda: clock[0])

    def variant(name: str, units: float | None) -> timing.Variant:
        def run() -> float | None:
            order.append(name)
            clock[0] += next(lengths[name])
            return units

        return run

    found = timing.interleaved({"ours": variant("ours", None), "peer": variant("peer", 2.0)}, 3)
    assert order == ["ours", "peer"] * 4
    assert found.seconds("ours") == 2.0
    assert found.seconds("peer", "wall") == 2.0, "3, 4 and 20 seconds for two units each"
    assert found.ratio("ours", "peer") == 1.5, "the median of 1.5, 1 and 2.5"
    assert found.rate("ours", units=10) == 5.0


def test_timing_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds is 0"):
        timing.interleaved({}, 0)
    with pytest.raises(ValueError, match=r"did 0\.0 units"):
        timing.timed(lambda: 0.0)


PLAYS = """
import os, torch

def counted(turns, label, units):
    for steps in turns:
        print("chatter", flush=True)
        sum(range(200_000 * steps))
        turns.done(units)

def broken(turns):
    raise ValueError(f"no weights, {torch.get_num_threads()} threads")

def gone(turns):
    os._exit(7)

def threads():
    return torch.get_num_threads()
"""


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "toy_plays.py").write_text(PLAYS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("toy_plays")
    del sys.modules["toy_plays"]


def test_variants_in_processes_of_their_own_take_turns(plays: Any, capfd: pytest.CaptureFixture[str]) -> None:
    given = {"one": (plays.counted, ("a", 1.0)), "ten": (plays.counted, ("b", 10.0))}
    with turns.players(given, threads=1) as found:
        seconds = {name: player.turn(20) for name, player in found.items()}
        pids = {player._process.pid for player in found.values()}
    assert len(pids) == 2
    assert all(each.wall > 0 and each.cpu > 0 for each in seconds.values())
    assert seconds["ten"].cpu < seconds["one"].cpu, "the same work, told for a tenth of it"
    assert all(player._process.exitcode == 0 for player in found.values())
    assert "chatter" not in capfd.readouterr().out, "--json prints JSON alone"


def test_a_process_of_its_own_gives_back_what_a_function_does(plays: Any) -> None:
    assert turns.apart(plays.threads, threads=1) == 1


def test_a_variant_that_fails_says_why(plays: Any) -> None:
    with turns.players({"broken": (plays.broken, ()), "gone": (plays.gone, ())}, threads=1) as found:
        with pytest.raises(RuntimeError, match="no weights, 1 threads"):
            found["broken"].turn(1)
        with pytest.raises(RuntimeError, match="exit code 7"):
            found["gone"].turn(1)


def test_bars_are_reached_missed_or_open() -> None:
    rows = [
        Row("a", 3.0, 1.0, 2.0, "ms", "", (LEAST, MOST)),
        Row("b", 3.1, 1.0, 1.9, "ms", "", (LEAST, MOST)),
        missing("c", "pip install it", (LEAST,)),
    ]
    assert list(show.bar_lines(rows)) == [
        "at least two [a]: 2 (reached)",
        "at most three [a]: 3 (reached)",
        "at least two [b]: 1.9 (missed)",
        "at most three [b]: 3.1 (missed)",
        "at least two [c]: - (open: not measured: pip install it)",
    ]
    assert show.missed(rows) == ["at least two", "at most three"]
    told = rows[1].as_dict()
    assert [told[name] for name in ("name", "ours", "peer", "ratio", "unit", "settings")] == ["b", 3.1, 1.0, 1.9, "ms", ""]
    assert told["bars"][0] == {"bar": "at least two", "limit": 2.0, "measured": 1.9, "reached": False}
    assert "bars" not in Row("d", None, None, None, "", "").as_dict()


@pytest.mark.parametrize("name", texts.LENGTHS)
def test_made_texts_have_the_lengths_that_are_promised(name: str) -> None:
    found = texts.texts_of(name, 3000, None)
    assert np.mean([len(text) for text in found]) + 2 == pytest.approx(texts.LENGTHS[name].tokens, rel=0.1)
    assert found == texts.texts_of(name, 3000, None)


def test_operations_are_counted_as_torch_counts_them(options: Options) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shape = networks.CONFIGURATIONS["toy"]
    for cls_only in (False, True):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            machine.products(shape, [(50, 4), (30, 3)], cls_only=cls_only)()
        without_attention = shape.flops(80, 7, attended=0, cls_only=cls_only) - (4 * 80 * shape.width if cls_only else 0)
        assert counter.get_total_flops() == without_attention


def test_the_products_of_a_step_are_three_times_those_forward_whoever_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shape, lengths, flops = networks.CONFIGURATIONS["toy"], np.array([5, 9, 3, 4]), []
    pooler = 2 * 2 * shape.width**2  # of two sequences
    expected = 3 * (shape.flops(14, 2, attended=0, cls_only=True) - 4 * 14 * shape.width + pooler)
    monkeypatch.setattr(training_peers, "product", lambda a, b: flops.append(2 * a.shape[0] * a.shape[1] * b.shape[1]) or torch.mm(a, b))
    for own in (False, True):
        alone = training_peers.Products(shape, lengths, iter([[0, 1]]), most=14, own=own)
        with FlopCounterMode(display=False) as counter:
            assert alone.run(1) == 14
        assert counter.get_total_flops() == expected
    assert sum(flops) == expected


@pytest.mark.skipif(bool(build.unfit()), reason=build.unfit() or "there is a compiler")
def test_kernels_are_compared_one_by_one(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "LENGTHS", ("service",))
    rows = kernels.run(options)
    assert [row.name.split(", ")[2].split(" (")[0] for row in rows] == [
        "attention of service texts", "dropout + residual + LayerNorm of", "linear", "linear", "linear", "linear + GELU",
    ]  # fmt: skip
    assert all(row.ours and row.peer and row.ratio for row in rows)


def test_prediction_is_compared_and_missing_peers_are_lines(options: Options, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    plot = options.work / "plot.svg"
    monkeypatch.setattr(predicting, "_with_torch", without("transformers"))
    given = ["predict", "--quick", "--rounds", "1", "--configurations", "toy", "--threads", "1", "--work", str(options.work)]
    monkeypatch.setattr(sys, "argv", ["speed.py", *given, "--plot", str(plot)])
    with pytest.raises(SystemExit) as ended:
        speed.main()
    assert not ended.value.code
    told = capsys.readouterr().out
    assert "predict toy/service, transformers" in told
    assert "not measured: No module named 'transformers'" in told
    assert "labels of all routes are equal wherever they are not close [predict toy/service, labels that differ]: 0 (reached)" in told
    assert plot.read_text("utf-8").startswith("<?xml")
    monkeypatch.setattr(sys, "argv", ["speed.py", *given, "--json"])
    with pytest.raises(SystemExit):
        speed.main()
    facts = json.loads(capsys.readouterr().out)
    assert {"torch", "numpy", "python"} <= facts["versions"].keys()
    (limit,) = (row for row in facts["rows"] if row["name"].endswith("matrix products alone"))
    assert limit["ratio"] > 0


def test_labels_of_a_peer_count_where_they_are_not_close() -> None:
    class Answer:
        def __init__(self, *top: tuple[str, float]) -> None:
            self.top = top

    answers = [Answer(("a", 0.9), ("b", 0.1)), Answer(("a", 0.5001), ("b", 0.4999)), Answer(("a", 0.9), ("b", 0.1))]
    assert peers.not_close(answers, ["a", "b", "b"]) == (2, 1)


def test_the_start_is_light_and_memory_is_of_a_process_of_its_own(options: Options) -> None:
    rows = starting.start(options)
    assert [row.name for row in rows] == [f"start, {name} (ratio: cost)" for name in starting.COMMANDS if name != "import typer"]
    (light,) = starting.light()
    assert light.reached(light.bars[0]), light.settings
    assert 0 < children.run("idle", threads=1)["peak"] < 2000
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        children.run("nothing", threads=1)


def test_costs_are_measured_against_length_batch_labels_and_threads(options: Options) -> None:
    plain = replace(options, quick=False)
    by_length = scaling.lengths(options)
    assert [row.name for row in by_length] == [f"scaling length {value}" for value in scaling.LENGTHS[::2]]
    assert [row.name for row in scaling.labels(plain)] == [f"scaling labels {value}" for value in scaling.LABELS]
    assert [row.name for row in scaling.batches(options)][-1] == "scaling batch_tokens 16384"
    assert scaling.threads(options)[0].ratio == 1.0
    show.plot(by_length, options.work / "curves.svg")
    assert (options.work / "curves.svg").stat().st_size > 1000


def test_the_axes_of_the_scaling_plot_are_named_in_words(tmp_path: Path) -> None:
    units = {"length": "tokens/cpu-s", "labels": "texts/cpu-s", "files": "MiB", "training_rows": "MiB", "threads": "texts/s"}
    rows = [Row(f"scaling {study} {value}", value / 1e6, None, None, unit, "") for study, unit in units.items() for value in (1000, 10**6)]
    show.plot(rows, tmp_path / "scaling.svg")
    drawn = (tmp_path / "scaling.svg").read_text("utf-8")
    costs = [line for words in show._COSTS.values() for line in words.split("\n")]
    for words in (*(show._GROWS[study] for study in units), *costs, ">1M<", ">1,000<", ">120<"):
        assert words in drawn, words
    assert not any(f">{unit}<" in drawn for unit in units.values())


def test_files_of_more_rows_need_no_more_memory(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LEAST_ROWS", 100)
    small, large = scaling.files(options)
    assert (small.name, large.name) == ("scaling files 100", "scaling files 1000")
    assert large.ours is not None
    assert large.ours < 64


def test_the_command_is_documented_with_its_sections() -> None:
    """``python benchmarks/speed.py``: "speed.py" lists what it measures."""
    assert all(section in str(speed.__doc__) for section in speed.SECTIONS)
    assert speed.asked("start", _given(), Options(quick=True, threads=1, work=Path("x"))) == [Options(True, 1, Path("x"))]
    assert [(o.configurations, o.lengths) for o in speed.asked("train", _given(lengths=("news",)), Options(False, 1, Path("x")))] == [
        (("nano",), ("news",))
    ]


def _given(**changes: Any) -> Any:
    import argparse

    return argparse.Namespace(**{"configurations": None, "lengths": None, **changes})


def test_a_peer_in_an_environment_of_its_own_is_a_row_or_says_why_not(options: Options, tmp_path: Path) -> None:
    timings = timing.Timings({"Module.predict": (timing.Seconds(0.1, 0.1),)})

    def row(paddle: Path | None) -> Row:
        return predicting._paddle("predict", timings, tmp_path, ["甲"], replace(options, paddle=paddle))

    assert "--paddle PYTHON" in row(None).settings
    assert row(Path(sys.executable)).settings.startswith("not measured: it failed: ")
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/sh\necho \'{"rates": [2, 4, 5], "paddlepaddle": "3", "paddlenlp": "2"}\'\n', "utf-8")
    stand_in.chmod(0o755)
    assert row(stand_in).ratio == 2.5
