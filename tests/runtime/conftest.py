"""A small exported classifier over the real tokenizer."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from nlphub.export.onnx import export_artefact


@pytest.fixture(scope="session")
def exported(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact that tests must not change."""
    folder = tmp_path_factory.mktemp("artefacts") / "intent"
    export_artefact(folder, **parts)
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """An artefact to damage."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))
