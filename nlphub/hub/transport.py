"""One HTTP(S) request for the rest of a file, with the standard library: time-outs, ranges, redirects, and which troubles may pass."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from nlphub import __version__
from nlphub.errors import FetchError

_BLOCK = 1 << 16  # bytes read at a time
_ABSENT = {404, 410}
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how often to try.

    Attributes:
        attempts: requests to one source in all; one that brought ``worthwhile`` bytes does not count.
        timeout: seconds without an answer or a byte, when connecting and when reading.
        pause: seconds before the second attempt; doubled before each further one.
        longest_pause: seconds; also the most that a server's Retry-After is heeded.
        worthwhile: bytes.
        sleep: how to wait; tests give their own.
    """

    attempts: int = 5
    timeout: float = 20.0
    pause: float = 0.5
    longest_pause: float = 30.0
    worthwhile: int = 1 << 20
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failed: int, *, at_least: float = 0.0) -> None:
        """Pause after the attempt number ``failed`` (0: one that does not count)."""
        self.sleep(min(self.longest_pause, max(at_least, self.pause * 2 ** max(failed - 1, 0))))


class AbsentError(FetchError):
    """The server answers that there is no such file, which is an answer: another name may be there."""


class PassingError(Exception):
    """A trouble that another attempt may not meet.

    Attributes:
        retry_after: seconds that the server asks for.
        restart: whether the bytes received so far are no use.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, restart: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.restart = restart


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer.

    Attributes:
        first: the offset in the file at which it starts: what was asked for, or 0 from a server that ignores ranges.
        total: bytes of the whole file as the server tells, ``None`` if it does not.
        blocks: the bytes; raises :class:`PassingError` when the connection fails.
    """

    first: int
    total: int | None
    blocks: Iterator[bytes]


@contextmanager
def request(address: str, *, first: int, timeout: float) -> Iterator[Body]:
    """Ask for the bytes of a file from offset ``first`` on.

    Args:
        address: http(s).
        first: byte offset.
        timeout: seconds without an answer or a byte.

    Raises:
        PassingError: another attempt may help: the connection failed, the server is overloaded or answers another range.
        FetchError: it will not.
    """
    headers = {"User-Agent": f"nlphub/{__version__}", "Accept-Encoding": "identity"} | ({"Range": f"bytes={first}-"} if first else {})
    try:
        answer: HTTPResponse = _opener().open(Request(address, headers=headers), timeout=timeout)
    except HTTPError as refusal:
        with refusal:
            raise _judge(refusal) from refusal
    except (OSError, HTTPException) as failure:
        raise _judge_connection(failure) from failure
    with answer:
        yield _body(answer, first)


class _SafeRedirects(HTTPRedirectHandler):
    """Redirects stay on http(s), and once encrypted they stay encrypted."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("https", req.type):
            fp.close()
            raise FetchError(f"redirects from {req.type} to {newurl!r}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """http and https through the system's proxies; unlike urlopen no ftp, file or data addresses."""
    opener = OpenerDirector()
    handlers = (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor, _SafeRedirects)
    for handler in handlers:
        opener.add_handler(handler())
    return opener


def _judge(refusal: HTTPError) -> Exception:
    message = f"answers {refusal.code} {refusal.reason}".strip()
    if refusal.code == 416:  # the bytes that are here already are too many
        return PassingError(message, restart=True)
    if refusal.code in _MAY_PASS:
        return PassingError(message, retry_after=float(_number(refusal.headers.get("Retry-After")) or 0))
    return (AbsentError if refusal.code in _ABSENT else FetchError)(message)


def _judge_connection(failure: OSError | HTTPException) -> Exception:
    reason = failure.reason if isinstance(failure, URLError) else failure
    message = f"cannot be reached: {_words(reason)}"
    return FetchError(message) if isinstance(reason, ssl.SSLCertVerificationError) else PassingError(message)


def _body(answer: HTTPResponse, first: int) -> Body:
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise FetchError(f"sends the file in Content-Encoding {encoding!r}, which was not asked for")
    if answer.status == 200:
        return Body(0, _number(answer.headers.get("Content-Length")), _blocks(answer))
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    span, _, total = span.partition("/")
    if answer.status != 206 or unit != "bytes" or _number(span.partition("-")[0]) != first:
        raise PassingError(f"was asked for bytes from {first} and answers {answer.status} with other ones", restart=True)
    return Body(first, _number(total), _blocks(answer))


def _blocks(answer: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := answer.read1(_BLOCK):
            yield block
    except (OSError, HTTPException) as failure:
        raise PassingError(f"broke off: {_words(failure)}") from failure


def _number(text: str | None) -> int | None:
    return int(text) if text and len(text) < 19 and text.isascii() and text.isdigit() else None


def _words(reason: object) -> str:
    return str(reason) or type(reason).__name__
