"""What each fault does to an event that it hits."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from ...collector.collector import Effect
from ...protocol.response import Response, http_date
from .transmissions import Reset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...collector.collector import Arrival
    from .transmissions import Transmission


class Action:
    """What goes wrong; `name` is what `event.fault` shows. Its handle calls it within a lock."""

    over = False
    """Whether it will never hit again."""

    def __init__(self, name: str) -> None:
        self.name = name

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """What happens to the event; `None` spares it."""
        raise NotImplementedError

    def release(self) -> None:
        """Free the senders that it keeps waiting; from any thread."""

    def renew(self) -> None:
        """Work again after `release`."""


class RespondStatus(Action):
    """Something in front of the service responds, and the service never sees the event."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status({status})")
        self._status = status

    def effect_on(self, arrival: Arrival) -> Effect:
        """Respond the status."""
        response = _of_gateway(self._status, arrival.received_at)
        return Effect(self.name, response=response, stored=False)


class Transmit(Action):
    """Something between service and sender changes how any response travels."""

    def __init__(self, name: str, transmission: Transmission, *, stored: bool = True) -> None:
        super().__init__(name)
        self._transmission = transmission
        self._stored = stored

    def effect_on(self, arrival: Arrival) -> Effect | None:  # noqa: ARG002 - the same for all
        """Have the response travel in another way."""
        return Effect(
            self.name, responded=False, stored=self._stored, transmission=self._transmission
        )

    def release(self) -> None:
        """Send the responses that are kept back, or close their connections."""
        self._transmission.release()

    def renew(self) -> None:
        """Keep responses back again."""
        self._transmission.renew()


class StoreCopies(Action):
    """Something after the response: it hits only what the service accepts."""

    def __init__(self, name: str, *, copies: int) -> None:
        super().__init__(name)
        self._copies = copies

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Store so many copies."""
        if arrival.refused:
            return None
        return Effect(self.name, stored=self._copies > 0, copies=max(self._copies, 1))


class Throttle(Action):
    """Responds 429 to too many requests, with the whole seconds to wait in `Retry-After`."""

    def __init__(self, limit: int, per: float) -> None:
        super().__init__(f"throttle({limit}, {per:g})")
        self._limit = limit
        self._per = per
        self._admitted: deque[float] = deque(maxlen=limit)

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Spare the event if fewer than `limit` were spared in the last `per` seconds."""
        now, admitted = arrival.received_at, self._admitted
        if len(admitted) < self._limit or (admitted and now >= admitted[0] + self._per):
            admitted.append(now)
            return None
        wait = (admitted[0] if admitted else now) + self._per - now
        extra = [("Retry-After", str(max(1, math.ceil(wait))))]
        return Effect(self.name, response=_of_gateway(429, now, extra), stored=False)


class Outage(Transmit):
    """Resets connections before anything is stored, until a moment of the server's clock."""

    def __init__(self, seconds: float, now: float) -> None:
        super().__init__(f"outage({seconds:g})", Reset(), stored=False)
        self._end = now + seconds

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Reset the connection, if the outage is not over."""
        self.over = arrival.received_at >= self._end
        return None if self.over else super().effect_on(arrival)


class InOrder(Action):
    """One action after the other, an event each; `None` spares its event."""

    def __init__(self, entries: Iterable[Action | None]) -> None:
        self._left = deque(entries)
        self._used: list[Action] = []
        names = ", ".join(entry.name if entry else "ok" for entry in self._left)
        super().__init__(f"sequence([{names}])")

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """What the next entry does."""
        action = self._left.popleft()
        self.over = not self._left
        if action is None:
            return None
        self._used.append(action)
        return action.effect_on(arrival)

    def release(self) -> None:
        """Free the senders that the entries keep waiting."""
        for action in self._used:
            action.release()


def _of_gateway(status: int, now: float, extra: Iterable[tuple[str, str]] = ()) -> Response:
    """The response of a gateway, which does not know the header fields of the service."""
    headers = [("Date", http_date(int(now))), *extra]
    if status in (204, 304):  # they have no body
        return Response(status, tuple(headers), b"")
    if status == 205:  # no body, and the length says so (RFC 9110, 15.3.6)
        return Response(status, (*headers, ("Content-Length", "0")), b"")
    headers += [("Content-Type", "application/json"), ("Content-Length", "2")]
    return Response(status, tuple(headers), b"{}")
