"""Several files at a time: the same result as one after the other, one progress for all, and a failure that stops the others."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nlphub.errors import DigestError, FetchError
from nlphub.hub import several, store
from nlphub.hub.cards import Card, FileEntry

CONTENTS = {f"part-{number}.json": bytes([number]) * (10_000 + 1000 * number) for number in range(6)}


@pytest.fixture(autouse=True)
def four_at_a_time(monkeypatch: pytest.MonkeyPatch, one_file_at_a_time: None) -> None:
    monkeypatch.setattr(several, "AT_ONCE", 4)


@pytest.fixture
def toy(server: Any, entry_of: Callable[..., FileEntry], card_of: Callable[..., Card]) -> Card:
    server.files.update({f"/{path}": data for path, data in CONTENTS.items()})
    return card_of(*(entry_of(data, f"{server.address}/{path}", path=path) for path, data in CONTENTS.items()))


def test_several_files_arrive_at_a_time_and_all_are_right(toy: Card, server: Any) -> None:
    together = threading.Barrier(4, timeout=10)

    def meet(handler: Any, content: bytes) -> None:
        together.wait()  # nobody is answered before four have asked
        handler.serve(content)

    server.script[:] = [meet] * 4
    seen: list[tuple[int, int | None]] = []
    folder = store.install(toy, progress=lambda done, total: seen.append((done, total)))
    assert {path.name: path.read_bytes() for path in folder.glob("part-*")} == CONTENTS
    assert store.verify(toy) == []
    total = sum(map(len, CONTENTS.values()))
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {of for _, of in seen} == {total}


def test_no_more_than_four_at_a_time(toy: Card, server: Any) -> None:
    lock, counts, now = threading.Lock(), [], [0]

    def count(handler: Any, content: bytes) -> None:
        with lock:
            now[0] += 1
            counts.append(now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        handler.serve(content)

    server.script[:] = [count] * 6
    store.install(toy)
    assert max(counts) <= 4
    assert store.verify(toy) == []


def test_a_failure_stops_the_others_and_keeps_what_they_have(toy: Card, server: Any, patience: Any) -> None:
    server.files.pop("/part-3.json")
    with pytest.raises(FetchError, match=r"part-3\.json could not be fetched"):
        store.install(toy, patience=patience)
    assert store.installed() == []
    server.files["/part-3.json"] = CONTENTS["part-3.json"]
    store.install(toy, patience=patience)
    assert store.verify(toy) == []


def test_what_a_failure_says_about_a_pinned_digest_is_not_lost(toy: Card, server: Any, patience: Any) -> None:
    unknown = replace(toy, files=tuple(replace(entry, sha256=None) for entry in toy.files))
    folder = store.install(unknown)
    (folder / "part-1.json").unlink()
    (folder / "part-2.json").unlink()
    server.files["/part-2.json"] = bytes([9]) * len(CONTENTS["part-2.json"])
    with pytest.raises(DigestError, match="the first installation pinned it"):
        store.install(unknown, patience=patience)


def test_interrupting_stops_all(toy: Card, server: Any) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.install(toy, progress=interrupt)
    assert store.installed() == []
    store.install(toy)
    assert store.verify(toy) == []
