"""A raw HTTP/1.1 client: a check decides every byte that is sent, and sees every byte received."""

from __future__ import annotations

import select
import socket
import ssl
from dataclasses import dataclass
from http.client import parse_headers
from typing import TYPE_CHECKING, BinaryIO, final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

TIMEOUT = 15.0
"""Seconds without data after which a target counts as broken."""
BODILESS = (204, 304)

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RawResponse:
    """One response from the wire; `interim` has the statuses of the 1xx responses before it."""

    status: int
    headers: Fields
    body: bytes
    interim: tuple[int, ...] = ()

    def header(self, name: str) -> str | None:
        """Return the first value of a header field, `None` if it was not sent."""
        return next((value for field, value in self.headers if field.lower() == name.lower()), None)

    @property
    def proxy_server(self) -> str:
        """The name of a server in front of the service, which owns the connection; may be empty.

        No documented response has a `Server` field. If there is one, another program wrote it.
        """
        return self.header("Server") or ""


@final
class RawConnection:
    """One connection to the host of a URL; a context manager."""

    def __init__(self, url: str) -> None:
        """Connect to the host of `url`, by TLS if it is `https`. Raises `OSError`."""
        parts = urlsplit(url)
        self.host = parts.netloc.rpartition("@")[2]
        secure = parts.scheme == "https"
        address = (parts.hostname or "", parts.port or (443 if secure else 80))
        sock = socket.create_connection(address, TIMEOUT)
        if secure:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
        self._socket = sock
        self._file = sock.makefile("rb")
        self.address: str = sock.getsockname()[0]

    def send(
        self, method: str, target: str, fields: Iterable[tuple[str, str]], version: str = "1.1"
    ) -> None:
        """Send the head of a request; `fields` follow `Host`."""
        lines = [f"{method} {target} HTTP/{version}", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def write(self, data: bytes) -> None:
        """Send bytes. It is not an error if the peer has responded and closed already."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def response_begins_within(self, seconds: float) -> bool:
        """Return whether a response begins to arrive within `seconds`."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def receive(self, method: str = "POST") -> RawResponse:
        """Return the response to a `method` request.

        Raises `ConnectionError` if the connection ends before it, `TimeoutError` if nothing comes.
        """
        interim: list[int] = []
        while True:
            status, headers = self._head()
            if status >= 200:
                body = b"" if method == "HEAD" or status in BODILESS else self._body(headers)
                return RawResponse(status, headers, body, tuple(interim))
            interim.append(status)

    def interim(self) -> int:
        """Return the status of the next response, without reading its body."""
        return self._head()[0]

    def ended(self) -> bool:
        """Return whether the target closes the connection and sends nothing more."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _head(self) -> tuple[int, Fields]:
        line = self._file.readline(65_537)
        if not line:
            raise ConnectionError("the connection ended before a response")
        status = line.split()[1] if len(line.split()) > 1 else b""
        if not line.startswith(b"HTTP/1.") or not status.isdigit():
            raise ConnectionError(f"not an HTTP/1 response: {line[:80]!r}")
        return int(status), tuple(parse_headers(self._file).items())

    def _body(self, headers: Fields) -> bytes:
        fields = {name.lower(): value for name, value in headers}
        if "chunked" in fields.get("transfer-encoding", ""):
            return b"".join(_chunks(self._file))
        length = fields.get("content-length")
        return self._file.read() if length is None else self._file.read(int(length))


def _chunks(file: BinaryIO) -> Iterable[bytes]:
    while size := int(file.readline().partition(b";")[0], 16):
        yield file.read(size)
        file.readline()
    file.readline()
