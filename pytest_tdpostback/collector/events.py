"""Events and records as a test sees them: views of the log, made when somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from ..errors import PostbackError
from ..protocol import body as json_body
from ..protocol import findings as protocol_findings
from ..protocol import record as protocol_record
from ..protocol.judge import RecordSource, data_parameters
from ..protocol.request import PostbackRequest
from ..protocol.response import sent_global_id
from ..protocol.secrets import without_keys
from .event_log import NO_STATUS, STATES, EventState, TableColumns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from ..protocol.findings import Finding
    from ..protocol.request import RequestHead
    from .event_log import EventLog, JudgedHead

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

_counting = threading.Lock()


class Batch(NamedTuple):
    """The place of an event in the request that sent it with others."""

    index: int  # type: ignore[assignment]  # hides a method of tuples
    """The place of the record in the batch, from 0."""
    size: int
    """How many records the batch has."""


class _Entry:
    """A view of the entry at `index` of `log`."""

    def __init__(self, log: EventLog, index: int) -> None:
        self._log = log
        self._index = index

    def __copy__(self) -> Self:
        return type(self)(self._log, self._index)

    def __reduce__(self) -> tuple[type[Self], tuple[EventLog, int]]:
        return type(self), self._log.extract(self._index)


class Event(_Entry):
    """One request that reached the fake server, or one record of a batch, and what became of it.

    An event shows the present state; a pickle or a deep copy keeps the state of that moment.
    """

    @property
    def seq(self) -> int:
        """The place in the order of arrival, from 1."""
        return self._log.first + self._index

    @property
    def received_at(self) -> float:
        """When the request was received, in UNIX seconds by the clock of the fake server."""
        return self._log.received(self._index)

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
        """The request: `method`, `target`, `headers`, `body`, `peer`; one for all of a batch."""
        log, index = self._log, self._index
        number, last = log.batch_of(index)[0], log.last_batch
        if number is None:
            return self._alone
        if last is None or last[0] != number:
            head, body = self._judged.head, log.request_body(index)
            last = log.last_batch = number, PostbackRequest(head, body, log.peer(index))
        return last[1]

    @property
    def batch(self) -> Batch | None:
        """The place of the event in its batch, `None` if it is not a record of a batch (I7)."""
        if self._judged.verdict.source is not RecordSource.BATCH:
            return None
        number, first, size = self._log.batch_of(self._index)
        return None if number is None else Batch(self._index - first, size)

    @cached_property
    def _judged(self) -> JudgedHead:
        return self._log.judged(self._index)

    @cached_property
    def _alone(self) -> PostbackRequest:
        """The request; of a batch, as if its record had come alone."""
        log, index = self._log, self._index
        return PostbackRequest(self._judged.head, log.bodies[index], log.peer(index))

    @property
    def database(self) -> str | None:
        """The database in the path, `None` if the path is not that of the event route."""
        return self._judged.verdict.database

    @property
    def table(self) -> str | None:
        """The table in the path, `None` if the path is not that of the event route."""
        return self._judged.verdict.table

    @property
    def key(self) -> str | None:
        """The write key that was sent, shortened in its `repr`; `None` if none counts."""
        return self._judged.verdict.key

    @property
    def payload(self) -> Any:
        """What was sent, parsed: the JSON value, or the URL parameters if they are the record.

        `None` if it cannot be parsed; `request.body` has the bytes.
        """
        if self._judged.verdict.from_url and self.rule != "B1":  # that is about a body
            return data_parameters(self._judged.head)
        try:
            return json_body.parse_any(self._alone.body)
        except json_body.InvalidBody:
            return None

    @property
    def record(self) -> Record | None:
        """The record that the event became, `None` unless it was ingested."""
        if self.state is EventState.INGESTED:
            return Record(self._log, self._index)
        return None

    @property
    def findings(self) -> list[Finding]:
        """What the service would silently change or ignore; empty if the event never got there."""
        log, index, state, judged = self._log, self._index, self.state, self._judged
        verdict, settings = judged.verdict, judged.settings
        about_response: list[Finding] = []
        if verdict.ingestion and self.status == 206:
            about_response += protocol_findings.of_response(judged.head, str(state))
        if verdict.key is None or state in (EventState.REFUSED, EventState.LOST):
            return about_response
        request = self._alone
        data = protocol_record.sent_data(request, verdict, settings)
        found = list(protocol_findings.find(request, verdict, data, settings, log.received(index)))
        if self.batch is not None and (around_records := log.around_records(index)):
            found += protocol_findings.repeated_names("I11", around_records)
        if state is EventState.INGESTED:
            found += _column_findings(log, index, judged.table, data)
        return found + about_response

    def columns(self) -> dict[str, Any]:
        """The record that the event is stored as, or would be stored as."""
        log, index = self._log, self._index
        return columns_of(log, index, self._judged, self._alone, log.received(index))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self._log.id == other._log.id and self.seq == other.seq

    def __hash__(self) -> int:
        return hash((self._log.id, self.seq))

    def __reduce__(self) -> tuple[type[Self], tuple[EventLog, int]]:
        _ = self.findings  # counts the columns of the table, which a log of one event cannot
        return super().__reduce__()

    def __repr__(self) -> str:
        rule = f" {self.rule}" if self.rule else ""
        status = "unanswered" if self.status is None else self.status
        head = self.request.head
        return f"<Event {self.seq} {head.method} {head.shown_target} {status} {self.state}{rule}>"


class Record(_Entry, Mapping[str, Any]):
    """A record that was ingested: a read-only mapping, column to value.

    `dict(record)` is a plain dictionary, for example for `json.dumps`.
    """

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

    @cached_property
    def _columns(self) -> dict[str, Any]:
        return stored_columns(self._log, self._index)

    def __getitem__(self, column: str) -> Any:
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return without_keys(f"Record({self.database}.{self.table}, {self._columns!r})")


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
    """P7, I19: the global id of a sender: from its cookie, else one made up for its request."""
    _, first, _ = log.batch_of(index)
    return sent_global_id(head) or log.made_up_uuid(first)


def sent_data(log: EventLog, index: int) -> tuple[PostbackRequest, dict[str, Any]]:
    """The request of the accepted event at `index` of `log`, and the data in it."""
    judged, request = log.judged(index), log.request(index)
    return request, protocol_record.sent_data(request, judged.verdict, judged.settings)


def stored_columns(log: EventLog, index: int) -> dict[str, Any]:
    """The record that the event at `index` of `log` is stored as, or would be stored as."""
    judged = log.judged(index)
    peer = log.peer(index) if judged.describes_sender else ""  # else no column needs it
    request = PostbackRequest(judged.head, log.bodies[index], peer)
    return columns_of(log, index, judged, request, log.received(index))


def columns_of(
    log: EventLog, index: int, judged: JudgedHead, request: PostbackRequest, received_at: float
) -> dict[str, Any]:
    """The record that `request` becomes as the event at `index` of `log`, if it is accepted."""
    sender = global_id(log, judged.head, index) if judged.describes_sender else ""
    return protocol_record.record_columns(
        request, judged.verdict, judged.settings, received_at=received_at, global_id=sender
    )


def _column_findings(
    log: EventLog, index: int, table: tuple[str, str], data: Mapping[str, Any]
) -> list[Finding]:
    """C2: the finding of the event that brings its table above the limit of columns.

    Only what was ingested counts, and no column `time`, which every table has.
    """
    rows, limit = log.ingested[table], protocol_findings.MAX_COLUMNS
    with _counting:
        columns = log.table_columns.get(table)
        # An event may be ingested later than one that arrived after it, and was counted.
        if columns is None or (columns.counted and rows[columns.counted - 1] != columns.last):
            columns = log.table_columns[table] = TableColumns()
        while columns.crossed_at is None and columns.last < index:
            columns.last = other = rows[columns.counted]
            columns.counted += 1
            columns.names.update(data if other == index else sent_data(log, other)[1])
            columns.names -= {"time", protocol_record.RECORD_TIME}
            if len(columns.names) > limit:
                columns.crossed_at = other
    if columns.crossed_at != index:
        return []
    name, count = ".".join(table), len(columns.names)
    message = f"{name} has {count} columns; the limit of a table is {limit}"
    return [protocol_findings.Finding("C2", message)]
