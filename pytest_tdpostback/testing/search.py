"""Finding what an assertion waits for, each record and event looked at once."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..collector.log import EventState
from ..protocol import body as json_body
from .event import Event, Record, Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..collector.collector import Collector
    from ..collector.log import EventLog
    from .matching import Wanted

_MADE = frozenset({"time", "td_record_time"})
"""Columns that are not what the body says (T1 to T6)."""
_decode = json.JSONDecoder().raw_decode
_EXPONENT = re.compile(rb"[0-9][eE]")
Sieve = Callable[[Sequence[bytes], Sequence[int]], list[int]]
"""Takes the bodies of a log and places in it; gives those places whose body may match."""


class MatchingRecords:
    """The records of one table that match; a look goes on where the last one ended."""

    def __init__(self, collector: Collector, database: str, table: str, wanted: Wanted) -> None:
        self._collector = collector
        self._route = (database, table)
        self._wanted = wanted
        self._sieves = _sieves(collector, wanted.columns)
        self._enough = bool(self._sieves) and _sieves_decide(wanted)
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
        new = rows[self._seen :]
        if self._enough and not log.from_url:
            self._found += self._through_sieves(log, new)
        else:
            self._found += [
                index
                for index in self._sifted(log, new)
                if self._wanted.matches(Record(Event(self._collector, log, index)))
            ]
        self._seen = len(rows)
        self._last = rows[-1] if rows else -1
        return self._found

    def records(self, indexes: Sequence[int]) -> list[Record]:
        """The records at `indexes`."""
        return Records(self._collector, self._collector.log, indexes)

    def _sifted(self, log: EventLog, rows: Sequence[int]) -> Iterable[int]:
        """Those of `rows` that may match: none that does is left out."""
        if not self._sieves:
            return rows
        if not log.from_url:
            return self._through_sieves(log, rows)
        from_url = [index for index in rows if index in log.from_url]
        rows = [index for index in rows if index not in log.from_url]
        return sorted((*from_url, *self._through_sieves(log, rows)))

    def _through_sieves(self, log: EventLog, rows: Sequence[int]) -> Sequence[int]:
        for sieve in self._sieves:
            rows = sieve(log.bodies, rows)
        return rows


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


def _sieves(collector: Collector, columns: Mapping[str, Any]) -> list[Sieve]:
    """Quick looks at JSON bodies, the quickest first; each lets everything pass that may match."""
    settings = collector.settings
    if settings.value_types != "json" or settings.url_parameters != "ignore":
        return []
    told = {name: value for name, value in columns.items() if name not in _MADE}
    plain = {name: value for name, value in told.items() if _compares_plainly(value)}
    quick = [sieve for sieve in map(_sieve_of, told.values()) if sieve is not None]
    return [*quick, partial(_parsed, plain)] if plain else quick


def _sieves_decide(wanted: Wanted) -> bool:
    """Whether what comes through the sieves matches for certain, as far as it is JSON."""
    return wanted.predicate is None and all(
        name not in _MADE and _compares_plainly(value) for name, value in wanted.columns.items()
    )


def _sieve_of(value: Any) -> Sieve | None:
    if type(value) is str:
        # A text stands in a body as it is, or else with escapes, which need a backslash.
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return lambda bodies, rows: [i for i in rows if text in bodies[i] or b"\\" in bodies[i]]
    if type(value) is int and value not in (0, 1):
        # A number that equals it has its digits in a row, or an exponent.
        digits, exponent = b"%d" % abs(value), _EXPONENT.search
        return lambda bodies, rows: [i for i in rows if digits in bodies[i] or exponent(bodies[i])]
    return None


def _compares_plainly(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _parsed(columns: Mapping[str, Any], bodies: Sequence[bytes], rows: Sequence[int]) -> list[int]:
    wanted, found = tuple(columns.items()), []
    for index in rows:
        sent = _sent(bodies[index])
        for name, value in wanted:
            if name not in sent or sent[name] != value:
                break
        else:
            found.append(index)
    return found


def _sent(body: bytes) -> dict[str, Any]:
    try:
        sent: dict[str, Any] = _decode(body.decode())[0]
    except ValueError:  # a blank in front, or more digits than this Python takes at once
        return json_body.parse(body)
    return sent
