"""Every recipe runs without a network from nlphub's wheel, in an environment that has its dependencies and nothing of this checkout.

Trainings are cut to an epoch or a few steps: what is shown is that all they need is in the wheel. Dependencies are links to those
installed here; nlphub itself is built and installed.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PRETRAINING = ("adapt", "pretrain")
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
NO_NETWORK = """import socket
def connect(self, address):
    raise AssertionError(f"tried to reach {address}")
socket.socket.connect = connect
"""
SMALL = ("train.minutes=null", "train.steps=2", "train.batch_tokens=1024", "train.max_tokens=1024")


@pytest.fixture(scope="module")
def nlphub(tmp_path_factory: pytest.TempPathFactory, linked_environment: Callable[[Path, list[str]], Path]) -> Path:
    """The command, installed from a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    python = linked_environment(folder / "venv", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["train"]])
    (wheel,) = folder.glob("nlphub-*.whl")
    subprocess.run([*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    (site,) = folder.glob("venv/lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    return python.with_name("nlphub")


def run(command: Path, *arguments: str, folder: Path) -> str:
    """What a command prints, run in ``folder``; one home for all: the first training compiles the kernels for the others."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NLPHUB_", "PYTHON"))}
    environment |= {"NLPHUB_HOME": str(command.parents[2] / "home"), "PYTHONUTF8": "1"}
    done = subprocess.run([command, *arguments], capture_output=True, text=True, encoding="utf-8", env=environment, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_environment_has_only_the_wheel_and_no_network(nlphub: Path, tmp_path: Path) -> None:
    code = "import nlphub; print(nlphub.__file__)"
    assert "site-packages/nlphub/__init__.py" in run(nlphub.with_name("python"), "-c", code, folder=tmp_path)
    code = "import socket, importlib.util as u\nassert not u.find_spec('pytest')\n"
    code += "try: socket.create_connection(('127.0.0.1', 9))\nexcept AssertionError as error: print(error)"
    assert "tried to reach" in run(nlphub.with_name("python"), "-c", code, folder=tmp_path)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in PRETRAINING])
def test_it_trains_exports_and_answers(nlphub: Path, tmp_path: Path, recipe: str) -> None:
    run(nlphub, "finetune", recipe, "train.epochs=1", folder=tmp_path)
    text = ["我的卡丢了，快帮我停掉", "把我的银行卡停掉"]
    answers = run(nlphub, "predict", f"dist/{recipe}", *text, folder=tmp_path).splitlines()
    assert all(isinstance(json.loads(line), dict) for line in answers)
    assert len(answers) in (1, 2)


@pytest.mark.parametrize("recipe", PRETRAINING)
def test_pretraining_reads_the_users_own_text(nlphub: Path, tmp_path: Path, recipe: str) -> None:
    lines = (ROOT / "recipes" / "data" / "bank_intents" / "train.csv").read_text("utf-8").splitlines()
    (tmp_path / "texts.txt").write_text("\n\n".join(line.partition(",")[0] for line in lines), encoding="utf-8")
    run(nlphub, "pretrain-data", "corpus", "texts.txt", folder=tmp_path)
    run(nlphub, "pretrain", recipe, *SMALL, folder=tmp_path)
    code = f"import nlphub; print(nlphub.Module(directory='runs/{recipe}/module').encode(['退货']).shape)"
    assert "(1, 384)" in run(nlphub.with_name("python"), "-c", code, folder=tmp_path)
