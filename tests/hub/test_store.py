"""The store holds whole modules or none, notices every change, and needs no network once a module is there."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nlphub import paths
from nlphub.errors import DigestError, FetchError, InputError, OfflineError, StoreError, UnknownNameError
from nlphub.hub import checking, lockfile, store
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.registry import find_module

EntryOf = Callable[..., FileEntry]
CardOf = Callable[..., Card]
KilledAt = Callable[[int, Callable[[], Any]], bool]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def toy(server: Any, entry_of: EntryOf, card_of: CardOf, content: bytes) -> Card:
    """Three files on a web server, one of them in a folder of its own."""
    contents = {"config.json": b"{}", "vocab.txt": content, "onnx/model.onnx": content[::-1]}
    server.files.update({f"/toy/{path}": data for path, data in contents.items()})
    return card_of(*(entry_of(data, f"{server.address}/toy/{path}", path=path) for path, data in contents.items()))


@pytest.fixture
def unknown(toy: Card) -> Card:
    """The same, of a registry that knows neither sizes nor digests."""
    return replace(toy, files=tuple(replace(entry, bytes=None, sha256=None) for entry in toy.files))


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def change(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def flip_unnoticed(path: Path) -> None:
    """Change one bit and leave size, time and inode as they are."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    change(path, bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_bundled_module_installs_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    card = find_module("ernie_tiny")
    folder = store.install(card)
    assert everything_in(folder) == sorted([*(entry.path for entry in card.files), "lock.json"])
    assert folder == paths.home() / "modules" / "ernie_tiny" / card.version == store.folder(card)
    assert store.verify(card) == []


def test_an_installed_module_needs_no_network_no_hash_and_no_writing(toy: Card, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.install(toy)
    assert (folder / "onnx" / "model.onnx").read_bytes() == server.files["/toy/onnx/model.onnx"]
    before = {path: path.stat().st_mtime_ns for path in (paths.home(), *paths.home().rglob("*"))}
    no_network(monkeypatch)
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    monkeypatch.setattr(checking, "sha256", lambda path: pytest.fail("hashed again"))
    monkeypatch.setattr(store, "locked", lambda *_, **__: pytest.fail("locked"))
    assert store.install(toy) == folder
    assert before == {path: path.stat().st_mtime_ns for path in (paths.home(), *paths.home().rglob("*"))}


def test_folders_and_files_are_private(toy: Card) -> None:
    folder = store.install(toy)
    for path in (folder, *folder.parents):
        if path.is_relative_to(paths.home()):
            assert path.stat().st_mode & 0o777 == 0o700, path
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o400}
    assert (folder / "onnx").stat().st_mode & 0o777 == 0o700


def test_installed_lists_what_is_whole(toy: Card, server: Any, patience: Any) -> None:
    assert store.installed() == []
    del server.files["/toy/vocab.txt"]
    with pytest.raises(FetchError, match="404"):
        store.install(toy, patience=patience)
    assert store.installed() == []
    assert store.verify(toy) == [f"is not installed in {store.folder(toy)}"]


def test_an_interrupted_installation_goes_on_where_it_stopped(toy: Card, server: Any, patience: Any) -> None:
    vocabulary = server.files.pop("/toy/vocab.txt")
    with pytest.raises(FetchError, match="404"):
        store.install(toy, patience=patience)
    server.files["/toy/vocab.txt"] = vocabulary
    server.requests.clear()
    store.install(toy, patience=patience)
    assert [path for path, _ in server.requests] == ["/toy/vocab.txt", "/toy/onnx/model.onnx"]
    (found,) = store.installed()
    assert (found.name, found.version) == ("toy", "1.0.0")
    assert found.bytes == sum(entry.bytes or 0 for entry in toy.files)
    assert [(entry.path, entry.sha256) for entry in found.files] == sorted((entry.path, entry.sha256) for entry in toy.files)


@pytest.mark.parametrize("path", ["config.json", "vocab.txt", "onnx/model.onnx"])
def test_one_flipped_bit_is_found_by_verify_and_mended(toy: Card, server: Any, path: str) -> None:
    folder = store.install(toy)
    flip_unnoticed(folder / path)
    (problem,) = store.verify(toy)
    assert problem.startswith(f"{path}: has sha256 ")
    assert store.verify(store.installed()[0]) == [problem]
    server.requests.clear()
    store.install(toy)  # trusts the stamps
    assert server.requests == []
    store.install(toy, rehash=True)
    assert [path for path, _ in server.requests] == [f"/toy/{path}"]
    assert store.verify(toy) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: change(path, b"longer than before"), "vocab.txt: has 18 bytes, and should have 200,000"),
        (lambda path: change(path, b"x" * 200_000), "vocab.txt: has sha256"),
        (lambda path: path.unlink(), "vocab.txt: is missing"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), "vocab.txt: is no regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "vocab.txt: is no regular file"),
    ],
    ids=["shorter", "same size", "gone", "link", "folder"],
)
def test_visible_damage_is_found_and_mended_at_the_next_load(toy: Card, damage: Callable[[Path], Any], problem: str) -> None:
    folder = store.install(toy)
    damage(folder / "vocab.txt")
    assert store.verify(toy)[0].startswith(problem)
    if problem.endswith("regular file") and (folder / "vocab.txt").is_dir() and not (folder / "vocab.txt").is_symlink():
        with pytest.raises(StoreError, match=r"vocab\.txt cannot be written"):
            store.install(toy)
    else:
        store.install(toy)
        assert store.verify(toy) == []


def test_files_that_do_not_belong_are_reported(toy: Card) -> None:
    folder = store.install(toy)
    (folder / "module.py").write_text("raise SystemExit")
    (folder / "onnx" / ".hidden").write_text("")
    (folder / "link").symlink_to("/")
    (folder / ".vocab.txt~killed.part").write_text("")
    assert sorted(problem.partition(":")[0] for problem in store.verify(toy)) == ["link", "module.py", "onnx/.hidden"]


def test_a_bundled_file_that_was_tampered_with_is_noticed(
    entry_of: EntryOf, card_of: CardOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry.json").write_text('{"schema": 1, "modules": {}}')
    (tmp_path / "config.json").write_bytes(b"{}")
    monkeypatch.setattr("nlphub.paths.bundle", lambda: tmp_path)
    card = card_of(entry_of(b"{}", "bundle:config.json", path="config.json"))
    store.install(card)
    assert store.verify(card) == []
    (tmp_path / "config.json").write_bytes(b"[]")
    (problem,) = store.verify(card)
    assert problem.startswith("bundle:config.json: this installation of nlphub is damaged, reinstall it: config.json: has sha256")
    store.remove("toy")
    with pytest.raises(DigestError):
        store.install(card)


def test_a_version_that_no_longer_ships_is_judged_by_its_lock_alone(
    entry_of: EntryOf, card_of: CardOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry.json").write_text('{"schema": 1, "modules": {}}')
    (tmp_path / "config.json").write_bytes(b"{}")
    monkeypatch.setattr("nlphub.paths.bundle", lambda: tmp_path)
    store.install(card_of(entry_of(b"{}", "bundle:config.json", path="config.json")))
    (tmp_path / "config.json").write_bytes(b"[]")  # a newer nlphub brings another version's
    (found,) = store.installed("toy")
    assert store.verify(found) == []


def test_a_copied_store_is_hashed_once_and_then_trusted(toy: Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Any) -> None:
    store.install(toy)
    server.requests.clear()
    shutil.copytree(paths.home(), tmp_path / "elsewhere")  # other inodes and times
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    store.install(toy)
    monkeypatch.setattr(checking, "sha256", lambda path: pytest.fail("hashed again"))
    store.install(toy)
    assert server.requests == []


def test_a_store_that_is_shared_read_only_works(toy: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.install(toy)
    os.utime(folder / "vocab.txt")

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("read-only file system")

    monkeypatch.setattr(lockfile, "write", refuse)
    monkeypatch.setattr(store, "locked", refuse)
    assert store.install(toy) == folder


def test_a_registry_with_new_digests_replaces_exactly_those_files(toy: Card, server: Any, entry_of: EntryOf) -> None:
    store.install(toy)
    server.files["/toy/config.json"] = b"{ }"
    server.requests.clear()
    newer = replace(toy, files=(entry_of(b"{ }", f"{server.address}/toy/config.json", path="config.json"), *toy.files[1:]))
    folder = store.install(newer)
    assert (folder / "config.json").read_bytes() == b"{ }"
    assert [path for path, _ in server.requests] == ["/toy/config.json"]
    assert store.verify(newer) == []


def test_unknown_digests_are_pinned_at_the_first_installation(unknown: Card, server: Any, content: bytes) -> None:
    folder = store.install(unknown)
    pins = json.loads((folder / "lock.json").read_text("utf-8"))["files"]
    assert pins["vocab.txt"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert pins["vocab.txt"]["bytes"] == len(content)
    assert pins["vocab.txt"]["sources"] == [f"{server.address}/toy/vocab.txt"]
    assert store.verify(unknown) == []
    server.files["/toy/vocab.txt"] = content[::-1]
    store.install(unknown, rehash=True)
    (folder / "vocab.txt").unlink()
    with pytest.raises(DigestError, match="the first installation pinned it") as caught:
        store.install(unknown)
    assert "nlphub remove toy --version 1.0.0" in str(caught.value)
    assert not (folder / "vocab.txt").exists()
    store.remove("toy")
    store.install(unknown)
    assert (folder / "vocab.txt").read_bytes() == content[::-1]


def test_a_damaged_lock_never_forgets_a_pin_silently(unknown: Card, server: Any, content: bytes) -> None:
    folder = store.install(unknown)
    server.files["/toy/vocab.txt"] = content[::-1]
    for damage in (
        b"",
        b"{",
        b"[]",
        b'{"files": {"../x.json": {}}}',
        b'{"files": {"vocab.txt": {"bytes": 1}}}',
        b'{"files": 3}',
        b"[" * 100_000,
    ):
        change(folder / "lock.json", damage)
        with pytest.raises(StoreError, match=r"lock\.json is damaged .* Run: nlphub remove toy --version 1\.0\.0 && nlphub install toy"):
            store.install(unknown)
        assert "damaged" in store.verify(store.installed()[0])[0]
    assert store.remove("toy") > 0


def test_remove_frees_what_it_says_and_all_of_it(toy: Card, card_of: CardOf) -> None:
    folder = store.install(toy)
    store.install(replace(toy, version="1.1.0"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert store.remove("toy", "1.0.0") == size
    assert [found.version for found in store.installed("TOY")] == ["1.1.0"]
    assert store.remove("toy") == size
    assert not (paths.home() / "modules" / "toy").exists()
    with pytest.raises(UnknownNameError, match=r"toy is not installed in .*; `nlphub list` marks what is"):
        store.remove("toy")
    with pytest.raises(UnknownNameError, match=r"toy 1\.0\.0 is not installed"):
        store.remove("toy", "1.0.0")


@pytest.mark.parametrize("name", ["..", "../..", "/", "", ".", "*", "toy/..", "modules", "toy/1.0.0"])
def test_remove_touches_nothing_outside_a_module(toy: Card, name: str) -> None:
    folder = store.install(toy)
    (paths.home() / "modules" / "notes").mkdir()
    (paths.home() / "modules" / "notes" / "mine.txt").write_text("precious")
    with pytest.raises(UnknownNameError):
        store.remove(name)
    assert store.verify(toy) == []
    assert (paths.home() / "modules" / "notes" / "mine.txt").exists()
    assert folder.exists()


def test_an_unfinished_installation_can_be_removed(toy: Card, server: Any, patience: Any) -> None:
    del server.files["/toy/vocab.txt"]
    with pytest.raises(FetchError):
        store.install(toy, patience=patience)
    assert store.remove("toy") == 2  # config.json


@pytest.mark.parametrize("step", ["modules", "modules/toy", "modules/toy/1.0.0", "modules/toy/1.0.0/onnx", "locks"])
def test_a_link_planted_on_the_way_is_not_followed(toy: Card, tmp_path: Path, step: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    planted = paths.home() / step
    planted.parent.mkdir(parents=True, mode=0o700)
    planted.symlink_to(victim)
    with pytest.raises(StoreError, match="is a link or a file where the store has a folder"):
        store.install(toy)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", ["vocab.txt", "lock.json", ".vocab.txt~x.part"])
def test_a_link_planted_at_a_file_leaves_its_victim_alone(toy: Card, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    store.folder(toy).mkdir(parents=True, mode=0o700)
    (store.folder(toy) / name).symlink_to(victim)
    if name == "lock.json":
        with pytest.raises(StoreError, match=r"lock\.json is damaged"):
            store.install(toy)
    else:
        store.install(toy)
        assert store.verify(toy) == []
    assert victim.read_text() == "precious"


def test_a_link_planted_at_the_lock_file_costs_the_lock_only(toy: Card, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (paths.home() / "locks").mkdir(parents=True)
    (paths.home() / "locks" / "toy-1.0.0.lock").symlink_to(victim)
    store.install(toy)
    assert "going on without a lock on toy 1.0.0" in caplog.text
    assert victim.read_text() == "precious"
    assert store.verify(toy) == []


@pytest.mark.parametrize("step", ["", "modules", "modules/toy/1.0.0"])
def test_a_folder_that_others_may_write_to_is_refused(toy: Card, step: str) -> None:
    store.install(toy)
    folder = paths.home() / step
    folder.chmod(0o777)
    with pytest.raises(StoreError, match=f"everybody may write to {folder}. Run: chmod o-w {folder}"):
        store.install(toy)
    assert "everybody may write" in store.verify(toy)[0]


def test_a_folder_of_another_user_is_refused(toy: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.install(toy)
    if os.getuid() == 0:
        os.chown(folder, 4242, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(StoreError, match="belongs to another user"):
        store.install(toy)


def test_too_little_space_is_said_before_anything_is_fetched(toy: Card, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type(usage)(usage.total, usage.used, 1000))
    with pytest.raises(StoreError, match=r"needs 400,002 bytes, and its disk has 1,000 free"):
        store.install(toy)
    assert server.requests == []


def test_offline_names_everything_that_is_missing(toy: Card, unknown: Card, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        store.install(toy)
    for expected in (
        "toy 1.0.0 lacks config.json (2 bytes), vocab.txt (200,000 bytes), onnx/model.onnx (200,000 bytes)", str(store.folder(toy)),
        "nlphub install toy --version 1.0.0", "NLPHUB_OFFLINE",
    ):  # fmt: skip
        assert expected in str(caught.value)
    with pytest.raises(OfflineError, match=r"config\.json \(size unknown\)"):
        store.install(unknown)
    assert server.requests == []


def test_the_way_that_the_offline_message_tells_works(toy: Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Install on a connected machine, copy the folder, load offline."""
    connected = store.install(toy)
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "bank"))
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    shutil.copytree(connected, store.folder(toy))
    assert store.install(toy) == store.folder(toy)
    assert store.verify(toy) == []


def test_mirrors_are_asked_first_and_serve_the_layout_of_a_store(
    toy: Card, server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = store.install(toy).parent.parent
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "second"))
    monkeypatch.setenv("NLPHUB_MIRRORS", f"{server.address}/down/, {shared.as_uri()}")
    server.requests.clear()
    folder = store.install(toy)
    assert [path for path, _ in server.requests] == [f"/down/toy/1.0.0/{entry.path}" for entry in toy.files]
    assert store.installed()[0].files[0].sources == (f"{shared.as_uri()}/toy/1.0.0/config.json",)
    assert store.verify(toy) == []
    assert folder.is_relative_to(tmp_path / "second")


def test_a_shared_folder_as_mirror_works_offline(toy: Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared = store.install(toy).parent.parent
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "second"))
    monkeypatch.setenv("NLPHUB_MIRRORS", shared.as_uri())
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    store.install(toy)
    assert store.verify(toy) == []


def test_a_mirror_that_lies_is_passed_over(toy: Card, server: Any, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("NLPHUB_MIRRORS", f"{server.address}/evil")
    server.files["/evil/toy/1.0.0/vocab.txt"] = content[::-1]
    folder = store.install(toy)
    assert (folder / "vocab.txt").read_bytes() == content


@pytest.mark.parametrize("mirror", ["ftp://x", "x", "https://", "hf://a/b/c", "https://user:word@host", "bundle:x", "http://host/词"])
def test_a_mirror_that_is_none_is_an_error(toy: Card, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    monkeypatch.setenv("NLPHUB_MIRRORS", mirror)
    with pytest.raises(InputError, match="NLPHUB_MIRRORS has"):
        store.install(toy)


def test_bundled_files_ask_no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_MIRRORS", "http://127.0.0.1:1/")
    no_network(monkeypatch)
    store.install(find_module("ernie_tiny"))


def test_progress_counts_all_missing_files_together(toy: Card, unknown: Card) -> None:
    seen: list[tuple[int, int | None]] = []
    store.install(toy, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 400_002)
    assert seen[-1] == (400_002, 400_002)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    seen.clear()
    store.remove("toy")
    store.install(unknown, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (400_002, 400_002)
    assert all(total is not None and done <= total for done, total in seen)


INSTALL = """
import contextlib, sys
from nlphub.hub import registry, several, store
from nlphub.hub.transport import Patience
several.AT_ONCE = 1  # requests in the order of the files
if "without-lock" in sys.argv:
    store.locked = lambda *_, **__: contextlib.nullcontext()
store.install(registry.find_module("toy"), patience=Patience(attempts=8, timeout=5, pause=0.01))
"""


@pytest.fixture
def registered(toy: Card, write_registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Card:
    """The toy as other processes find it."""
    files = [{"path": entry.path, "bytes": entry.bytes, "sha256": entry.sha256, "sources": list(entry.sources)} for entry in toy.files]
    monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry({"toy": {"files": files}})))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return find_module("toy")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", INSTALL, *arguments], stderr=subprocess.PIPE, text=True)


def slowly(handler: Any, content: bytes) -> None:
    """The right bytes, in pieces over about 0.2 s."""
    first = handler.wanted_from()
    headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
    handler.answer(206 if first else 200, b"", headers, length=len(content) - first)
    for start in range(first, len(content), 10_000):
        handler.wfile.write(content[start : start + 10_000])
        handler.wfile.flush()
        time.sleep(0.01)


def broken(handler: Any, content: bytes) -> None:
    handler.answer(200, content[: len(content) // 3], length=len(content))


def test_processes_that_install_at_once_share_the_work(registered: Card, server: Any) -> None:
    server.script[:] = [slowly] * 3
    running = [start() for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 3
    assert len(server.requests) == 3
    assert store.verify(registered) == []


def test_processes_that_install_at_once_without_a_lock_do_no_harm(registered: Card, server: Any) -> None:
    server.script[:] = [slowly, slowly, broken, slowly, slowly, broken] * 4
    running = [start("without-lock") for _ in range(6)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 6
    assert len(server.requests) > 6
    assert store.verify(registered) == []
    assert everything_in(store.folder(registered)) == sorted([*(entry.path for entry in registered.files), "lock.json"])


def test_kill_9_during_a_download_leaves_no_module_and_loses_no_bytes(registered: Card, server: Any) -> None:
    def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        while not condition():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)

    def received() -> int:
        return sum(path.stat().st_size for path in store.folder(registered).rglob(".vocab.txt~*.part"))

    server.script[:] = [lambda handler, content: handler.serve(content), slowly]
    process = start()
    until(lambda: received() > 50_000, process)
    process.kill()
    assert process.communicate()[0] is None
    assert process.returncode == -signal.SIGKILL
    assert store.installed() == []
    kept = received()
    server.requests.clear()
    server.script.clear()
    store.install(registered)
    assert server.requests[0] == ("/toy/vocab.txt", f"bytes={kept}-")
    assert store.verify(registered) == []
    assert everything_in(store.folder(registered)) == sorted([*(entry.path for entry in registered.files), "lock.json"])


@pytest.fixture
def local(entry_of: EntryOf, card_of: CardOf, content: bytes, tmp_path: Path) -> Card:
    """A module that needs no server."""
    (tmp_path / "origin.txt").write_bytes(content)
    source = (tmp_path / "origin.txt").as_uri()
    return card_of(entry_of(content, source, path="vocab.txt"), entry_of(content, source, path="onnx/model.onnx"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child only moves files
def test_kill_9_before_every_file_operation_of_an_installation_leaves_no_half_module(local: Card, killed_at: KilledAt) -> None:
    number = 0
    while killed_at(number := number + 1, lambda: store.install(local)):
        if store.installed():
            assert store.verify(local) == [], number
        store.install(local)
        assert store.verify(local) == [], number
        assert everything_in(store.folder(local)) == ["lock.json", "onnx/model.onnx", "vocab.txt"], number
        shutil.rmtree(paths.home())
    assert number > 20


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child only moves files
def test_kill_9_before_every_file_operation_of_a_removal_leaves_all_or_nothing(local: Card, killed_at: KilledAt) -> None:
    number = 0
    store.install(local)
    while killed_at(number := number + 1, lambda: store.remove("toy")):
        if store.installed():
            assert store.verify(local) == [], number
        store.install(local)
        assert store.verify(local) == [], number
    store.install(local)
    assert everything_in(paths.home() / "modules") == [f"toy/1.0.0/{name}" for name in ("lock.json", "onnx/model.onnx", "vocab.txt")]
    assert number > 8
