"""From bytes to messages with httptools, the head and the body of one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httptools

from ..protocol.request import Head

if TYPE_CHECKING:
    from .connection import Service

MAX_HEAD = 64 * 1024
"""Bytes of request line and header fields above which a request is no longer read."""
MAX_DRAIN = 256 * 1024 * 1024
"""Bytes of a refused body that are read and thrown away so that the sender reads the answer."""
REMEMBERED_HEADS = 1024
END_OF_HEAD = b"\r\n\r\n"


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

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[str, str]] = []
        self.head: Head
        self.length = 0
        self.limit = 0
        self.keep_alive = True
        self.plain = False
        self.expects_continue = False
        self.answered = False
        self.size = 0
        self._body: list[bytes] = []

    def add(self, data: bytes) -> bool:
        """Take a piece of the body; false where it goes beyond `limit` and is not kept."""
        self.size += len(data)
        if self.size <= self.limit:
            self._body.append(data)
        else:
            self._body.clear()
        return self.size <= self.limit

    def body(self) -> bytes:
        """The body; empty where it became too large to be kept."""
        return b"".join(self._body)


class Parser:
    """Feeds one connection's bytes to httptools, from the beginning of a message on."""

    def __init__(self, receiver: Receiver, data: bytes) -> None:
        """`data` is what will be fed first: its head is remembered when it turns out to be plain."""
        self.message: Message | None = None
        self._receiver = receiver
        self._head_size = 0
        self._in_head = True
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        self._first = bytes(data[:end]) if end >= len(END_OF_HEAD) else b""
        self._http = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> bytes:
        """Parse `data`; what is left over needs a parser of its own (after an upgrade nobody took).

        Raises `httptools.HttpParserError` for what is not HTTP, and for a head that is too large.
        """
        self._head_size += len(data) if self._in_head else 0
        try:
            self._http.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return bytes(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        if self._in_head and self.message is not None and self._head_size > MAX_HEAD:
            raise httptools.HttpParserError("head too large")
        return b""

    def oversized(self) -> bool:
        """Whether what went wrong is the size of the head."""
        return self._in_head and self._head_size > MAX_HEAD

    # what httptools calls

    def on_message_begin(self) -> None:
        self.message = Message()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        assert self.message is not None
        self.message.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self.message is not None
        self.message.fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        message = self.message
        assert message is not None
        self._in_head = False
        method = self._http.get_method().decode("latin-1")
        message.head = Head.of(method, message.url.decode("latin-1"), message.fields)
        message.keep_alive = (
            self._http.should_keep_alive() and self._http.get_http_version() == "1.1"
        )
        headers = message.head.headers
        length = headers.get("content-length", "0")
        message.length = int(length) if length.isdecimal() else 0
        message.expects_continue = headers.get("expect", "").lower() == "100-continue"
        message.plain = message.keep_alive and not (
            message.expects_continue or "transfer-encoding" in headers or "upgrade" in headers
        )
        self._receiver.begun(message)

    def on_body(self, data: bytes) -> None:
        message = self.message
        assert message is not None
        if not message.add(data):
            self._receiver.overflowed(message)
            if message.size - message.limit > MAX_DRAIN:
                raise httptools.HttpParserError("more than is worth reading")

    def on_message_complete(self) -> None:
        message, self.message = self.message, None
        assert message is not None
        self._remember(message)
        self._head_size, self._in_head, self._first = 0, True, b""
        self._receiver.completed(message)

    def _remember(self, message: Message) -> None:
        heads, raw = self._receiver.service.heads, self._first
        begins_here = raw.startswith(message.head.method.encode() + b" ")
        if message.plain and begins_here and raw.count(b"\n") == raw.count(b"\r\n"):
            if message.length <= message.limit:
                if len(heads) >= REMEMBERED_HEADS:
                    heads.clear()
                heads[raw] = (message.head, message.length)
