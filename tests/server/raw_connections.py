"""Requests as bytes, and connections of the server without sockets, whose time stands still."""

from __future__ import annotations

import asyncio
import queue
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pytest_tdpostback.collector.collector import Collector
from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server.connection import Connection, State
from tests.http_client import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

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


class Wire(asyncio.Transport):
    """A transport that keeps what is written; `blocked` as if the peer did not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False
        self.paused = False
        self.blocked = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, None)

    def get_write_buffer_size(self) -> int:
        return int(self.blocked)

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
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def call_soon_threadsafe(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._calls.put(partial(function, *arguments))

    def run_next(self) -> None:
        """Do what a worker thread asks for next."""
        self._calls.get(timeout=DEADLINE)()

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
        connection, wire = Connection(self, "127.0.0.1:1"), Wire()
        connection.connection_made(wire)
        return connection, wire


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
    for piece in pieces:
        connection.data_received(piece)
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
