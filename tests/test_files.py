"""Publishing: whole or not at all, readable by others, no leftovers."""

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from nlphub import files
from nlphub.errors import StoreError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_published_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    files.publish_text(tmp_path / "a.txt", "旧")
    files.publish_text(tmp_path / "a.txt", "新")
    assert (tmp_path / "a.txt").read_text("utf-8") == "新"
    assert names(tmp_path) == ["a.txt"]


def test_a_failed_publication_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    files.publish_text(tmp_path / "a.txt", "旧")
    with pytest.raises(TypeError), files.publish(tmp_path / "a.txt") as stream:
        stream.writelines([b"half", None])
    assert (tmp_path / "a.txt").read_text("utf-8") == "旧"
    assert names(tmp_path) == ["a.txt"]


def test_published_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files.publish_text(tmp_path / "a.txt", "")
        with files.publish_folder(tmp_path / "folder") as temporary:
            files.publish_text(temporary / "b.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_published_folder_replaces_the_old_one_whole(exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for version in ("1", "2"):
        with files.publish_folder(tmp_path / "folder") as temporary:
            (temporary / f"only-{version}").write_text(version)
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["only-2"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    with files.publish_folder(tmp_path / "folder") as temporary:
        (temporary / "a").touch()
    with pytest.raises(FileExistsError), files.publish_folder(tmp_path / "folder") as temporary:
        [(temporary / "b").touch(exist_ok=False) for _ in range(2)]
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["a"]


def test_folders_are_exchanged_in_one_step_here(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "was-a").touch()
    assert files._exchange(tmp_path / "a", tmp_path / "b") == (os.uname().sysname == "Linux")
    assert not files._exchange(tmp_path / "a", tmp_path / "missing")


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    (tmp_path / ".folder.abc.old").mkdir()
    (tmp_path / ".folder.abc.old" / "complete").touch()
    (tmp_path / ".folder.xyz.part").mkdir()
    files.recover_folder(tmp_path / "folder")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["complete"]


def test_killing_a_publisher_leaves_one_version_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_number in range(6):
        publisher = context.Process(target=_publish_for_ever, args=(tmp_path / "folder",))
        publisher.start()
        while not (tmp_path / "folder").exists():
            time.sleep(0.002)
        time.sleep(0.01 * round_number)
        os.kill(publisher.pid, signal.SIGKILL)
        publisher.join()
        assert len({path.read_text() for path in (tmp_path / "folder").iterdir()}) == 1
        assert len(names(tmp_path / "folder")) == 20
        files.recover_folder(tmp_path / "folder")
        assert names(tmp_path) == ["folder"]


def test_discarding_removes_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    files.discard_folder(tmp_path / "folder")
    files.discard_folder(tmp_path / "folder")
    assert names(tmp_path) == []


def test_a_lock_that_is_held_too_long_is_an_error(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", ready, done))
    holder.start()
    ready.wait()
    with pytest.raises(StoreError, match="held by another process"), files.locked(tmp_path / "lock", timeout=0.05):
        pass
    done.set()
    holder.join()


def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    files.require_space(tmp_path / "not" / "there" / "yet", 1)
    with pytest.raises(StoreError, match="bytes"):
        files.require_space(tmp_path, 1 << 60)


def _publish_for_ever(path: Path) -> None:
    version = 0
    while True:
        version += 1
        with files.publish_folder(path) as temporary:
            for number in range(20):
                (temporary / str(number)).write_text(str(version))


def _hold(path: Path, ready, done) -> None:
    with files.locked(path):
        ready.set()
        done.wait()
