"""From bytes to the head and the body of one request. Nothing here decides about an event.

httptools checks the syntax. It sees two things in another form, because HTTP allows more than it
does: a method that it does not know, and bytes above ASCII in the request target.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import httptools

from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD = 64 * 1024
"""Bytes of a request line and header fields; a longer head is refused (431).

The same limit holds for what stands between two pieces of a chunked body: extensions, trailers.
"""
MAX_DRAIN = 256 * 1024 * 1024
"""Bytes of a refused body that are read and thrown away, so that the sender reads the response."""
END_OF_HEAD = b"\r\n\r\n"
LONGEST_REMEMBERED_HEAD = 4096

_LONGEST_METHOD = 64
_METHOD = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]{1,%d}(?: |\Z)" % _LONGEST_METHOD)
"""A method and the space behind it, or as much of a method as is there."""
_CHECKED_METHODS = (b"CONNECT", b"PRI")
"""Methods with a syntax of their own; `PRI` begins HTTP/2, which is refused."""
_KNOWN_METHOD = b"PUT"
"""Stands in for every other method: httptools knows few, and takes some of them for RTSP."""
_ASCII = bytes(range(128)) + b"?" * 128
"""A table for `translate`."""
_CHUNKED_HEAD = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_FORBIDDEN_IN_FIELDS = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+\Z")


class BadRequest(Exception):
    """Bytes that are not a request of HTTP/1.1, or too many; `status` is the response to them."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Head(NamedTuple):
    """A head, and what it says about the message around it."""

    request: RequestHead
    length: int
    """Bytes of the body that follows, by `Content-Length`; 0 if the body is chunked."""
    chunked: bool
    keep_alive: bool
    """Whether the sender wants to use the connection again."""
    expects_continue: bool
    """Whether the sender waits for `100 Continue` before it sends a body."""


def check_start(start: bytes, checked: int = 0) -> None:
    """Raise `BadRequest` if no head begins with `start`; its first bytes may be `checked`."""
    if not _METHOD.match(start):
        if start.startswith(b"\x16\x03"):
            raise BadRequest(
                "it is TLS at a port without TLS; send to a URL that begins with http://"
            )
        raise BadRequest("it does not begin with an HTTP method")
    if start.startswith(b"PRI * HTTP/2"):
        raise BadRequest("it is HTTP/2; this server speaks HTTP/1.1")
    checked -= start[:checked].endswith(b"\r")  # the first half of a line break
    if start.count(b"\n", checked) != start.count(b"\r\n", checked):
        raise BadRequest("it has a line break inside a field")
    if len(start) >= MAX_HEAD and not start.endswith(END_OF_HEAD):
        raise BadRequest(f"its head has more than {MAX_HEAD} bytes", 431)


def parse_head(raw: bytes) -> Head:
    """The head that `raw` is, with the empty line at its end; raise `BadRequest` if it is none."""
    return _remembered_head(raw) if len(raw) <= LONGEST_REMEMBERED_HEAD else _parse_head(raw)


def _parse_head(raw: bytes) -> Head:
    check_start(raw[:MAX_HEAD])
    line = raw[: raw.index(b"\r\n")]
    method, target, *_ = [*filter(None, line.split(b" ")), b""]
    known_method = method if method in _CHECKED_METHODS else _KNOWN_METHOD
    ascii_line = known_method + line[len(method) :].translate(_ASCII)
    parser = httptools.HttpRequestParser(None)
    try:
        parser.feed_data(ascii_line + raw[len(line) :])
    except httptools.HttpParserUpgrade:
        pass  # no offer of another protocol is accepted
    except httptools.HttpParserError as error:
        raise BadRequest(str(error)) from None
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise BadRequest(f"its version is HTTP/{version}; this server speaks HTTP/1.1")
    if raw.count(b"\r") != raw.count(b"\r\n"):
        raise BadRequest("it has a line break inside a field")
    request = RequestHead(b"%b %b%b" % (method, target, raw[len(line) : -len(END_OF_HEAD)]))
    fields = request.fields
    hosts = len(fields.get("host", ()))
    if hosts > 1 or (version == "1.1" and not hosts):
        raise BadRequest(f"it has {hosts} Host fields (RFC 9112, 3.2: exactly one)")
    # What follows the head of CONNECT is not a body.
    length, chunked = (0, False) if method == b"CONNECT" else _body_framing(fields)
    options = ",".join(fields.get("connection", ())).lower().split(",")
    return Head(
        request=request,
        length=length,
        chunked=chunked,
        keep_alive=version == "1.1" and "close" not in [each.strip() for each in options],
        expects_continue=version == "1.1"
        and (chunked or length > 0)
        and request.field("expect").lower() == "100-continue",
    )


_remembered_head = lru_cache(maxsize=1024)(_parse_head)
"""Senders repeat their heads, and to parse one takes longer than all else about a request."""


class BodyParser:
    """Reads the body of one request, in as many pieces as it comes."""

    def __init__(self, head: Head, limit: int) -> None:
        """Read the body that follows `head`, and keep it unless it exceeds `limit` bytes."""
        self.head = head
        self.limit = limit
        self.size = 0
        """Bytes of the body so far, without the transfer coding."""
        self.too_large = head.length > limit
        """Whether the body is known to be larger than `limit`, so that none of it is kept."""
        self.complete = not head.length and not head.chunked
        self.data = bytearray()
        """The body so far; empty if it is too large."""
        self._read = 0
        self._between = 0
        self._tail = b""
        self._http = httptools.HttpRequestParser(self) if head.chunked else None
        if self._http is not None:
            self._http.feed_data(_CHUNKED_HEAD)

    def feed(self, data: bytes, start: int) -> int:
        """Read `data` from `start` on, up to the end of the body; return the position behind."""
        if self._http is None:
            end = min(len(data), start + self.head.length - self.size)
            self.on_body(data[start:end])
            self.complete = self.size == self.head.length
            return end
        # Only an empty line can end a chunked body, so each piece that is parsed ends with one.
        while start < len(data) and not self.complete:
            seen = self._tail + data[start : start + 3]
            before = seen.find(END_OF_HEAD)
            if before >= 0:
                end = start + before - len(self._tail) + len(END_OF_HEAD)
            else:
                end = data.find(END_OF_HEAD, start) + len(END_OF_HEAD)
                end = len(data) if end < len(END_OF_HEAD) else end
            piece = data[start:end]
            self._read += len(piece)
            self._between += len(piece)
            try:
                self._http.feed_data(piece)
            except httptools.HttpParserCallbackError as error:
                raise error.__context__ or error from None
            except httptools.HttpParserError as error:
                raise BadRequest(str(error)) from None
            if self._between > MAX_HEAD:
                raise BadRequest("it has too much between the pieces of its body", 431)
            self._tail = (self._tail + piece[-3:])[-3:]
            start = end
        return start

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body, if it is not too large; called by httptools, too."""
        self._between = 0
        if self._read > self.limit + MAX_DRAIN:
            raise BadRequest("its body is larger than is worth reading", 413)
        self.size += len(data)
        self.too_large |= self.size > self.limit
        if self.too_large:
            self.data.clear()
        else:
            self.data += data

    def on_message_complete(self) -> None:
        """Called by httptools at the end of a chunked body."""
        self.complete = True


def checked_head(method: str, target: str, fields: Sequence[tuple[str, str]]) -> RequestHead:
    """A head that does not come over a socket, checked like the others.

    Raise `ValueError` if a name is not a token, or a part has a control character (RFC 9110, 5.5);
    `BadRequest` as `check_start` does.
    """
    if not _TOKEN.match(method) or len(method) > _LONGEST_METHOD:
        raise ValueError(f"Illegal method {method!r}")
    for name, value in (("target", target), *fields):
        if not _TOKEN.match(name):
            raise ValueError(f"Illegal header name {name!r}")
        if _FORBIDDEN_IN_FIELDS.search(value):
            raise ValueError(f"Illegal value of {name}: it has a control character")
    head = RequestHead.of(method, target, fields)
    check_start(head.raw)
    return head


def _body_framing(fields: dict[str, list[str]]) -> tuple[int, bool]:
    """The length of the body, and whether it is chunked instead (RFC 9112, 6)."""
    lengths = fields.get("content-length", ())
    length = lengths[0] if lengths else "0"
    if len(lengths) > 1 or not (length.isascii() and length.isdecimal()):
        raise BadRequest("its Content-Length is not one number")
    codings = ",".join(fields.get("transfer-encoding", ())).lower()
    if not codings:
        return int(length.lstrip("0") or "0"), False
    *others, last = (coding.strip() for coding in codings.split(","))
    if lengths or last != "chunked" or "chunked" in others:
        raise BadRequest("its Transfer-Encoding cannot be understood")
    if others:
        raise BadRequest("it has a transfer coding other than chunked", 501)
    return 0, True
