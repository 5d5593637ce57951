"""A web server that can be told to misbehave, and modules to install from it."""

import hashlib
import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nlphub.hub.cards import Card, FileEntry
from nlphub.hub.transport import Patience

WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "tempfile.mkstemp", "tempfile.mkdtemp", "shutil.rmtree"}

Fault = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``; each request first takes one fault off ``server.script``, if there is any."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path)
        self.close_connection = True
        if self.server.script:
            self.server.script.pop(0)(self, content or b"")
        elif content is None:
            self.answer(404, b"not here")
        else:
            self.serve(content)

    def serve(self, content: bytes) -> None:
        """As a good server does it."""
        first = self.wanted_from()
        if first:
            self.answer(206, content[first:], {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"})
        else:
            self.answer(200, content)

    def wanted_from(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, length: int | None = -1) -> None:
        """Send all at once; ``length`` is the Content-Length to claim, ``None`` for none."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Tear the connection down so that the client's next read fails."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return  # the client, or a fault, has closed the connection

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.script: list[Fault] = []
        self.requests: list[tuple[str, str | None]] = []
        self.released = threading.Event()  # lets stalled answers end with the test

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def one_file_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in the order of the files, so that a script of faults meets the file it is meant for."""
    monkeypatch.setattr("nlphub.hub.several.AT_ONCE", 1)


@dataclass
class Pauses:
    """Stands in for time.sleep."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def patience(pauses: Pauses) -> Patience:
    """Three attempts, and no real waiting."""
    return Patience(attempts=3, timeout=0.3, pause=0.5, longest_pause=8.0, worthwhile=1 << 30, sleep=pauses)


@pytest.fixture
def content() -> bytes:
    """200 kB that repeat nowhere."""
    return b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(6250))


@pytest.fixture
def entry_of() -> Callable[..., FileEntry]:
    """``entry_of(content, source, ..., path="vocab.txt", bytes=True, sha256=True)``: a registry's promise of a content."""

    def make(content: bytes, *sources: str, path: str = "vocab.txt", size: bool = True, digest: bool = True) -> FileEntry:
        return FileEntry(path, len(content) if size else None, hashlib.sha256(content).hexdigest() if digest else None, sources)

    return make


@pytest.fixture
def card_of() -> Callable[..., Card]:
    """``card_of(entry, ..., name="toy", version="1.0.0")``."""

    def make(*files: FileEntry, name: str = "toy", version: str = "1.0.0", **changes: Any) -> Card:
        facts: dict[str, Any] = {
            "aliases": (), "summary": "A toy.", "licence": "Apache-2.0", "language": "zh", "architecture": "ernie_tiny",
            "parameters": 1, "tokenizer": "zh_char", "tasks": ("seq-cls",), "upstream": None,
        }  # fmt: skip
        return Card(name=name, version=version, files=files, **(facts | changes))

    return make


@pytest.fixture
def write_registry(tmp_path: Path) -> Callable[..., Path]:
    """``write_registry({name: {...}})``: a registry.json whose entries are a whole card with these changes."""
    made: list[Path] = []

    def make(modules: Mapping[str, Any], *, schema: Any = 1) -> Path:
        card = {
            "version": "1.0.0", "aliases": [], "summary": "A toy.", "licence": "Apache-2.0", "language": "zh", "architecture": "ernie_tiny",
            "parameters": None, "tokenizer": "zh_char", "tasks": ["seq-cls"], "upstream": None,
            "files": [{"path": "config.json", "bytes": None, "sha256": None, "sources": ["bundle:config.json"]}],
        }  # fmt: skip
        whole = {
            name: [card | one for one in changes] if isinstance(changes, list) else card | changes for name, changes in modules.items()
        }
        folder = tmp_path / f"hub-{len(made)}"
        folder.mkdir()
        made.append(folder / "registry.json")
        made[-1].write_text(json.dumps({"schema": schema, "modules": whole}), "utf-8")
        return made[-1]

    return make


@pytest.fixture
def killed_at() -> Callable[[int, Callable[[], Any]], bool]:
    """``killed_at(number, action)``: see below."""

    def killed_at(number: int, action: Callable[[], Any]) -> bool:
        """Run ``action`` in a forked process that kills itself before its ``number``-th file operation; whether it came to that."""
        child = os.fork()
        if child == 0:
            counted = 0

            def count(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal counted
                if event in WATCHED:
                    counted += 1
                    if counted == number:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            try:
                action()
                os._exit(0)
            except BaseException as failure:
                print(repr(failure), file=sys.stderr, flush=True)
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)

    return killed_at
