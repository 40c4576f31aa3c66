"""Events and records as a test sees them: views of the log, made when somebody looks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from ..errors import PostbackError
from ..protocol import body as json_body
from ..protocol import findings as protocol_findings
from ..protocol import record as protocol_record
from ..protocol.request import PostbackRequest
from ..protocol.response import sent_global_id
from ..protocol.secrets import without_keys
from .event_log import NO_STATUS, STATES, EventState
from .table_columns import TableColumns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.findings import Finding
    from ..protocol.request import RequestHead
    from .event_log import EventLog
    from .judged_heads import JudgedHead


class Event:
    """One request that reached the fake server, and what became of it.

    An event shows the present state. A pickle or a deep copy of it keeps the state of that moment.
    """

    def __init__(self, log: EventLog, index: int) -> None:
        """Made by `Postback.events`: a view of the entry at `index` of `log`."""
        self._log = log
        self._index = index

    @cached_property
    def seq(self) -> int:
        """The place in the order of arrival, from 1."""
        return self._log.first + self._index

    @property
    def received_at(self) -> float:
        """When the request was received, in UNIX seconds by the clock of the fake server."""
        return self._log.received[self._index]

    @property
    def status(self) -> int | None:
        """The HTTP status of the response, `None` if a fault kept it back."""
        status = self._log.statuses[self._index]
        return None if status == NO_STATUS else status

    @property
    def state(self) -> EventState:
        """What became of the event so far."""
        return STATES[self._log.states[self._index]]

    @property
    def rule(self) -> str | None:
        """The id of the rule that refused or rejected the event, else `None`."""
        return self._log.rules.get(self._index)

    @property
    def reason(self) -> str | None:
        """Why the event was refused or rejected, else `None`."""
        return self._log.reasons.get(self._index)

    @property
    def fault(self) -> str | None:
        """The fault that hit the event, else `None`."""
        return self._log.faults.get(self._index)

    @property
    def copies(self) -> int:
        """How many records are stored of it: 1 unless a fault duplicated it, 0 if none is."""
        return self._log.copies.get(self._index, 1) if self.state is EventState.INGESTED else 0

    @cached_property
    def request(self) -> PostbackRequest:
        """The request: `method`, `target`, `headers`, `body`, `peer`."""
        log, index = self._log, self._index
        return PostbackRequest(self._judged.head, log.bodies[index], log.peers[index].decode())

    @cached_property
    def _judged(self) -> JudgedHead:
        return self._log.judged(self._index)

    @cached_property
    def database(self) -> str | None:
        """The database in the path, `None` if the path is not that of the event route."""
        return self._judged.verdict.database

    @cached_property
    def table(self) -> str | None:
        """The table in the path, `None` if the path is not that of the event route."""
        return self._judged.verdict.table

    @cached_property
    def key(self) -> str | None:
        """The write key that was sent, shortened in its `repr`; `None` if none counts."""
        return self._judged.verdict.key

    @property
    def payload(self) -> Any:
        """What was sent, parsed: the JSON value, or the URL parameters if they are the record.

        `None` if it cannot be parsed; `request.body` has the bytes.
        """
        if self._judged.verdict.from_url:
            return protocol_record.payload(self.request, self._judged.verdict)
        try:
            return json_body.parse_any(self.request.body)
        except json_body.InvalidBody:
            return None

    @property
    def record(self) -> Record | None:
        """The record that the event became, `None` unless it was ingested."""
        if self.state is not EventState.INGESTED:
            return None
        return Record(self._log, self._index)

    @property
    def findings(self) -> list[Finding]:
        """What the service would silently change or ignore; empty if the event never got there."""
        log, index, state = self._log, self._index, self.state
        judged = self._judged
        if judged.verdict.key is None or state in (EventState.REFUSED, EventState.LOST):
            return []
        request = PostbackRequest(judged.head, log.bodies[index], "")
        settings = judged.judge.settings
        data = protocol_record.sent_data(request, judged.verdict, settings)
        found = list(
            protocol_findings.find(request, judged.verdict, data, settings, log.received[index])
        )
        if state is EventState.INGESTED:
            found += _column_findings(log, index, judged.table, data)
        return found

    def columns(self) -> dict[str, Any]:
        """The record that the event is stored as, or would be stored as."""
        return stored_columns(self._log, self._index, self._judged)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self._log.id == other._log.id and self.seq == other.seq

    def __hash__(self) -> int:
        return hash((self._log.id, self.seq))

    def __copy__(self) -> Event:
        return Event(self._log, self._index)

    def __reduce__(self) -> tuple[type[Event], tuple[EventLog, int]]:
        _ = self.findings  # counts the columns of the table, which a log of one event cannot
        return Event, (self._log.extract(self._index), 0)

    def __repr__(self) -> str:
        rule = f" {self.rule}" if self.rule else ""
        status = "unanswered" if self.status is None else self.status
        target = repr(self.request.target)[1:-1]
        return f"<Event {self.seq} {self.request.method} {target} {status} {self.state}{rule}>"


class Record(Mapping[str, Any]):
    """A record that was ingested: a read-only mapping, column to value.

    `dict(record)` is a plain dictionary, for example for `json.dumps`.
    """

    __slots__ = ("__weakref__", "_index", "_loaded", "_log")
    _loaded: dict[str, Any]

    def __init__(self, log: EventLog, index: int) -> None:
        """Made by `Postback.records` and `Event.record`: the record of one entry of `log`."""
        self._log = log
        self._index = index

    @property
    def event(self) -> Event:
        """The event that became this record."""
        return Event(self._log, self._index)

    @property
    def database(self) -> str:
        """The database that holds the record."""
        return self._log.judged(self._index).table[0]

    @property
    def table(self) -> str:
        """The table that holds the record."""
        return self._log.judged(self._index).table[1]

    def _columns(self) -> dict[str, Any]:
        try:
            return self._loaded
        except AttributeError:
            self._loaded = stored_columns(self._log, self._index)
            return self._loaded

    def __getitem__(self, column: str) -> Any:
        __tracebackhide__ = True
        return self._columns()[column]

    def __contains__(self, column: object) -> bool:
        return column in self._columns()

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns())

    def __len__(self) -> int:
        return len(self._columns())

    def __copy__(self) -> Record:
        return Record(self._log, self._index)

    def __reduce__(self) -> tuple[type[Record], tuple[EventLog, int]]:
        return Record, (self._log.extract(self._index), 0)

    def __repr__(self) -> str:
        return without_keys(f"Record({self.database}.{self.table}, {self._columns()!r})")


class Events(Sequence[Event]):
    """Events in order of arrival. Counting and slicing makes no event that is not asked for."""

    def __init__(self, log: EventLog, indexes: Sequence[int] | None = None) -> None:
        """`indexes` are places in `log`; `None` is all of them, also those still to come."""
        self._log = log
        self._chosen = indexes

    @property
    def _indexes(self) -> Sequence[int]:
        return range(len(self._log)) if self._chosen is None else self._chosen

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> Events: ...
    def __getitem__(self, place: int | slice) -> Event | Events:
        __tracebackhide__ = True
        indexes = self._indexes
        if isinstance(place, slice):
            return Events(self._log, indexes[place])
        try:
            return Event(self._log, indexes[place])
        except IndexError:
            there = "is 1 event" if len(indexes) == 1 else f"are {len(indexes) or 'no'} events"
            raise IndexError(f"[{place}]: there {there}") from None

    def __iter__(self) -> Iterator[Event]:
        return (Event(self._log, index) for index in self._indexes)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (list, Events)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[list[Event]], tuple[list[Event]]]:
        return list, (list(self),)

    def __repr__(self) -> str:
        return repr(list(self))


class _WithEvents(PostbackError):
    """An error that is about events."""

    def __init__(self, message: str, events: Iterable[Event] = ()) -> None:
        super().__init__(message)
        self.events = tuple(events)


class UnexpectedAuthFailure(_WithEvents):
    """Events were answered 200 and rejected afterwards, and the test did not expect it (Y3).

    `events` holds the rejected events.
    """

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class SettleTimeout(_WithEvents):
    """Accepted events were still pending when the time to wait for them was over (Y2).

    `events` holds the events without an outcome.
    """

    __module__ = "pytest_tdpostback"  # which is what pytest shows


def global_id(log: EventLog, head: RequestHead, index: int) -> str:
    """P7: the global id of a sender: from its cookie, else one that is made up for its event."""
    return sent_global_id(head) or str(
        uuid.uuid5(uuid.NAMESPACE_OID, f"{log.id}-{log.first + index}")
    )


def stored_columns(log: EventLog, index: int, judged: JudgedHead | None = None) -> dict[str, Any]:
    """The record that the event at `index` of `log` is stored as, or would be stored as."""
    judged = judged or log.judged(index)
    from_url = judged.verdict.from_url
    request = PostbackRequest(
        judged.head, log.bodies[index], log.peers[index].decode() if from_url else ""
    )
    return protocol_record.record_columns(
        request,
        judged.verdict,
        judged.judge.settings,
        received_at=log.received[index],
        global_id=global_id(log, judged.head, index) if from_url else "",
    )


def _column_findings(
    log: EventLog, index: int, table: tuple[str, str], data: Mapping[str, Any]
) -> list[Finding]:
    """C2: the finding of the event that brings its table above the limit of columns."""

    def names_of(other: int) -> Iterable[str]:
        if other == index:
            return data
        judged = log.judged(other)
        request = PostbackRequest(judged.head, log.bodies[other], "")
        return protocol_record.sent_data(request, judged.verdict, judged.judge.settings)

    rows = log.ingested[table]
    columns = log.table_columns.get(table)
    if columns is None or not columns.covers_start_of(rows):
        columns = log.table_columns[table] = TableColumns()
    columns.count_until(index, rows, names_of)
    if columns.crossed_at != index:
        return []
    return [protocol_findings.too_many_columns(*table, columns.count)]
