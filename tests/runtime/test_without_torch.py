"""What pyproject.toml calls base dependencies is enough to serve: a virtual environment holds these and nothing else."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, linked_environment: Callable[[Path, list[str]], Path]) -> Path:
    """The interpreter of an environment with links to the base dependencies."""
    return linked_environment(tmp_path_factory.mktemp("base") / "venv", PYPROJECT["project"]["dependencies"])


def run(python: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run([python, "-W", "error", *arguments], capture_output=True, text=True, encoding="utf-8", env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_environment_has_no_torch(python):
    code = "import importlib.util as u; print([n for n in ('torch', 'onnx', 'datasets', 'pytest', 'transformers') if u.find_spec(n)])"
    assert run(python, "-c", code).strip() == "[]"


def test_the_predictor_gives_the_answers_it_gives_here(python, exported):
    import nlphub

    texts = ["我要退这双鞋", "", "转人工"]
    code = f"import json, nlphub; print(json.dumps(nlphub.Predictor({str(exported)!r}).logits({texts!r}).tolist()))"
    here = nlphub.Predictor(exported).logits(texts).tolist()
    assert json.loads(run(python, "-c", code)) == [pytest.approx(row, abs=1e-5) for row in here]


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["recipe", "list"]], ids=" ".join)
def test_commands_that_need_no_torch_run(python, arguments):
    assert run(python, "-m", "nlphub", *arguments).strip()


def test_training_names_the_extra_that_it_needs(python):
    code = "import nlphub\ntry:\n    nlphub.Module\nexcept nlphub.NlphubError as error:\n    print(error)\n"
    assert "pip install 'nlphub[train]'" in run(python, "-c", code)


def test_the_tests_own_interpreter_is_another(python):
    assert Path(run(python, "-c", "import sys; print(sys.prefix)").strip()) != Path(sys.prefix)
