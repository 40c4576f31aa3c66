"""The ways a request reaches the double: four carriers, one question and one kind of reply each."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.test import Client, EnvironBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_httpserver import HTTPServer

    from pytest_tdpostback import Postback

    Exchange = Callable[[Postback, bytes, int], list["Reply"]]

DEADLINE = 20
"""Seconds after which a reply that did not come is a failure."""


@dataclass(frozen=True)
class Reply:
    """An answer as the sender sees it: ``headers`` as they stood on the wire, in their order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first field of this name in any letter case."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


@dataclass(frozen=True)
class Sent:
    """A raw request taken apart, for carriers that want it in pieces."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, raw: bytes) -> Sent:
        """The pieces of one complete request."""
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        if any(name.lower() == "transfer-encoding" for name, _ in headers):
            body = b"".join(_chunks(body))
        return cls(method, target, headers, body)


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            return
        yield body[:length]
        body = body[length + 2 :]


def connected(url: str) -> socket.socket:
    """A connection to where a URL points, that sends what it is given at once."""
    place = urlsplit(url)
    assert place.port is not None
    sock = socket.create_connection((place.hostname, place.port), DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def over_socket(url: str, pieces: Iterator[bytes] | list[bytes], replies: int) -> list[Reply]:
    """Send the pieces one after the other, and read as many replies as are expected."""
    with closing(connected(url)) as sock:
        for piece in pieces:
            sock.sendall(piece)
        return read_replies(sock, replies)


def read_replies(sock: socket.socket, replies: int) -> list[Reply]:
    """As many replies as are expected."""
    with sock.makefile("rb") as stream:
        return [_reply(stream) for _ in range(replies)]


def _reply(stream: Any) -> Reply:
    status = 100
    while status // 100 == 1:
        status = int(stream.readline().split(b" ")[1])
        headers = []
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Reply(status, tuple(headers), b"" if status == 204 else stream.read(length))


def whole(postback: Postback, raw: bytes, replies: int) -> list[Reply]:
    """The double's own server, everything in one piece."""
    return over_socket(postback.url, [raw], replies)


def bytewise(postback: Postback, raw: bytes, replies: int) -> list[Reply]:
    """The double's own server, one byte at a time."""
    return over_socket(postback.url, [bytes([byte]) for byte in raw], replies)


def wsgi(postback: Postback, raw: bytes, replies: int) -> list[Reply]:
    """The WSGI application, called by werkzeug's test client."""
    assert replies == 1
    sent = Sent.of(raw)
    builder = EnvironBuilder(
        method=sent.method,
        headers=sent.headers,
        data=sent.body or None,
        environ_overrides={
            "REQUEST_URI": sent.target,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input_terminated": True,
        },
    )
    response = Client(postback.wsgi_app, use_cookies=False).open(builder, buffered=True)
    return [Reply(response.status_code, tuple(response.headers), response.data)]


def mounted_on(front: HTTPServer) -> Exchange:
    """A server of pytest-httpserver that the double is mounted on."""

    def mounted(postback: Postback, raw: bytes, replies: int) -> list[Reply]:
        front.clear()
        postback.mount(front)
        return over_socket(front.url_for("/"), [raw], replies)

    return mounted
