"""Events and records as a test looks at them: made from the log when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from ..protocol import body as json_body
from ..protocol import record as rows
from ..protocol.secrets import without_keys
from .event_log import NO_STATUS, EventLog, EventState

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from ..protocol.findings import Finding
    from ..protocol.judge import Verdict
    from ..protocol.request import PostbackRequest
    from .collector import Collector


class Event:
    """One request that reached the double, and what became of it."""

    def __init__(self, collector: Collector, log: EventLog, index: int) -> None:
        """Made by `Postback.events`; a view of the entry at `index` of `log`."""
        self._collector = collector
        self._log = log
        self._index = index

    @property
    def seq(self) -> int:
        """Place in the order of arrival, from 1."""
        return self._log.first + self._index

    @property
    def received_at(self) -> float:
        """Moment of receipt in UNIX seconds, by the double's clock."""
        return self._log.received[self._index]

    @property
    def status(self) -> int | None:
        """HTTP status that was answered, `None` where a fault kept the answer back."""
        status = self._log.statuses[self._index]
        return None if status == NO_STATUS else status

    @property
    def state(self) -> EventState:
        """What became of it so far."""
        return self._log.state(self._index)

    @property
    def rule(self) -> str | None:
        """The id of the rule that refused or rejected it, else `None`."""
        return self._log.rules.get(self._index)

    @property
    def reason(self) -> str | None:
        """Why it was refused or rejected, in words, else `None`."""
        return self._log.reasons.get(self._index)

    @property
    def fault(self) -> str | None:
        """The fault that hit it, else `None`."""
        return self._log.faults.get(self._index)

    @property
    def copies(self) -> int:
        """Records stored of it: 1 unless a fault duplicated it, 0 where none was stored."""
        return self._log.copies.get(self._index, 1) if self.state is EventState.INGESTED else 0

    @cached_property
    def request(self) -> PostbackRequest:
        """The request: `method`, `target`, `headers`, `body`, `peer`."""
        return self._collector.request(self._log, self._index)

    @cached_property
    def _verdict(self) -> Verdict:
        return self._collector.verdict(self.request.head)

    @property
    def database(self) -> str | None:
        """The database of the route, `None` where the route was not met."""
        return self._verdict.database

    @property
    def table(self) -> str | None:
        """The table of the route, `None` where the route was not met."""
        return self._verdict.table

    @property
    def key(self) -> str | None:
        """The write key that was sent, shortened in its `repr`; `None` where none counts."""
        return self._verdict.key

    @property
    def payload(self) -> Any:
        """What was sent, parsed: the JSON value, or the URL parameters where they are the record.

        `None` where it cannot be parsed; `request.body` has the bytes.
        """
        if self._verdict.from_url:
            return rows.payload(self.request, self._verdict)
        try:
            return json_body.parse_any(self.request.body)
        except json_body.InvalidBody:
            return None

    @property
    def record(self) -> Record | None:
        """The record it became, `None` unless ingested."""
        return Record(self) if self.state is EventState.INGESTED else None

    @property
    def findings(self) -> list[Finding]:
        """What the service would silently change or ignore of it; empty where it never got it."""
        return self._collector.findings(self._log, self._index)

    def columns(self) -> dict[str, Any]:
        """The row it is stored as, whatever its state."""
        request = self.request
        visitor = self._collector.visitor(request.head, self.seq)
        settings, at = self._collector.settings, self.received_at
        return rows.record_columns(
            request, self._verdict, settings, received_at=at, global_id=visitor
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self._log is other._log and self._index == other._index

    def __hash__(self) -> int:
        return hash((id(self._log), self._index))

    def __repr__(self) -> str:
        rule = f" {self.rule}" if self.rule else ""
        answered = "unanswered" if self.status is None else self.status
        shown = repr(self.request.target)[1:-1]
        return f"<Event {self.seq} {self.request.method} {shown} {answered} {self.state}{rule}>"


class Record(Mapping[str, Any]):
    """A row that was ingested: a read-only mapping, column to value."""

    def __init__(self, event: Event) -> None:
        """Made by `Postback.records` and `Event.record`."""
        self.event = event

    @property
    def database(self) -> str:
        """The database it is in."""
        return str(self.event.database)

    @property
    def table(self) -> str:
        """The table it is in."""
        return str(self.event.table)

    @cached_property
    def _columns(self) -> dict[str, Any]:
        return self.event.columns()

    def __getitem__(self, column: str) -> Any:
        __tracebackhide__ = True
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return without_keys(f"Record({self.database}.{self.table}, {self._columns!r})")


class Events(Sequence[Event]):
    """Every event of a log, in order of arrival; counts and slices without making them all."""

    def __init__(self, collector: Collector, indexes: Sequence[int] | None = None) -> None:
        """`indexes` are places in the log; `None` is all of them, also those still to come."""
        self._collector = collector
        self._log = collector.log
        self._indexes = indexes

    def __len__(self) -> int:
        return len(self._log if self._indexes is None else self._indexes)

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> Events: ...
    def __getitem__(self, place: int | slice) -> Event | Events:
        __tracebackhide__ = True
        chosen = range(len(self._log)) if self._indexes is None else self._indexes
        if isinstance(place, slice):
            return Events(self._collector, chosen[place])
        try:
            return Event(self._collector, self._log, chosen[place])
        except IndexError:
            raise _no_such_place(place, len(chosen), "event") from None

    def __iter__(self) -> Iterator[Event]:
        chosen = range(len(self._log)) if self._indexes is None else self._indexes
        return (Event(self._collector, self._log, index) for index in chosen)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (list, Events)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


class Records(list[Record]):
    """Rows that were ingested, in order of arrival: a list whose records are made when looked at.

    To count, to index and to iterate makes no record that is not asked for; a million are counted
    at once. Whatever else a list can do makes them all first.
    """

    def __init__(
        self, collector: Collector, log: EventLog, indexes: Sequence[int] | array[int]
    ) -> None:
        """`indexes` are places in `log`, one for each record."""
        super().__init__()
        self._collector = collector
        self._log = log
        self._indexes: Sequence[int] | array[int] | None = indexes

    def __len__(self) -> int:
        return super().__len__() if self._indexes is None else len(self._indexes)

    def __iter__(self) -> Iterator[Record]:
        return super().__iter__() if self._indexes is None else map(self._record, self._indexes)

    def __getitem__(self, place: Any) -> Any:
        if self._indexes is None:
            return super().__getitem__(place)
        __tracebackhide__ = True
        try:
            chosen = self._indexes[place]
        except IndexError:
            raise _no_such_place(place, len(self._indexes), "record") from None
        if isinstance(chosen, int):
            return self._record(chosen)
        return Records(self._collector, self._log, chosen)

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]

    def made(self) -> Records:
        """Itself, with every record made."""
        if self._indexes is not None:
            rows = list(self)
            self._indexes = None
            super().extend(rows)
        return self

    def _record(self, index: int) -> Record:
        return Record(Event(self._collector, self._log, index))


def _no_such_place(place: int, there_are: int, noun: str) -> IndexError:
    there = f"is 1 {noun}" if there_are == 1 else f"are {there_are or 'no'} {noun}s"
    return IndexError(f"[{place}]: there {there}")


def _of_a_list(name: str) -> Callable[..., Any]:
    plain = getattr(list, name)

    def method(self: Records, *arguments: Any, **options: Any) -> Any:
        given = [each.made() if isinstance(each, Records) else each for each in arguments]
        return plain(self.made(), *given, **options)

    return method


for _name in (
    *("__add__", "__contains__", "__delitem__", "__eq__", "__iadd__", "__imul__", "__mul__"),
    *("__ne__", "__repr__", "__reversed__", "__rmul__", "__setitem__", "append", "clear", "copy"),
    *("count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"),
):
    setattr(Records, _name, _of_a_list(_name))
