"""tools/build_registry.py keeps registry.json true."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CARD = json.loads((ROOT / "registry.json").read_text("utf-8"))["modules"]["ernie_tiny"]
OLDER = CARD | {
    "version": "0.0.9",
    "parameters": 1,
    "files": [{"path": "config.json", "bytes": 7, "sha256": "0" * 64, "sources": ["https://example.org/0.0.9/config.json"]}],
}


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_registry", ROOT / "tools" / "build_registry.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_registry_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, "tools/build_registry.py", "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"run: python tools/build_registry.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("number", [0, 1])
def test_of_several_versions_only_the_newest_is_measured_which_is_the_one_that_ships(tool: ModuleType, number: int) -> None:
    stale = CARD | {"parameters": None, "files": []}
    cards = [OLDER, OLDER]
    cards[number] = stale
    assert tool.measured("ernie_tiny", cards)[number] == CARD == tool.measured("ernie_tiny", stale)
    assert tool.measured("ernie_tiny", cards)[1 - number] == OLDER


def test_a_registry_with_several_versions_of_a_module_is_written(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "REGISTRY", tmp_path / "registry.json")
    monkeypatch.setattr(tool, "follow_tokenizer", lambda config, tokenizer: followed.append((config.name, tokenizer.name)))
    monkeypatch.setattr(sys, "argv", ["build_registry.py"])
    followed: list[tuple[str, str]] = []
    registry: dict[str, Any] = {"schema": 1, "modules": {"ernie_tiny": [CARD | {"parameters": None}, OLDER]}}
    (tmp_path / "registry.json").write_text(json.dumps(registry), "utf-8")
    assert tool.main() == 0
    assert json.loads((tmp_path / "registry.json").read_text("utf-8"))["modules"]["ernie_tiny"] == [CARD, OLDER]
    assert followed == [("config.json", "zh_char")]
