"""What each fault does to an event that it hits, and how the response to it travels.

The connection calls `Transmission.send` with the response, and stays in `PROCESSING` until the
transmission ends it. A client without a connection calls `wait` and `arrive` instead. The event is
validated meanwhile (Y1): a fault on the wire keeps the response back, not the outcome.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...collector.collector import Effect
from ...protocol.escaping import shown
from ...protocol.response import Response, http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from ...collector.collector import Arrival, Exchange
    from ..connection import Connection

NOT_HTTP = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"
DRIPS_PER_SECOND = 100
"""How many pieces of a slow response are sent in a second at most."""
_CLOSE_BY_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def brief(value: Any) -> str:
    """The beginning of `repr(value)`, also of a number that has too many digits for `repr`."""
    try:
        return shown(repr(value))
    except ValueError:
        return "a number of thousands of digits"


class Transfer:
    """One response on its way over one connection. Its methods run in the loop."""

    def __init__(
        self, connection: Connection, exchange: Exchange, data: bytes, *, keep_alive: bool
    ) -> None:
        """`data` is the whole response."""
        self.connection = connection
        self.data = data
        self.sent = 0
        """How many bytes of the response the sender can have."""
        self.loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._keep_alive = keep_alive

    def send(self, end: int) -> bool:
        """Send the response up to its byte `end`; reset the connection if the sender is gone.

        The event gets its status before the sender can read it, and loses it again if the sender
        is gone: a test that has read a response finds its status in the event. Return whether the
        sender may read it.
        """
        before, self.sent = self.sent, min(end, len(self.data))
        self._record_sent()
        if self.connection.write(self.data[before : self.sent]):
            return True
        self.sent = before
        self._record_sent()
        self.reset()
        return False

    def finish(self) -> None:
        """Send the rest of the response, and serve the connection as usual."""
        if self.send(len(self.data)):
            self.connection.end_transmission(keep_alive=self._keep_alive)

    def close(self, data: bytes = b"") -> None:
        """Send `data`, and close the connection."""
        self.connection.write(data)
        self.connection.end_transmission(keep_alive=False)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.connection.transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):  # the sender may have been faster
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
        self.connection.abort()

    def _record_sent(self) -> None:
        exchange = self._exchange
        status_sent = b"\r\n" in self.data[: self.sent]
        exchange.collector.response_interrupted(
            exchange,
            exchange.response.status if status_sent else None,
            complete=self.sent == len(self.data),
        )


class Transmission:
    """One way for a response to travel. `release` ends whatever it keeps back."""

    seconds = 0.0
    """How long a client without a connection waits for the response."""

    def __init__(
        self,
        start: Callable[[Transfer], Coroutine[Any, Any, None]],
        error: Callable[[], OSError] | None = None,
    ) -> None:
        """`start(transfer)` sends the response, and may `pause`.

        `error()` is what a client without a connection sees instead of a response: a `TimeoutError`
        or a `ConnectionError`.
        """
        self._start = start
        self._error = error
        self.released = threading.Event()
        """Whether the fault has ended."""
        self._paused: dict[Transfer, asyncio.Event] = {}
        """Transfers that wait, and what ends the wait."""
        self._tasks: set[asyncio.Task[None]] = set()

    def send(
        self, connection: Connection, exchange: Exchange, data: bytes, *, keep_alive: bool
    ) -> None:
        """Send the response `data` of `exchange` on `connection`; runs in the loop."""
        exchange.collector.response_sent(exchange)
        transfer = Transfer(connection, exchange, data, keep_alive=keep_alive)
        task = transfer.loop.create_task(self._start(transfer))
        self._tasks.add(task)  # the loop does not keep it alive
        task.add_done_callback(self._tasks.discard)

    async def pause(self, transfer: Transfer, seconds: float = math.inf) -> None:
        """Wait `seconds`; less if the fault ends, and perhaps if the connection does."""
        for other, ended in self._paused.items():
            if other.connection.closed:
                ended.set()
        ended = self._paused[transfer] = asyncio.Event()
        timer = transfer.loop.call_later(seconds, ended.set)
        if not self.released.is_set():
            await ended.wait()
        timer.cancel()
        del self._paused[transfer]

    def release(self) -> None:
        """End every pause, and let there be none from now on; any thread."""
        self.released.set()
        for transfer, ended in list(self._paused.items()):
            with suppress(RuntimeError):  # the loop has ended, and its connections with it
                transfer.loop.call_soon_threadsafe(ended.set)

    def wait(self, timeout: float | None) -> bool:
        """Without a connection: wait at most `timeout` seconds (`None`: for ever).

        Return whether the response arrives in time. It arrives early when the fault is released.
        """
        if timeout is None or self.seconds < timeout:
            self.released.wait(self.seconds)
            return True
        return self.released.wait(timeout)

    def arrive(self, exchange: Exchange) -> None:
        """Without a connection: the end of the wait; raise an error if there is no response."""
        if self._error is not None:
            raise self._error()
        exchange.collector.response_interrupted(exchange, exchange.response.status, complete=True)


class Action:
    """What goes wrong: the same for every event. Its handle calls it within a lock."""

    over = False
    """Whether it will never hit again."""

    def __init__(self, name: str, *, spares_refused: bool = False, **effect: Any) -> None:
        """`name` is what `event.fault` shows, `effect` the other fields of its `Effect`.

        `spares_refused`: it is behind the response, and hits only what the service accepts.
        """
        self.name = name
        self.effect = Effect(name, responded="transmission" not in effect, **effect)
        self._spares_refused = spares_refused

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """What happens to the event; `None` spares it."""
        return None if self._spares_refused and arrival.refused else self.effect

    def release(self) -> None:
        """Free the senders that it keeps waiting, and keep none waiting from now on; any thread."""
        if self.effect.transmission is not None:
            self.effect.transmission.release()


def drop() -> Action:
    """The event is lost after its response."""
    return Action("drop", spares_refused=True, stored=False)


def duplicate() -> Action:
    """The event is stored twice."""
    return Action("duplicate", spares_refused=True, copies=2)


def delay(seconds: float) -> Action:
    """The response comes `seconds` late."""

    async def start(transfer: Transfer) -> None:
        await transmission.pause(transfer, seconds)
        transfer.finish()

    transmission = Transmission(start)
    transmission.seconds = seconds
    return Action(f"delay({seconds:g})", transmission=transmission)


def drip(bytes_per_second: float) -> Action:
    """The response comes at `bytes_per_second`."""
    size = max(1, int(bytes_per_second / DRIPS_PER_SECOND))

    async def start(transfer: Transfer) -> None:
        last = len(transfer.data) - size
        while transfer.sent < last and not transmission.released.is_set():
            if not transfer.send(transfer.sent + size):
                return
            await transmission.pause(transfer, size / bytes_per_second)
        transfer.finish()

    transmission = Transmission(start)
    return Action(f"drip({bytes_per_second:g})", transmission=transmission)


def truncate(size: int) -> Action:
    """The response ends after `size` bytes, and the connection with it."""

    async def start(transfer: Transfer) -> None:
        if transfer.send(size):
            transfer.close()

    transmission = Transmission(start, partial(ConnectionError, "the response was cut short"))
    return Action(f"truncate({brief(size)})", transmission=transmission)


def garbage() -> Action:
    """Bytes that are not HTTP come instead of the response."""

    async def start(transfer: Transfer) -> None:
        transfer.close(NOT_HTTP)

    transmission = Transmission(start, partial(ConnectionError, "the response is not HTTP"))
    return Action("garbage", transmission=transmission)


def reset(before: str = "storing") -> Action:
    """The connection is reset `before` storing, or before the answer."""

    async def start(transfer: Transfer) -> None:
        transfer.reset()

    error = partial(ConnectionResetError, "connection reset by peer")
    name, stored = f"reset(before={before!r})", before == "answer"
    return Action(name, stored=stored, transmission=Transmission(start, error))


def hang() -> Action:
    """No response comes. The connection stays open until its sender or the fault ends."""

    async def start(transfer: Transfer) -> None:
        if transfer.connection.closed:  # since the request was read
            return
        transfer.connection.hang()
        await transmission.pause(transfer)
        transfer.connection.abort()

    transmission = Transmission(start, partial(TimeoutError, "no response"))
    return Action("hang", stored=False, transmission=transmission)


class RespondStatus(Action):
    """Something in front of the service responds, and the service never sees the event."""

    def __init__(self, status: int, name: str = "") -> None:
        super().__init__(name or f"status({status})", stored=False)
        self.status = status

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Respond the status."""
        return self._response(arrival.received_at)

    def _response(self, now: float, extra: Iterable[tuple[str, str]] = ()) -> Effect:
        """The response of a gateway, which does not know the header fields of the service."""
        headers, body = [("Date", http_date(int(now))), *extra], b""
        if self.status == 205:  # no body, and the length says so (RFC 9110, 15.3.6)
            headers.append(("Content-Length", "0"))
        elif self.status not in (204, 304):  # they have no body
            headers += [("Content-Type", "application/json"), ("Content-Length", "2")]
            body = b"{}"
        return replace(self.effect, response=Response(self.status, tuple(headers), body))


class Throttle(RespondStatus):
    """Responds 429 to too many requests, with the whole seconds to wait in `Retry-After`."""

    def __init__(self, limit: int, per: float) -> None:
        super().__init__(429, f"throttle({brief(limit)}, {per:g})")
        self._limit = limit
        self._per = per
        self._admitted: deque[float] = deque()
        """When the events arrived that were spared in the last `per` seconds."""

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Spare the event if fewer than `limit` were spared in the last `per` seconds."""
        now, admitted = arrival.received_at, self._admitted
        while admitted and now >= admitted[0] + self._per:
            admitted.popleft()
        if len(admitted) < self._limit:
            admitted.append(now)
            return None
        wait = (admitted[0] if admitted else now) + self._per - now
        return self._response(now, [("Retry-After", str(max(1, math.ceil(wait))))])


class Outage(Action):
    """Resets connections before anything is stored, until a moment of the server's clock."""

    def __init__(self, seconds: float, now: float) -> None:
        transmission = reset().effect.transmission
        super().__init__(f"outage({seconds:g})", stored=False, transmission=transmission)
        self._end = now + seconds

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Reset the connection, if the outage is not over."""
        self.over = arrival.received_at >= self._end
        return None if self.over else self.effect


class InOrder(Action):
    """One action after the other, an event each; `None` spares its event."""

    def __init__(self, entries: list[Action | None]) -> None:
        names = ", ".join(entry.name if entry else "ok" for entry in entries)
        super().__init__(f"sequence([{names}])")
        self._entries = entries
        self._next = 0

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """What the next entry does."""
        action = self._entries[self._next]
        self._next += 1
        self.over = self._next == len(self._entries)
        return action.effect_on(arrival) if action else None

    def release(self) -> None:
        """Free the senders that the entries keep waiting."""
        for action in filter(None, self._entries):
            action.release()
