"""A download is right or it is not there, whatever the server does."""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nlphub.errors import DigestError, FetchError, OfflineError, StoreError
from nlphub.hub.cards import FileEntry
from nlphub.hub.fetch import fetch
from nlphub.hub.part import Part
from nlphub.hub.transport import Patience

EntryOf = Callable[..., FileEntry]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    return folder / "vocab.txt"


@pytest.fixture
def get(server: Any, entry_of: EntryOf, target: Path, patience: Patience, content: bytes) -> Callable[..., FileEntry]:
    """``get(fault, ...)``: serve ``content`` with these faults in turn, and fetch it."""
    server.files["/f"] = content

    def run(*faults: Any, entry: FileEntry | None = None, **options: Any) -> FileEntry:
        server.script[:] = faults
        return fetch(entry or entry_of(content, f"{server.address}/f"), target, label="toy 1.0.0", **({"patience": patience} | options))

    return run


def drop(after: int) -> Any:
    """Promise all, send a part, close."""

    def fault(handler: Any, content: bytes) -> None:
        first = handler.wanted_from()
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        handler.answer(206 if first else 200, content[first : first + after], headers, length=len(content) - first)

    return fault


def reset(after: int) -> Any:
    def fault(handler: Any, content: bytes) -> None:
        drop(after)(handler, content)
        handler.reset()

    return fault


def status(code: int, headers: dict[str, str] | None = None) -> Any:
    return lambda handler, content: handler.answer(code, b"<html>no</html>", headers)


def claim(length: int | None, *, body: Callable[[bytes], bytes] = lambda content: content) -> Any:
    """Answer 200 with this Content-Length (``None``: none)."""
    return lambda handler, content: handler.answer(200, body(content), length=length)


def flip(at: int) -> Any:
    return claim(-1, body=lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def stall(after: int) -> Any:
    def fault(handler: Any, content: bytes) -> None:
        drop(after)(handler, content)
        handler.wfile.flush()
        handler.server.released.wait(30)

    return fault


def endless(handler: Any, content: bytes) -> None:
    handler.answer(200, content, length=None)
    while not handler.server.released.is_set():
        handler.wfile.write(content)


def ignore_range(handler: Any, content: bytes) -> None:
    handler.answer(200, content)


def other_range(handler: Any, content: bytes) -> None:
    handler.answer(206, content[7:], {"Content-Range": f"bytes 7-{len(content) - 1}/{len(content)}"})


def nothing_left_but(target: Path) -> bool:
    return [path.name for path in target.parent.iterdir()] == [target.name]


def nothing_left(target: Path) -> bool:
    return not list(target.parent.iterdir())


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_000])
def test_a_good_server(get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes, size: int) -> None:
    server.files["/f"] = content[:size]
    found = get(entry=entry_of(content[:size], f"{server.address}/f"))
    assert target.read_bytes() == content[:size]
    assert found == replace(entry_of(content[:size]), sources=(f"{server.address}/f",))
    assert target.stat().st_mode & 0o777 == 0o400
    assert nothing_left_but(target)


def test_a_file_is_resumed_where_the_connection_dropped(get: Any, server: Any, target: Path, content: bytes, pauses: Any) -> None:
    get(drop(50_000), reset(0))
    assert target.read_bytes() == content
    assert [wanted for _, wanted in server.requests] == [None, "bytes=50000-", "bytes=50000-"]
    assert pauses.seconds == [0.5, 1.0]
    assert nothing_left_but(target)


@pytest.mark.parametrize(
    "fault",
    [
        drop(0), drop(1), drop(199_999), reset(70_000), stall(0), stall(65_000), status(500), status(502), status(503), status(504),
        status(408), status(429), status(416), other_range, claim(None, body=lambda content: content[:9]), claim(None), claim(-1),
    ],
    ids=range(17),
)  # fmt: skip
def test_troubles_that_pass(get: Any, target: Path, content: bytes, fault: Any) -> None:
    get(fault, fault)
    assert target.read_bytes() == content
    assert nothing_left_but(target)


@pytest.mark.parametrize("fault", [ignore_range, other_range, status(416)], ids=["200 to a range", "another range", "416"])
def test_a_server_without_ranges_makes_it_start_from_zero(get: Any, server: Any, target: Path, content: bytes, fault: Any) -> None:
    get(drop(50_000), fault)
    assert target.read_bytes() == content
    assert server.requests[1][1] == "bytes=50000-"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(404), "answers 404 Not Found"),
        (status(403), "answers 403"),
        (status(410), "answers 410"),
        (claim(-1, body=lambda content: content[:-1]), "has 199,999 bytes where 200,000 are promised"),
        (claim(200_001), "has 200,001 bytes where 200,000 are promised"),
        (claim(-1, body=lambda content: content * 2), "has 400,000 bytes where 200,000"),
        (claim(None, body=lambda content: content + b"x"), "sends more than the 200,000 bytes"),
        (endless, "sends more than the 200,000 bytes"),
        (claim(-1, body=lambda content: b"<html>captive portal</html>"), "has 27 bytes where"),
        (lambda handler, content: handler.answer(200, content, {"Content-Encoding": "gzip"}), "Content-Encoding 'gzip'"),
        (status(302, {"Location": "file:///etc/passwd"}), "answers 302"),
        (status(302, {"Location": "ftp://127.0.0.1/f"}), "redirects from http to 'ftp://127.0.0.1/f', which is refused"),
        (status(301, {"Location": "data:text/plain,x"}), "answers 301"),
    ],
    ids=range(13),
)
def test_a_server_that_is_wrong_is_not_asked_again(get: Any, server: Any, target: Path, fault: Any, reason: str) -> None:
    with pytest.raises(FetchError, match=r"toy 1\.0\.0: vocab\.txt could not be fetched") as caught:
        get(fault)
    assert reason in str(caught.value)
    assert len(server.requests) == 1
    assert nothing_left(target)


def test_redirects_within_http_are_followed_but_not_forever(get: Any, server: Any, target: Path, content: bytes) -> None:
    get(status(302, {"Location": "/f"}), status(307, {"Location": f"{server.address}/f"}))
    assert target.read_bytes() == content
    with pytest.raises(FetchError, match="infinite loop"):
        get(*[status(302, {"Location": "/f"})] * 20)
    assert len(server.script) >= 10


def test_patience_ends_and_the_bytes_wait_for_the_next_process(get: Any, server: Any, target: Path, content: bytes, pauses: Any) -> None:
    with pytest.raises(FetchError, match=r"broke off after 30,000 of 200,000 bytes \(tried 3 times\)"):
        get(drop(10_000), drop(10_000), drop(10_000))
    assert pauses.seconds == [0.5, 1.0]
    assert not target.exists()
    get()
    assert target.read_bytes() == content
    assert server.requests[-1][1] == "bytes=30000-"
    assert nothing_left_but(target)


def test_an_attempt_that_brought_much_does_not_count(get: Any, target: Path, content: bytes, patience: Patience) -> None:
    get(*[drop(20_000)] * 9, patience=replace(patience, worthwhile=20_000))
    assert target.read_bytes() == content


def test_bytes_that_are_thrown_away_are_no_progress(
    get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes, patience: Patience
) -> None:
    """A file of unknown digest starts from zero after each break: much arrives each time, and nothing is gained."""
    unknown = entry_of(content, f"{server.address}/f", digest=False)
    with pytest.raises(FetchError, match=r"broke off after 50,000 of 200,000 bytes \(tried 3 times\)"):
        get(*[drop(50_000)] * 9, entry=unknown, patience=replace(patience, worthwhile=20_000))
    assert server.requests == [("/f", None)] * 3
    assert nothing_left(target)


def test_a_server_that_takes_back_what_it_gave_is_not_asked_for_ever(get: Any, server: Any, patience: Patience) -> None:
    with pytest.raises(FetchError, match=r"\(tried 3 times\)"):
        get(*[drop(50_000), status(416)] * 9, patience=replace(patience, worthwhile=20_000))
    assert len(server.requests) == 6


def test_pauses_grow_up_to_a_bound_and_heed_the_server(get: Any, target: Path, patience: Patience, pauses: Any) -> None:
    busy = status(429, {"Retry-After": "3"})
    with pytest.raises(FetchError, match=r"answers 500 Internal Server Error \(tried 7 times\)"):
        get(busy, busy, *[status(503, {"Retry-After": "9999999"})], *[status(500)] * 9, patience=replace(patience, attempts=7))
    assert pauses.seconds == [3.0, 3.0, 8.0, 4.0, 8.0, 8.0]


def test_a_wrong_byte_deletes_the_download_and_names_both_digests(get: Any, server: Any, target: Path, content: bytes) -> None:
    with pytest.raises(DigestError) as caught:
        get(flip(123_456))
    wrong = bytearray(content)
    wrong[123_456] ^= 1
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert len(server.requests) == 1
    assert nothing_left(target)


def test_the_next_source_is_tried(get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes) -> None:
    sources = [f"{server.address}/{name}" for name in ("gone", "wrong", "f")]
    server.files["/wrong"] = bytes(len(content))
    found = get(entry=entry_of(content, *sources))
    assert target.read_bytes() == content
    assert found.sources == (sources[2],)
    assert [path for path, _ in server.requests] == ["/gone", "/wrong", "/f"]


def test_every_failed_source_is_named(get: Any, server: Any, entry_of: EntryOf, content: bytes, tmp_path: Path) -> None:
    sources = [f"{server.address}/gone", (tmp_path / "none.txt").as_uri(), "bundle:no/such.txt", "http://127.0.0.1:1/f"]
    with pytest.raises(FetchError) as caught:
        get(entry=entry_of(content, *sources))
    assert all(source in str(caught.value) for source in sources)
    assert "404" in str(caught.value)
    assert "No such file" in str(caught.value)
    assert "Connection refused" in str(caught.value)


def test_the_rest_of_a_bad_source_does_not_spoil_a_good_one(get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes) -> None:
    """The first source sends wrong bytes and dies; the second one resumes after them, and is asked once more for all."""
    server.files["/bad"] = bytes(len(content))
    get(drop(50_000), status(404), entry=entry_of(content, f"{server.address}/bad", f"{server.address}/f"))
    assert target.read_bytes() == content
    assert [wanted for _, wanted in server.requests] == [None, "bytes=50000-", "bytes=50000-", None]


def test_a_planted_rest_is_hashed_again_and_costs_one_more_download(get: Any, target: Path, content: bytes, server: Any) -> None:
    planted = target.with_name(".vocab.txt~planted.part")
    planted.write_bytes(b"\0" * 1000)
    get()
    assert target.read_bytes() == content
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]
    assert nothing_left_but(target)


def test_a_rest_that_is_whole_needs_no_request(get: Any, server: Any, target: Path, content: bytes) -> None:
    target.with_name(".vocab.txt~killed.part").write_bytes(content)
    get()
    assert target.read_bytes() == content
    assert server.requests == []
    assert nothing_left_but(target)


def test_the_longest_usable_rest_is_taken_and_never_written_to(get: Any, server: Any, target: Path, content: bytes, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(content[:60_000])
    target.with_name(".vocab.txt~a.part").write_bytes(content[:10_000])
    target.with_name(".vocab.txt~b.part").write_bytes(content[:40_000])
    target.with_name(".vocab.txt~c.part").write_bytes(content + b"too long")
    target.with_name(".vocab.txt~d.part").symlink_to(victim)
    target.with_name(".vocab.txt~e.part").mkdir()
    get()
    assert target.read_bytes() == content
    assert server.requests == [("/f", "bytes=40000-")]
    assert victim.read_bytes() == content[:60_000]
    assert nothing_left_but(target)


def test_rests_of_another_file_are_left_alone(get: Any, server: Any, target: Path, content: bytes) -> None:
    other = target.with_name(".vocab~x.part")
    other.write_bytes(content[:10])
    get()
    assert server.requests == [("/f", None)]
    assert other.exists()


def test_a_link_planted_at_the_target_is_replaced_not_followed(get: Any, target: Path, tmp_path: Path, content: bytes) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target.symlink_to(victim)
    get()
    assert victim.read_text() == "precious"
    assert not target.is_symlink()
    assert target.read_bytes() == content


def test_a_folder_planted_at_the_target_is_an_error(get: Any, target: Path) -> None:
    target.mkdir()
    with pytest.raises(StoreError, match=r"vocab\.txt cannot be written"):
        get()


@pytest.mark.parametrize("fault", [drop(50_000), claim(-1)], ids=["dropped", "whole"])
def test_a_file_of_unknown_digest_starts_from_zero(
    get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes, fault: Any
) -> None:
    target.with_name(".vocab.txt~old.part").write_bytes(content[:1000])
    found = get(fault, entry=entry_of(content, f"{server.address}/f", size=False, digest=False))
    assert (found.bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert {wanted for _, wanted in server.requests} == {None}
    assert target.read_bytes() == content


def test_a_body_whose_size_nobody_knows_is_refused(get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes) -> None:
    with pytest.raises(FetchError, match="does not tell the size of the file, and neither does the registry"):
        get(claim(None), entry=entry_of(content, f"{server.address}/f", size=False, digest=False))
    assert nothing_left(target)


def test_a_size_that_the_disk_has_no_room_for_is_refused_before_a_byte(
    get: Any, server: Any, entry_of: EntryOf, target: Path, content: bytes
) -> None:
    with pytest.raises(StoreError, match=r"needs 9,000,000,000,000,000 bytes, and its disk has"):
        get(claim(9 * 10**15), entry=entry_of(content, f"{server.address}/f", size=False, digest=False))
    assert nothing_left(target)


def test_a_full_disk_is_an_error_that_frees_it_again(get: Any, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

        def write(self, block: bytes) -> int:
            raise OSError(28, "No space left on device")

    opened = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *arguments: Full(opened(*arguments)))
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        get()
    assert nothing_left(target)


def test_progress_tells_bytes_done_and_bytes_in_all(get: Any, content: bytes) -> None:
    seen: list[tuple[int, int | None]] = []
    get(drop(50_000), progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 200_000)
    assert seen[-1] == (200_000, 200_000)
    assert {total for _, total in seen} == {200_000}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_interruption_keeps_the_bytes(get: Any, server: Any, target: Path, content: bytes) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    get()
    assert target.read_bytes() == content
    assert int((server.requests[-1][1] or "").removeprefix("bytes=").rstrip("-")) > 100_000


@pytest.mark.parametrize("kind", ["file", "bundle"])
def test_local_sources(entry_of: EntryOf, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, kind: str) -> None:
    origin = tmp_path / "有 空格"
    origin.mkdir()
    (origin / "vocab.txt").write_bytes(content)
    (origin / "registry.json").write_text("{}")
    monkeypatch.setattr("nlphub.paths.bundle", lambda: origin)
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    source = (origin / "vocab.txt").as_uri() if kind == "file" else "bundle:vocab.txt"
    fetch(entry_of(content, source), target, label="toy 1.0.0")
    assert target.read_bytes() == content
    with pytest.raises(DigestError, match="is promised"):
        fetch(replace(entry_of(content, source), sha256="0" * 64), target.with_name("b.txt"), label="toy 1.0.0")
    with pytest.raises(FetchError, match="has 200,000 bytes where 5 are promised"):
        fetch(entry_of(b"short", source), target.with_name("c.txt"), label="toy 1.0.0")
    assert nothing_left_but(target)


def test_offline_asks_nobody_and_says_what_to_do(
    get: Any, server: Any, target: Path, monkeypatch: pytest.MonkeyPatch, entry_of: EntryOf
) -> None:
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        get()
    for expected in ("toy 1.0.0", "vocab.txt (200,000 bytes)", str(target.parent), "nlphub install toy --version 1.0.0", "NLPHUB_OFFLINE"):
        assert expected in str(caught.value)
    with pytest.raises(FetchError, match="was not asked: NLPHUB_OFFLINE is set"):
        get(entry=entry_of(b"x", "bundle:no/such.txt", f"{server.address}/f", f"hf://org/repo@{'a' * 40}/f"))
    assert server.requests == []


def test_hugging_face_is_asked_through_its_own_client(
    entry_of: EntryOf, target: Path, content: bytes, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real client against a local server that speaks its protocol."""
    from huggingface_hub import constants

    commit = "a" * 40

    def head(handler: Any) -> None:
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit, "Connection": "close"}
        handler.server.requests.append((handler.path, "HEAD"))
        handler.answer(200, b"", headers, length=len(content))
        handler.close_connection = True

    monkeypatch.setattr(server.RequestHandlerClass, "do_HEAD", head, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}", raising=False
    )
    server.files[f"/org/repo/resolve/{commit}/sub/vocab.txt"] = content
    fetch(entry_of(content, f"hf://org/repo@{commit}/sub/vocab.txt"), target, label="toy 1.0.0")
    assert target.read_bytes() == content
    assert (f"/org/repo/resolve/{commit}/sub/vocab.txt", "HEAD") in server.requests
    with pytest.raises(DigestError):
        fetch(replace(entry_of(content, f"hf://org/repo@{commit}/sub/vocab.txt"), sha256="0" * 64), target.with_name("b.txt"), label="toy")
    with pytest.raises(FetchError, match="cannot be had"):
        fetch(entry_of(content, f"hf://org/repo@{commit}/none.txt"), target.with_name("c.txt"), label="toy")
    assert nothing_left_but(target)


def test_a_large_file_of_hugging_face_is_resumed_where_it_really_lies_and_gets_no_token(
    entry_of: EntryOf, target: Path, content: bytes, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit, tokens = "a" * 40, {}
    elsewhere = server.address.replace("127.0.0.1", "localhost")

    def head(handler: Any) -> None:
        tokens[handler.path] = handler.headers.get("Authorization")
        headers = {"ETag": '"x"', "X-Repo-Commit": commit, "X-Linked-Size": str(len(content)), "Location": f"{elsewhere}/cdn/f?signature=y"}
        handler.answer(302, b"", headers)
        handler.close_connection = True

    def cdn(handler: Any, data: bytes) -> None:
        tokens[handler.path] = handler.headers.get("Authorization")
        handler.serve(data)

    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(server.RequestHandlerClass, "do_HEAD", head, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}", raising=False
    )
    server.files["/cdn/f?signature=y"] = content
    server.script[:] = [cdn]
    target.with_name(f".{target.name}~killed.part").write_bytes(content[:150_000])
    fetch(entry_of(content, f"hf://org/repo@{commit}/f"), target, label="toy 1.0.0")
    assert target.read_bytes() == content
    assert server.requests == [("/cdn/f?signature=y", "bytes=150000-")]
    assert tokens == {f"/org/repo/resolve/{commit}/f": "Bearer hf_secret", "/cdn/f?signature=y": None}
    assert nothing_left_but(target)


def test_the_environment_of_hugging_face_is_honoured(content: bytes, server: Any, tmp_path: Path) -> None:
    """HF_ENDPOINT and HF_TOKEN are read by its client when it is first imported, so this needs a process of its own."""
    commit, seen = "a" * 40, []

    def head(handler: Any) -> None:
        seen.append((handler.path, handler.headers.get("Authorization")))
        handler.answer(200, b"", {"ETag": '"x"', "X-Repo-Commit": commit}, length=len(content))
        handler.close_connection = True

    server.RequestHandlerClass.do_HEAD = head
    server.files[f"/org/repo/resolve/{commit}/f"] = content
    code = (
        "import sys; from pathlib import Path; from nlphub.hub.fetch import fetch; from nlphub.hub.cards import FileEntry\n"
        f"fetch(FileEntry('f', None, None, ('hf://org/repo@{commit}/f',)), Path(sys.argv[1]), label='toy 1.0.0')"
    )
    ours = {"HF_ENDPOINT": server.address, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path / "hf"), "no_proxy": "127.0.0.1"}
    environment = {**os.environ, **ours, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "f").read_bytes() == content
        assert set(seen) == {(f"/org/repo/resolve/{commit}/f", "Bearer hf_secret")}
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "g")], env=offline, capture_output=True, text=True)
        assert "OfflineError" in done.stderr
    finally:
        del server.RequestHandlerClass.do_HEAD


def test_a_leftover_removed_by_a_faster_process_is_no_loss(get: Any, target: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks did not work: the other process has finished the file and swept ours away."""

    def swept(part: Any) -> None:
        for path in target.parent.glob(".*.part"):
            path.unlink()
        target.write_bytes(content)
        raise FileNotFoundError

    monkeypatch.setattr(Part, "finish", swept)
    get()
    assert target.read_bytes() == content
    target.chmod(0o600)
    target.write_bytes(b"something else")
    monkeypatch.setattr(Part, "finish", lambda part: (_ for _ in ()).throw(FileNotFoundError))
    with pytest.raises(StoreError, match="another process interfered"):
        get()


def test_what_happens_is_logged_not_printed(get: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO, logger="nlphub"):
        get(status(503))
    assert "toy 1.0.0: fetching vocab.txt from http://127.0.0.1" in caplog.text
    assert "answers 503 Service Unavailable; trying again" in caplog.text
    assert capsys.readouterr() == ("", "")
