"""Faults on the wire and behind it, with the truth about what was stored.

`Faults` is what a test calls; `handle` decides which events a fault hits, `kinds` what it does to
them, `deliveries` how their answers travel. A collector without an active fault knows of none of
this: its `intervene` is `None`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from . import checks, deliveries, kinds
from .handle import FaultHandle, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Unpack

    from ...collector.collector import Arrival, Collector, Effect
    from .handle import Chosen, Limited
    from .kinds import Fault

PLACES = ("storing", "answer")


class Faults:
    """The faults of one double, as `tdpostback.faults`.

    Each method lets one thing go wrong from then on and returns its `FaultHandle`. All take the
    keyword arguments that `Limits` describes, and raise `ConfigurationError` for a wrong argument.
    Where several are active, the one that was added last is asked first.
    """

    def __init__(self, collector: Collector) -> None:
        """Faults that hit what reaches `collector`."""
        self._collector = collector
        self._made: list[FaultHandle] = []
        self._active: list[FaultHandle] = []

    # in front of the service: nothing is stored

    def status(self, code: int, **limits: Unpack[Limited]) -> FaultHandle:
        """Answer `code` (200 to 599) in place of the service: the event is lost."""
        return self._add("status", kinds.Status(checks.http_status("status", code)), limits)

    def throttle(self, limit: int, per: float, **limits: Unpack[Limited]) -> FaultHandle:
        """Let `limit` requests pass in any `per` seconds of the double's clock.

        The others are lost: answered 429, with the seconds to wait in `Retry-After`.
        """
        checks.count("throttle", "limit", limit)
        checks.positive("throttle", "per", per)
        return self._add("throttle", kinds.Throttle(limit, per), limits)

    def outage(self, seconds: float, **limits: Unpack[Limited]) -> FaultHandle:
        """Reset connections for `seconds` of the double's clock, as each request is complete.

        The events are lost, unanswered. `clock.advance(seconds)` ends it without waiting.
        """
        checks.seconds("outage", seconds)
        return self._add("outage", kinds.Outage(seconds, self._collector.clock.now()), limits)

    # on the wire

    def delay(self, seconds: float, **limits: Unpack[Limited]) -> FaultHandle:
        """Store the event and answer it `seconds` of real time late.

        Later requests on the same connection wait their turn; other connections do not wait.
        """
        late = deliveries.Delayed(checks.seconds("delay", seconds))
        return self._add("delay", kinds.OnTheWire(f"delay({seconds:g})", late), limits)

    def hang(self, **limits: Unpack[Limited]) -> FaultHandle:
        """Never answer, and store nothing: the event is lost.

        The connection stays open until its sender closes it or the fault is removed.
        """
        return self._add("hang", _hang(), limits)

    def reset(self, before: str = "storing", **limits: Unpack[Limited]) -> FaultHandle:
        """Reset the connection in place of an answer.

        `before="storing"`: the event is lost. `before="answer"`: it is stored, though its sender
        sees the same error.
        """
        checks.one_of("reset", "before", before, PLACES)
        return self._add("reset", _reset(before), limits)

    def truncate(self, after: int, **limits: Unpack[Chosen]) -> FaultHandle:
        """Store the event, and close the connection after that many bytes of the answer.

        `after` is a number of bytes here; `sequence` spares events that come before.
        """
        cut = deliveries.Cut(checks.count("truncate", "after", after))
        return self._add("truncate", kinds.OnTheWire(f"truncate({after})", cut), limits)

    def drip(self, bytes_per_second: float, **limits: Unpack[Limited]) -> FaultHandle:
        """Store the event, and answer it slowly."""
        rate = checks.positive("drip", "bytes_per_second", bytes_per_second)
        fault = kinds.OnTheWire(f"drip({rate:g})", deliveries.Dripped(rate))
        return self._add("drip", fault, limits)

    def garbage(self, **limits: Unpack[Limited]) -> FaultHandle:
        """Store the event, and send bytes that are no HTTP in place of the answer."""
        return self._add("garbage", _garbage(), limits)

    # behind the answer: only what the service accepts

    def drop(self, **limits: Unpack[Limited]) -> FaultHandle:
        """Answer 200 and store nothing: the event is lost, and its sender cannot know."""
        return self._add("drop", _drop(), limits)

    def duplicate(self, **limits: Unpack[Limited]) -> FaultHandle:
        """Answer 200 and store the event twice."""
        return self._add("duplicate", _duplicate(), limits)

    # several

    def sequence(
        self, entries: Iterable[int | str | FaultHandle], **limits: Unpack[Limited]
    ) -> FaultHandle:
        """Hit one event after the other, an entry each; after the last one all is normal.

        An entry is a status, `"ok"` for an event that is spared, the name of a fault that needs no
        argument (`"drop"`, `"duplicate"`, `"garbage"`, `"hang"`, `"reset"`), or what another method
        returned: `sequence([503, faults.delay(0.2), "ok"])`. That fault then acts here alone: it
        takes no limits of its own, and its events are those of the sequence's handle.
        """
        found = [self._entry(entry) for entry in checks.series(entries)]
        if not found:
            raise ConfigurationError("faults.sequence([]): give at least one entry")
        return self._add("sequence", kinds.Series(found), limits)

    def clear(self) -> None:
        """Remove every fault, and close the connections that hang by one."""
        made, self._made = self._made, []
        for handle in made:
            handle.remove()

    # within

    def _add(self, method: str, fault: Fault, limits: Chosen) -> FaultHandle:
        chosen = Limits.of(method, limits)
        handle = FaultHandle(fault, chosen, self._collector, self._retire)
        with self._collector.lock:
            self._made.append(handle)
            self._active.insert(0, handle)
            self._collector.fault_hook = self._effect_on
        return handle

    def _retire(self, handle: FaultHandle) -> None:
        with self._collector.lock:
            if handle in self._active:
                self._active.remove(handle)
            if not self._active:
                self._collector.fault_hook = None

    def _effect_on(self, arrival: Arrival) -> Effect | None:
        now = self._collector.clock.now()
        for handle in tuple(self._active):
            try:
                effect = handle.strike(arrival, now)
            except BaseException as error:  # noqa: BLE001 (a predicate's: the test ends with it)
                self._collector.report_error(error)
                return None
            if handle.over:
                self._retire(handle)
            if effect is not None:
                return effect
        return None

    def _entry(self, entry: Any) -> Fault | None:
        if isinstance(entry, FaultHandle):
            entry.remove()
            if entry.limited:
                raise checks.wrong_entry(entry, "an entry without limits, and the sequence its own")
            if isinstance(entry.fault, kinds.Series):
                raise checks.wrong_entry(entry, "its entries, for a sequence is none itself")
            return entry.fault
        if checks.is_status(entry):
            return kinds.Status(entry)
        if not isinstance(entry, str) or entry not in (*_MADE, "ok"):
            raise checks.wrong_entry(entry, _ENTRY)
        return _MADE[entry]() if entry in _MADE else None


def _hang() -> Fault:
    return kinds.OnTheWire("hang", deliveries.Hung(), stored=False)


def _reset(before: str = "storing") -> Fault:
    name = f"reset(before={before!r})"
    return kinds.OnTheWire(name, deliveries.Reset(), stored=before == "answer")


def _garbage() -> Fault:
    return kinds.OnTheWire("garbage", deliveries.Garbled())


def _drop() -> Fault:
    return kinds.BehindTheAnswer("drop", copies=0)


def _duplicate() -> Fault:
    return kinds.BehindTheAnswer("duplicate", copies=2)


_MADE = {
    "drop": _drop,
    "duplicate": _duplicate,
    "garbage": _garbage,
    "hang": _hang,
    "reset": _reset,
}
"""What a sequence may call by its name."""
_ENTRY = (
    f"an {checks.STATUS}, one of {', '.join(map(repr, _MADE))}, 'ok', or a fault with its arguments"
    ", like faults.delay(0.2)"
)
