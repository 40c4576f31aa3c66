"""From bytes to messages with httptools, the head and the body of one at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import httptools

from ..protocol.request import RequestHead
from .heads import END_OF_HEAD, Known, Pattern

if TYPE_CHECKING:
    from .service import Service

MAX_HEAD = 64 * 1024
"""Bytes of request line and header fields above which a request is refused.

Also of what is no body between two pieces of one: a trailer, extensions of chunks.
"""
MAX_METHOD = 64
MAX_DRAIN = 256 * 1024 * 1024
"""Bytes of a refused body that are read and thrown away so that the sender reads the answer."""
_EMPTY_LINES = re.compile(rb"[\r\n]*")
_METHOD = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]+")
_PARSED = frozenset(b"CONNECT DELETE HEAD PATCH PRI PUT TRACE".split())  # PRI: of HTTP/2 alone
"""Methods that are left to httptools, which refuses some and takes others for RTSP, too."""
_STAND_IN = b"PUT"
_FRAMING = frozenset((b"host", b"content-length", b"expect", b"transfer-encoding", b"upgrade"))


class BadRequest(httptools.HttpParserError):
    """Bytes that httptools takes and HTTP does not, or that are too many; `status` answers them."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Receiver(Protocol):
    """Who is told about messages: the connection."""

    service: Service

    def begun(self, message: Message) -> None:
        """The head is complete."""

    def overflowed(self, message: Message) -> None:
        """The body became larger than `message.limit`."""

    def completed(self, message: Message) -> None:
        """The message is complete."""


class Message:
    """One request while it arrives."""

    __slots__ = (
        "_body",
        "answered",
        "expects_continue",
        "fields",
        "head",
        "keep_alive",
        "length",
        "limit",
        "plain",
        "size",
        "upgrades",
        "url",
    )

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.head: RequestHead
        self.length = 0
        """What `Content-Length` announces."""
        self.limit = 0
        """The most bytes of body that are kept."""
        self.size = 0
        """Bytes of body so far."""
        self.keep_alive = True
        self.plain = False
        """Whether the next request with the same bytes of head can go without being parsed."""
        self.expects_continue = False
        self.upgrades = False
        """Whether it offers another protocol, and httptools therefore stops behind its head."""
        self.answered = False
        """Whether the answer is out before the body is."""
        self._body = bytearray()

    def add(self, data: bytes) -> bool:
        """Take a piece of the body; false where it goes beyond `limit` and is not kept."""
        self.size += len(data)
        if self.size <= self.limit and not self.answered:
            self._body += data
            return True
        self._body.clear()
        return self.answered

    def body(self) -> bytes:
        """The body; empty where it became too large to be kept."""
        return bytes(self._body)


class Parser:
    """Feeds the bytes of one connection to httptools, whole messages or pieces of them.

    Between two messages (`message` is `None`) the connection may serve others without it.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.message: Message | None = None
        self.in_head = True
        self.pattern: Pattern | None = None
        """The last head that could have gone without being parsed."""
        self._receiver = receiver
        self._read = 0
        self._between = 0
        self._first = b""
        self._held = b""
        self._tail = b""
        self._method = b""
        self._offered: list[tuple[bytes, bytes]] | None = None
        self._http = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Parse `data`.

        Raises `httptools.HttpParserError` for what is not HTTP, `BadRequest` among them.
        """
        if self._held:
            data, self._held, self.message = self._held + data, b"", None
        at = 0
        while at < len(data):
            if self.message is None:
                at = self._start(data, at)
                if self._held or at == len(data):
                    return
            end = self._end(data, at)
            piece = data[at:end]
            rest = self._parse(piece)
            data, at = (rest + data[end:], 0) if rest else (data, end)
            self._tail = (self._tail + piece[-3:])[-3:]

    def _start(self, data: bytes, at: int) -> int:
        """Where after `at` the next message begins, whose method is known then, or is held."""
        self._tail = self._method = b""
        at = _EMPTY_LINES.match(data, at).end()  # type: ignore[union-attr]
        found = _METHOD.match(data, at, at + MAX_METHOD)
        method = found[0] if found else b""
        stop = at + len(method)
        if method and stop == len(data) and len(method) < MAX_METHOD:
            self._held, self.message, self.in_head = method, Message(), True
        elif data[stop : stop + 1] == b" " and method not in _PARSED:
            self._method = method
        end = data.find(END_OF_HEAD, at) + len(END_OF_HEAD)
        self._first = data[at:end] if end >= len(END_OF_HEAD) else b""
        return at

    def _end(self, data: bytes, at: int) -> int:
        """How far after `at` goes what can be parsed without touching a next message.

        A body ends after its length; a head and the chunks of a body end with an empty line.
        """
        message = self.message
        if message is not None and not self.in_head and message.size < message.length:
            return min(at + message.length - message.size, len(data))
        begun = (self._tail + data[at : at + 3]).find(END_OF_HEAD)
        if begun >= 0:
            return at + begun - len(self._tail) + len(END_OF_HEAD)
        end = data.find(END_OF_HEAD, at)
        return len(data) if end < 0 else end + len(END_OF_HEAD)

    def _parse(self, data: bytes) -> bytes:
        """Parse `data`, which no message ends in but at its end; what is to be parsed again."""
        self._read += len(data)
        self._between += len(data)
        if self.message is None and self._method:
            data = _STAND_IN + data[len(self._method) :]
        try:
            self._http.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self.message is not None:
                rest = self._declined(self.message) + rest
            self._http = httptools.HttpRequestParser(self)
            return rest
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        if self.message is not None and self._between > MAX_HEAD:
            excess = "head too large" if self.in_head else "too much between pieces of a body"
            raise BadRequest(excess, 431)
        return b""

    def _declined(self, message: Message) -> bytes:
        """The head of `message` once more, without the offer that nobody takes.

        httptools reads no body behind an offer, though without a taker there is one (RFC 9110,
        7.8): Java's client offers h2c with each POST.
        """
        self._offered = message.fields
        self.message = None
        version = self._http.get_http_version().encode()
        lines = [b"%b HTTP/%b" % (message.head.raw.partition(b"\r\n")[0], version)]
        lines += [b"%b:%b" % pair for pair in message.fields if pair[0].lower() != b"upgrade"]
        return b"\r\n".join(lines) + END_OF_HEAD

    # what httptools calls

    def on_message_begin(self) -> None:
        """A message begins."""
        self.message = Message()
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        assert self.message is not None
        self.message.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer."""
        if self.in_head:
            assert self.message is not None
            self.message.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        message, http = self.message, self._http
        assert message is not None
        self.in_head = False
        self._between = 0
        if self._offered is not None:
            message.fields, self._offered = self._offered, None
        method, version = self._method or http.get_method(), http.get_http_version()
        message.head = _head(method, message)
        message.upgrades = http.should_upgrade() and method != b"CONNECT"
        message.keep_alive = http.should_keep_alive() and version == "1.1"
        _understand(message, method, version)
        if not message.upgrades:
            self._receiver.begun(message)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        message = self.message
        assert message is not None
        self._between = 0
        if self._read > message.limit + MAX_DRAIN:
            raise BadRequest("more than is worth reading", 413)
        if not message.add(data):
            self._receiver.overflowed(message)

    def on_message_complete(self) -> None:
        """The message is complete."""
        message = self.message
        assert message is not None
        if message.upgrades:
            return
        self.message = None
        if message.plain and self._begins_with(message):
            known = Known(message.head, message.size, message.keep_alive)
            heads = self._receiver.service.heads
            heads.note(self._first, known)
            self.pattern = heads.pattern = Pattern(self._first, known)
        self._read, self._between, self._first, self._method = 0, 0, b"", b""
        self._receiver.completed(message)

    def _begins_with(self, message: Message) -> bool:
        """Whether the first bytes fed are the head of `message`, ended by its first empty line."""
        raw, method = self._first, message.head.raw.partition(b" ")[0]
        return (
            raw.startswith(method + b" ")
            and raw.count(b"\n") == raw.count(b"\r\n")
            and message.size <= message.limit
        )


def _head(method: bytes, message: Message) -> RequestHead:
    lines = [method + b" " + message.url]
    lines += [name + b":" + value.strip(b" \t") for name, value in message.fields]
    raw = b"\r\n".join(lines)
    if raw.count(b"\n") != len(message.fields):
        raise BadRequest("a line break within a field")
    if len(raw) > MAX_HEAD:
        raise BadRequest("head too large", 431)
    return RequestHead(raw)


def _understand(message: Message, method: bytes, version: str) -> None:
    """Take from the fields what this floor has to know; the rest is for the protocol."""
    framing: dict[bytes, list[bytes]] = {}
    for name, value in message.fields:
        lower = name.lower()
        if lower in _FRAMING:
            framing.setdefault(lower, []).append(value.strip(b" \t"))
    if version not in ("1.0", "1.1"):
        raise BadRequest(f"HTTP/{version}")
    if len(framing.get(b"host", ())) != 1 and (version == "1.1" or b"host" in framing):
        raise BadRequest("a request of HTTP/1.1 has one Host field (RFC 9112, 3.2)")
    lengths = framing.get(b"content-length", [b"0"])
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise BadRequest("a Content-Length that is no number")
    codings = b",".join(framing.get(b"transfer-encoding", ())).lower().split(b",")
    if any(coding.strip() != b"chunked" for coding in codings[:-1]):
        raise BadRequest("a transfer coding beside chunked", 501)
    message.length = int(lengths[0])
    message.expects_continue = (
        version == "1.1" and framing.get(b"expect", (b"",))[0].lower() == b"100-continue"
    )
    # Behind a CONNECT there is no body, whatever its length says.
    message.plain = method != b"CONNECT" and framing.keys() <= {b"host", b"content-length"}
