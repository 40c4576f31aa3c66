"""The assertions and waits, as functions of a collector and of the receiver it belongs to.

All of them wait for what has not arrived yet, and claim the events that they matched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..collector.events import Event, Record, SettleTimeout
from ..protocol.secrets import KeyRedactor
from . import messages
from .matching import EventSearch, Search, WantedEvents, WantedRecords, check_count, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..collector.collector import Collector
    from ..collector.event_log import EventLog
    from .receiver import Receiver


def settle(collector: Collector, timeout: float) -> None:
    """Wait until no event is pending; raise `SettleTimeout` after `timeout` seconds."""
    __tracebackhide__ = True
    check_timeout(timeout)
    if not collector.settle(timeout):
        log = collector.log
        text = messages.unsettled(log, timeout, collector.why_pending(0))
        raise SettleTimeout(text, [Event(log, at) for at in log.indexes(EventState.PENDING)])


def wait_for(
    collector: Collector,
    receiver: Receiver,
    predicate: Callable[[Event], object],
    timeout: float,
) -> Event:
    """Wait for an event that satisfies `predicate`, and return it."""
    __tracebackhide__ = True
    check_timeout(timeout)
    event = collector.wait_until(EventSearch(collector, predicate).first, timeout)
    if event is None:  # a fault may have changed an event without an outcome since
        collector.wait_for_responses()
        event = EventSearch(collector, predicate).first()
    if event is None:
        raise failure(collector, messages.not_satisfied(collector, receiver, predicate, timeout))
    claim(collector, [event])
    return event


def assert_ingested(
    collector: Collector,
    receiver: Receiver,
    wanted: WantedRecords,
    *,
    count: int | None,
    timeout: float,
) -> list[Record]:
    """Wait for `count` records, then want exactly that many; `None` is at least one."""
    __tracebackhide__ = True
    check_count(count, beside_columns=True)
    check_timeout(timeout, beside_columns=True)
    log, found = _search(collector, EventState.INGESTED, wanted, count=count, timeout=timeout)
    if not _enough(found, count):
        text = messages.not_ingested(
            collector, receiver, wanted, count=count, timeout=timeout, found=(log, found)
        )
        raise failure(collector, text)
    log.claimed.update(found)
    return [Record(log, index) for index in found]


def assert_nothing_ingested(collector: Collector, wanted: WantedRecords, timeout: float) -> None:
    """Settle within `timeout` seconds, then want no record."""
    __tracebackhide__ = True
    settle(collector, timeout)
    search = Search(collector, EventState.INGESTED, wanted)
    found = search.found()
    if found:
        raise failure(collector, messages.ingested(search.log, wanted, found))


def assert_refused(
    collector: Collector,
    receiver: Receiver,
    wanted: WantedEvents,
    *,
    count: int | None,
    timeout: float,
) -> list[Event]:
    """Wait for `count` refused events, then want exactly that many; `None` is at least one."""
    __tracebackhide__ = True
    check_count(count)
    check_timeout(timeout)
    log, found = _search(collector, EventState.REFUSED, wanted, count=count, timeout=timeout)
    if not _enough(found, count):
        text = messages.not_refused(
            collector, receiver, wanted, count=count, timeout=timeout, found=(log, found)
        )
        raise failure(collector, text)
    log.claimed.update(found)
    return [Event(log, index) for index in found]


def assert_auth_failed(
    collector: Collector,
    receiver: Receiver,
    wanted: WantedEvents,
    *,
    count: int | None,
    timeout: float,
    first: int = 0,
) -> list[Event]:
    """Wait for `count` events that are rejected after their 200, then want exactly that many.

    They are expected from then on. Events before the sequence number `first` do not count.
    """
    __tracebackhide__ = True
    check_count(count)
    check_timeout(timeout)
    log, found = _search(
        collector, EventState.REJECTED, wanted, count=count, timeout=timeout, first=first
    )
    log.claimed.update(found)
    log.expected.update(found)
    if not _enough(found, count):
        text = messages.not_rejected(
            collector,
            receiver,
            wanted,
            count=count,
            timeout=timeout,
            found=(log, found),
            first=first,
        )
        raise failure(collector, text)
    return [Event(log, index) for index in found]


def expect_sent_since(collector: Collector, wanted: WantedEvents, first: int) -> None:
    """Expect the failure of every event from the sequence number `first` on."""
    log = collector.log
    sent = range(max(0, first - log.first), len(log))
    log.expected.update(index for index in sent if wanted.match(log, index))


def assert_no_requests(collector: Collector, timeout: float) -> None:
    """Want that nothing arrived, and that nothing does for `timeout` seconds."""
    __tracebackhide__ = True
    check_timeout(timeout)
    arrived = collector.wait_until(
        lambda: bool(len(collector.log) or collector.refused_connections), timeout
    )
    if arrived:
        collector.wait_for_responses()
        raise failure(collector, messages.requests(collector))


def assert_valid(
    collector: Collector,
    schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
    wanted: WantedRecords,
    timeout: float,
) -> None:
    """Settle within `timeout` seconds, then want that every record satisfies a JSON Schema."""
    __tracebackhide__ = True
    from .schemas import violations

    settle(collector, timeout)
    search = Search(collector, EventState.INGESTED, wanted)
    found = search.found()
    wrong = violations(schema, [Record(search.log, index) for index in found])
    if wrong or not found:
        raise failure(collector, messages.invalid_records(wrong, len(found)))
    search.log.claimed.update(found)


def claim(collector: Collector, events: Iterable[Event]) -> None:
    """Count `events` as asserted. Events from before a `clear` are ignored."""
    log = collector.log
    for event in events:
        index = event.seq - log.first
        if 0 <= index < len(log) and Event(log, index) == event:
            log.claimed.add(index)


def failure(collector: Collector, text: str) -> AssertionError:
    """An `AssertionError` with `text`, in which every known write key is shortened."""
    return AssertionError(KeyRedactor(collector.keys.known())(text))


def _search(
    collector: Collector,
    state: EventState,
    wanted: WantedRecords | WantedEvents,
    *,
    count: int | None,
    timeout: float,
    first: int = 0,
) -> tuple[EventLog, list[int]]:
    """Wait until `count` events are in `state`; with 0, settle instead. Gives what there is."""
    __tracebackhide__ = True
    search = Search(collector, state, wanted, first=first)
    if count == 0:
        settle(collector, timeout)
    else:
        enough = 1 if count is None else count

        def found_enough() -> bool:
            __tracebackhide__ = True
            return len(search.found()) >= enough

        collector.wait_until(found_enough, timeout)
    collector.wait_for_responses()
    found = search.found()
    return search.log, found


def _enough(found: list[int], count: int | None) -> bool:
    return bool(found) if count is None else len(found) == count
