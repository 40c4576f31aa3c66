"""Every fault as a pytest parameter: one test body proves how a sender delivers."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ..collector.event_log import EventState
from ..errors import ConfigurationError
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _pytest.mark import ParameterSet

    from ..collector.events import Event
    from ..server.faults import Faults
    from ..server.faults.handle import FaultHandle
    from .postback import Postback

TRIES = 3
"""Times a sender tries at least: no case hits more than one less in a row."""


@dataclass(frozen=True)
class FaultCase:
    """One fault that meets the first events to arrive, and what follows from it for a sender.

    `stored_at_least_once`: a sender that tries again after an error (`TRIES` times in all) gets
    every event stored. Not so where the service answers 200 and stores nothing: nobody can tell.
    `stored_at_most_once`: one that never tries again has no event stored twice. Not so where the
    service itself stores two copies.
    `needs_timeout`: only a sender with a timeout notices; any other waits for `patience` seconds.
    """

    name: str
    make: Callable[[Faults], FaultHandle]
    stored_at_least_once: bool = True
    stored_at_most_once: bool = True
    needs_timeout: bool = False
    patience: float = 5.0

    @contextmanager
    def apply(self, postback: Postback) -> Iterator[FaultHandle]:
        """Have the fault in `postback` inside the block; yields its handle.

        Raises `AssertionError` where it hit nothing, for then nothing is proved.
        """
        __tracebackhide__ = True
        with self.make(postback.faults) as handle:
            freed = threading.Timer(self.patience, handle.remove)
            freed.daemon = True
            if self.needs_timeout:
                freed.start()
            try:
                yield handle
            finally:
                freed.cancel()
        if not handle.events:
            raise AssertionError(f"{self.name} hit no event: send inside the block")

    def assert_at_least_once(
        self, postback: Postback, database: str, table: str, column: str, values: Iterable[Any]
    ) -> None:
        """Settle, then want a record in `database.table` for each of `values` in `column`.

        An event that was answered 200 and lost is excused. Raises `AssertionError`, which names
        the values that are missing and what their sender was told.
        """
        __tracebackhide__ = True
        postback.settle()
        told = {_key(event, column): event for event in _sent(postback, database, table)}
        stored = Counter(_stored(postback, database, table, column))
        missing = [
            value
            for value in values
            if not stored[_hashable(value)] and not _excused(told.get(_hashable(value)))
        ]
        if missing:
            hits = [told[key] for key in map(_hashable, missing) if key in told]
            raise AssertionError(
                f"not at least once under {self.name}: no record with {column} in {missing!r}\n"
                f"{formatting.lines(hits) or '  none of them was sent at all'}"
            )

    def assert_at_most_once(
        self, postback: Postback, database: str, table: str, column: str
    ) -> None:
        """Settle, then want no value of `column` in `database.table` sent and stored twice.

        A copy that a fault made is excused. Raises `AssertionError`, which names the values.
        """
        __tracebackhide__ = True
        postback.settle()
        stored = Counter(_stored(postback, database, table, column))
        hits = [e for e in _sent(postback, database, table) if stored[_key(e, column)] > 1]
        if hits:
            twice = list({_key(event, column): _value(event, column) for event in hits}.values())
            raise AssertionError(
                f"not at most once under {self.name}: stored again, {column} in {twice!r}\n"
                f"{formatting.lines(hits)}"
            )

    def __repr__(self) -> str:
        return f"<FaultCase {self.name}>"


def fault_matrix(seed: int = 0, *, patience: float = 5.0) -> list[ParameterSet]:
    """Parameters for pytest: a `FaultCase` for every fault of a network or a service.

    `seed` chooses how many events each one hits in a row (fewer than `TRIES`) and where an answer
    breaks; `patience` is how many seconds a late answer takes, and a connection that hangs lasts.
    Raises `ConfigurationError` for what is no number.
    """
    if type(seed) is not int:
        raise ConfigurationError(f"fault_matrix(seed={seed!r}): give a whole number")
    if type(patience) not in (int, float) or not patience > 0:
        raise ConfigurationError(f"fault_matrix(patience={patience!r}): give seconds above 0")
    return [pytest.param(case, id=case.name) for case in _cases(random.Random(seed), patience)]  # noqa: S311


def _cases(dice: random.Random, patience: float) -> Iterator[FaultCase]:
    def case(name: str, make: Callable[[Faults, int], FaultHandle], **facts: Any) -> FaultCase:
        times = dice.randint(1, TRIES - 1)
        return FaultCase(name, lambda f: make(f, times), patience=patience, **facts)

    code, line, bodiless = dice.choice((500, 502, 504)), dice.randint(0, 11), dice.randint(40, 80)
    yield case("status-503", lambda f, n: f.status(503, times=n))
    yield case(f"status-{code}", lambda f, n: f.status(code, times=n))
    yield case("throttle", lambda f, _: f.throttle(0, 1, times=1))
    yield case("outage", lambda f, n: f.outage(3600, times=n))
    yield case("sequence", lambda f, _: f.sequence([503, "reset", "ok"]))
    yield case("delay", lambda f, n: f.delay(0.1, times=n))
    yield case("late", lambda f, _: f.delay(patience, times=1), needs_timeout=True)
    yield case("drip", lambda f, n: f.drip(2000, times=n))
    yield case("hang", lambda f, _: f.hang(times=1), needs_timeout=True)
    yield case("reset-before-storing", lambda f, n: f.reset("storing", times=n))
    yield case("reset-before-answer", lambda f, n: f.reset("answer", times=n))
    yield case("truncate-status-line", lambda f, n: f.truncate(line, times=n))
    yield case("truncate-headers", lambda f, n: f.truncate(bodiless, times=n))
    yield case("garbage", lambda f, n: f.garbage(times=n))
    yield case("drop", lambda f, n: f.drop(times=n), stored_at_least_once=False)
    yield case("duplicate", lambda f, n: f.duplicate(times=n), stored_at_most_once=False)


def _sent(postback: Postback, database: str, table: str) -> Iterator[Event]:
    return (e for e in postback.events if (e.database, e.table) == (database, table))


def _value(event: Event, column: str) -> Any:
    """What `column` holds in what the event is stored as, or would be."""
    return event.columns().get(column) if isinstance(event.payload, dict) else None


def _key(event: Event, column: str) -> Any:
    return _hashable(_value(event, column))


def _hashable(value: Any) -> Any:
    """What stands for `value` where a list or an object cannot."""
    if isinstance(value, dict):
        return frozenset((name, _hashable(each)) for name, each in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


def _stored(postback: Postback, database: str, table: str, column: str) -> Iterator[Any]:
    """A value for each event that was stored, however many copies of it."""
    return (
        _key(event, column)
        for event in _sent(postback, database, table)
        if event.state is EventState.INGESTED
    )


def _excused(event: Event | None) -> bool:
    return event is not None and event.status == 200 and event.state is EventState.LOST
