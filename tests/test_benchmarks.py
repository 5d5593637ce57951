"""The proofs that are commands: a short version of each runs here, so that none of them rots."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nlphub as hub

ROOT = Path(__file__).parent.parent


def benchmark(name: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / name, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_killed_and_resumed_ends_with_the_same_bits() -> None:
    assert "bitwise equal" in benchmark("kill_and_resume.py", "--kills", "2", "--short")


def test_the_start_is_measured_against_bare_python() -> None:
    rows = json.loads(benchmark("start.py", "--repeats", "1", "--json"))
    assert [row["name"] for row in rows][:2] == ["python", "import nlphub"]


def test_a_run_is_compared_with_the_baseline(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["module.name=null", f"module.directory={small_folder}", "train.epochs=1", "export.folder=null"]
    hub.finetune(hub.load_recipe("intent", small), progress=False)
    rows = {row["name"]: row for row in json.loads(benchmark("demo_baseline.py", "runs/intent", "--json"))}
    assert rows["accuracy"]["peer"] == pytest.approx(0.79, abs=0.02), "TF-IDF on the demo data"
    assert rows["accuracy"]["peer_examples"] == len(hub.load_data(ROOT / "recipes" / "data" / "bank_intents" / "train.csv")["train"])
    assert rows["accuracy"]["ours"] < rows["accuracy"]["peer"], "one epoch of a tiny network"


def test_every_benchmark_is_proved_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [path.name for path in sorted((ROOT / "benchmarks").glob("*.py")) if f'"{path.name}"' not in text] == []
