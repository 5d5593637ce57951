"""The proofs that are commands: a short version of each runs here, so that none of them rots."""

import json
import re
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


def test_a_pretraining_killed_and_resumed_ends_with_the_same_bits() -> None:
    assert "bitwise equal" in benchmark("kill_and_resume.py", "--pretrain", "--kills", "2", "--short")


def test_an_installation_that_is_killed_leaves_a_whole_store_and_the_check_would_notice() -> None:
    assert " 0 corrupted stores, 0 next installations not right" in benchmark("kill_install.py", "--kills", "3")
    assert " 0 corrupted stores" not in benchmark("kill_install.py", "--kills", "4", "--control")


def test_an_export_that_is_killed_leaves_one_whole_artefact() -> None:
    assert "always one whole artefact" in benchmark("kill_export.py", "--kills", "3")


def test_answers_to_files_need_no_more_memory_and_outlive_kills() -> None:
    assert "the same bytes" in benchmark("predict_files.py", "--small", "100", "--rows", "4000", "--kills", "1")


def test_module_predictor_and_text_graph_answer_alike_on_strings_of_all_kinds(small_folder: Path, tmp_path: Path) -> None:
    module = hub.Module(directory=small_folder, task="seq-cls", labels=["a", "b", "c"], max_length=32)
    module.trained = True
    module.save(tmp_path / "run")
    module.export(tmp_path / "dist")
    rows = json.loads(benchmark("text_graph.py", str(tmp_path / "run"), str(tmp_path / "dist"), "--texts", "600", "--json"))["rows"]
    assert [(row["route"], row["texts"], row["differ"]) for row in rows] == [
        ("Predictor", 600, 0),
        ("text graph", 600, 0),
        ("variants", 4, 0),
    ]
    assert max(row["probabilities"] for row in rows) < 1e-5
    told = json.loads(
        benchmark("predict_speed.py", "--artefact", str(tmp_path / "dist"), "--work", str(tmp_path / "work"), "--quick", "--json")
    )
    assert {row["route"] for row in told["rows"]} >= {"transformers", "transformers sorted", "onnxruntime"}


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
    (kind,) = json.loads(benchmark("int8.py", "runs/intent", "--kinds", "dynamic", "--kept", str(tmp_path / "kept"), "--json"))
    assert kind["splits"]["test"]["examples"] == 524
    assert kind["splits"]["test"]["agreement"] > 0.9
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_cloze_items_are_answered_by_a_module_and_by_counting(small_folder: Path, tmp_path: Path) -> None:
    import numpy as np

    from nlphub.data.shards import write_shard
    from nlphub.text.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(small_folder)
    ids = tokenizer.encode(["今天天气真好"]).ids[1:-1]
    starts, words = np.array([0, len(ids)]), np.ones(len(ids), np.bool_)
    write_shard(tmp_path / "s.safetensors", ids=ids, word_starts=words, starts=starts, tokenizer_digest=tokenizer.digest)
    facts = json.loads(benchmark("cloze.py", str(small_folder), "--corpus", str(tmp_path), "--json"))
    assert [row["name"] for row in facts["rows"]] == ["frequency", "bigram", str(small_folder)]
    assert {row["items"] for row in facts["rows"]} == {200}
    assert facts["rows"][1]["top1"] >= 1 / 200, "the first item is the whole corpus"
    assert not facts["trained"]


def test_the_quality_table_is_printed_from_kept_cells() -> None:
    table = json.loads(benchmark("quality.py", "--quick", "--json"))
    assert {row["set"] for row in table["rows"]} >= {"smp2017", "ocnli", "cluener", "probe16"}
    assert table["tokens_per_epoch"] == 40_000


def test_the_line_on_few_examples_is_printed_from_what_is_kept() -> None:
    assert "examples per intent: " in benchmark("few_examples.py", "--line")


def test_every_benchmark_is_proved_here_or_has_tests_of_its_own() -> None:
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    every = sorted((ROOT / "benchmarks").glob("*.py"))
    assert [path for path in every if f'"{path.name}"' not in text and not re.search(rf"^import {path.stem}\b", text, re.MULTILINE)] == []


def test_wordpiece_is_compared_with_its_peers() -> None:
    assert ": 0 differ in ids or offsets" in benchmark("tokenizers_parity.py", "--texts", "300")
