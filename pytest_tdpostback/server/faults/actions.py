"""What each fault does to an event that it hits, and how the response to it travels.

For a fault on the wire, the connection calls `send` with the response, and stays in `PROCESSING`
until the response is out. A client without a connection calls `deliver` instead. The event is
validated meanwhile (Y1): such a fault keeps the response back, not the outcome.
"""

from __future__ import annotations

import math
import socket
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...collector.collector import Effect
from ...protocol.escaping import shown
from ...protocol.response import Response, http_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...collector.collector import Arrival, Exchange
    from ..connection import Connection
    from ..loop import LoopTimer

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
        self.steps: Iterator[float] = iter(())
        """What is still to be done; gives the seconds of each pause."""
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
        with suppress(OSError):  # the sender may have been faster
            sock = self.connection.socket
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


class Action:
    """What goes wrong: the same for every event. Its handle calls it within a lock."""

    over = False
    """Whether it will never hit again."""

    def __init__(self, name: str, **effect: Any) -> None:
        """`name` is what `event.fault` shows, `effect` the other fields of its `Effect`."""
        self.name = name
        self.effect = Effect(name, **effect)

    def effect_on(self, arrival: Arrival) -> Effect | None:  # noqa: ARG002 - for subclasses
        """What happens to the event; `None` spares it."""
        return self.effect

    def release(self) -> None:
        """Free the senders that it keeps waiting, and keep none waiting from now on; any thread."""


class AfterResponse(Action):
    """Something behind the response: it hits only what the service accepts."""

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Spare what is refused."""
        return None if arrival.refused else self.effect


class OnTheWire(Action):
    """The response travels in another way: `_send` sends it, and yields how long it pauses."""

    seconds = 0.0
    """How long a client without a connection waits for the response."""
    error: tuple[type[OSError], str] | None = None
    """What a client without a connection sees instead of a response."""

    def __init__(self, name: str, *, stored: bool = True) -> None:
        super().__init__(name, stored=stored, responded=False, transmission=self)
        self._released = threading.Event()
        self._paused: dict[Transfer, LoopTimer] = {}
        """Transfers that wait, and what ends the wait."""

    def send(
        self, connection: Connection, exchange: Exchange, data: bytes, *, keep_alive: bool
    ) -> None:
        """Send the response `data` of `exchange` on `connection`; runs in the loop."""
        exchange.collector.response_sent(exchange)
        transfer = Transfer(connection, exchange, data, keep_alive=keep_alive)
        transfer.steps = iter(self._send(transfer) or ())
        self._proceed(transfer)

    def deliver(self, exchange: Exchange, timeout: float | None = None) -> None:
        """Without a connection: wait until the response arrives, or raise `error`.

        The fault may be released meanwhile. Raise `TimeoutError` after `timeout` seconds.
        """
        if self.seconds:
            in_time = timeout is None or self.seconds < timeout
            if not (self._released.wait(self.seconds if in_time else timeout) or in_time):
                raise TimeoutError("the response did not come in time")
        if self.error is not None:
            kind, text = self.error
            raise kind(text)
        exchange.collector.response_interrupted(exchange, exchange.response.status, complete=True)

    def release(self) -> None:
        """End every pause, and let there be none from now on; any thread."""
        self._released.set()
        for transfer in list(self._paused):
            with suppress(RuntimeError):  # the loop has ended, and its connections with it
                transfer.connection.loop.call(partial(self._resume, transfer))

    def _send(self, transfer: Transfer) -> Iterable[float] | None:
        """Send the response; yield the seconds of each pause, which is shorter if the fault ends.

        A pause ends early, too, if the connection does and the loop sees it.
        """
        raise NotImplementedError

    def _resume(self, transfer: Transfer) -> None:
        """End the pause of `transfer`, if there is one."""
        timer = self._paused.pop(transfer, None)
        if timer is not None:
            timer.cancel()
            transfer.connection.when_closed = None
            self._proceed(transfer)

    def _proceed(self, transfer: Transfer) -> None:
        """Let the response travel up to its next pause."""
        resume = partial(self._resume, transfer)
        for seconds in transfer.steps:
            transfer.connection.when_closed = resume
            self._paused[transfer] = transfer.connection.loop.call_later(seconds, resume)
            if not self._released.is_set():
                return
            self._paused.pop(transfer).cancel()
            transfer.connection.when_closed = None


class Delay(OnTheWire):
    """The response comes `seconds` late."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"delay({seconds:g})")
        self.seconds = seconds

    def _send(self, transfer: Transfer) -> Iterable[float]:
        yield self.seconds
        transfer.finish()


class Drip(OnTheWire):
    """The response comes at `bytes_per_second`."""

    def __init__(self, bytes_per_second: float) -> None:
        super().__init__(f"drip({bytes_per_second:g})")
        self._size = max(1, int(bytes_per_second / DRIPS_PER_SECOND))
        self._interval = self._size / bytes_per_second

    def _send(self, transfer: Transfer) -> Iterable[float]:
        last = len(transfer.data) - self._size
        while transfer.sent < last and not self._released.is_set():
            if not transfer.send(transfer.sent + self._size):
                return
            yield self._interval
        transfer.finish()


class Truncate(OnTheWire):
    """The response ends after `size` bytes, and the connection with it."""

    error = ConnectionError, "the response was cut short"

    def __init__(self, size: int) -> None:
        super().__init__(f"truncate({brief(size)})")
        self._size = size

    def _send(self, transfer: Transfer) -> None:
        if transfer.send(self._size):
            transfer.close()


class Garbage(OnTheWire):
    """Bytes that are not HTTP come instead of the response."""

    error = ConnectionError, "the response is not HTTP"

    def _send(self, transfer: Transfer) -> None:
        transfer.close(NOT_HTTP)


class Reset(OnTheWire):
    """The connection is reset."""

    error = ConnectionResetError, "connection reset by peer"

    def _send(self, transfer: Transfer) -> None:
        transfer.reset()


class Hang(OnTheWire):
    """No response comes. The connection stays open until its sender or the fault ends."""

    error = TimeoutError, "no response"

    def _send(self, transfer: Transfer) -> Iterable[float]:
        if transfer.connection.closed:  # since the request was read
            return
        transfer.connection.hang()
        yield math.inf
        transfer.connection.abort()


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
        return self.effect._replace(response=Response(self.status, tuple(headers), body))


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


class Outage(Reset):
    """Resets connections before anything is stored, until a moment of the server's clock."""

    def __init__(self, now: float, seconds: float) -> None:
        super().__init__(f"outage({seconds:g})", stored=False)
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
