"""Faults: what goes wrong on the wire and behind it, and the truth about what was stored.

`Faults` is what a test calls, `handle` decides which events a fault hits, `actions` what it does to
them, `transmissions` how their responses travel. A collector without an active fault has no
`fault_hook`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

from ...protocol.settings import MAX_SECONDS
from . import actions, checks, transmissions
from .handle import FaultHandle, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Unpack

    from ...collector.collector import Arrival, Collector, Effect
    from .actions import Action
    from .handle import LimitArguments, LimitArgumentsWithAfter

__all__ = ["FaultHandle", "Faults", "Limits"]


class Faults:
    """The faults of one fake server, as `tdpostback.faults`.

    Each method makes one thing go wrong from now on and returns its `FaultHandle`. All take the
    keyword arguments that `Limits` describes, and raise `ConfigurationError` for an argument that
    is not valid. Of several active faults, the one that was added last is asked first.
    """

    def __init__(self, collector: Collector) -> None:
        """`collector` receives the events that the faults hit."""
        self._collector = collector
        self._lock = threading.Lock()
        self._made: list[FaultHandle] = []
        self._active: tuple[FaultHandle, ...] = ()

    # in front of the service: nothing is stored

    def status(self, code: int, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Respond `code` (200 to 599) instead of the service: the event is lost."""
        if not checks.is_status(code):
            raise checks.invalid("status", "code", code, f"an {checks.STATUS}")
        return self._add("status", actions.RespondStatus(code), limits)

    def throttle(
        self, limit: int, per: float, **limits: Unpack[LimitArgumentsWithAfter]
    ) -> FaultHandle:
        """Let `limit` requests pass in any `per` seconds of the server's clock.

        The others are lost. Their response is 429, with the seconds to wait in `Retry-After`.
        """
        checks.count("throttle", "limit", limit)
        checks.positive("throttle", "per", per)
        return self._add("throttle", actions.Throttle(limit, per), limits)

    def outage(self, seconds: float, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Reset each connection when a request is complete, for `seconds` of the server's clock.

        The events are lost, without a response. `clock.advance(seconds)` ends it without waiting.
        """
        checks.number("outage", "seconds", seconds, "a number of seconds, 0 or more")
        return self._add("outage", actions.Outage(seconds, self._collector.clock.now()), limits)

    # on the wire

    def delay(self, seconds: float, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Store the event, and respond `seconds` of real time late (0 to 3,600).

        Later requests on the same connection wait, other connections do not. When the fault ends,
        the response is sent at once.
        """
        valid = f"a number of seconds from 0 to {MAX_SECONDS:,}"
        seconds = checks.number("delay", "seconds", seconds, valid, most=MAX_SECONDS)
        action = actions.Transmit(f"delay({seconds:g})", transmissions.Delayed(seconds))
        return self._add("delay", action, limits)

    def hang(self, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Never respond, and store nothing: the event is lost.

        The connection stays open until its sender closes it or the fault ends.
        """
        return self._add("hang", _BY_NAME["hang"](), limits)

    def reset(
        self,
        before: Literal["storing", "answer"] = "storing",
        **limits: Unpack[LimitArgumentsWithAfter],
    ) -> FaultHandle:
        """Reset the connection instead of responding.

        Args:
            before: `"storing"` loses the event; `"answer"` stores it, though its sender sees the
                same error.
            limits: See `Limits`.
        """
        if before not in ("storing", "answer"):
            raise checks.invalid("reset", "before", before, "one of 'storing', 'answer'")
        return self._add("reset", _reset(before), limits)

    def truncate(self, after: int, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and close the connection after `after` bytes of the response.

        To spare the first events, use `sequence`.
        """
        transmission = transmissions.CutShort(checks.count("truncate", "after", after))
        return self._add("truncate", actions.Transmit(f"truncate({after})", transmission), limits)

    def drip(
        self, bytes_per_second: float, **limits: Unpack[LimitArgumentsWithAfter]
    ) -> FaultHandle:
        """Store the event, and respond slowly. When the fault ends, the rest is sent at once."""
        rate = checks.positive("drip", "bytes_per_second", bytes_per_second)
        action = actions.Transmit(f"drip({rate:g})", transmissions.Dripped(rate))
        return self._add("drip", action, limits)

    def garbage(self, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Store the event, and send bytes that are not HTTP instead of the response."""
        return self._add("garbage", _BY_NAME["garbage"](), limits)

    # after the response: only what the service accepts

    def drop(self, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Respond 200 and store nothing: the event is lost, and its sender cannot know."""
        return self._add("drop", _BY_NAME["drop"](), limits)

    def duplicate(self, **limits: Unpack[LimitArgumentsWithAfter]) -> FaultHandle:
        """Respond 200 and store the event twice."""
        return self._add("duplicate", _BY_NAME["duplicate"](), limits)

    # several

    def sequence(
        self,
        entries: Iterable[int | str | FaultHandle],
        **limits: Unpack[LimitArgumentsWithAfter],
    ) -> FaultHandle:
        """Hit one event after the other, an entry each. After the last one all is normal.

        Args:
            entries: Each is a status, `"ok"` for an event that is spared, the name of a fault
                without arguments (`"drop"`, `"duplicate"`, `"garbage"`, `"hang"`, `"reset"`), or
                what another method returned: `sequence([503, faults.delay(0.2), "ok"])`. Such a
                fault then acts in the sequence only: it takes no limits of its own, and its events
                are in the handle of the sequence.
            limits: See `Limits`.
        """
        found = [self._entry(entry) for entry in checks.entries(entries)]
        return self._add("sequence", actions.InOrder(found), limits)

    def unmatched(self) -> list[FaultHandle]:
        """The faults that were asked about events, and whose limits matched none of them."""
        return [handle for handle in self._made if handle.asked and not handle.matched]

    def clear(self) -> None:
        """Remove every fault, and free the senders that they keep waiting."""
        made, self._made = self._made, []
        for handle in made:
            handle.remove()

    # within

    def _add(self, method: str, action: Action, limits: LimitArguments) -> FaultHandle:
        handle = FaultHandle(action, Limits.of(method, limits), self._collector, self._retire)
        with self._lock:
            self._made.append(handle)
            self._set_active((handle, *self._active))
        return handle

    def _retire(self, handle: FaultHandle) -> None:
        with self._lock:
            self._set_active(tuple(each for each in self._active if each is not handle))

    def _set_active(self, active: tuple[FaultHandle, ...]) -> None:
        self._active = active
        self._collector.calls_user_code = any(each.limits.where is not None for each in active)
        self._collector.fault_hook = self._effect_on if active else None

    def _effect_on(self, arrival: Arrival) -> Effect | None:
        """What becomes of `arrival`. After an error of a condition, no other fault is asked."""
        for handle in self._active:
            try:
                effect = handle.effect_on(arrival)
            except BaseException as error:  # noqa: BLE001 - the test ends with it
                self._collector.report_error(error)
                return None
            if handle.over:
                self._retire(handle)
            if effect is not None:
                return effect
        return None

    def _entry(self, entry: Any) -> Action | None:
        if isinstance(entry, FaultHandle):
            entry.remove()
            if entry.limits != Limits():
                valid = "an entry without limits, and the sequence its own"
                raise checks.invalid("sequence", "entry", entry, valid)
            if isinstance(entry.action, actions.InOrder):
                valid = "its entries; a sequence cannot be an entry"
                raise checks.invalid("sequence", "entry", entry, valid)
            entry.action.renew()
            return entry.action
        if checks.is_status(entry):
            return actions.RespondStatus(entry)
        if not isinstance(entry, str) or entry not in (*_BY_NAME, "ok"):
            raise checks.invalid("sequence", "entry", entry, _VALID_ENTRY)
        return _BY_NAME[entry]() if entry in _BY_NAME else None


def _reset(before: str = "storing") -> Action:
    name = f"reset(before={before!r})"
    return actions.Transmit(name, transmissions.Reset(), stored=before == "answer")


_BY_NAME: dict[str, Callable[[], Action]] = {
    "drop": lambda: actions.StoreCopies("drop", copies=0),
    "duplicate": lambda: actions.StoreCopies("duplicate", copies=2),
    "garbage": lambda: actions.Transmit("garbage", transmissions.Garbage()),
    "hang": lambda: actions.Transmit("hang", transmissions.Hanging(), stored=False),
    "reset": _reset,
}
"""The faults that a sequence may call by name."""
_VALID_ENTRY = (
    f"an {checks.STATUS}, one of {', '.join(map(repr, _BY_NAME))}, 'ok', or a fault with its "
    "arguments, like faults.delay(0.2)"
)
