"""``nlphub doctor`` without a file: what works, what is absent, what is broken, and that only broken things are exit code 1."""

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner, Result

from nlphub import __version__
from nlphub.cli import doctor, installation
from nlphub.cli.installation import Fact, check_installation, declared
from nlphub.hub import checking, store
from nlphub.hub.registry import find_module


def run(*arguments: str) -> Result:
    app = typer.Typer()
    doctor.register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["doctor", *arguments], catch_exceptions=False)


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """Packages are not really imported here: some take seconds. What is put into the mapping is raised instead."""
    raised: dict[str, object] = {}

    def imported(name: str) -> ModuleType:
        if isinstance(wrong := raised.get(name), Exception):
            raise wrong
        return ModuleType(name)

    monkeypatch.setattr(installation, "import_module", imported)
    return raised


def facts() -> dict[str, Fact]:
    return {fact.name: fact for fact in check_installation()}


def test_what_is_declared_is_read_from_the_metadata() -> None:
    needs = {(need.package, need.extra): need.least for need in declared()}
    assert needs["numpy", None] == "2.0"
    assert needs["torch", "train"] == "2.10"
    assert ("torch", None) not in needs


def test_a_good_installation_is_a_table_and_exit_code_0() -> None:
    result = run()
    assert result.exit_code == 0
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert __version__ in lines["nlphub"]
    assert {"python", "packages", "extra train", "threads", "modules", "tokenizers", "recipes", "store", "network", "mirrors"} <= set(lines)
    assert "numpy" in lines["packages"]
    assert "nothing installed" in lines["store"]
    assert "broken" not in result.stdout


def test_the_facts_as_json() -> None:
    values = json.loads(run("--json").stdout)
    assert all(set(value) == {"name", "state", "facts"} for value in values)
    assert values[0] == {"name": "nlphub", "state": "ok", "facts": values[0]["facts"]}


def test_an_extra_that_is_absent_is_told_with_its_command_and_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_torch(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(installation.metadata, "version", without_torch)
    assert facts()["extra train"] == Fact("extra train", "absent", "without torch: pip install 'nlphub[train]'")
    assert run().exit_code == 0


def test_packages_that_cannot_be_imported_or_are_too_old_are_broken(light: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    light["onnxruntime"] = OSError("libfoo.so.1: cannot open shared object file\nmore")
    version = metadata.version
    monkeypatch.setattr(installation.metadata, "version", lambda name: "1.26.4" if name == "numpy" else version(name))
    fact = facts()["packages"]
    assert fact.state == "broken"
    assert "numpy 1.26.4 is older than 2.0" in fact.text
    assert "cannot be imported (libfoo.so.1: cannot open shared object file)" in fact.text
    assert run().exit_code == 1


def test_a_damaged_module_in_the_store_is_broken_and_told_how_to_mend() -> None:
    card = find_module("ernie_tiny")
    folder = store.install(card)
    assert f"ernie_tiny {card.version}" in facts()["store"].text
    vocabulary = folder / "vocab.txt"
    vocabulary.chmod(0o600)
    vocabulary.write_text("x", encoding="utf-8")
    fact = facts()["store"]
    assert (fact.state, f"nlphub install ernie_tiny --version {card.version}" in fact.text) == ("broken", True)
    assert run().exit_code == 1


def test_settings_that_cannot_be_used_are_all_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NLPHUB_OFFLINE", "maybe")
    monkeypatch.setenv("NLPHUB_MIRRORS", "ftp://mirror")
    monkeypatch.setenv("NLPHUB_REGISTRY", str(tmp_path / "none.json"))
    broken = {name: fact.text for name, fact in facts().items() if fact.state == "broken"}
    assert "NLPHUB_OFFLINE='maybe' is neither on nor off" in broken["network"]
    assert "NLPHUB_MIRRORS has 'ftp://mirror'" in broken["mirrors"]
    assert "none.json" in broken["modules"]
    assert "none.json" in broken["store"]


def test_settings_that_work_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    monkeypatch.setenv("NLPHUB_MIRRORS", "https://mirror.example/modules")
    assert facts()["network"].text == "offline: nothing is fetched"
    assert facts()["mirrors"].text == "https://mirror.example/modules"


def test_a_damaged_bundle_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "verify_bundle", lambda card: ["vocab.txt: is missing"] if card.name == "ernie_tiny" else [])
    fact = facts()["modules"]
    assert (fact.state, fact.text) == ("broken", f"ernie_tiny {find_module('ernie_tiny').version}: vocab.txt: is missing")
