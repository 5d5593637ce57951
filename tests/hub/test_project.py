"""nlphub.lock of a project: the same bytes for everybody who works on it, or an error that names the differences."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nlphub.cli.app import app
from nlphub.errors import InputError, UnknownNameError
from nlphub.hub import project, store
from nlphub.hub.cards import FileEntry
from nlphub.hub.lockfile import Made
from nlphub.hub.registry import find_module

WORD = b"a vocabulary\n"


@pytest.fixture
def toy(write_registry: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """``toy(content=..., digest=...)``: a hub with one file, which the registry knows or not. Returns the registry."""
    import hashlib

    def make(content: bytes = WORD, *, digest: bool = True, version: str = "1.0.0") -> Path:
        facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} if digest else {"bytes": None, "sha256": None}
        registry: Path = write_registry(
            {"toy": {"version": version, "files": [{"path": "vocab.txt", "sources": ["bundle:vocab.txt"], **facts}]}}
        )
        (registry.parent / "vocab.txt").write_bytes(content)
        monkeypatch.setenv("NLPHUB_REGISTRY", str(registry))
        return registry

    monkeypatch.chdir(tmp_path)
    return make


def call(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("digest", [True, False], ids=["registry knows it", "pinned at first install"])
def test_a_pinned_module_is_installed_again_elsewhere(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: bool) -> None:
    toy(digest=digest)
    assert "is pinned in nlphub.lock" in call("install", "toy", "--pin")
    lock = (tmp_path / "nlphub.lock").read_bytes()
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    assert "as nlphub.lock pins it" in call("install", "--locked")
    assert store.verify(find_module("toy")) == []
    assert json.loads(call("install", "toy", "--locked", "--json"))["modules"][0]["version"] == "1.0.0"
    assert (tmp_path / "nlphub.lock").read_bytes() == lock


@pytest.mark.parametrize("digest", [True, False])
def test_other_bytes_under_the_same_version_are_refused(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: bool) -> None:
    toy()
    call("install", "toy", "--pin")
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    toy(b"other bytes\n", digest=digest)
    with pytest.raises(Exception, match=r"(?s)vocab\.txt.*(is pinned|promised)"):
        call("install", "--locked")
    assert store.installed() == []


def test_a_store_with_other_bytes_is_refused_and_nothing_is_changed(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(digest=False)
    call("install", "toy", "--pin")
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    toy(b"other bytes\n", digest=False)
    call("install", "toy")
    with pytest.raises(Exception, match=r"(?s)vocab\.txt"):
        call("install", "--locked")
    assert (store.folder(find_module("toy")) / "vocab.txt").read_bytes() == b"other bytes\n"


def test_newer_versions_do_not_count_and_missing_ones_are_named(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy()
    call("install", "toy", "--pin")
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    toy(version="2.0.0")
    with pytest.raises(UnknownNameError, match=r"toy has no version '==1\.0\.0'"):
        call("install", "--locked")
    with pytest.raises(InputError, match=r"does not pin 'ernie_tiny'; it has toy\. Add it: nlphub install ernie_tiny --pin"):
        call("install", "ernie_tiny", "--locked")
    toy()
    call("install", "ernie_tiny", "--pin")
    assert set(project.read(tmp_path / "nlphub.lock")) == {"ernie_tiny", "toy"}


def test_a_module_that_was_made_is_pinned_by_what_it_was_made_from(tmp_path: Path, card_of: Any, entry_of: Any) -> None:
    raw = FileEntry("pytorch_model.bin", 3, "1" * 64, (f"hf://org/small@{'a' * 40}/pytorch_model.bin",))
    pin = project.Pin("1.0.0", {"config.json": (2, "0" * 64)}, Made("transformers", (raw,)))
    project.write(tmp_path / project.NAME, {"toy": pin})
    assert project.read(tmp_path / project.NAME) == {"toy": pin}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "name a module, or give --locked"),
        (("toy", "--pin", "--locked"), "--pin and --locked"),
        (("toy", "--locked", "--version", "1"), "leave --version out"),
        (("toy", "--out", "x"), "--out is for"),
        (("x.zip", "--pin"), "a .zip is what it is"),
        (("--locked",), "write one with: nlphub install NAME --pin"),
    ],
)
def test_words_that_make_no_sense_together_are_refused(toy: Any, words: tuple[str, ...], complaint: str) -> None:
    toy()
    with pytest.raises(InputError, match=complaint):
        call("install", *words)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"schema": 2, "modules": {}}', '{"schema": 1, "modules": []}', '{"schema": 1, "modules": {}, "modules": {}}',
        '{"schema": 1, "modules": {"../x": {"version": "1.0", "files": {}}}}',
        '{"schema": 1, "modules": {"toy": {"version": "1.0", "files": {}}}}',
        '{"schema": 1, "modules": {"toy": {"version": "x", "files": {"a.json": {"bytes": 1, "sha256": "%s"}}}}}' % ("0" * 64),
        '{"schema": 1, "modules": {"toy": {"version": "1.0", "files": {"../a.json": {"bytes": 1, "sha256": "%s"}}}}}' % ("0" * 64),
        '{"schema": 1, "modules": {"toy": {"version": "1.0", "files": {"a.json": {"bytes": 1, "sha256": "x"}}}}}',
        '{"schema": 1, "modules": {"toy": {"version": "1.0", "more": 1, "files": {"a.json": {"bytes": 1, "sha256": "%s"}}}}}' % ("0" * 64),
        "[" * 100_000,
    ],
    ids=range(13),
)  # fmt: skip
def test_a_damaged_lock_is_an_error_with_its_path(tmp_path: Path, text: str) -> None:
    (tmp_path / project.NAME).write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"nlphub\.lock is damaged"):
        project.read(tmp_path / project.NAME)
