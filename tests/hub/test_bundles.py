"""A bundle brings modules to a machine without a network; a hostile zip is refused before anything of it is used."""

import hashlib
import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nlphub import paths
from nlphub.errors import InputError, NlphubError, StoreError
from nlphub.hub import bundles, own, store
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.manifest import MANIFEST
from nlphub.hub.registry import find_module

Members = dict[str, bytes]


@pytest.fixture
def toy(entry_of: Callable[..., FileEntry], card_of: Callable[..., Card], content: bytes, tmp_path: Path) -> Card:
    """A module of two files that needs no server."""
    (tmp_path / "origin").write_bytes(content)
    source = (tmp_path / "origin").as_uri()
    return card_of(entry_of(content, source, path="vocab.txt"), entry_of(content, source, path="onnx/model.onnx"))


@pytest.fixture
def site(toy: Card, tmp_path: Path) -> Path:
    bundles.write_bundle(tmp_path / "site.zip", [toy])
    return tmp_path / "site.zip"


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Call it after packing: another machine, offline."""
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "bank"))
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    return tmp_path / "bank"


def everything_outside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "bank" not in path.parts)


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, members: Members, *, change: Callable[[zipfile.ZipInfo], None] | None = None, mend: bool = True) -> Path:
    """Write a zip as nlphub does, with a manifest that fits it unless ``mend`` is off."""
    if mend:
        files = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items() if name != MANIFEST
        }
        members = {**members, MANIFEST: json.dumps({"schema": 1, "files": files}).encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            if change is not None and name not in (MANIFEST, "registry.json"):
                change(info)
            archive.writestr(info, data)
    return path


def with_registry(members: Members, change: Callable[[dict[str, Any]], Any]) -> Members:
    registry = json.loads(members["registry.json"])
    change(registry)
    return {**members, "registry.json": json.dumps(registry).encode()}


def test_a_bundle_is_installed_and_verified_and_known_by_name(site: Path, toy: Card, bank: Path) -> None:
    bundle, (folder,) = bundles.install_bundle(site)
    assert folder == store.folder(toy)
    assert folder.is_relative_to(bank)
    assert store.verify(find_module("toy")) == []
    assert [card.title for card in bundle.cards] == ["toy 1.0.0"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    bundles.install_bundle(site)  # what is right is left alone
    assert before.items() >= {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".txt", ".onnx")}.items()


def test_equal_contents_give_equal_bytes(site: Path, toy: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "second"))
    (tmp_path / "elsewhere").write_bytes((tmp_path / "origin").read_bytes())
    moved = replace(toy, files=tuple(replace(entry, sources=((tmp_path / "elsewhere").as_uri(),)) for entry in reversed(toy.files)))
    os.utime(tmp_path / "elsewhere", (0, 0))
    bundles.write_bundle(tmp_path / "again.zip", [moved, moved])
    assert (tmp_path / "again.zip").read_bytes() == site.read_bytes()
    with zipfile.ZipFile(site) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == [MANIFEST, *sorted(info.filename for info in infos[1:])]
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}


def test_an_unzipped_bundle_is_a_hub(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bank: Path) -> None:
    for name, data in members_of(site).items():
        (tmp_path / "unzipped" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unzipped" / name).write_bytes(data)
    assert own.check(tmp_path / "unzipped") == [f"{MANIFEST}: no file of this hub; nothing reads it"]
    monkeypatch.setenv("NLPHUB_REGISTRY", str(tmp_path / "unzipped"))
    store.install(find_module("toy"))


def test_a_damaged_member_is_found_and_leaves_no_module(site: Path, bank: Path) -> None:
    data = bytearray(site.read_bytes())
    middle = data.find((site.parent / "origin").read_bytes()) + 100_000
    data[middle] ^= 1
    site.write_bytes(data)
    with pytest.raises(NlphubError, match=r"vocab\.txt|onnx|damaged|sha256"):
        bundles.install_bundle(site)
    assert store.installed() == []
    assert list(bank.rglob("*.part")) == []


def test_an_interrupted_installation_goes_on(site: Path, toy: Card, bank: Path) -> None:
    with bundles.open_bundle(site) as (bundle, archive):
        entry = bundle.cards[0].files[0]
        place = store.folder(toy)
        (place / "onnx").mkdir(parents=True, mode=0o700)
        for folder in (place, *place.parents):
            if folder.is_relative_to(bank):
                folder.chmod(0o700)
        bundles._receive(archive, entry, place / entry.path)
    assert store.installed() == []
    bundles.install_bundle(site)
    assert [(found.name, store.verify(found)) for found in store.installed()] == [("toy", [])]


def test_a_bundle_that_contradicts_a_registry_here_is_refused(site: Path, bank: Path, write_registry: Any, monkeypatch: Any) -> None:
    files = [{"path": "vocab.txt", "bytes": 1, "sha256": "0" * 64, "sources": ["bundle:vocab.txt"]}]
    monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry({"toy": {"files": files}})))
    with pytest.raises(InputError, match=r"toy 1\.0\.0: has other files than the toy 1\.0\.0 of file://"):
        bundles.install_bundle(site)


def test_recipes_and_wheels_stay_in_the_zip_unless_a_folder_is_named(toy: Card, tmp_path: Path, bank: Path) -> None:
    recipe = tmp_path / "意图.yaml"
    recipe.write_text("task: seq-cls\n")
    with pytest.raises(InputError, match="is neither"):
        bundles.write_bundle(tmp_path / "site.zip", [toy], recipes=[recipe])
    recipe = recipe.rename(tmp_path / "intent.yaml")
    for wrong, reason in (([recipe, recipe], "two files of this name"), ([tmp_path / "none.yaml"], "is no file")):
        with pytest.raises(InputError, match=reason):
            bundles.write_bundle(tmp_path / "site.zip", [toy], recipes=wrong)
    with pytest.raises(InputError, match=r"no \.whl file"):
        bundles.write_bundle(tmp_path / "site.zip", [toy], wheels=tmp_path)
    with pytest.raises(InputError, match=r"ends in \.zip"):
        bundles.write_bundle(tmp_path / "site.tar", [toy])
    with pytest.raises(InputError, match="at least one module"):
        bundles.write_bundle(tmp_path / "site.zip", [])
    bundles.write_bundle(tmp_path / "site.zip", [toy], recipes=[recipe])
    assert bundles.install_bundle(tmp_path / "site.zip")[0].extras == ["recipes/intent.yaml"]
    assert not list(bank.rglob("*.yaml"))
    bundles.install_bundle(tmp_path / "site.zip", extras_to=tmp_path / "out")
    assert (tmp_path / "out" / "recipes" / "intent.yaml").read_text() == "task: seq-cls\n"


EVIL = b"evil"
NAMES = [
    "../evil.json", "modules/../../evil.json", "/etc/evil.json", "modules/toy/1.0.0/../../../../evil.json",
    "modules/toy/1.0.0//evil.json", "modules\\toy\\1.0.0\\evil.json", "C:/evil.json", "modules/toy/1.0.0/evil.py",
    "modules/toy/1.0.0/lock.json", "modules/toy/1.0.0/evil.pkl", "modules/toy/1.0.0/con.json", "modules/toy/1.0.0/.hidden.json",
    "modules/toy/1.0.0/x\n.json", "modules/toy/latest/evil.json", "evil.json", "recipes/../evil.yaml", "recipes/sub/evil.yaml",
    "wheels/../../evil.whl", "recipes/..evil..yaml", "modules/ernie_tiny/transformer.py",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_member_with_a_hostile_name_is_refused(site: Path, bank: Path, tmp_path: Path, name: str) -> None:
    before = everything_outside(tmp_path)
    pack(site, {**members_of(site), name: EVIL})
    with pytest.raises(InputError):
        bundles.install_bundle(site, extras_to=bank / "out")
    assert everything_outside(tmp_path) == before
    assert store.installed() == []


def listed_twice(site: Path, members: Members) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(site, "a") as archive:
        archive.writestr("modules/toy/1.0.0/vocab.txt", EVIL)


def links(site: Path, members: Members) -> None:
    pack(site, members, change=lambda info: setattr(info, "external_attr", (stat.S_IFLNK | 0o777) << 16))


def folders(site: Path, members: Members) -> None:
    pack(site, {**members, "modules/toy/1.0.0/": b""}, mend=False)


def bomb(site: Path, members: Members) -> None:
    zeros = {"modules/toy/1.0.0/vocab.txt": bytes(50_000_000)}
    pack(site, {**members, **zeros}, change=lambda info: setattr(info, "compress_type", zipfile.ZIP_DEFLATED))


def overlapping(site: Path, members: Members) -> None:
    """Two entries of the table of contents for the same bytes: many such make a bomb of a stored file."""
    name, other = b"modules/toy/1.0.0/vocab.txt", b"modules/toy/1.0.0/vocac.txt"
    pack(site, {**members, other.decode(): members[name.decode()]})
    data = bytearray(site.read_bytes())
    first, second = (data.rfind(text) - 46 for text in (name, other))
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    site.write_bytes(data)


def says_more_than_it_has(site: Path, members: Members) -> None:
    data = bytearray(site.read_bytes())
    entry = data.rfind(b"modules/toy/1.0.0/vocab.txt") - 46
    data[entry + 20 : entry + 28] = struct.pack("<II", 4_000_000_000, 4_000_000_000)
    site.write_bytes(data)


def encrypted(site: Path, members: Members) -> None:
    data = bytearray(site.read_bytes())
    entry = data.rfind(b"modules/toy/1.0.0/vocab.txt") - 46
    data[entry + 8] |= 1
    site.write_bytes(data)


def huge_directory(site: Path, members: Members) -> None:
    data = bytearray(site.read_bytes())
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<I", 100 << 20)
    site.write_bytes(data)


def huge_manifest(site: Path, members: Members) -> None:
    pack(site, {**members, MANIFEST: b" " * (5 << 20)}, mend=False)


def huge_registry(site: Path, members: Members) -> None:
    pack(site, {**members, "registry.json": b" " * (5 << 20)})


ORIGIN = {"form": "transformers", "base": "https://127.0.0.1:9/none"}
HOSTILE: dict[str, tuple[Callable[[Path, Members], Any], str]] = {
    "a member twice": (listed_twice, "is in the zip 2 times"),
    "links": (links, "is no regular file but a folder, a link or a device"),
    "folders": (folders, "is no regular file"),
    "a bomb": (bomb, "is compressed"),
    "overlapping members": (overlapping, "two members share|verlapped"),
    "more bytes than the zip has": (says_more_than_it_has, "has 4,000,000,000 bytes"),
    "encrypted": (encrypted, "is encrypted"),
    "a table of contents of 100 MB": (huge_directory, "its table of contents has 104,857,600 bytes"),
    "a manifest of 5 MB": (huge_manifest, "larger than"),
    "a registry of 5 MB": (huge_registry, "larger than"),
    "no zip": (lambda site, _: site.write_bytes(b"PK nothing"), "no bundle, or a damaged one"),
    "empty": (lambda site, _: site.write_bytes(b""), "no bundle, or a damaged one"),
    "truncated": (lambda site, _: site.write_bytes(site.read_bytes()[:-30]), "no bundle, or a damaged one"),
    "no manifest": (lambda site, m: pack(site, {n: d for n, d in m.items() if n != MANIFEST}, mend=False), "no bundle of nlphub"),
    "no registry": (lambda site, m: pack(site, {n: d for n, d in m.items() if n != "registry.json"}), "should name registry.json"),
    "a member that nobody names": (lambda site, m: pack(site, {**m, "wheels/x.whl": EVIL}, mend=False), "not in bundle.json"),
    "a member that is missing": (
        lambda site, m: pack(site, {n: d for n, d in m.items() if not n.endswith("vocab.txt")}, mend=False), "not in the zip",
    ),
    "another schema": (lambda site, m: pack(site, {**m, MANIFEST: b'{"schema": 2, "files": {}}'}, mend=False), "newer nlphub"),
    "keys twice": (lambda site, m: pack(site, {**m, MANIFEST: b'{"schema": 1, "schema": 1}'}, mend=False), "there twice"),
    "deep JSON": (lambda site, m: pack(site, {**m, MANIFEST: b"[" * 100_000}, mend=False), "not JSON"),
    "facts of a wrong kind": (
        lambda site, m: pack(site, {**m, MANIFEST: b'{"schema": 1, "files": {"registry.json": {"bytes": -1, "sha256": 3}}}'}, mend=False),
        "bytes=-1",
    ),
    "a card with an unknown key": (
        lambda site, m: pack(site, with_registry(m, lambda r: r["modules"]["toy"][0].update(run="x"))), "run is not a key",
    ),
    "a card that only says how to make it": (
        lambda site, m: pack(site, with_registry(m, lambda r: r["modules"]["toy"][0].update(files=[], origins=[ORIGIN]))),
        "only a way to make it",
    ),
    "a source elsewhere": (
        lambda site, m: pack(
            site, with_registry(m, lambda r: r["modules"]["toy"][0]["files"][0].update(sources=["file:///etc/passwd"]))
        ),
        "does not come from this bundle",
    ),
    "another digest in the card": (
        lambda site, m: pack(site, with_registry(m, lambda r: r["modules"]["toy"][0]["files"][0].update(sha256="0" * 64))),
        "not in the manifest with this size and digest",
    ),
    "an unknown digest in the card": (
        lambda site, m: pack(site, with_registry(m, lambda r: r["modules"]["toy"][0]["files"][0].update(sha256=None))),
        "not in the manifest with this size and digest",
    ),
    "a file of no module": (lambda site, m: pack(site, {**m, "modules/toy/9.9/x.json": EVIL}), "belongs to no module"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_zip_is_refused_before_anything_of_it_is_used(site: Path, bank: Path, case: str) -> None:
    make, reason = HOSTILE[case]
    make(site, members_of(site))
    with pytest.raises(NlphubError, match=reason):
        bundles.install_bundle(site, extras_to=bank / "out")
    assert store.installed() == []
    assert not [path for path in bank.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_wrong_bytes_under_right_names_are_refused(site: Path, bank: Path) -> None:
    members = members_of(site)
    pack(site, {**members, "modules/toy/1.0.0/vocab.txt": members["modules/toy/1.0.0/vocab.txt"][::-1]}, mend=False)
    with pytest.raises(NlphubError, match="sha256"):
        bundles.install_bundle(site)
    assert store.installed() == []


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.zip cannot be read: No such file"):
        bundles.install_bundle(tmp_path / "none.zip")


def test_a_link_planted_in_the_store_is_not_followed(site: Path, toy: Card, bank: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (bank / "modules").mkdir(parents=True, mode=0o700)
    bank.chmod(0o700)
    (bank / "modules" / "toy").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="is a link or a file"):
        bundles.install_bundle(site)
    assert list((tmp_path / "victim").iterdir()) == []
    assert paths.home() == bank


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child only moves files
def test_kill_9_during_the_installation_of_a_bundle_leaves_no_half_module(site: Path, bank: Path, killed_at: Any) -> None:
    for number in range(1, 1000, 5):
        if not killed_at(number, lambda: bundles.install_bundle(site)):
            break
        if store.installed():
            assert store.verify(store.installed()[0]) == [], number
        bundles.install_bundle(site)
        assert [(found.name, store.verify(found)) for found in store.installed()] == [("toy", [])], number
        shutil.rmtree(bank)
    assert number > 20
