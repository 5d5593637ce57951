"""tools/build_registry.py keeps registry.json true."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_registry_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, "tools/build_registry.py", "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"run: python tools/build_registry.py\n{done.stdout}{done.stderr}"
