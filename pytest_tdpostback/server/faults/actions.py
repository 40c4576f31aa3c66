"""What each fault does to an event that it hits."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...collector.collector import Effect
from ...protocol.response import Response, http_date
from .transmissions import reset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...collector.collector import Arrival


class Action:
    """What goes wrong: the same for every event. Its handle calls it within a lock."""

    over = False
    """Whether it will never hit again."""

    def __init__(self, name: str, **effect: Any) -> None:
        """`name` is what `event.fault` shows, `effect` the other fields of its `Effect`."""
        self.name = name
        self.effect = Effect(name, responded="transmission" not in effect, **effect)

    def effect_on(self, arrival: Arrival) -> Effect | None:  # noqa: ARG002 - for subclasses
        """What happens to the event; `None` spares it."""
        return self.effect

    def release(self) -> None:
        """Free the senders that it keeps waiting, and keep none waiting from now on; any thread."""
        if self.effect.transmission is not None:
            self.effect.transmission.release()

    def renew(self) -> None:
        """Work again after `release`, as an entry of a sequence."""
        if self.effect.transmission is not None:
            self.effect.transmission.renew()


class AfterResponse(Action):
    """Something behind the response: it hits only what the service accepts."""

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """Spare what is refused."""
        return None if arrival.refused else self.effect


class RespondStatus(Action):
    """Something in front of the service responds, and the service never sees the event."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(name, stored=False)
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
        super().__init__(f"throttle({limit}, {per:g})", 429)
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
        super().__init__(f"outage({seconds:g})", stored=False, transmission=reset())
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
        self._left = deque(entries)
        self._used: list[Action] = []

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
