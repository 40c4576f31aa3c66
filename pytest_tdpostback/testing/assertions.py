"""What several assertions have in common: they wait, search, and claim the events that match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..collector.event_log import EventState
from ..collector.events import Event, SettleTimeout
from ..protocol.secrets import KeyRedactor
from . import messages
from .matching import Search, WantedEvents, WantedRecords, check_count, check_timeout

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def assert_auth_failed(
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
    collector = receiver.collector
    log, found = search(
        collector, EventState.REJECTED, wanted, count=count, timeout=timeout, first=first
    )
    log.claimed.update(found)
    log.expected.update(found)
    if not enough(found, count):
        text = messages.not_rejected(
            receiver, wanted, count=count, timeout=timeout, found=(log, found), first=first
        )
        raise failure(collector, text)
    return [Event(log, index) for index in found]


def expect_sent_since(collector: Collector, wanted: WantedEvents, first: int) -> None:
    """Expect the failure of every event from the sequence number `first` on."""
    log = collector.log
    sent = range(max(0, first - log.first), len(log))
    log.expected.update(index for index in sent if wanted.match(log, index))


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


def search(
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
    matching = Search(collector, state, wanted, first=first)
    if count == 0:
        settle(collector, timeout)
    else:
        least = 1 if count is None else count

        def found_enough() -> bool:
            __tracebackhide__ = True
            return len(matching.found()[1]) >= least

        collector.wait_until(found_enough, timeout)
    collector.wait_for_responses()
    return matching.found()


def enough(found: list[int], count: int | None) -> bool:
    """Whether `found` are `count` events; `None` is at least one."""
    return bool(found) if count is None else len(found) == count
