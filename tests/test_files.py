"""Publishing: whole or not at all, readable by others, no leftovers."""

import multiprocessing
import os
import shutil
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from nlphub import files
from nlphub.errors import InputError, StoreError


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


def test_files_of_other_threads_keep_their_mode_while_we_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The umask belongs to the whole process: whoever changes it for a moment opens the files that others make in that moment."""
    set_umask, modes = os.umask, []

    def another_thread_makes_a_file() -> None:
        thread = threading.Thread(target=lambda: modes.append(_mode_of_a_new_file(tmp_path / f"other-{len(modes)}")))
        thread.start()
        thread.join()

    def watched(mask: int) -> int:
        before = set_umask(mask)
        another_thread_makes_a_file()
        return before

    before = set_umask(0o077)
    try:
        monkeypatch.setattr(os, "umask", watched)
        with files.publish(tmp_path / "a.txt"):
            another_thread_makes_a_file()
        with files.publish_folder(tmp_path / "folder"):
            another_thread_makes_a_file()
    finally:
        set_umask(before)
    assert len(modes) >= 2
    assert set(modes) == {0o600}


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


def test_a_folder_is_discarded_though_a_killed_process_of_the_same_number_left_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the process number is often 1, again and again."""
    remove_tree, folder = shutil.rmtree, tmp_path / "run [1]"

    def killed(path: Path, **options: object) -> None:
        raise KeyboardInterrupt

    for version in "12":
        folder.mkdir()
        (folder / version).touch()
        monkeypatch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            files.discard_folder(folder)
        assert not folder.exists()
    monkeypatch.setattr(shutil, "rmtree", remove_tree)
    folder.mkdir()
    files.discard_folder(folder)
    assert len(names(tmp_path)) == 2
    files.recover_folder(folder)
    assert names(tmp_path) == []


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A link to a folder elsewhere, for example on a larger disk."""
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "disk" / "real" / "old").touch()
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "link").symlink_to(tmp_path / "disk" / "real")
    return tmp_path / "desk" / "link"


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_folder_is_published_into_what_a_link_points_to(
    exchange: bool, linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for version in ("1", "2"):
        with files.publish_folder(linked) as temporary:
            (temporary / version).touch()
            assert temporary.parent == tmp_path / "disk", "on the disk of the real folder, so that a rename is enough"
    assert linked.is_symlink()
    assert names(tmp_path / "disk" / "real") == ["2"]
    assert (names(tmp_path / "desk"), names(tmp_path / "disk")) == (["link"], ["real"])


def test_a_folder_is_published_where_a_link_points_to_nothing_yet(linked: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "disk")
    with files.publish_folder(linked) as temporary:
        (temporary / "new").touch()
    assert names(tmp_path / "disk" / "real") == ["new"]


def test_discarding_a_link_empties_the_place_it_points_to_and_publishing_fills_it_again(linked: Path, tmp_path: Path) -> None:
    files.discard_folder(linked)
    assert names(tmp_path / "disk") == []
    files.publish_text(linked / "a.txt", "")
    assert linked.is_symlink()
    assert names(tmp_path / "disk" / "real") == ["a.txt"]


def test_leftovers_are_mended_beside_what_a_link_points_to(linked: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / ".real.abc.part").mkdir()
    files.recover_folder(linked)
    assert names(tmp_path / "disk") == ["real"]


def test_leftovers_that_are_links_or_files_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "folder").mkdir()
    for ending in ("part", "old"):
        (tmp_path / f".folder.link.{ending}").symlink_to(tmp_path / "precious")
        (tmp_path / f".folder.file.{ending}").touch()
    files.recover_folder(tmp_path / "folder")
    assert names(tmp_path) == ["folder", "precious"]


def test_a_leftover_that_cannot_be_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".folder.abc.part").mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda path, **options: None)
    files.recover_folder(tmp_path / "folder")
    assert ".folder.abc.part could not be removed" in caplog.text


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("precious")
    with pytest.raises(StoreError, match="thesis is a file"), files.publish_folder(tmp_path / "thesis"):
        pass
    assert names(tmp_path) == ["thesis"]
    assert (tmp_path / "thesis").read_text() == "precious"


def test_a_lock_that_is_held_too_long_is_an_error(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready, done))
    holder.start()
    ready.wait()
    with pytest.raises(StoreError, match="held by another process"), files.locked(tmp_path / "lock", timeout=0.05):
        pass
    with pytest.raises(InputError, match="somebody is there"), files.alone(tmp_path / "run", otherwise="somebody is there"):
        pass
    done.set()
    holder.join()
    with files.alone(tmp_path / "run", otherwise="somebody is there"):
        pass


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


def _hold(folder: Path, ready, done) -> None:
    with files.locked(folder / "lock"), files.alone(folder / "run", otherwise="nobody is"):
        ready.set()
        done.wait()


def _mode_of_a_new_file(path: Path) -> int:
    path.touch(mode=0o666)
    return stat.S_IMODE(path.stat().st_mode)
