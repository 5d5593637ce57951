"""The examples for other programs: one ONNX file and stock onnxruntime, without nlphub, answer as the Predictor does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nlphub.runtime.predictor import Predictor

CONSUMERS = Path(__file__).parents[2] / "examples" / "consumers"
TEXTS = ["我要退这双鞋", "转人工", "", "😀 ＡＢＣ繁體"]


def answers(output: str) -> list[tuple[str, str, float, bool]]:
    rows = [line.split("\t") for line in output.splitlines()]
    return [(text, label, float(score), json.loads(accepted.lower())) for text, label, score, accepted in rows]


def expected(exported: Path) -> list[tuple[str, str, float, bool]]:
    found = zip(TEXTS, Predictor(exported)(TEXTS), strict=True)
    return [(text, answer.label or "", pytest.approx(answer.score, abs=1e-5), answer.accepted) for text, answer in found]


def test_the_python_example_answers_as_the_predictor_and_imports_nothing_of_ours(exported: Path) -> None:
    path = CONSUMERS / "python" / "predict.py"
    command = [sys.executable, "-I", path, exported / "onnx" / "model_text.onnx", *TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env={"PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr
    assert answers(done.stdout) == expected(exported)
    assert "nlphub" not in [
        line.split()[1].partition(".")[0] for line in path.read_text("utf-8").splitlines() if line.startswith(("import", "from"))
    ]


def test_the_node_example_answers_as_the_predictor(exported: Path, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm")
    example = Path(shutil.copytree(CONSUMERS / "node", tmp_path / "node", ignore=shutil.ignore_patterns("node_modules")))
    install = [npm, "--prefix", example, "install", "--onnxruntime-node-install=skip", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(install, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    command = [node, example / "predict.mjs", exported / "onnx" / "model_text.onnx", *TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert answers(done.stdout) == expected(exported)
