"""The faults as values: what each of them does to an event that it hits."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...collector.collector import Effect
from ...protocol.response import Response, http_date
from .deliveries import Reset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .deliveries import Delivery

BODYLESS = (204, 304)


@dataclass(frozen=True)
class Target:
    """The event a fault may hit: when it came by the double's clock, and whether it is refused."""

    now: float
    refused: bool


class Fault:
    """What goes wrong; `name` is what `event.fault` says."""

    over = False
    """Whether it will never hit again."""

    def __init__(self, name: str) -> None:
        self.name = name

    def strike(self, target: Target) -> Effect | None:
        """What becomes of the event; `None` spares it."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the connections it keeps, if it keeps any."""


class Status(Fault):
    """Something in front of the service answers, and the service never hears of the event."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status({code})")
        self._code = code

    def strike(self, target: Target) -> Effect:
        """Answer the code."""
        return Effect(self.name, response=_in_front(self._code, target.now), stored=False)


class OnTheWire(Fault):
    """Something between service and sender: it meets the answer, whatever that is."""

    def __init__(self, name: str, delivery: Delivery, *, stored: bool = True) -> None:
        super().__init__(name)
        self._delivery = delivery
        self._stored = stored

    def strike(self, target: Target) -> Effect | None:  # noqa: ARG002 (every event alike)
        """Have the answer travel another way."""
        return Effect(self.name, responded=False, stored=self._stored, transmission=self._delivery)

    def release(self) -> None:
        """End the connections that hang."""
        self._delivery.release()


class BehindTheAnswer(Fault):
    """Something behind a 200: it meets only what the service accepts."""

    def __init__(self, name: str, *, copies: int) -> None:
        super().__init__(name)
        self._copies = copies

    def strike(self, target: Target) -> Effect | None:
        """Store so many copies."""
        if target.refused:
            return None
        return Effect(self.name, stored=self._copies > 0, copies=max(self._copies, 1))


class Throttle(Fault):
    """Too many requests are answered 429, with the whole seconds to wait in `Retry-After`."""

    def __init__(self, limit: int, per: float) -> None:
        super().__init__(f"throttle({limit}, {per:g})")
        self._limit = limit
        self._per = per
        self._admitted: deque[float] = deque(maxlen=limit)

    def strike(self, target: Target) -> Effect | None:
        """Spare the event if fewer than `limit` were spared in the last `per` seconds."""
        now, admitted = target.now, self._admitted
        if len(admitted) < self._limit or (admitted and now >= admitted[0] + self._per):
            admitted.append(now)
            return None
        wait = (admitted[0] if admitted else now) + self._per - now
        extra = [("Retry-After", str(max(1, math.ceil(wait))))]
        return Effect(self.name, response=_in_front(429, now, extra), stored=False)


class Outage(OnTheWire):
    """Connections break before anything is stored, until a moment of the double's clock."""

    def __init__(self, seconds: float, now: float) -> None:
        super().__init__(f"outage({seconds:g})", Reset(), stored=False)
        self._end = now + seconds

    def strike(self, target: Target) -> Effect | None:
        """Break the connection, if it is not over."""
        self.over = target.now >= self._end
        return None if self.over else super().strike(target)


class Series(Fault):
    """One fault after the other, an event each; `None` spares its event."""

    def __init__(self, entries: Iterable[Fault | None]) -> None:
        self._left = deque(entries)
        self._used: list[Fault] = []
        names = ", ".join(entry.name if entry else "ok" for entry in self._left)
        super().__init__(f"sequence([{names}])")

    def strike(self, target: Target) -> Effect | None:
        """What the next entry does."""
        fault = self._left.popleft()
        self.over = not self._left
        if fault is None:
            return None
        self._used.append(fault)
        return fault.strike(target)

    def release(self) -> None:
        """End the connections that hang by an entry."""
        for fault in self._used:
            fault.release()


def _in_front(status: int, now: float, extra: Iterable[tuple[str, str]] = ()) -> Response:
    """The answer of a gateway, which knows nothing of the service's header fields."""
    headers = [("Date", http_date(int(now))), *extra]
    if status in BODYLESS:
        return Response(status, tuple(headers), b"")
    if status == 205:  # RFC 9110, 15.3.6: without content, and it says so
        return Response(status, (*headers, ("Content-Length", "0")), b"")
    headers += [("Content-Type", "application/json"), ("Content-Length", "2")]
    return Response(status, tuple(headers), b"{}")
