"""registry.json: found by name, alias and version; merged without one hub taking over another's names; every mistake at once."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import nlphub
from nlphub import paths
from nlphub.errors import InputError, UnknownNameError
from nlphub.hub.cards import TASKS
from nlphub.hub.registry import find_module, list_modules, load_registry, search_modules

WriteRegistry = Callable[..., Path]


def test_the_bundled_registry_knows_ernie_tiny_and_says_whether_its_weights_are_random() -> None:
    card = find_module("ernie_tiny")
    assert (card.licence, card.language, card.tokenizer, card.upstream) == ("Apache-2.0", "zh", "zh_char", None)
    folder = paths.bundle() / "modules" / "ernie_tiny"
    assert (folder / "README.md").read_text("utf-8").startswith(f"# ernie_tiny {card.version}\n")
    assert {"mlm", "seq-cls"} <= set(card.tasks)
    assert ("RANDOM weights" in card.summary) == ("initial_seed" in json.loads((folder / "config.json").read_text("utf-8")))
    assert nlphub.find_module("ernie_tiny") == card
    assert card in nlphub.list_modules()


@pytest.mark.parametrize("name", ["ernie_tiny", "ernie-tiny", "ERNIE-Tiny", "ernie.tiny", " ernie_tiny "])
def test_dashes_dots_and_case_do_not_matter(name: str) -> None:
    assert find_module(name).name == "ernie_tiny"


def test_an_unknown_name_gets_the_nearest_one_and_the_next_command() -> None:
    total = len(list_modules())
    with pytest.raises(
        UnknownNameError, match=rf"'erni_tini'\. Did you mean 'ernie_tiny' or 'ernie_tiny_baidu'\? `nlphub list` shows all {total}\."
    ):
        find_module("erni-tini".replace("-", "_"))
    with pytest.raises(UnknownNameError, match=r"There is no module 'qqqqqq'\. `nlphub list`"):
        find_module("qqqqqq")


def test_baidus_checkpoint_is_not_ours() -> None:
    baidu = find_module("ernie-tiny-baidu")
    assert (baidu.is_made, baidu.architecture, baidu.tokenizer) == (True, "ernie", "ernie_subword")
    assert find_module("ernie-tiny").name == "ernie_tiny"


def test_versions_and_conditions_choose_the_newest_that_fits(write_registry: WriteRegistry) -> None:
    registry = load_registry([write_registry({"toy": [{"version": "0.9.0"}, {"version": "0.10.0"}, {"version": "2.0.0"}]})])
    assert registry.find("toy").version == "2.0.0"
    assert registry.find("toy", "<2").version == "0.10.0"
    assert registry.find("toy", "0.9").version == "0.9.0"
    assert [card.version for card in registry.cards] == ["0.9.0", "0.10.0", "2.0.0"]
    assert [card.version for card in registry.newest] == ["2.0.0"]
    with pytest.raises(UnknownNameError, match=r"toy has no version '>3' in this registry; there is 0\.9\.0, 0\.10\.0, 2\.0\.0"):
        registry.find("toy", ">3")


def test_modules_are_listed_by_task() -> None:
    assert "ernie_tiny" in [card.name for card in list_modules(task="seq-cls")]
    assert all("regression" in card.tasks for card in list_modules(task="regression"))
    with pytest.raises(UnknownNameError, match="Did you mean 'seq-cls'"):
        list_modules(task="seqcls")


def test_every_word_of_a_search_has_to_occur(monkeypatch: pytest.MonkeyPatch, write_registry: WriteRegistry) -> None:
    entries = {"bank_intents": {"summary": "意图 of a bank.", "aliases": ["bank-v2"]}, "poems": {"summary": "古诗", "tasks": ["mlm"]}}
    monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry(entries)))
    assert [card.name for card in search_modules("意图")] == ["bank_intents"]
    assert [card.name for card in search_modules("MLM poems")] == ["poems"]
    assert [card.name for card in search_modules("bank-v2")] == ["bank_intents"]
    assert search_modules("poems seq-cls") == []


def test_another_hub_is_a_folder_and_its_bundle_is_its_own(monkeypatch: pytest.MonkeyPatch, write_registry: WriteRegistry) -> None:
    file = write_registry({"toy": {}})
    monkeypatch.setenv("NLPHUB_REGISTRY", str(file.parent))
    assert find_module("toy").files[0].sources == (f"{file.parent.as_uri()}/config.json",)
    assert find_module("ernie_tiny").files[0].sources[0].startswith("bundle:")


def test_another_hub_cannot_take_over_a_name(monkeypatch: pytest.MonkeyPatch, write_registry: WriteRegistry) -> None:
    for entries in ({"ernie_tiny": {"version": "99.0"}}, {"other": {"aliases": ["ernie-tiny"]}}):
        monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry(entries)))
        with pytest.raises(InputError, match="'ernie_tiny' is taken by ernie_tiny of"):
            load_registry()


def test_one_alias_for_two_modules_or_one_version_twice_is_an_error(write_registry: WriteRegistry) -> None:
    with pytest.raises(InputError, match="'x_1' is taken by one"):
        load_registry([write_registry({"one": {"aliases": ["x-1"]}, "two": {"aliases": ["x.1"]}})])
    with pytest.raises(InputError, match=r"version 1\.0\.0 is there twice"):
        load_registry([write_registry({"toy": [{}, {}]})])


def test_all_mistakes_are_reported_at_once(write_registry: WriteRegistry) -> None:
    wrong = {
        "Bad-Name": {},
        "toy": {"version": "one", "tasks": ["fly"], "parameters": "9", "licence": "", "colour": "red", "summary": "two\nlines"},
        "other": {"files": [{"path": "../x.json", "bytes": -1, "sha256": "abc", "sources": []}]},
        "empty": {"files": []},
        "twice": {"files": [{"path": "a.json", "bytes": 1, "sha256": None, "sources": ["bundle:a"]}] * 2},
        "true": {"files": [{"path": "a.json", "bytes": True, "sha256": None, "sources": ["ftp://x/a"]}]},
    }
    with pytest.raises(InputError) as caught:
        load_registry([write_registry(wrong)])
    text = "\n".join(caught.value.problems)
    for expected in (
        "Bad-Name: name=", "toy: version='one'", "toy: tasks.0='fly': no such task", "toy: parameters='9'", "toy: licence=''",
        "toy: colour is not a key", "toy: summary=", "other: files.0.path='../x.json'", "other: files.0.bytes=-1",
        "other: files.0.sha256='abc'", "other: files.0.sources=[]", "empty: files=[]", "twice: files=", "true: files.0.bytes=True",
        "true: files.0.sources.0='ftp://x/a'",
    ):  # fmt: skip
        assert expected in text, expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[]", "should be"),
        ("{}", "should be"),
        ('{"schema": 2, "modules": {}}', "a newer schema needs a newer nlphub"),
        ('{"schema": 1, "modules": []}', "should be"),
        ('{"schema": 1, "schema": 1, "modules": {}}', "schema: a key that is there twice"),
        ('{"schema": 1, "modules": {"a": 1}}', "a: its entry=1"),
        ('{"schema": 1, "modules": {"a": {"summary": "\\ud800"}}}', "a: "),
        ("[" * 100_000, "not JSON"),
        (b"\xff{}".decode("latin-1"), "not JSON"),
    ],
    ids=range(10),
)
def test_a_damaged_registry_is_an_error_with_its_path(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "registry.json"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError, match=reason) as caught:
        load_registry([file])
    assert str(file) in str(caught.value)


def test_a_registry_has_a_bounded_size(tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    file.write_bytes(b" " * ((4 << 20) + 1))
    with pytest.raises(InputError, match="longer than 4,194,304 bytes"):
        load_registry([file])


def test_a_registry_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{tmp_path / 'none.json'}, {tmp_path}")
    with pytest.raises(InputError, match="No such file") as caught:
        load_registry()
    assert len(caught.value.problems) == 2


def test_every_bundled_file_is_what_the_registry_promises() -> None:
    """Without the tool that writes the registry: a slow twin of its --check."""
    import hashlib

    document = json.loads((paths.bundle() / "registry.json").read_text("utf-8"))
    for name, card in document["modules"].items():
        assert card["tasks"] == sorted(card["tasks"])
        assert set(card["tasks"]) <= set(TASKS)
        for entry in card["files"]:
            for source in entry["sources"]:
                if source.startswith("bundle:"):
                    data = (paths.bundle() / source.removeprefix("bundle:")).read_bytes()
                    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]), f"{name}: {source}"
                    assert os.path.basename(source) == entry["path"]
