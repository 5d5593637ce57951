"""Versions that are taken back, and registries whose time is over: nothing new is installed from them, what is installed goes on."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nlphub.cli.app import app
from nlphub.errors import InputError, UnknownNameError
from nlphub.hub import own, store, withdrawing
from nlphub.hub.registry import find_module, list_modules, load_registry

TODAY = datetime.now(UTC).date()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub with two versions of one small module."""
    folder = tmp_path / "hub"
    own.init(folder)
    card = {
        "aliases": [], "summary": "A toy.", "licence": "Apache-2.0", "language": "zh", "architecture": "ernie_tiny", "parameters": None,
        "tokenizer": "zh_char", "tasks": ["seq-cls"], "upstream": None,
    }  # fmt: skip
    with own.changed(folder, None) as values:
        for version in ("1.0.0", "1.1.0"):
            path = f"modules/toy/{version}/vocab.txt"
            (folder / path).parent.mkdir(parents=True)
            (folder / path).write_text(version)
            entry = own._entry(folder / path, "vocab.txt", f"bundle:{path}")
            own._add(values["modules"], "toy", {**card, "version": version, "files": [entry]})
    monkeypatch.setenv("NLPHUB_REGISTRY", str(folder))
    return folder


def call(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def warnings(caplog: pytest.LogCaptureFixture, action: Callable[[], Any]) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        action()
    return [record.getMessage() for record in caplog.records]


def test_a_yanked_version_is_not_chosen_and_warns_where_it_is_installed(hub: Path, caplog: pytest.LogCaptureFixture) -> None:
    store.install(find_module("toy", version="1.0.0"))
    call("hub", "yank", "toy==1.1.0", "--to", str(hub), "--reason", "wrong labels")
    assert find_module("toy").version == "1.0.0"
    with pytest.raises(UnknownNameError, match=r"toy 1\.1\.0 is not to be installed any more: wrong labels"):
        find_module("toy==1.1.0")
    call("hub", "yank", "toy==1.1.0", "--to", str(hub), "--undo")
    store.install(find_module("toy==1.1.0"))
    call("hub", "yank", "toy==1.1.0", "--to", str(hub), "--reason", "wrong labels")
    assert warnings(caplog, lambda: find_module("toy")) == ["toy 1.1.0 is installed and was yanked: wrong labels"]
    assert find_module("toy").version == "1.1.0"  # what is here goes on
    assert find_module("toy", refresh=True).version == "1.0.0"  # whoever installs gets the other one
    assert {card.name: card.version for card in list_modules()}["toy"] == "1.0.0"
    assert "wrong labels" in call("show", "toy", "--version", "1.1.0")
    assert own.check(hub) == []


def test_a_module_of_which_all_versions_are_yanked_says_why(hub: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        withdrawing.yank(hub, "toy", version, reason="leaked texts")
    with pytest.raises(UnknownNameError, match="leaked texts"):
        find_module("toy")
    assert "toy" in {card.name for card in list_modules()}


def test_after_its_last_day_nothing_new_is_installed_and_what_is_here_goes_on(hub: Path, caplog: pytest.LogCaptureFixture) -> None:
    withdrawing.expire(hub, TODAY)
    store.install(find_module("toy"))
    withdrawing.expire(hub, TODAY - timedelta(days=1))
    (said,) = warnings(caplog, lambda: find_module("toy"))
    assert f"its registry expired on {TODAY - timedelta(days=1)}" in said
    with pytest.raises(UnknownNameError, match=r"expired on .*nlphub hub update"):
        find_module("toy==1.0.0")
    call("hub", "expire", str(hub), "--on", "2999-12-31")
    assert json.loads((hub / "registry.json").read_text("utf-8"))["expires"] == "2999-12-31"
    assert find_module("toy==1.0.0").yanked is None
    call("hub", "expire", str(hub))
    assert "expires" not in json.loads((hub / "registry.json").read_text("utf-8"))


def test_what_is_taken_back_is_signed_too(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "hub.key"
    public = own.sign(hub, key)
    withdrawing.expire(hub, TODAY, key=key)
    withdrawing.yank(hub, "toy", "1.0.0", reason="old", key=key)
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{hub}#ed25519:{public}")
    assert find_module("toy").version == "1.1.0"
    text = (hub / "registry.json").read_text("utf-8").replace(TODAY.isoformat(), "2999-12-31")
    (hub / "registry.json").write_text(text, "utf-8")
    with pytest.raises(InputError, match="changed after it was signed"):
        load_registry()
    with pytest.raises(InputError, match="give its private key"):
        withdrawing.yank(hub, "toy", "1.1.0", reason="x")


@pytest.mark.parametrize("expires", [1, "", "soon", "2027-13-01", "20270131", None, "2027-01-31T00:00:00"])
def test_a_day_that_is_none_is_an_error(hub: Path, expires: Any) -> None:
    values = json.loads((hub / "registry.json").read_text("utf-8")) | {"expires": expires}
    (hub / "registry.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(InputError, match=r"expires=.*: should be a day"):
        load_registry()


def test_wrong_words_are_refused(hub: Path) -> None:
    for words, complaint in (
        (("yank", "toy==9.0.0", "--to", str(hub), "--reason", "x"), r"has no toy '9\.0\.0'; there is 1\.0\.0, 1\.1\.0"),
        (("yank", "toy", "--to", str(hub), "--reason", "x"), "has no toy ''"),
        (("yank", "none==1.0.0", "--to", str(hub), "--reason", "x"), "there is no version of it"),
        (("yank", "toy==1.0.0", "--to", str(hub), "--reason", " "), "say in one line why"),
        (("yank", "toy==1.0.0", "--to", str(hub), "--reason", "two\nlines"), "one line of printable characters"),
        (("yank", "toy==1.0.0", "--to", str(hub)), "give --reason TEXT, or --undo"),
        (("expire", str(hub), "--on", "soon"), "is no day"),
    ):
        with pytest.raises(InputError, match=complaint):
            call("hub", *words)
    assert date.fromisoformat("2027-01-31")
