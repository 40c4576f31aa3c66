"""Faults: what goes wrong on the wire and behind it, and the truth about what was stored.

`Faults` is what a test calls, `handle` decides which events a fault hits, `actions` what it does to
them. A collector without an active fault has no `fault_hook`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from ...protocol.settings import MAX_SECONDS
from . import actions
from .handle import ABOVE_ZERO, FaultHandle, Limits, count, invalid, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from ...collector.collector import Arrival, Collector, Effect
    from .actions import Action
    from .handle import LimitArguments, LimitArgumentsWithoutAfter

__all__ = ["FaultHandle", "Faults", "Limits"]

SequenceEntry = int | FaultHandle | Literal["ok", "drop", "duplicate", "garbage", "hang", "reset"]
MOST_ENTRIES = 100_000
"""How many entries a sequence may have: `entries` may be an iterator without an end."""
_STATUS = "HTTP status from 200 to 599"
_SECONDS = f"a number of seconds from 0 to {MAX_SECONDS:,}"


class Faults:
    """The faults of one fake server, as `tdpostback.faults`.

    Each method makes one thing go wrong from now on and returns its `FaultHandle`. All take the
    keyword arguments that `Limits` describes, and raise `ConfigurationError` for an argument that
    is not valid. Of several active faults, the one that was added last is asked first.
    """

    def __init__(self, collector: Collector) -> None:
        """`collector` receives the events that the faults hit."""
        self._collector = collector
        self._made: list[FaultHandle] = []
        self._active: tuple[FaultHandle, ...] = ()

    # in front of the service: nothing is stored

    def status(self, code: int, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Respond `code` (200 to 599) instead of the service: the event is lost."""
        if not _is_status(code):
            raise invalid("status", "code", code, f"an {_STATUS}")
        return self._add(partial(actions.RespondStatus, code), limits)

    def throttle(self, limit: int, per: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Let `limit` requests pass in any `per` seconds (up to 3,600) of the server's clock.

        The others are lost. Their response is 429, with the seconds to wait in `Retry-After`.
        """
        count("throttle", "limit", limit)
        valid = f"a number above 0, up to {MAX_SECONDS:,} seconds"
        number("throttle", "per", per, valid, least=ABOVE_ZERO, most=MAX_SECONDS)
        return self._add(partial(actions.Throttle, limit, per), limits)

    def outage(self, seconds: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Reset each connection when a request is complete, for `seconds` of the server's clock.

        The events are lost, without a response. `seconds` is a number from 0 to 3,600.
        `clock.advance(seconds)` ends it without waiting.
        """
        seconds = number("outage", "seconds", seconds, _SECONDS, most=MAX_SECONDS)
        return self._add(partial(actions.Outage, seconds, self._collector.clock.now()), limits)

    # on the wire

    def delay(self, seconds: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and respond `seconds` of real time late (0 to 3,600).

        Later requests on the same connection wait, other connections do not. When the fault ends,
        the response is sent at once.
        """
        seconds = number("delay", "seconds", seconds, _SECONDS, most=MAX_SECONDS)
        return self._add(partial(actions.Delay, seconds), limits)

    def hang(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Never respond, and store nothing: the event is lost.

        The connection stays open until its sender closes it or the fault ends.
        """
        return self._add(_BY_NAME["hang"], limits)

    def reset(
        self,
        before: Literal["storing", "answer"] = "storing",
        **limits: Unpack[LimitArguments],
    ) -> FaultHandle:
        """Reset the connection instead of responding.

        Args:
            before: `"storing"` loses the event; `"answer"` stores it, though its sender sees the
                same error.
            limits: See `Limits`.
        """
        if before not in ("storing", "answer"):
            raise invalid("reset", "before", before, "one of 'storing', 'answer'")
        return self._add(
            partial(actions.Reset, f"reset(before={before!r})", stored=before == "answer"), limits
        )

    def truncate(self, after: int, **limits: Unpack[LimitArgumentsWithoutAfter]) -> FaultHandle:
        """Store the event, and close the connection after `after` bytes of the response.

        To spare the first events, use `sequence`.
        """
        return self._add(partial(actions.Truncate, count("truncate", "after", after)), limits)

    def drip(self, bytes_per_second: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and respond slowly. When the fault ends, the rest is sent at once."""
        valid = "a number above 0"
        rate = number("drip", "bytes_per_second", bytes_per_second, valid, least=ABOVE_ZERO)
        return self._add(partial(actions.Drip, rate), limits)

    def garbage(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and send bytes that are not HTTP instead of the response."""
        return self._add(_BY_NAME["garbage"], limits)

    # after the response: only what the service accepts

    def drop(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Respond 200 and store nothing: the event is lost, and its sender cannot know."""
        return self._add(_BY_NAME["drop"], limits)

    def duplicate(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Respond 200 and store the event twice."""
        return self._add(_BY_NAME["duplicate"], limits)

    # several

    def sequence(
        self, entries: Iterable[SequenceEntry], **limits: Unpack[LimitArguments]
    ) -> FaultHandle:
        """Hit one event after the other, an entry each. After the last one all is normal.

        Args:
            entries: 1 to 100,000 entries. Each is a status, `"ok"` for an event that is spared, the
                name of a fault without arguments (`"drop"`, `"duplicate"`, `"garbage"`, `"hang"`,
                `"reset"`), or what another method returned: `sequence([503, faults.delay(0.2)])`.
                Such a fault then acts in the sequence only: it takes no limits of its own, and its
                events are in the handle of the sequence.
            limits: See `Limits`.
        """
        if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
            raise invalid("sequence", "entries", entries, "a list of entries, like [503, 'ok']")
        found = [_entry(entry) for entry in islice(entries, MOST_ENTRIES + 1)]
        if not 1 <= len(found) <= MOST_ENTRIES:
            valid = f"1 to {MOST_ENTRIES:,} entries, like [503, 'ok'] * 100"
            raise invalid("sequence", "entries", entries, valid)
        return self._add(partial(actions.InOrder, found), limits)

    def unmatched(self) -> list[FaultHandle]:
        """The faults that were asked about events, and whose limits matched none of them."""
        return [handle for handle in self._made if handle.asked and not handle.matched]

    def clear(self) -> None:
        """Remove every fault, and free the senders that they keep waiting."""
        made, self._made = self._made, []
        for handle in made:
            handle.remove()

    # within

    def _add(
        self, make_action: Callable[[], Action], limits: LimitArgumentsWithoutAfter
    ) -> FaultHandle:
        handle = FaultHandle(make_action, limits, self._collector, self._retire)
        with self._collector.lock:
            self._made.append(handle)
            self._set_active((handle, *self._active))
        return handle

    def _retire(self, handle: FaultHandle) -> None:
        with self._collector.lock:
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


_BY_NAME: dict[str, Callable[[], Action]] = {
    "drop": partial(actions.AfterResponse, "drop", stored=False),
    "duplicate": partial(actions.AfterResponse, "duplicate", copies=2),
    "garbage": partial(actions.Garbage, "garbage"),
    "hang": partial(actions.Hang, "hang", stored=False),
    "reset": partial(actions.Reset, "reset(before='storing')", stored=False),
}
"""The faults that a sequence may call by name."""


def _is_status(value: Any) -> bool:
    """Whether `value` is the status of a final response."""
    return type(value) is int and 200 <= value <= 599


def _entry(entry: Any) -> Action | None:
    """The action of an entry of a sequence, `None` for `"ok"`."""
    if isinstance(entry, FaultHandle):
        entry.remove()
        if entry.limits != Limits():
            valid = "an entry without limits, and the sequence its own"
            raise invalid("sequence", "entry", entry, valid)
        if isinstance(entry.action, actions.InOrder):
            valid = "its entries; a sequence cannot be an entry"
            raise invalid("sequence", "entry", entry, valid)
        return entry.make_action()
    if _is_status(entry):
        return actions.RespondStatus(entry)
    if not isinstance(entry, str) or entry not in (*_BY_NAME, "ok"):
        names = ", ".join(map(repr, _BY_NAME))
        valid = f"an {_STATUS}, one of {names}, 'ok', or a fault with its arguments"
        raise invalid("sequence", "entry", entry, f"{valid}, like faults.delay(0.2)")
    return _BY_NAME[entry]() if entry in _BY_NAME else None
