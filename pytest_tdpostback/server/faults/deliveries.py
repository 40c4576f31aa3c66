"""How an answer that a fault is about travels: late, slowly, in pieces, or not at all.

A delivery is called by the connection with the exchange of an event, and from then on the
connection
is its own until it calls `connection.delivered()` or ends it. What the service does with the event
is done by then: a fault on the wire keeps the answer, never the validation (Y1), so `settle` does
not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..channel import socket_of

if TYPE_CHECKING:
    from ...collector.collector import Exchange
    from ..connection import Connection

NO_HTTP = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"
DRIPS_PER_SECOND = 100
"""How often a second a slow answer is continued at most."""
_CLOSE_BY_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass
class Parcel:
    """The answer to one event, and the connection it is to travel on; `sent` bytes of it did."""

    connection: Connection
    exchange: Exchange
    keep_alive: bool
    wire: bytes
    sent: int = 0

    @property
    def abandoned(self) -> bool:
        """Whether nobody is there any more to take it."""
        transport = self.connection.transport
        return transport is None or transport.is_closing()

    def send(self, end: int) -> bool:
        """Send the answer up to its byte `end`; false where its sender is gone.

        The event has its status as soon as the status line is out, which it knows before the
        sender can: who has read an answer finds it in the event.
        """
        if self.abandoned:
            return False
        before, self.sent = self.sent, min(end, len(self.wire))
        self._count(self.sent)
        self.connection.write(self.wire[before : self.sent])
        self.connection.flush()
        if self._undeliverable():
            self._count(before)
            self.reset()
            return False
        return True

    def finish(self) -> None:
        """Send the rest of the answer, and go on as after any other."""
        if self.send(len(self.wire)):
            if self.keep_alive:
                self.connection.delivered()
            else:
                self.close()

    def close(self, data: bytes = b"") -> None:
        """Send `data` and close the connection."""
        self.connection.write(data, close=True)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        transport = self.connection.transport
        if transport is not None:
            sock = socket_of(transport)
            if sock is not None:
                with contextlib.suppress(OSError):  # the sender may have been faster
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
            transport.abort()

    def _count(self, sent: int) -> None:
        answered = b"\r\n" in self.wire[:sent]
        status = self.exchange.response.status if answered else None
        whole = sent == len(self.wire)
        self.exchange.collector.response_interrupted(self.exchange, status, complete=whole)

    def _undeliverable(self) -> bool:
        """Whether the sender was gone: one that closed its own direction only still reads."""
        transport = self.connection.transport
        sock = None if transport is None else socket_of(transport)
        if sock is None:
            return True
        return sock.fileno() >= 0 and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


class Delivery:
    """One way for an answer to travel; `seconds` and `arrive` tell of it where there is no wire."""

    seconds = 0.0
    """How long a caller in the same process waits before `arrive`."""
    error: type[OSError] | None = None
    """What it then sees in place of an answer: `TimeoutError` or a `ConnectionError`."""
    message = ""

    def __call__(self, connection: Connection, exchange: Exchange, *, keep_alive: bool) -> None:
        """Answer the event of `exchange` on `connection`; runs in the loop."""
        method = exchange.judged.head.method
        wire = exchange.response.to_bytes(keep_alive=keep_alive, head_only=method == "HEAD")
        connection.flush()
        exchange.collector.response_sent(exchange)
        self.carry(Parcel(connection, exchange, keep_alive, wire))

    def arrive(self, exchange: Exchange) -> None:
        """Without a wire: the end of the wait, whose answer is `exchange.answer`.

        Raises `error` where the fault leaves no answer.
        """
        if self.error is not None:
            raise self.error(self.message)
        exchange.collector.response_interrupted(exchange, exchange.response.status, complete=True)

    def carry(self, parcel: Parcel) -> None:
        """Bring `parcel` to its sender, or to its end."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the connections it keeps, if it keeps any; from any thread."""


class Delayed(Delivery):
    """The answer comes `seconds` late."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def carry(self, parcel: Parcel) -> None:
        """Send it when the time is over."""
        asyncio.get_running_loop().call_later(self.seconds, parcel.finish)


class Dripped(Delivery):
    """The answer comes at `rate` bytes a second."""

    def __init__(self, rate: float) -> None:
        self._size = max(1, int(rate / DRIPS_PER_SECOND))
        self._pause = self._size / rate

    def carry(self, parcel: Parcel) -> None:
        """Send the first piece, and the others after a pause each."""
        end = parcel.sent + self._size
        if end >= len(parcel.wire):
            parcel.finish()
        elif parcel.send(end):
            asyncio.get_running_loop().call_later(self._pause, self.carry, parcel)


class Cut(Delivery):
    """The answer ends after so many bytes, and the connection with it."""

    error = ConnectionError
    message = "the answer was cut short"

    def __init__(self, after: int) -> None:
        self._after = after

    def carry(self, parcel: Parcel) -> None:
        """Send the beginning and close."""
        if parcel.send(self._after):
            parcel.close()


class Garbled(Delivery):
    """Bytes that are no HTTP come in place of the answer."""

    error = ConnectionError
    message = "the answer is no HTTP"

    def carry(self, parcel: Parcel) -> None:
        """Send them and close."""
        parcel.close(NO_HTTP)


class Reset(Delivery):
    """The connection is reset."""

    error = ConnectionResetError
    message = "connection reset by peer"

    def carry(self, parcel: Parcel) -> None:
        """End it at once."""
        parcel.reset()


class Hung(Delivery):
    """No answer comes; the connection stays open until its sender closes it, or `release`."""

    error = TimeoutError
    message = "no answer"

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.AbstractEventLoop, Connection]] = []

    def carry(self, parcel: Parcel) -> None:
        """Keep the connection."""
        parcel.connection.ignore()
        self._held = [kept for kept in self._held if kept[1].transport is not None]
        self._held.append((asyncio.get_running_loop(), parcel.connection))

    def release(self) -> None:
        """Close every connection that is kept; from any thread."""
        held, self._held = self._held, []
        for loop, connection in held:
            with contextlib.suppress(RuntimeError):  # the loop is over, and its connections with it
                loop.call_soon_threadsafe(_close, connection)


def _close(connection: Connection) -> None:
    if connection.transport is not None:
        connection.transport.close()
