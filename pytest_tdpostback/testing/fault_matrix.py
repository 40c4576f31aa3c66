"""Every fault as a pytest parameter: one test body proves how a sender delivers."""

from __future__ import annotations

import itertools
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ..collector.event_log import EventState
from ..collector.waiting import call_later
from ..errors import ConfigurationError
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _pytest.mark import ParameterSet

    from ..collector.events import Event
    from ..server.faults import FaultHandle, Faults
    from .postback import Postback

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

TRIES = 3
"""Times a sender tries at least: no case hits more than one less in a row."""


@dataclass(frozen=True)
class FaultCase:
    """One fault that hits the first events to arrive, and what a good sender can achieve."""

    name: str
    make: Callable[[Faults], FaultHandle]
    stored_at_least_once: bool = True
    """A sender that tries again after an error (`TRIES` times in all) gets every event stored.

    It is false for a fault that stores nothing after a 200, because no sender can notice that.
    """
    stored_at_most_once: bool = True
    """A sender that never tries again has no event stored twice.

    It is false for a fault that stores two copies.
    """
    needs_timeout: bool = False
    """Only a sender with a timeout notices the fault; any other waits for `patience` seconds."""
    patience: float = 5.0

    def apply(self, postback: Postback) -> AbstractContextManager[FaultHandle]:
        """A context manager: the fault is active in `postback`; it gives the handle of the fault.

        The test fails if it is never entered.

        Raises:
            AssertionError: At the end, if the fault hit no event, so that the test proves nothing.
        """
        expect_entering = postback._check.expect_entering  # noqa: SLF001 - it fails that test
        return expect_entering("case.apply", _Application(self, postback.faults))

    def assert_at_least_once(
        self, postback: Postback, database: str, table: str, column: str, values: Iterable[Any]
    ) -> None:
        """Settle, then want a record in `database.table` for each of `values` in `column`.

        An event that got a 200 and was lost is excused, because its sender cannot know.

        Raises:
            AssertionError: Values are missing; the message shows the responses to their events.
        """
        sent = _sent(postback, database, table, column)
        missing, last_events = [], []
        for value in values:
            events = sent.get(_hashable(value), [])
            stored = any(each.state is EventState.INGESTED for each in events)
            excused = [e for e in events[-1:] if e.status == 200 and e.state is EventState.LOST]
            if not (stored or excused):
                missing.append(value)
                last_events += events[-1:]
        if missing:
            head = f"not stored at least once under {self.name}: no record with {column} in "
            lines = formatting.lines(last_events) or ["none of them was sent"]
            raise AssertionError("\n  ".join([f"{head}{formatting.value(missing)}", *lines]))

    def assert_at_most_once(
        self, postback: Postback, database: str, table: str, column: str
    ) -> None:
        """Settle, then want no value of `column` in `database.table` stored from two requests.

        A copy that a fault made is excused.

        Raises:
            AssertionError: Values are stored more than once.
        """
        twice = [
            events
            for events in _sent(postback, database, table, column).values()
            if sum(event.state is EventState.INGESTED for event in events) > 1
        ]
        if twice:
            values = [_value(events[-1], column) for events in twice]
            head = f"stored more than once under {self.name}: {column} in "
            events = sorted(itertools.chain(*twice), key=lambda event: event.seq)
            lines = formatting.lines(events)
            raise AssertionError("\n  ".join([f"{head}{formatting.value(values)}", *lines]))

    def __repr__(self) -> str:
        return f"<FaultCase {self.name}>"


class _Application(AbstractContextManager["FaultHandle"]):
    """What `FaultCase.apply` returns. It knows whether it was entered."""

    def __init__(self, case: FaultCase, faults: Faults) -> None:
        self.entered = False
        self._case = case
        self._faults = faults

    def __enter__(self) -> FaultHandle:
        self.entered = True
        self._handle = self._case.make(self._faults)
        if self._case.needs_timeout:
            self._removal = call_later(self._case.patience, self._handle.remove)
        return self._handle

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._case.needs_timeout:
            self._removal.cancel()
        self._handle.remove()
        if error is None and not self._handle.events:
            raise AssertionError(f"{self._case.name} hit no event: send inside the block")


def fault_matrix(seed: int = 0, *, patience: float = 5.0) -> list[ParameterSet]:
    """Parameters for pytest: a `FaultCase` for every fault of a network or a service.

    Args:
        seed: Chooses how many events each fault hits in a row (fewer than `TRIES`), and at which
            byte a response breaks.
        patience: After how many seconds a late response comes, and a hanging connection ends.

    Raises:
        ConfigurationError: An argument is not a number, or `patience` is not above 0.
    """
    if type(seed) is not int:
        raise ConfigurationError(f"fault_matrix(seed={seed!r}): give a whole number")
    if type(patience) not in (int, float) or not patience > 0:
        raise ConfigurationError(f"fault_matrix(patience={patience!r}): give seconds above 0")
    generator = random.Random(seed)  # noqa: S311
    cases: list[ParameterSet] = []

    def case(name: str, make: Callable[[Faults, int], FaultHandle], **facts: Any) -> None:
        times = generator.randint(1, TRIES - 1)
        made = FaultCase(name, lambda f: make(f, times), patience=patience, **facts)
        cases.append(pytest.param(made, id=name))

    code = generator.choice((500, 502, 504))
    in_status_line, in_headers = generator.randint(0, 11), generator.randint(40, 80)
    case("status-503", lambda f, n: f.status(503, times=n))
    case(f"status-{code}", lambda f, n: f.status(code, times=n))
    case("throttle", lambda f, _: f.throttle(0, 1, times=1))
    case("outage", lambda f, n: f.outage(3600, times=n))
    case("sequence", lambda f, _: f.sequence([503, "reset", "ok"]))
    case("delay", lambda f, n: f.delay(0.1, times=n))
    case("late", lambda f, _: f.delay(patience, times=1), needs_timeout=True)
    case("drip", lambda f, n: f.drip(2000, times=n))
    case("hang", lambda f, _: f.hang(times=1), needs_timeout=True)
    case("reset-before-storing", lambda f, n: f.reset("storing", times=n))
    case("reset-before-answer", lambda f, n: f.reset("answer", times=n))
    case("truncate-status-line", lambda f, n: f.truncate(in_status_line, times=n))
    case("truncate-headers", lambda f, n: f.truncate(in_headers, times=n))
    case("garbage", lambda f, n: f.garbage(times=n))
    case("drop", lambda f, n: f.drop(times=n), stored_at_least_once=False)
    case("duplicate", lambda f, n: f.duplicate(times=n), stored_at_most_once=False)
    return cases


def _sent(postback: Postback, database: str, table: str, column: str) -> dict[Any, list[Event]]:
    """The events of a table by the value of `column`, once they have an outcome."""
    postback.settle()
    found: dict[Any, list[Event]] = {}
    for event in postback.events:
        if (event.database, event.table) == (database, table):
            found.setdefault(_hashable(_value(event, column)), []).append(event)
    return found


def _value(event: Event, column: str) -> Any:
    """The value of `column` in the record that the event is or would be stored as."""
    return event.columns().get(column) if isinstance(event.payload, dict) else None


def _hashable(value: Any) -> Any:
    """A value that equals for equal values and can be hashed, for lists and objects too."""
    if isinstance(value, dict):
        return frozenset((name, _hashable(each)) for name, each in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value
