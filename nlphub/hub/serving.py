"""A small web server over one hub's folder: what its registry names, byte ranges, nothing else. Any other file server does as well.

Only ``/registry.json`` and ``/modules/<name>/<version>/<file>`` are answered, by GET and HEAD. Names are checked by the rules of
:mod:`nlphub.hub.names` before a path is made of them, and nothing that a link leads out of the folder is opened.
"""

import email.utils
import os
import re
import socket
import stat
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import IO, Any

from nlphub import __version__
from nlphub.errors import InputError, StoreError
from nlphub.hub.addresses import FILE
from nlphub.hub.names import check_name, check_path, check_version

_BLOCK = 1 << 16  # bytes sent at a time
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_TYPES = {
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".tsv": "text/plain; charset=utf-8",
}


class HubServer(ThreadingHTTPServer):
    """Serves a hub until :meth:`shutdown`; :attr:`address` is what ``NLPHUB_REGISTRY`` takes.

    Args:
        hub: the folder.
        host: to bind to; the default lets nobody in from outside of this machine.
        port: 0 chooses a free one.
        quiet: log no requests.

    Raises:
        InputError: the folder is no hub.
        StoreError: the port is taken, or the host is none of this machine.
    """

    daemon_threads = True

    def __init__(self, hub: Path, *, host: str = "127.0.0.1", port: int = 0, quiet: bool = False) -> None:
        if not (hub / FILE).is_file():
            raise InputError(f"{hub} is no hub: it has no {FILE}. Begin one: nlphub hub init {hub}")
        self.hub, self.host, self.quiet = hub.resolve(), host, quiet
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as failure:
            raise StoreError(f"{host}:{port} cannot be served: {failure}. Choose another one with --port") from failure

    @property
    def address(self) -> str:
        """``http://host:port``."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Without the name of this machine, for which a base class asks the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"nlphub/{__version__}", ""
    timeout = 30  # seconds without a byte
    server: HubServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        stream = _open(self.server.hub, self.path)
        if stream is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with stream:
            status = os.fstat(stream.fileno())
            mark = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
            if self.headers.get("If-None-Match") == mark:
                self._head(HTTPStatus.NOT_MODIFIED, 0, mark, status)
                return
            first, last = self._wanted(status.st_size, mark)
            if first > last and status.st_size:
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, mark, status, span=f"*/{status.st_size}")
                return
            part = (first, last) != (0, status.st_size - 1)
            span = f"{first}-{last}/{status.st_size}" if part else None
            self._head(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, last - first + 1, mark, status, span=span)
            if body:
                self._send(stream, first, last - first + 1)

    def _wanted(self, size: int, mark: str) -> tuple[int, int]:
        """First and last byte; all of them where the range is not one that this server reads, or was asked of another file."""
        match = _RANGE.fullmatch(self.headers.get("Range", "").strip())
        if match is None or match.groups() == ("", "") or self.headers.get("If-Range", mark) != mark:
            return 0, size - 1
        if not match[1]:  # the last bytes
            return (max(size - int(match[2]), 0), size - 1) if int(match[2]) else (size, size - 1)
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        return int(match[1]), last

    def _head(self, code: HTTPStatus, length: int, mark: str, status: os.stat_result, *, span: str | None = None) -> None:
        self.send_response(code)
        headers = {
            "Content-Type": _TYPES.get(Path(self.path).suffix, "application/octet-stream"), "Content-Length": str(length),
            "Accept-Ranges": "bytes", "ETag": mark, "Last-Modified": email.utils.formatdate(status.st_mtime, usegmt=True),
            "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
        }  # fmt: skip
        for name, value in (headers | ({"Content-Range": f"bytes {span}"} if span else {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, stream: IO[bytes], first: int, length: int) -> None:
        stream.seek(first)
        while length and (block := stream.read(min(_BLOCK, length))):
            self.wfile.write(block)
            length -= len(block)
        self.close_connection = self.close_connection or bool(length)  # a file that became shorter: the client has to notice

    def log_message(self, format: str, *arguments: Any) -> None:
        """One line on standard error, without control characters."""
        if not self.server.quiet:
            super().log_message("%s", (format % arguments).encode("unicode_escape").decode("ascii"))


def _open(hub: Path, path: str) -> IO[bytes] | None:
    """The file that a request names, ``None`` if there is none that is served."""
    place = _place(path)
    if place is None:
        return None
    try:
        if not (hub / place).resolve().is_relative_to(hub):
            return None
        if not stat.S_ISREG((hub / place).lstat().st_mode):
            return None
        return os.fdopen(os.open(hub / place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except (OSError, ValueError):
        return None


def _place(path: str) -> str | None:
    """The path in the hub's folder; no quoted characters are needed, so none are understood."""
    name = path.removeprefix("/")
    if name == FILE:
        return name
    parts = name.split("/", 3)
    if len(parts) < 4 or parts[0] != "modules":
        return None
    try:
        check_name(parts[1])
        check_version(parts[2])
        check_path(parts[3])
    except ValueError:
        return None
    return name
