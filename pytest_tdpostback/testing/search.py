"""Finding what an assertion waits for, each record and event looked at once."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..collector.events import Event, Record, Records
from ..protocol import body as json_body
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..collector.blobs import Blobs
    from ..collector.collector import Collector
    from ..collector.event_log import EventLog
    from .matching import Wanted

_MADE = frozenset({"time", "td_record_time"})
"""Columns that are not what the body says (T1 to T6)."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types whose values compare with `==` alike wherever they come from."""
_AS_DIGIT_AND_E = bytes.maketrans(b"123456789E", b"000000000e")
AT_ONCE = 64
"""Bodies that are looked at as one text, which takes half the time."""
_decode = json.JSONDecoder().decode
Sieve = Callable[["Blobs", Sequence[int]], list[int]]
"""Takes the bodies of a log and places in it; gives those places whose body may match."""


class MatchingRecords:
    """The records of one table that match; a look goes on where the last one ended."""

    def __init__(self, collector: Collector, database: str, table: str, wanted: Wanted) -> None:
        self._collector = collector
        self._route = (database, table)
        self._wanted = wanted
        plain = _plain(collector, wanted.columns)
        self._sieve: Sieve | None = partial(_parsed, plain) if plain else None
        self._enough = wanted.predicate is None and len(plain) == len(wanted.columns)
        """Whether what comes through the sieve matches for certain, as far as it is JSON."""
        self._log: EventLog | None = None
        self._seen, self._last = 0, -1
        self._found: list[int] = []

    def look(self) -> Sequence[int]:
        """Where in the log the matching records are now; to be called with the lock held."""
        __tracebackhide__ = True
        log = self._collector.log
        rows: Sequence[int] = log.ingested.get(self._route, ())
        if self._wanted.anything:
            return rows
        # An event that is decided after a later one stands before it, and moves what follows.
        if log is not self._log or bisect_right(rows, self._last) != self._seen:
            self._log, self._seen, self._last, self._found = log, 0, -1, []
        if len(rows) > self._seen:
            self._look_at(log, rows[self._seen :])
            self._seen, self._last = len(rows), rows[-1]
        return self._found

    def _look_at(self, log: EventLog, new: Sequence[int]) -> None:
        __tracebackhide__ = True
        if self._sieve is not None and self._enough and not log.from_url:
            self._found += self._sieve(log.bodies, new)
            return
        for index in self._sifted(log, new):
            if self._wanted.matches(Record(Event(self._collector, log, index))):
                self._found.append(index)

    def found(self, enough: int) -> bool:
        """Whether there are `enough` of them now; to be called with the lock held."""
        __tracebackhide__ = True
        return len(self.look()) >= enough

    def records(self, indexes: Sequence[int]) -> list[Record]:
        """The records at `indexes`."""
        return Records(self._collector, self._collector.log, indexes)

    def _sifted(self, log: EventLog, rows: Sequence[int]) -> Iterable[int]:
        """Those of `rows` that may match: none that does is left out."""
        if self._sieve is None:
            return rows
        if not log.from_url:
            return self._sieve(log.bodies, rows)
        from_url = [index for index in rows if index in log.from_url]
        rows = [index for index in rows if index not in log.from_url]
        return sorted((*from_url, *self._sieve(log.bodies, rows)))


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
            event = Event(self._collector, log, index)
            try:
                if self._predicate(event):
                    return event
            except Exception as error:
                formatting.note(error, formatting.line(event))
                raise
        return None


def _plain(collector: Collector, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `columns` by which a quick look at JSON bodies can tell what does not match."""
    settings = collector.settings
    if settings.value_types != "json" or settings.url_parameters != "ignore":
        return {}
    return {
        name: value
        for name, value in columns.items()
        if name not in _MADE and type(value) in _PLAIN
    }


def _parsed(columns: Mapping[str, Any], bodies: Blobs, rows: Sequence[int]) -> list[int]:
    wanted, found = tuple(columns.items()), []
    may_hold = list(map(_glance_for, columns.values()))
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        text = bodies.span(some[0], some[-1])
        if not all(may(text) for may in may_hold):
            continue
        for index, sent in zip(some, _sent(bodies.take(some)), strict=True):
            for name, value in wanted:
                if name not in sent or sent[name] != value:
                    break
            else:
                found.append(index)
    return found


def _glance_for(value: Any) -> Callable[[bytearray], bool]:
    """Tells whether one of the JSON bodies in a text may have a column that equals `value`."""
    if type(value) is str:
        # A text stands in a body as it is, or else with escapes, which need a backslash.
        quoted = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return lambda text: quoted in text or b"\\" in text
    if type(value) is int and value not in (0, 1):
        # A number that equals it has its digits in a row, or an exponent.
        digits = b"%d" % abs(value)
        return lambda text: digits in text or b"0e" in text.translate(_AS_DIGIT_AND_E)
    return lambda text: True  # noqa: ARG005


def _sent(bodies: Sequence[bytearray]) -> list[dict[str, Any]]:
    try:
        sent: list[dict[str, Any]] = _decode((b"[%b]" % b",".join(bodies)).decode())
    except (ValueError, RecursionError):  # more digits than this Python takes at once
        return [json_body.parse(bytes(body)) for body in bodies]
    return sent
