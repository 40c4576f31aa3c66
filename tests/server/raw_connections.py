"""Requests as bytes, and connections of the server without sockets, whose time stands still."""

from __future__ import annotations

import queue
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_tdpostback.collector.collector import Collector
from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server.connection import Connection, State
from tests.http_client import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_tdpostback.protocol.response import Response

KEY = "1/abc"
BODY = b'{"id":1}'


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


class Wire:
    """A socket that keeps what is written; `blocked` as if the peer did not read."""

    def __init__(self, loop: FrozenLoop) -> None:
        self._loop = loop
        self._arrived = b""
        self.written = bytearray()
        self.ended = False
        self.blocked = False

    def deliver(self, data: bytes) -> None:
        """Have the connection read and serve `data`."""
        self._arrived = data
        self._loop.ready()

    def recv(self, _size: int) -> bytes:
        data, self._arrived = self._arrived, b""
        return data

    def send(self, data: bytes | bytearray) -> int:
        assert not self.ended, "written after the end"
        if self.blocked:
            raise BlockingIOError
        self.written += data
        return len(data)

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.ended = True

    def close(self) -> None:
        self.ended = True


class Timer:
    """A timer of the frozen loop."""

    def __init__(self, seconds: float, function: Callable[..., Any]) -> None:
        self.seconds = seconds
        self.function = function
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FrozenLoop:
    """As much of a loop as a connection needs; its time stands still."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self.selector = self
        self.watched = 0
        """Which events of the newest socket it waits for."""
        self._when_ready: Callable[[], Any]
        self._steps: list[Callable[[], Any]] = []
        self.soon = self._steps.append
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def register(self, _sock: object, events: int, function: Callable[[], Any]) -> None:
        self.watched, self._when_ready = events, function

    modify = register

    def unregister(self, _sock: object) -> None:
        self.watched = 0

    def ready(self) -> None:
        """Let the newest socket be ready."""
        self._run(self._when_ready)

    def call(self, function: Callable[[], Any]) -> None:
        self._calls.put(function)

    def run_next(self) -> None:
        """Do what a worker thread asks for next."""
        self._run(self._calls.get(timeout=DEADLINE))

    def _run(self, function: Callable[[], Any]) -> None:
        function()
        while self._steps:
            self._steps.pop(0)()

    def call_later(self, seconds: float, function: Callable[..., Any]) -> Timer:
        self.timers.append(Timer(seconds, function))
        return self.timers[-1]

    @property
    def running(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]


class Desk:
    """What connections without sockets need of a listener; its clock is frozen."""

    def __init__(self, **settings: object) -> None:
        self.loop: Any = FrozenLoop()
        self.connections: set[Connection] = set()
        self.errors: list[BaseException] = []
        self.refused: list[str] = []
        self.collector = Collector(Settings().changed(settings))
        self.collector.keys.add(KEY)
        self.collector.clock.freeze(1_700_000_000)

    def current_collector(self) -> Collector:
        return self.collector

    def inspect(self, head, body, peer, size) -> Response:
        raise NotImplementedError

    def report_error(self, error: BaseException) -> None:
        self.errors.append(error)

    def note_refused_connection(self, _peer: str, reason: str, _status: object = None) -> None:
        self.refused.append(reason)

    def connect(self) -> tuple[Connection, Wire]:
        """A new connection and what it writes to."""
        wire: Any = Wire(self.loop)
        return Connection(self, wire, "127.0.0.1:1"), wire


@dataclass(frozen=True)
class Outcome:
    """What one connection's bytes came to."""

    answers: bytes
    ended: bool
    incomplete: bool
    events: list[tuple[bytes, bytes, int, str]] = field(default_factory=list)


def outcome(desk: Desk, pieces: Iterable[bytes]) -> Outcome:
    """Send `pieces` on a new connection of `desk`."""
    collector = desk.collector
    collector.clear()
    connection, wire = desk.connect()
    for piece in filter(None, pieces):
        wire.deliver(piece)
        while connection.state is State.PROCESSING:
            desk.loop.run_next()
    assert not desk.errors, desk.errors
    log = collector.log
    events = [
        (log.heads[at], log.bodies[at], log.statuses[at], str(log.state(at)))
        for at in range(len(log))
    ]
    incomplete = connection.state in (State.HEAD, State.BODY, State.DRAINING)
    answers = re.sub(rb"_td_global=[^;]+", b"_td_global=made-up", wire.written)
    return Outcome(answers, wire.ended, incomplete, events)
