"""Finding what an assertion waits for, each record and event looked at once."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from ..collector.event_log import EventState
from ..collector.events import Event, Record
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..collector.collector import Collector
    from ..collector.event_log import EventLog
    from .matching import Wanted


class MatchingRecords:
    """The records of one table that match; a look starts where the last one ended."""

    def __init__(self, collector: Collector, database: str, table: str, wanted: Wanted) -> None:
        self._collector = collector
        self._route = (database, table)
        self._wanted = wanted
        self._log: EventLog | None = None
        self._seen, self._last = 0, -1
        self._found: list[int] = []

    def look(self) -> Sequence[int]:
        """Where in the log the matching records are now."""
        __tracebackhide__ = True
        log = self._collector.log
        rows = log.records(*self._route)
        if self._wanted.anything:
            return rows
        # An event that is decided after a later one stands before it, and moves what follows.
        if log is not self._log or bisect_right(rows, self._last) != self._seen:
            self._log, self._seen, self._last, self._found = log, 0, -1, []
        for index in rows[self._seen :]:
            if self._wanted.matches(Record(log, index)):
                self._found.append(index)
        if len(rows) > self._seen:
            self._seen, self._last = len(rows), rows[-1]
        return self._found

    def found(self, enough: int) -> bool:
        """Whether there are `enough` of them now."""
        __tracebackhide__ = True
        return len(self.look()) >= enough

    def records(self, indexes: Sequence[int]) -> list[Record]:
        """The records at `indexes`."""
        log = self._collector.log
        return [Record(log, index) for index in indexes]


class MatchingEvents:
    """The events that satisfy a predicate; each is asked for until it has its outcome."""

    def __init__(self, collector: Collector, predicate: Callable[[Event], object]) -> None:
        self._collector = collector
        self._predicate = predicate
        self._log: EventLog | None = None
        self._open: list[int] = []
        self._seen = 0

    def first(self) -> Event | None:
        """The first of them, of those that are new or had no outcome yet."""
        __tracebackhide__ = True
        log = self._collector.log
        if log is not self._log:
            self._log, self._open, self._seen = log, [], 0
        candidates = [*self._open, *range(self._seen, len(log))]
        self._open = [at for at in candidates if log.state(at) is EventState.PENDING]
        self._seen = len(log)
        for index in candidates:
            event = Event(log, index)
            try:
                if self._predicate(event):
                    return event
            except Exception as error:
                formatting.note(error, formatting.line(event))
                raise
        return None
