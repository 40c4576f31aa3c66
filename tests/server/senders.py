"""Bytes to servers and to single connections, and what came of them."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_tdpostback.collector.collector import Collector
from pytest_tdpostback.protocol.response import Response
from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server.connection import Connection
from pytest_tdpostback.server.deadlines import Deadlines
from pytest_tdpostback.server.heads import Heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_tdpostback.server.deadlines import Debtor

DEADLINE = 20.0
"""Seconds after which a test gives up; nothing takes a fraction of it."""
KEY = "1/abc"
BODY = b'{"id":1}'
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def request(
    body: bytes = BODY,
    *fields: bytes,
    method: bytes = b"POST",
    target: bytes = b"/postback/v3/event/shop/orders",
    version: bytes = b"1.1",
    length: bool = True,
) -> bytes:
    """A good request unless `fields` say otherwise."""
    lines = [
        method + b" " + target + b" HTTP/" + version,
        b"Host: localhost",
        b"Content-Type: application/json",
        b"X-TD-Write-Key: " + KEY.encode(),
        *fields,
    ]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A good request whose body comes in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request(b"", b"Transfer-Encoding: chunked", length=False) + body + end


def statuses(data: bytes | bytearray) -> list[int]:
    """The statuses of the answers in `data`; the bodies here are `{}` or nothing."""
    return [int(each) for each in STATUS_LINE.findall(data)]


class Sender:
    """A TCP connection that is read to its end or up to so many answers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send `data`; a server that has closed already may refuse it."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.ended = True

    def read(self, answers: int | None = None) -> bytes:
        """Everything up to the end, or up to that many answers."""
        deadline = time.monotonic() + DEADLINE
        received = bytearray()
        while answers is None or not _whole(received, answers):
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionError:
                data = b""
            if not data:
                self.ended = True
                break
            received += data
        return bytes(received)


def _whole(data: bytearray, answers: int) -> bool:
    if len(STATUS_LINE.findall(data)) < answers:
        return False
    last = data.rindex(b"HTTP/1.1 ")
    end = data.find(b"\r\n\r\n", last) + 4
    length = re.findall(rb"Content-Length: (\d+)", data[last:end])
    return end > 3 and len(data) >= end + int(length[0] if length else 0)


def talk(port: int, data: bytes) -> list[int]:
    """Send `data` on a new connection, say that this is all, and read all answers."""
    with Sender(port) as sender:
        sender.send(data)
        try:
            sender.socket.shutdown(socket.SHUT_WR)
        except OSError:
            sender.ended = True
        return statuses(sender.read())


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written after the end"
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class NoDeadlines(Deadlines):
    """Time stands still."""

    def __init__(self) -> None:
        self.owing: dict[Debtor, float] = {}

    def set(self, debtor: Debtor, seconds: float) -> None:
        assert seconds > 0
        self.owing[debtor] = seconds

    def drop(self, debtor: Debtor) -> None:
        self.owing.pop(debtor, None)


class Desk:
    """The service behind connections without sockets; its clock is frozen."""

    def __init__(self, **settings: object) -> None:
        self.heads = Heads()
        self.still = NoDeadlines()
        self.deadlines: Deadlines = self.still
        self.errors: list[Exception] = []
        self._collector = Collector(Settings().changed(settings))
        self._collector.keys.add(KEY)
        self._collector.clock.freeze(1_700_000_000)

    def collector(self) -> Collector:
        return self._collector

    def answers_itself(self, head):
        return head.method == "OPTIONS"

    def answers_aside(self, head):  # noqa: ARG002
        return False

    def dispatch_aside(self, head, body, peer, done: Callable[[Response], None]) -> None:
        raise NotImplementedError

    def dispatch_request(self, head, body, peer):  # noqa: ARG002
        return Response(204, (), b"")

    def opened(self, transport):
        pass

    def closed(self, transport):
        pass

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def connect(self) -> tuple[Connection, Wire]:
        """A new connection and what it writes to."""
        connection, wire = Connection(self, "127.0.0.1:1"), Wire()
        connection.connection_made(wire)
        return connection, wire


@dataclass(frozen=True)
class Outcome:
    """What one connection's bytes came to."""

    answers: bytes
    ended: bool
    owing: bool
    events: list[tuple[bytes, bytes, int, str]] = field(default_factory=list)


def outcome(desk: Desk, pieces: Iterable[bytes]) -> Outcome:
    """Send `pieces` on a new connection of `desk`."""
    collector = desk.collector()
    collector.clear()
    connection, wire = desk.connect()
    for piece in pieces:
        connection.data_received(piece)
    assert not desk.errors, desk.errors
    log = collector.log
    events = [
        (log.heads[at], log.bodies[at], log.statuses[at], str(log.state(at)))
        for at in range(len(log))
    ]
    owing = connection in desk.still.owing
    answers = re.sub(rb"_td_global=[^;]+", b"_td_global=made-up", wire.written)
    return Outcome(answers, wire.ended, owing, events)
