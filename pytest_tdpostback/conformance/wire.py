"""Raw HTTP/1.1, so that a check says byte by byte what is sent and sees all that comes back."""

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
"""Seconds of silence after which a target counts as broken."""
BODILESS = (204, 304)

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire; `interim` are the statuses of 1xx answers before it."""

    status: int
    headers: Fields
    body: bytes
    interim: tuple[int, ...] = ()

    def header(self, name: str) -> str | None:
        """The first value of a header field, `None` where it is not there."""
        return next((value for field, value in self.headers if field.lower() == name.lower()), None)

    @property
    def front(self) -> str:
        """The server in front of the service, which owns the connection; empty where none shows.

        No documented answer has a `Server` field: where there is one, another program wrote it.
        """
        return self.header("Server") or ""


@final
class Connection:
    """One connection to the host of a URL; a context manager."""

    def __init__(self, url: str) -> None:
        """Connects to the host of `url`, by TLS where it is `https`; raises `OSError`."""
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
        """Send bytes; a peer that has answered and closed already is no error here."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answers_within(self, seconds: float) -> bool:
        """Whether an answer begins to arrive within `seconds`."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def receive(self, method: str = "POST") -> Reply:
        """The answer to a `method` request.

        Raises `ConnectionError` where the connection ends before it, `TimeoutError` on silence.
        """
        interim: list[int] = []
        while True:
            status, headers = self._head()
            if status >= 200:
                body = b"" if method == "HEAD" or status in BODILESS else self._body(headers)
                return Reply(status, headers, body, tuple(interim))
            interim.append(status)

    def interim(self) -> int:
        """The status of the next answer, whose body is not read."""
        return self._head()[0]

    def ended(self) -> bool:
        """Whether the target closes the connection, sending no more."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        """End it."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Connection:
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
            raise ConnectionError("the connection ended before an answer")
        status = line.split()[1] if len(line.split()) > 1 else b""
        if not line.startswith(b"HTTP/1.") or not status.isdigit():
            raise ConnectionError(f"not an HTTP/1 answer: {line[:80]!r}")
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
