"""The benchmark for a GPU: its dry run goes through every part, and what it says without a card, of promises and of tiles."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu.py"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_the_dry_run_goes_through_every_part_and_keeps_their_tables(tmp_path: Path) -> None:
    done = run("--dry-run", "--results", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "dry-run.json").read_text("utf-8"))
    assert set(report["parts"]) == {"correctness", "determinism", "attention", "seams", "step", "ablation", "inference", "tnews", "tune"}
    rows = {name: part["rows"] for name, part in report["parts"].items()}
    assert all(row["figures"]["same bits"] == "True" for row in rows["determinism"] if row["name"] != "racecheck")
    assert [row["name"].rpartition(": ")[2] for row in rows["ablation"]] == [
        *("padded to 128", "+ packing", "+ attention", "+ add and norm", "+ GELU", "+ graphs", "+ last layer for [CLS] only")
    ]
    assert [row["name"].rpartition(": ")[2] for row in rows["seams"]] == [
        *("bias with the norm", "bias with the product", "in one pass", "torch's kernels")
    ]
    timed = [row for row in rows["seams"] + rows["step"] + rows["ablation"] + rows["inference"] if "FlashAttention" not in row["name"]]
    assert all(row["figures"]["ms"] > 0 for row in timed), [row["note"] for row in timed]
    bars = {bar["text"]: bar["verdict"] for part in report["parts"].values() for bar in part["bars"]}
    assert len(bars) == 15
    assert set(bars.values()) == {"pass", "open"}, "what only a card can show is open"
    tables = (tmp_path / "dry-run.md").read_text("utf-8")
    assert "| pass | share of what gives the same bits in two runs | 1 | at least 1 |" in tables
    assert "## ablation" in tables

    again = run("--dry-run", "--part", "tnews", "--results", tmp_path, "--data", tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads((tmp_path / "dry-run.json").read_text("utf-8"))["parts"]["step"] == report["parts"]["step"], "other parts stay"


def test_without_a_card_it_says_so_and_what_to_run() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a card here")
    done = run()
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
    assert "python benchmarks/gpu.py --dry-run" in done.stderr
    assert not done.stdout
