"""Registries from elsewhere: signatures, pinned keys, serials and versions that never change; and hostile documents."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nlphub import paths
from nlphub.errors import InputError, MissingExtraError, StoreError, UnknownNameError
from nlphub.hub import own, registry, signing, sources, store, trust
from nlphub.hub.addresses import Address, address_of
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.document import canonical
from nlphub.hub.registry import find_module, load_registry
from nlphub.hub.transport import Patience

EntryOf = Callable[..., FileEntry]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Patience(attempts=2, timeout=0.5, pause=0.0)
    monkeypatch.setattr(sources._download, "__defaults__", (quick,))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "hub.key"


@pytest.fixture
def toy(entry_of: EntryOf, card_of: Callable[..., Card], tmp_path: Path) -> Callable[[str], Card]:
    """``toy(version)``: a card of one small file of its own."""

    def make(version: str) -> Card:
        (tmp_path / f"{version}.json").write_text(version)
        return card_of(entry_of(version.encode(), (tmp_path / f"{version}.json").as_uri(), path="config.json"), version=version)

    return make


@pytest.fixture
def hub(tmp_path: Path, key: Path, toy: Callable[[str], Card]) -> Path:
    """A signed hub with one version, serial 2."""
    folder = tmp_path / "hub"
    own.init(folder, key=key)
    own.add(toy("1.0.0"), to=folder, key=key)
    return folder


@pytest.fixture
def online(server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """``online(hub)``: what the web server has now; NLPHUB_REGISTRY names it."""

    def copy(hub: Path) -> str:
        server.files.clear()
        server.files.update({f"/{path.relative_to(hub).as_posix()}": path.read_bytes() for path in hub.rglob("*") if path.is_file()})
        monkeypatch.setenv("NLPHUB_REGISTRY", server.address)
        return str(server.address)

    return copy


def refresh() -> Any:
    return load_registry(refresh=True)


def test_a_signed_hub_is_used_and_its_key_is_remembered(hub: Path, key: Path, online: Callable[[Path], str], caplog: Any) -> None:
    address = online(hub)
    store.install(find_module("toy"))
    memory = trust.recall(address_of(address))
    assert memory is not None
    assert (memory.key, memory.serial) == (signing.public_key(key), 2)
    assert f"is signed by ed25519:{memory.key}, which is remembered from now on" in caplog.text


def test_a_registry_that_was_changed_after_signing_is_refused(hub: Path, online: Callable[[Path], str], server: Any) -> None:
    online(hub)
    values = json.loads(server.files["/registry.json"])
    for change in (
        lambda: values["modules"]["toy"][0].update(summary="Another toy."),
        lambda: values.update(serial=99),
        lambda: values["signature"].update(value="0" * 128),
    ):
        change()
        server.files["/registry.json"] = json.dumps(values).encode()
        with pytest.raises(InputError, match="has been changed after it was signed"):
            refresh()
    assert not trust.folder(address_of(server.address)).exists()


def test_reordered_keys_and_spaces_do_not_matter_to_a_signature(hub: Path, online: Callable[[Path], str], server: Any) -> None:
    online(hub)
    values = json.loads(server.files["/registry.json"])
    server.files["/registry.json"] = json.dumps(dict(reversed(values.items())), indent=1, ensure_ascii=False).encode()
    assert find_module("toy").version == "1.0.0"


def test_another_key_and_no_key_are_refused_once_a_key_is_known(
    hub: Path, key: Path, online: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = online(hub)
    refresh()
    new = own.sign(hub, tmp_path / "other.key")
    online(hub)
    with pytest.raises(InputError, match=rf"signed by another key, ed25519:{new}, .* nlphub hub forget {address}"):
        refresh()
    assert find_module("toy").version == "1.0.0"  # the copy that was accepted goes on being used
    values = json.loads((hub / "registry.json").read_text("utf-8"))
    del values["signature"]
    (hub / "registry.json").write_text(json.dumps(values), "utf-8")
    online(hub)
    with pytest.raises(InputError, match="is not signed, and has to be signed by"):
        refresh()
    own.sign(hub, tmp_path / "other.key")
    online(hub)
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{address}#ed25519:{new}")  # the new key is given: it replaces the remembered one
    refresh()
    monkeypatch.setenv("NLPHUB_REGISTRY", address)
    refresh()


def test_a_key_that_is_given_is_demanded_at_first_use_and_of_the_copy(
    hub: Path, key: Path, online: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, public = online(hub), signing.public_key(key)
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{address}#ed25519:{'0' * 64}")
    with pytest.raises(InputError, match="another key"):
        load_registry()
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{address}#ed25519:{public.upper()}")
    assert find_module("toy")
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{address}#ed25519:{'0' * 64}")
    with pytest.raises(InputError, match="another key"):
        load_registry()
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{address}#ed25519:12")
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        load_registry()


def test_an_older_registry_is_refused_and_so_is_another_one_of_the_same_serial(
    hub: Path, key: Path, online: Callable[[Path], str], toy: Callable[[str], Card], tmp_path: Path
) -> None:
    shutil.copytree(hub, tmp_path / "old")
    own.add(toy("1.1.0"), to=hub, key=key)
    online(hub)
    assert find_module("toy").version == "1.1.0"
    online(tmp_path / "old")
    with pytest.raises(InputError, match="has the serial 2, and 3 was seen before: it is an old copy"):
        refresh()
    assert find_module("toy").version == "1.1.0"
    own.add(toy("1.2.0"), to=tmp_path / "old", key=key)  # the same serial 3 for something else
    online(tmp_path / "old")
    with pytest.raises(InputError, match="another one than was seen with the same serial 3"):
        refresh()


def test_a_version_that_was_seen_never_gets_other_files(
    online: Callable[[Path], str], toy: Callable[[str], Card], tmp_path: Path, entry_of: EntryOf
) -> None:
    own.add(toy("1.0.0"), to=tmp_path / "one")
    address = online(tmp_path / "one")
    refresh()
    own.init(tmp_path / "none")
    online(tmp_path / "none")
    refresh()  # a version may go away
    files = (entry_of(b"evil", (tmp_path / "e.json").as_uri(), path="config.json"),)
    (tmp_path / "e.json").write_text("evil")
    own.add(replace(toy("1.0.0"), files=files), to=tmp_path / "two")
    online(tmp_path / "two")
    with pytest.raises(InputError, match=r"has other files than before in toy 1\.0\.0, and a published version never changes"):
        refresh()
    assert trust.forget(address_of(address))
    refresh()
    assert not trust.forget(Address("/nowhere/registry.json"))


def test_a_signed_hub_on_a_shared_disk_is_watched_too(
    hub: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: Callable[[str], Card]
) -> None:
    monkeypatch.setenv("NLPHUB_REGISTRY", str(hub))
    old = (hub / "registry.json").read_bytes()
    own.add(toy("1.1.0"), to=hub, key=key)
    assert find_module("toy").version == "1.1.0"
    (hub / "registry.json").write_bytes(old)
    with pytest.raises(InputError, match="it is an old copy"):
        load_registry()
    (hub / "registry.json").write_bytes(old.replace(b"A toy.", b"A joy."))
    with pytest.raises(InputError, match="has been changed after it was signed"):
        load_registry()


def test_a_registry_that_is_signed_is_never_used_unverified(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise MissingExtraError("verifying the signature of a registry needs cryptography: pip install 'nlphub[sign]'")

    monkeypatch.setattr(signing, "require", missing)
    with pytest.raises(MissingExtraError, match=r"nlphub\[sign\]"):
        load_registry([hub])


def test_a_signed_hub_is_changed_with_its_own_key_only(hub: Path, key: Path, toy: Callable[[str], Card], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give its private key with --key FILE"):
        own.add(toy("1.1.0"), to=hub)
    signing.make_key(tmp_path / "other.key")
    with pytest.raises(InputError, match=r"signed by another key.*nlphub hub sign"):
        own.add(toy("1.1.0"), to=hub, key=tmp_path / "other.key")
    assert own.check(hub) == []
    assert own.parse_hub(hub).serial == 2


def test_a_private_key_is_private_and_never_overwritten_and_never_in_the_hub(key: Path, tmp_path: Path) -> None:
    public = signing.make_key(key)
    assert (len(public), key.stat().st_mode & 0o777) == (64, 0o600)
    with pytest.raises(InputError, match="never overwritten"):
        signing.make_key(key)
    key.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        signing.public_key(key)
    key.chmod(0o600)
    key.write_text("-----BEGIN NOTHING-----")
    with pytest.raises(InputError, match="no private key"):
        signing.public_key(key)
    with pytest.raises(InputError, match="lies in the hub"):
        own.init(tmp_path / "new", key=tmp_path / "new" / "hub.key")


def test_signatures_are_those_of_rfc_8032(tmp_path: Path) -> None:
    """Test 2 of section 7.1: one byte 72."""
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert signing.verifies(public, signature, bytes([0x72]))
    assert not signing.verifies(public, signature, bytes([0x73]))
    assert not signing.verifies("f" * 64, signature, bytes([0x72]))


def test_the_network_is_asked_once_then_for_names_that_are_not_known(
    hub: Path, key: Path, online: Callable[[Path], str], server: Any, toy: Callable[[str], Card]
) -> None:
    online(hub)
    find_module("toy")
    find_module("toy")
    load_registry()
    assert [path for path, _ in server.requests] == ["/registry.json"]
    own.add(toy("2.0.0"), to=hub, key=key)
    store.remove("toy", "2.0.0")  # where it was published from
    online(hub)
    assert find_module("toy").version == "1.0.0"
    assert find_module("toy", version="==2.0").version == "2.0.0"  # not in the copy: asked again
    assert len(server.requests) == 2
    with pytest.raises(UnknownNameError):
        find_module("no_such_module")


def test_without_a_network_the_copy_is_used_and_without_a_copy_it_is_an_error(
    hub: Path, online: Callable[[Path], str], server: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    online(hub)
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"is not here yet, and NLPHUB_OFFLINE forbids fetching.*nlphub hub update"):
        load_registry()
    monkeypatch.delenv("NLPHUB_OFFLINE")
    find_module("toy")
    server.files.clear()
    assert refresh().find("toy").version == "1.0.0"
    assert "answers 404" in caplog.text
    assert "going on with the copy of" in caplog.text
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    assert refresh().find("toy").version == "1.0.0"


def stall(handler: Any, content: bytes) -> None:
    handler.answer(200, content[:10], length=len(content))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda handler, content: handler.answer(200, b"[" * 100_000), "not JSON"),
        (lambda handler, content: handler.answer(200, b"<html>login</html>"), "not JSON"),
        (lambda handler, content: handler.answer(200, b"", length=100_000_000), "longer than 4,194,304 bytes"),
        (lambda handler, content: handler.answer(200, b" " * (5 << 20), length=None), "longer than 4,194,304 bytes"),
        (stall, "broke off after 10 of"),
        (lambda handler, content: handler.answer(500, b""), r"answers 500 .*tried 2 times"),
        (
            lambda handler, content: handler.answer(302, b"", {"Location": "file:///etc/passwd"}),
            "Redirection to url 'file:///etc/passwd' is not allowed",
        ),
        (lambda handler, content: handler.answer(200, content, {"Content-Encoding": "gzip"}), "Content-Encoding 'gzip'"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "schema": 1, "modules": {}}'), "a key that is there twice"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "run": "x"}'), "'run' is not a key of a registry"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "serial": -1}'), "serial=-1"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "serial": 1e3}'), "serial="),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "serial": NaN}'), "NaN is no number"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "signature": null}'), "signature: should be left out"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "signature": {"key": "a"}}'), "signature: should be"),
        (lambda handler, content: handler.answer(200, b'{"schema": 1, "modules": {}, "signature": []}'), "signature: should be"),
    ],
    ids=range(16),
)
def test_a_hostile_answer_is_an_error_and_replaces_nothing(
    hub: Path, online: Callable[[Path], str], server: Any, answer: Callable[..., None], reason: str, caplog: Any
) -> None:
    online(hub)
    server.script[:] = [answer, answer]
    with pytest.raises(InputError, match=reason):
        load_registry()
    assert not trust.kept(address_of(server.address)).exists()


def test_a_registry_of_a_network_may_not_name_files_of_this_machine(
    write_registry: Callable[..., Path], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [{"path": "config.json", "bytes": None, "sha256": None, "sources": ["file:///etc/hostname"]}]
    server.files["/registry.json"] = write_registry({"toy": {"files": files}}).read_bytes()
    monkeypatch.setenv("NLPHUB_REGISTRY", server.address)
    with pytest.raises(InputError, match=r"toy 1\.0\.0: config\.json comes from a file:// source"):
        load_registry()
    made = {"files": [], "origins": [{"form": "transformers", "base": "file:///etc/secrets"}]}
    server.files["/registry.json"] = write_registry({"toy": made}).read_bytes()
    with pytest.raises(InputError, match=r"what it is made from \(transformers\) comes from a file:// source"):
        load_registry(refresh=True)


@pytest.mark.parametrize(
    "place",
    [
        "ftp://host/hub",
        "s3://bucket",
        "https://",
        "http://user:word@host/hub",
        "https://host/hub?x=1",
        "https://host/hub#there",
        "http://host/库",
    ],
)
def test_an_address_that_is_none_is_an_error(place: str) -> None:
    with pytest.raises(InputError, match="NLPHUB_REGISTRY has"):
        address_of(place)


def test_addresses_are_read_as_people_write_them(tmp_path: Path) -> None:
    assert address_of("https://host/hub/").place == address_of("https://host/hub/registry.json").place == "https://host/hub/registry.json"
    assert address_of("https://host/hub").inside("modules/a/1.0/x.json") == "https://host/hub/modules/a/1.0/x.json"
    assert address_of(tmp_path).path == tmp_path / "registry.json"
    assert address_of("http://hub.bank").is_open_to_changes
    assert not address_of("http://127.0.0.1:1").is_open_to_changes


def test_what_is_signed_has_one_text() -> None:
    values = {"modules": {"é": 1}, "schema": 1, "signature": {"key": "x"}}
    assert canonical(values) == b'{"modules":{"\\u00e9":1},"schema":1}'


def test_a_damaged_memory_is_said_and_never_ignored(hub: Path, online: Callable[[Path], str], server: Any) -> None:
    online(hub)
    refresh()
    file = trust.folder(address_of(server.address)) / "trust.json"
    for damage in ("{", "[]", '{"address": 1}', '{"address": "x", "serial": "2"}'):
        file.write_text(damage)
        with pytest.raises(StoreError, match=r"trust\.json is damaged"):
            refresh()
    assert paths.home() in file.parents


def test_the_fetch_error_of_a_first_use_names_the_registry(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{server.address}/none")
    with pytest.raises(InputError, match=f"{server.address}/none/registry.json: answers 404"):
        registry.list_modules()
