"""Faults: what goes wrong on the wire and behind it, and the truth about what was stored.

`Faults` is what a test calls, a `FaultHandle` decides which events its fault hits, and `actions`
what happens to them. A collector without an active fault has no `fault_hook`.
"""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict

from ...collector.events import Events
from ...errors import ConfigurationError
from ...protocol.settings import MAX_SECONDS
from . import actions

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Unpack

    from ...collector.collector import Arrival, Collector, Effect
    from .actions import Action

MOST_ENTRIES = 100_000
"""How many entries a sequence may have: an iterator may have no end."""


class LimitArgumentsWithoutAfter(TypedDict, total=False):
    """The keyword arguments of `truncate`: those of the other faults without `after`."""

    database: str | None
    table: str | None
    where: Mapping[str, Any] | Callable[[Arrival], object] | None
    times: int | None
    probability: float | None
    seed: int | None


class LimitArguments(LimitArgumentsWithoutAfter, total=False):
    """The keyword arguments of faults: which events a fault may hit.

    Args:
        database: Events of this database (default: of any).
        table: Events of this table (default: of any).
        where: A mapping of columns, compared with `==`, or a predicate on the `Arrival`. A request
            that is refused matches neither.
        times: How many events are hit (default: all).
        after: How many matching events are spared before (default: 0). Of `truncate`, `after`
            counts bytes.
        probability: The share of the other events that is hit, from 0 to 1 (default: all).
        seed: What the random choice starts from (default: 0), so that it can be repeated.
    """

    after: int


class FaultHandle:
    """A fault: active until `remove`, the end of its `with` block, or the end of the test."""

    def __init__(
        self,
        make_action: Callable[[], Action],
        limits: Mapping[str, Any],
        collector: Collector,
        on_remove: Callable[[], None],
    ) -> None:
        """Made by the methods of `tdpostback.faults`."""
        self.asked = 0
        """How many events it was asked about."""
        self.matched = 0
        """How many of them its limits matched, before `after`, `times` and `probability` count."""
        self.make_action = make_action
        """Makes a new action like `action`, for a sequence."""
        self.action = make_action()
        self.name = self.action.name
        """What `event.fault` shows."""
        self.limits = limits
        """Which events it may hit: each of the limits that was given."""
        self._collector = collector
        self._on_remove = on_remove
        self._spare = self.limits.get("after", 0)
        self._left: int | None = self.limits.get("times")
        self._random = random.Random(self.limits.get("seed", 0))  # noqa: S311 - it is meant to be predictable
        self._hits = array("Q")
        self._removed = False

    @property
    def events(self) -> Events:
        """The events that it hit, in order of arrival. `tdpostback.clear()` forgets them, too."""
        with self._collector.lock:
            log = self._collector.log
            return Events(log, [seq - log.first for seq in self._hits if seq >= log.first])

    @property
    def over(self) -> bool:
        """Whether it will hit no further event."""
        return self._removed or self._left == 0 or self.action.over

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """What it does to `arrival`; `None` if it does not hit it."""
        if self.over:
            return None
        self.asked += 1
        if not self._matches(arrival):
            return None
        with self._collector.lock:
            self.matched += 1
            if self.over:  # by an event that another thread receives
                return None
            if self._spare:
                self._spare -= 1
                return None
            if self._random.random() >= self.limits.get("probability", 1):
                return None
            effect = self.action.effect_on(arrival)
            if effect is None:
                return None
            if self._left is not None:
                self._left -= 1
        return effect._replace(recorded=self._hits.append)

    def _matches(self, arrival: Arrival) -> bool:
        """Whether the limits match; runs code of the user, so without any lock."""
        database, table, where = map(self.limits.get, ("database", "table", "where"))
        if database not in (None, arrival.database) or table not in (None, arrival.table):
            return False
        if where is None:
            return True
        if arrival.refused:
            return False
        if isinstance(where, Mapping):
            return all(n in arrival and value == arrival[n] for n, value in where.items())
        return bool(where(arrival))

    def remove(self) -> None:
        """End the fault, and free the senders that it keeps waiting."""
        self._removed = True
        self._on_remove()
        self.action.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a fault cannot be copied or pickled; call the method of faults again")

    def __repr__(self) -> str:
        return f"<fault {self.name}: {len(self._hits)} hit>"


SequenceEntry = int | FaultHandle | Literal["ok", "drop", "duplicate", "garbage", "hang", "reset"]


class Faults:
    """The faults of one fake server, as `tdpostback.faults`.

    Each method makes one thing go wrong from now on and returns its `FaultHandle`. All take the
    keyword arguments that `LimitArguments` describes, and raise `ConfigurationError` for an
    argument that is not valid. Of several active faults, the one added last is asked first.
    """

    def __init__(self, collector: Collector) -> None:
        """`collector` receives the events that the faults hit."""
        self._collector = collector
        self._made: list[FaultHandle] = []
        self._active: list[FaultHandle] = []

    # in front of the service: nothing is stored

    def status(self, code: int, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Respond `code` (200 to 599) instead of the service: the event is lost."""
        return self._add("status", limits, actions.RespondStatus, code=code)

    def throttle(self, limit: int, per: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Let `limit` requests pass in any `per` seconds (up to 3,600) of the server's clock.

        The others are lost. Their response is 429, with the seconds to wait in `Retry-After`.
        """
        return self._add("throttle", limits, actions.Throttle, limit=limit, per=per)

    def outage(self, seconds: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Reset each connection when a request is complete, for `seconds` of the server's clock.

        The events are lost, without a response. `seconds` is a number from 0 to 3,600.
        `clock.advance(seconds)` ends it without waiting.
        """
        make = partial(actions.Outage, self._collector.clock.now())
        return self._add("outage", limits, make, seconds=seconds)

    # on the wire

    def delay(self, seconds: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and respond `seconds` of real time late (0 to 3,600).

        Later requests on the same connection wait, other connections do not. When the fault ends,
        the response is sent at once.
        """
        return self._add("delay", limits, actions.Delay, seconds=seconds)

    def hang(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Never respond, and store nothing: the event is lost.

        The connection stays open until its sender closes it or the fault ends.
        """
        return self._add("hang", limits)

    def reset(
        self,
        before: Literal["storing", "answer"] = "storing",
        **limits: Unpack[LimitArguments],
    ) -> FaultHandle:
        """Reset the connection instead of responding.

        Args:
            before: `"storing"` loses the event; `"answer"` stores it, though its sender sees the
                same error.
            limits: See `LimitArguments`.
        """
        return self._add("reset", limits, before=before)

    def truncate(self, after: int, **limits: Unpack[LimitArgumentsWithoutAfter]) -> FaultHandle:
        """Store the event, and close the connection after `after` bytes of the response.

        To spare the first events, use `sequence`.
        """
        return self._add("truncate", limits, actions.Truncate, after=after)

    def drip(self, bytes_per_second: float, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and respond slowly. When the fault ends, the rest is sent at once."""
        return self._add("drip", limits, actions.Drip, bytes_per_second=bytes_per_second)

    def garbage(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Store the event, and send bytes that are not HTTP instead of the response."""
        return self._add("garbage", limits)

    # after the response: only what the service accepts

    def drop(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Respond 200 and store nothing: the event is lost, and its sender cannot know."""
        return self._add("drop", limits)

    def duplicate(self, **limits: Unpack[LimitArguments]) -> FaultHandle:
        """Respond 200 and store the event twice."""
        return self._add("duplicate", limits)

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
            limits: See `LimitArguments`.
        """
        _check("sequence", {"entries": entries})
        found = [_entry(entry) for entry in islice(entries, MOST_ENTRIES + 1)]
        if not 1 <= len(found) <= MOST_ENTRIES:
            valid = f"1 to {MOST_ENTRIES:,} entries, like [503, 'ok'] * 100"
            raise _invalid("sequence", "entries", entries, valid)
        return self._add("sequence", limits, partial(actions.InOrder, found))

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
        self,
        method: str,
        limits: Mapping[str, object],
        make: Callable[..., Action] | None = None,
        **arguments: Any,
    ) -> FaultHandle:
        """Add a fault, whose action `make` makes of `arguments`; by default, that by its name."""
        names = LimitArguments.__annotations__
        for name in limits:
            if name not in names:
                valid = ", ".join(names)
                raise ConfigurationError(f"faults.{method}({name}=...): give one of {valid}")
        given = {name: limits[name] for name in names if limits.get(name) is not None}
        _check(method, arguments)
        _check(method, given)
        if "seed" in given and "probability" not in given:
            raise ConfigurationError(f"faults.{method}(seed=...): it needs a probability= as well")
        make_action = partial(make or _BY_NAME[method], *arguments.values())
        handle = FaultHandle(make_action, given, self._collector, self._update)
        self._made.append(handle)
        self._update()
        return handle

    def _update(self) -> None:
        """A fault was added, or is over."""
        with self._collector.lock:
            self._active = [each for each in reversed(self._made) if not each.over]
            self._collector.calls_user_code = any("where" in each.limits for each in self._active)
            self._collector.fault_hook = self._effect_on if self._active else None

    def _effect_on(self, arrival: Arrival) -> Effect | None:
        """What becomes of `arrival`. After an error of a condition, no other fault is asked."""
        for handle in self._active:
            try:
                effect = handle.effect_on(arrival)
            except BaseException as error:  # noqa: BLE001 - the test ends with it
                self._collector.report_error(error)
                return None
            if handle.over:
                self._update()
            if effect is not None:
                return effect
        return None


_BY_NAME: dict[str, Callable[..., Action]] = {
    "drop": partial(actions.AfterResponse, "drop", stored=False),
    "duplicate": partial(actions.AfterResponse, "duplicate", copies=2),
    "garbage": partial(actions.Garbage, "garbage"),
    "hang": partial(actions.Hang, "hang", stored=False),
    "reset": lambda before="storing": actions.Reset(
        f"reset(before={before!r})", stored=before == "answer"
    ),
}
"""The faults that a sequence may call by name."""


def _entry(entry: Any) -> Action | None:
    """The action of an entry of a sequence, `None` for `"ok"`."""
    if isinstance(entry, FaultHandle):
        entry.remove()
        valid = ""
        if entry.limits:
            valid = "an entry without limits, and the sequence its own"
        elif isinstance(entry.action, actions.InOrder):
            valid = "its entries; a sequence cannot be an entry"
        if valid:
            raise _invalid("sequence", "entry", entry, valid)
        return entry.make_action()
    if _is_status(entry):
        return actions.RespondStatus(entry)
    if not isinstance(entry, str) or entry not in (*_BY_NAME, "ok"):
        names = ", ".join(map(repr, _BY_NAME))
        valid = f"{_VALID['code'][1]}, one of {names}, 'ok', or a fault with its arguments"
        raise _invalid("sequence", "entry", entry, f"{valid}, like faults.delay(0.2)")
    return _BY_NAME[entry]() if entry in _BY_NAME else None


# checks of arguments


def _is_status(value: Any) -> bool:
    """Whether `value` is the status of a final response."""
    return _is_count(value, 200) and value <= 599


def _is_count(value: Any, least: int = 0) -> bool:
    return type(value) is int and value >= least


def _is_number(value: Any, most: float = sys.float_info.max) -> bool:
    return type(value) in (int, float) and 0 <= value <= most


_COUNT = (_is_count, "a whole number, 0 or more")
_NAME = (lambda value: isinstance(value, str) and value, "a name as in the URL, or None for any")
_VALID: dict[str, tuple[Callable[[Any], object], str]] = {
    "database": _NAME,
    "table": _NAME,
    "where": (
        lambda value: isinstance(value, Mapping) or callable(value),
        "a mapping of columns or a predicate",
    ),
    "times": (lambda value: _is_count(value, 1), "a whole number, 1 or more"),
    "after": _COUNT,
    "probability": (lambda value: _is_number(value, 1), "a number from 0 to 1"),
    "seed": (lambda value: type(value) is int, "a whole number"),
    "code": (_is_status, "an HTTP status from 200 to 599"),
    "limit": _COUNT,
    "per": (
        lambda value: _is_number(value, MAX_SECONDS) and value > 0,
        f"a number above 0, up to {MAX_SECONDS:,} seconds",
    ),
    "seconds": (
        lambda value: _is_number(value, MAX_SECONDS),
        f"a number of seconds from 0 to {MAX_SECONDS:,}",
    ),
    "before": (lambda value: value in ("storing", "answer"), "one of 'storing', 'answer'"),
    "bytes_per_second": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "entries": (
        lambda value: isinstance(value, Iterable) and not isinstance(value, (str, bytes)),
        "a list of entries, like [503, 'ok']",
    ),
}
"""For each argument of a fault, how to tell a valid value, and what is valid in words."""


def _check(method: str, arguments: Mapping[str, Any]) -> None:
    """Raise the error for the first of the arguments of `faults.<method>` that is not valid."""
    for name, value in arguments.items():
        is_valid, valid = _VALID[name]
        if not is_valid(value):
            raise _invalid(method, name, value, valid)


def _invalid(method: str, name: str, value: Any, valid: str) -> ConfigurationError:
    return ConfigurationError(f"faults.{method}({name}={actions.brief(value)}): give {valid}")
