"""The HTTP client of the tests: it sends bytes as given and reads responses as they come."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

DEADLINE = 20.0
"""Seconds after which a test gives up; nothing takes a fraction of it."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass(frozen=True)
class Response:
    """One response as it came: its header fields in their order, and all its bytes in ``raw``."""

    status: int | None
    """``None`` if no complete header section came."""
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_complete: bool
    raw: bytes

    def header(self, name: str) -> str | None:
        """The first field of this name in any letter case."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


def parse_response(data: bytes | bytearray, start: int = 0) -> Response:
    """The response that begins at ``start``, complete or as much of it as there is."""
    status_line = _STATUS_LINE.match(data, start)
    end = data.find(b"\r\n\r\n", start) + 4
    if not status_line or end < 4:
        return Response(None, (), b"", is_complete=False, raw=bytes(data[start:]))
    status = int(status_line[1])
    lines = bytes(data[start : end - 4]).decode("latin-1").split("\r\n")[1:]
    headers = tuple((name, value.strip()) for name, _, value in (x.partition(":") for x in lines))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    if status < 200 or status in (204, 304) or data.startswith(b"HTTP/1.", end):
        length = 0  # a response to HEAD names a length and has no body: the next response follows
    body = bytes(data[end : end + length])
    raw = bytes(data[start : end + length])
    return Response(status, headers, body, is_complete=len(body) == length, raw=raw)


def parse_responses(data: bytes | bytearray) -> list[Response]:
    """All responses in ``data``; the last one may be incomplete."""
    responses, start = [], 0
    while start < len(data):
        responses.append(parse_response(data, start))
        start += len(responses[-1].raw)
    return responses


def statuses(data: bytes | bytearray) -> list[int]:
    """The statuses of the responses in ``data``."""
    return [each.status for each in parse_responses(data) if each.status is not None]


class HttpClient:
    """A connection to a server, by TCP or by TLS. A context manager that closes it."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float = DEADLINE,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=server_name or host)
        self.timeout = timeout
        self.ended = False
        """Whether the server closed the connection, as far as this client noticed."""
        self._received = bytearray()
        self._start = 0  # of the response that is read next

    @classmethod
    def to(cls, url: str) -> HttpClient:
        """A connection by TCP to where a URL points."""
        place = urlsplit(url)
        assert place.hostname
        assert place.port
        return cls(place.hostname, place.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send ``data``; a server that has closed already may refuse it."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            self.ended = True

    def end_sending(self) -> None:
        """Tell the server that nothing more comes."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    def read_response(self) -> Response:
        """The next response, incomplete if the connection ends before; a 1xx is one too."""
        deadline = time.monotonic() + self.timeout
        while True:
            response = parse_response(self._received, self._start)
            if response.is_complete or not self._receive(deadline):
                self._start += len(response.raw)
                return response

    def read_responses(self, count: int) -> list[Response]:
        """That many responses without the 1xx among them, or fewer if the connection ends."""
        responses: list[Response] = []
        while len(responses) < count:
            response = self.read_response()
            if response.status is None:
                break
            if response.status >= 200:
                responses.append(response)
        return responses

    def read_status(self) -> int | None:
        """The status of the next response, ``None`` if that is not complete."""
        response = self.read_response()
        return response.status if response.is_complete else None

    def read_to_end(self) -> bytes:
        """Everything that was not read yet, until the server closes or resets the connection."""
        deadline = time.monotonic() + self.timeout
        while self._receive(deadline):
            pass
        start, self._start = self._start, len(self._received)
        return bytes(self._received[start:])

    def statuses(self, count: int | None = None) -> list[int]:
        """The statuses of the next ``count`` responses, without one of all until the end."""
        if count is None:
            return statuses(self.read_to_end())
        return [each.status for each in self.read_responses(count) if each.status is not None]

    def _receive(self, deadline: float) -> bool:
        self.socket.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            data = b""
        self._received += data
        self.ended = not data
        return bool(data)


def talk(port: int, data: bytes) -> list[int]:
    """Send ``data`` on a new connection to this computer, end it, and read all statuses."""
    with HttpClient("127.0.0.1", port) as client:
        client.send(data)
        client.end_sending()
        return client.statuses()
