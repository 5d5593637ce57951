"""tools/ship_module.py turns what pretraining leaves into the module that ships: small, without a seed, registry and documents true."""

import importlib.util
import json
import logging
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

import nlphub as hub
from nlphub.checkpoints import native
from nlphub.files import sha256

ROOT = Path(__file__).parent.parent


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what the tool reads and writes, whose ernie_tiny is still the seed's."""
    copy = tmp_path / "repository"
    for folder in ("modules", "tokenizers", "tools"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (copy / "nlphub").symlink_to(ROOT / "nlphub")
    for name in ("README.md", "README.zh.md"):
        (copy / name).write_text('| `ernie_tiny` 0.1.0 | random\nversion="==0.1.0"\n`other` 0.1.0\n', "utf-8")
    (copy / "modules" / "ernie_tiny" / "README.md").write_text("# ernie_tiny 0.1.0\n", "utf-8")
    registry = json.loads((ROOT / "registry.json").read_text("utf-8"))
    registry["modules"]["ernie_tiny"]["version"] = "0.1.0"
    (copy / "registry.json").write_text(json.dumps(registry), "utf-8")
    return copy


@pytest.fixture
def run(small_folder: Path, tmp_path: Path) -> Path:
    """A run of pretraining: best/ is a module of task mlm."""
    folder = tmp_path / "run"
    folder.mkdir()
    hub.Module(directory=small_folder, task="mlm").save(folder / "best")
    return folder


def ship(repository: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["ship_module.py", *map(str, arguments)])
    tool = load(repository / "tools" / "ship_module.py")
    return int(tool.main())


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_module", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    before = sys.path.copy()
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.mark.parametrize("form", ["int8", "fp16", "fp32"])
def test_a_run_becomes_the_module_that_ships(
    repository: Path,
    run: Path,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert ship(repository, monkeypatch, run, "--version", "0.2.0", "--form", form) == 0
    place = repository / "modules" / "ernie_tiny"
    out = capsys.readouterr().out
    assert f"{form}, {(place / 'model.safetensors').stat().st_size:,} bytes, sha256 {sha256(place / 'model.safetensors')}" in out
    assert "to rewrite: README.md:1: | `ernie_tiny` 0.2.0 | random" in out
    config = native.load_config(place)
    assert (config["heads"], config["task"], "initial_seed" in config) == (["mlm"], None, False)
    assert (repository / "README.md").read_text("utf-8") == '| `ernie_tiny` 0.2.0 | random\nversion="==0.2.0"\n`other` 0.1.0\n'
    assert (place / "README.md").read_text("utf-8") == "# ernie_tiny 0.2.0\n"
    card = json.loads((repository / "registry.json").read_text("utf-8"))["modules"]["ernie_tiny"]
    assert (card["version"], "Bootstrap" in card["summary"]) == ("0.2.0", True)
    assert {file["path"]: file["sha256"] for file in card["files"]}["model.safetensors"] == sha256(place / "model.safetensors")
    monkeypatch.setattr("nlphub.paths.bundle", lambda: repository)
    with caplog.at_level(logging.WARNING):
        module = hub.Module(name="ernie_tiny", task="mlm")
        classifier = hub.Module(name="ernie_tiny", task="seq-cls", labels=["退货", "转人工"])
    assert (module.trained, classifier.trained, caplog.text) == (True, False, "")
    best = hub.Module(directory=run)
    equal = native.weights_digest(module.encoder, module.head) == native.weights_digest(best.encoder, best.head)
    assert equal == (form == "fp32")


def test_shipping_again_gives_the_same_bytes(repository: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for _ in range(2):
        assert ship(repository, monkeypatch, run / "best", "--version", "1.0.0") == 0
        digests.add(sha256(repository / "modules" / "ernie_tiny" / "model.safetensors"))
    assert len(digests) == 1


def test_what_cannot_ship_is_refused_and_nothing_is_written(
    repository: Path, run: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in repository.rglob("*.json")}
    assert ship(repository, monkeypatch, run, "--version", "one") == 2
    assert ship(repository, monkeypatch, small_folder, "--version", "0.2.0") == 1
    assert "missing: heads.mlm.bias" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in repository.rglob("*.json")} == before


def test_blended_weights_lie_between_both_runs(
    repository: Path, run: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = hub.Module(directory=small_folder, task="mlm")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.5)
    other.save(tmp_path / "other")
    wanted = ("--blend", tmp_path / "other", "--share", 0.75, "--version", "0.3.0", "--form", "fp32")
    assert ship(repository, monkeypatch, run, *wanted) == 0
    shipped = load_file(repository / "modules" / "ernie_tiny" / "model.safetensors")
    before = load_file(run / "best" / "model.safetensors")
    for name, tensor in shipped.items():
        torch.testing.assert_close(tensor, before[name] + 0.125)
    assert ship(repository, monkeypatch, run, *wanted[:3], 1.5, *wanted[4:]) == 2
    assert "--share 1.5 must be more than 0 and at most 1" in capsys.readouterr().err
