"""Finding what an assertion waits for, each record and event looked at once."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from ..collector.log import EventState
from ..protocol.request import Head
from .event import Event, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..collector.collector import Collector
    from ..collector.log import EventLog
    from .matching import Wanted

_MADE = frozenset({"time", "td_record_time"})
"""Columns that are not what the body says (T1 to T6)."""
_FRACTION = re.compile(rb"[0-9][.eE]")


class MatchingRecords:
    """The records of one table that match; a look goes on where the last one ended."""

    def __init__(self, collector: Collector, database: str, table: str, wanted: Wanted) -> None:
        self._collector = collector
        self._route = (database, table)
        self._wanted = wanted
        self._sieve = _sieve(collector, wanted.columns)
        self._from_url: dict[bytes, bool] = {}
        self._log: EventLog | None = None
        self._seen, self._last = 0, -1
        self._found: list[int] = []

    def look(self) -> Sequence[int]:
        """Where in the log the matching records are now; to be called with the lock held."""
        log = self._collector.log
        rows = log.ingested.get(self._route, ())
        if self._wanted.anything:
            return rows
        # An event that is decided after a later one stands before it, and moves what follows.
        if log is not self._log or bisect_right(rows, self._last) != self._seen:
            self._log, self._seen, self._found = log, 0, []
        for index in rows[self._seen :]:
            if self._may_match(log, index) and self._wanted.matches(self._record(log, index)):
                self._found.append(index)
        self._seen = len(rows)
        self._last = rows[-1] if rows else -1
        return self._found

    def records(self, indexes: Iterable[int]) -> list[Record]:
        """The records at `indexes`."""
        log = self._collector.log
        return [self._record(log, index) for index in indexes]

    def _record(self, log: EventLog, index: int) -> Record:
        return Record(Event(self._collector, log, index))

    def _may_match(self, log: EventLog, index: int) -> bool:
        if self._sieve is None:
            return True
        raw = log.heads[index]
        from_url = self._from_url.get(raw)
        if from_url is None:
            from_url = self._from_url[raw] = self._collector.verdict(Head(raw)).from_url
        return from_url or self._sieve(log.bodies[index])


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
        log = self._collector.log
        if log is not self._log:
            self._log, self._open, self._seen = log, [], 0
        candidates = [*self._open, *range(self._seen, len(log))]
        self._open = [at for at in candidates if log.state(at) is EventState.PENDING]
        self._seen = len(log)
        for index in candidates:
            event = Event(self._collector, log, index)
            if self._predicate(event):
                return event
        return None


def _sieve(collector: Collector, columns: Mapping[str, Any]) -> Callable[[bytes], bool] | None:
    """A quick look at a JSON body that lets pass what may match; `None` lets everything pass."""
    settings = collector.settings
    if settings.value_types != "json" or settings.url_parameters != "ignore":
        return None
    told = {name: value for name, value in columns.items() if name not in _MADE}
    sieves = [each for each in map(_sieve_of, told.values()) if each is not None]
    plain = {name: value for name, value in told.items() if _compares_plainly(value)}

    def sieve(body: bytes) -> bool:
        return all(each(body) for each in sieves) and _holds(body, plain)

    return sieve if told else None


def _sieve_of(value: Any) -> Callable[[bytes], bool] | None:
    if type(value) is str:
        # A text stands in a body as it is, or else with escapes, which need a backslash.
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return lambda body: text in body or b"\\" in body
    if type(value) is int and value not in (0, 1):
        # A number that equals it has its digits, or a fraction or an exponent.
        digits = b"%d" % abs(value)
        return lambda body: digits in body or _FRACTION.search(body) is not None
    return None


def _compares_plainly(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _holds(body: bytes, columns: Mapping[str, Any]) -> bool:
    if not columns:
        return True
    try:
        sent = json.loads(body)
    except ValueError:  # more digits than this Python takes: the thorough look decides
        return True
    return all(name in sent and sent[name] == value for name, value in columns.items())
