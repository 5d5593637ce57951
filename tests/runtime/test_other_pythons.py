"""The declared Python versions: on each that is present, the base install makes a real environment and answers as it does here.

The one that runs this is always among them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINORS = (11, 12, 13)


def interpreter(minor: int) -> str | None:
    """The one that runs this test if it is of that version, or a working ``python3.<minor>`` of the path or of pyenv."""
    if sys.version_info[:2] == (3, minor):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}"), *map(str, sorted(pyenv.glob(f"3.{minor}.*/bin/python3.{minor}")))]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        if done.stdout.split() == ["3", str(minor)]:
            return candidate
    return None


PRESENT = {minor: found for minor in MINORS if (found := interpreter(minor))}


def test_the_declared_versions_are_the_ones_tested_here() -> None:
    declared = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(f'"Programming Language :: Python :: 3.{minor}"' in declared for minor in MINORS)
    assert sys.version_info[:2] in {(3, minor) for minor in MINORS}


def test_the_running_interpreter_is_always_among_them() -> None:
    assert PRESENT[sys.version_info.minor] == sys.executable


@pytest.mark.parametrize("minor", sorted(PRESENT))
def test_the_base_install_predicts_on_every_python_that_is_present(minor: int, exported: Path, tmp_path: Path) -> None:
    import nlphub

    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([PRESENT[minor], "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT, "-c", ROOT / "constraints.txt"]
    subprocess.run(install, check=True, capture_output=True)
    texts = ["我要退这双鞋", "", "ＡＢＣ繁體"]
    code = f"import json, nlphub; print(json.dumps(nlphub.Predictor({str(exported)!r}).logits({texts!r}).tolist()))"
    answer = subprocess.run([python, "-W", "error", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert json.loads(answer) == [pytest.approx(row, abs=1e-5) for row in nlphub.Predictor(exported).logits(texts).tolist()]
    listed = subprocess.run([python.with_name("nlphub"), "list"], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "ernie_tiny" in listed
