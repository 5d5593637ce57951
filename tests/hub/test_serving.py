"""The hub's web server: what the layout has, byte ranges, nothing else."""

import http.client
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nlphub.hub import own, store
from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.registry import find_module
from nlphub.hub.serving import HubServer
from nlphub.hub.transport import Patience

PATH = "/modules/toy/1.0.0/vocab.txt"


@pytest.fixture
def hub(entry_of: Callable[..., FileEntry], card_of: Callable[..., Card], content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "origin").write_bytes(content)
    own.add(card_of(entry_of(content, (tmp_path / "origin").as_uri())), to=tmp_path / "hub")
    (tmp_path / "secret.json").write_text("secret")
    (tmp_path / "hub" / "secret.json").write_text("secret")
    (tmp_path / "hub" / "modules" / "toy" / "1.0.0" / "code.py").write_text("secret")
    (tmp_path / "hub" / "modules" / "toy" / "1.0.0" / "link.json").symlink_to(tmp_path / "secret.json")
    (tmp_path / "hub" / "modules" / "linked").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "hub" / "modules" / "toy" / "1.0.0" / "pipe.json")
    return tmp_path / "hub"


@pytest.fixture
def ask(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, dict[str, str], bytes]]]:
    """``ask(path, **headers)`` -> status, headers, body."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = HubServer(hub, quiet=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("NLPHUB_REGISTRY", server.address)

    def call(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    yield call
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_binds_to_this_machine_only(hub: Path) -> None:
    with HubServer(hub, quiet=True) as server:
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=199990-", 199_990, 199_999),
        ("bytes=-5", 199_995, 199_999),
        ("bytes=5-999999999", 5, 199_999),
        ("bytes=-999999999", 0, 199_999),
    ],
)
def test_a_range_gives_these_bytes(ask: Any, content: bytes, span: str, first: int, last: int) -> None:
    status, headers, body = ask(PATH, Range=span)
    assert body == content[first : last + 1]
    whole = (first, last) == (0, len(content) - 1)
    assert (status, headers.get("Content-Range")) == ((200, None) if whole else (206, f"bytes {first}-{last}/{len(content)}"))


@pytest.mark.parametrize("span", ["bytes=200000-", "bytes=-0", "bytes=9-3", "bytes=999999999-"])
def test_a_range_that_is_not_there_is_416(ask: Any, span: str) -> None:
    status, headers, body = ask(PATH, Range=span)
    assert (status, headers["Content-Range"], body) == (416, "bytes */200000", b"")


@pytest.mark.parametrize("span", ["bytes=-", "bytes=0-1,5-6", "lines=0-9", "bytes=a-b", "bytes=0-" + "9" * 30, ""])
def test_a_range_that_is_none_gives_the_whole_file(ask: Any, content: bytes, span: str) -> None:
    assert ask(PATH, Range=span)[::2] == (200, content)


def test_head_etag_and_if_range(ask: Any, content: bytes) -> None:
    status, headers, body = ask(PATH, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "200000", b"")
    assert ask(PATH, If_None_Match=headers["ETag"])[0] == 304
    assert ask(PATH, Range="bytes=0-9", If_Range=headers["ETag"])[2] == content[:10]
    assert ask(PATH, Range="bytes=0-9", If_Range='"other"')[2] == content


@pytest.mark.parametrize(
    "path",
    [
        "/", "/modules", "/modules/", "/modules/toy/1.0.0/", "/secret.json", "/../secret.json", "/modules/../secret.json", "//secret.json",
        "/modules/toy/1.0.0/../../../secret.json", "/modules/toy/1.0.0/%2e%2e/%2e%2e/%2e%2e/secret.json", "/modules/toy/1.0.0/link.json",
        "/modules/toy/1.0.0/code.py", "/modules/toy/1.0.0/none.json", "/modules/linked/1.0/secret.json", "/modules/toy/1.0.0/pipe.json",
        "/.nlphub.lock", "/registry.json?x=1", "/modules/toy/1.0.0/vocab.txt/", "/modules/toy/1.0.0\\..\\secret.json", "http://host/registry.json",
        "/modules/toy/1.0.0/x%00.json", "/" + "a" * 10_000,
    ],
)  # fmt: skip
def test_nothing_but_the_layout_is_served(ask: Any, path: str) -> None:
    status, _, body = ask(path)
    assert status == 404
    assert b"secret" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(ask: Any, method: str) -> None:
    assert ask(PATH, method)[0] == 501


def test_a_module_is_installed_from_it_and_a_download_resumes(ask: Any, content: bytes) -> None:
    card = find_module("toy")
    store.remove("toy")  # that was for publishing
    place = store.folder(card)
    place.mkdir(parents=True, mode=0o700)
    for folder in (place, place.parent, place.parent.parent):
        folder.chmod(0o700)
    (place / ".vocab.txt~x.part").write_bytes(content[:150_000])
    seen: list[int] = []
    store.install(card, patience=Patience(attempts=1, timeout=5), progress=lambda done, total: seen.append(done))
    assert seen[0] == 150_000
    assert (place / "vocab.txt").read_bytes() == content


def test_requests_are_logged_in_one_line_without_control_characters(ask: Any, hub: Path, capsys: Any) -> None:
    server = HubServer(hub)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection._validate_path = lambda path: None  # type: ignore[attr-defined]  # a hostile client does not either
    connection.request("GET", "/a\x1b[2J\x7f")
    assert connection.getresponse().status in (400, 404)
    connection.close()
    thread.join()
    server.server_close()
    printed = capsys.readouterr().err
    assert all(character.isprintable() or character == "\n" for character in printed)
