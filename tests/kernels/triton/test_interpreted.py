"""All tests of ``interpreted/`` in one process of their own, because the interpreter is chosen before kernels are imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "interpreted"


def test_the_kernels_pass_their_tests_in_the_interpreter(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the interpreter is Triton's, which is not installed")
    switches = {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1", "TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs", "--tb=short", str(FOLDER)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | switches
    done = subprocess.run(command, env=environment, cwd=FOLDER.parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
