"""Which records and events an assertion wants, and the search for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventLog, EventState
from ..collector.events import Event, Record, stored_columns
from ..errors import ConfigurationError
from ..protocol.secrets import shortened
from ..protocol.settings import valid_seconds
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.collector import Collector

Where = Mapping[str, Any] | Callable[[Record], object] | None
"""What `where=` takes: columns, or a function that is asked about each record."""


@dataclass(frozen=True)
class WantedRecords:
    """The records that an assertion is about; `None` is any database, any table."""

    database: str | None
    table: str | None
    columns: Mapping[str, Any]
    predicate: Callable[[Record], object] | None = None

    @classmethod
    def of(
        cls, database: str | None, table: str | None, where: Where, columns: Mapping[str, Any]
    ) -> WantedRecords:
        """The arguments of an assertion; raises `ConfigurationError` if they make no sense."""
        __tracebackhide__ = True
        check_name("database", database)
        check_name("table", table)
        if where is None:
            return cls(database, table, columns)
        if isinstance(where, Mapping):
            return cls(database, table, {**where, **columns})
        if callable(where):
            return cls(database, table, columns, where)
        raise ConfigurationError(
            f"where={formatting.value(where)} is not valid; give a mapping of columns or a function"
            f" that takes a record; {_as_column('where')}"
        )

    @property
    def place(self) -> str:
        """Database and table in words."""
        return place(self.database, self.table)

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the record of the event at `index` of `log` is one of them."""
        __tracebackhide__ = True
        if not self.columns and self.predicate is None:
            return True
        if self.columns:
            stored = stored_columns(log, index)
            for name, value in self.columns.items():
                if name not in stored or not value == stored[name]:  # noqa: SIM201 - matchers define ==
                    return False
        if self.predicate is None:
            return True
        record = Record(log, index)
        try:
            return bool(self.predicate(record))
        except Exception as error:
            line = formatting.line(record.event)
            error.add_note(f"asked about {line}: {formatting.value(dict(record))}")
            raise

    def __str__(self) -> str:
        where = self.place
        text = f" {where}" if where else ""
        if self.columns:
            text += f" with {formatting.assignments(self.columns)}"
        if self.predicate is not None:
            text += f" that satisfies {predicate_name(self.predicate)}"
        return text


@dataclass(frozen=True)
class WantedEvents:
    """The events of one state that an assertion is about; `None` is any."""

    database: str | None = None
    table: str | None = None
    key: str | None = None
    status: int | None = None
    rule: str | None = None

    def __post_init__(self) -> None:
        check_name("database", self.database)
        check_name("table", self.table)
        check_rule(self.rule)

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the event at `index` of `log` is one of them."""
        verdict = log.judged(index).verdict
        return (
            self.database in (None, verdict.database)
            and self.table in (None, verdict.table)
            and self.key in (None, verdict.key)
            and self.status in (None, log.statuses[index])
            and self.rule in (None, log.rules.get(index))
        )

    def __str__(self) -> str:
        told = {"status": self.status, "rule": self.rule}
        if self.key is not None:
            told["key"] = shortened(self.key)
        text = place(self.database, self.table)
        chosen = {name: value for name, value in told.items() if value is not None}
        return f"{' ' * bool(text)}{text}" + (
            f" with {formatting.assignments(chosen)}" if chosen else ""
        )


class Search:
    """The events that match, in the order of arrival, each as often as it was stored.

    An event is looked at once, when it gets its outcome; a later look continues where the last one
    ended. The functions of a test run in the thread that looks, without the lock of the collector.
    """

    def __init__(
        self,
        collector: Collector,
        state: EventState,
        wanted: WantedRecords | WantedEvents,
        *,
        first: int = 0,
    ) -> None:
        """Finds events that are in `state`, from the sequence number `first` on."""
        self._collector = collector
        self._state = state
        self._wanted = wanted
        self._first = first
        self._log: EventLog | None = None
        self._changes = 0
        """How many changes of the log were looked at."""
        self._found: list[int] = []

    def found(self) -> tuple[EventLog, list[int]]:
        """The log of the collector, and the places in it of the events that match now."""
        __tracebackhide__ = True
        log, wanted = self._collector.log, self._wanted
        candidates: Sequence[int]
        with self._collector.lock:
            if log is not self._log:
                self._log, self._found = log, []
                if self._state is EventState.INGESTED:
                    candidates = log.records(wanted.database, wanted.table)
                else:
                    candidates = list(log.indexes(self._state))
            else:
                candidates = self._decided_since_last_look(log)
            self._changes = len(log.changes)
        found = []
        for index in candidates:
            if log.first + index >= self._first and wanted.match(log, index):
                found.append(index)  # noqa: PERF401 - a comprehension would show in tracebacks
        if self._found and found and found[0] < self._found[-1]:
            self._found = sorted([*self._found, *found])
        else:
            self._found += found
        return log, self._found

    def _decided_since_last_look(self, log: EventLog) -> list[int]:
        chosen: list[int] = []
        for number in range(self._changes, len(log.changes)):
            index, decided = log.change(number)
            if not decided or log.state(index) is not self._state:
                continue
            if self._state is EventState.INGESTED:
                database, table = log.judged(index).table
                wanted = self._wanted
                if wanted.database in (None, database) and wanted.table in (None, table):
                    chosen += [index] * log.copies.get(index, 1)
            else:
                chosen.append(index)
        return sorted(chosen)


class EventSearch:
    """The first event that satisfies a predicate.

    The predicate is asked about an event when it arrives and again when it has its outcome.
    """

    def __init__(self, collector: Collector, predicate: Callable[[Event], object]) -> None:
        self._collector = collector
        self._predicate = predicate
        self._log: EventLog | None = None
        self._changes = 0

    def first(self) -> Event | None:
        """The first event, of those that changed since the last look, that satisfies it."""
        __tracebackhide__ = True
        log = self._collector.log
        candidates: Sequence[int]
        with self._collector.lock:
            if log is not self._log:
                self._log, candidates = log, range(len(log))
            else:
                changed = range(self._changes, len(log.changes))
                candidates = sorted({log.change(number)[0] for number in changed})
            self._changes = len(log.changes)
        for index in candidates:
            event = Event(log, index)
            try:
                if self._predicate(event):
                    return event
            except Exception as error:
                error.add_note(f"asked about {formatting.line(event)}")
                raise
        return None


def place(database: str | None, table: str | None) -> str:
    """`in shop.orders`, `in database shop`, `in tables named orders`, or nothing."""
    if database is not None and table is not None:
        return f"in {formatting.escaped(f'{database}.{table}')}"
    if database is not None:
        return f"in database {formatting.escaped(database)}"
    return "" if table is None else f"in tables named {formatting.escaped(table)}"


def predicate_name(predicate: Callable[..., object]) -> str:
    """What to call a function of a test: its name, or the source of a `lambda`."""
    name = getattr(predicate, "__name__", "") or type(predicate).__name__
    if name != "<lambda>":
        return formatting.escaped(name)
    import inspect

    try:
        source = " ".join(inspect.getsource(predicate).split())
    except (OSError, TypeError):
        return "a lambda"
    start = source.find("lambda")
    if start < 0:  # Python does not know its place: a rewritten assertion holds it
        return "a lambda"
    return formatting.escaped(_first_expression(source[start:])[:80])


def _first_expression(source: str) -> str:
    """`source` up to the bracket or comma that ends the expression it begins with."""
    depth = 0
    for place, char in enumerate(source):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if depth < 0 or (char == "," and not depth and ":" in source[:place]):
            return source[:place]
    return source


def check_name(argument: str, name: object) -> None:
    """Raise `ConfigurationError` if `name` is not the name of a database or table."""
    __tracebackhide__ = True
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(
            f"{argument}={formatting.value(name)} is not valid; give a string; "
            f"{_as_column(argument)}"
        )


def check_count(count: object, *, beside_columns: bool = False) -> None:
    """Raise `ConfigurationError` if `count` is not a number of events.

    `beside_columns` is whether a caller may have meant a column of this name.
    """
    __tracebackhide__ = True
    if count is None or (isinstance(count, int) and count >= 0):
        return
    raise ConfigurationError(
        f"count={formatting.value(count)} is not valid; give a whole number from 0, or None for at "
        "least one" + (f"; {_as_column('count')}" if beside_columns else "")
    )


def check_timeout(timeout: object, *, beside_columns: bool = False) -> None:
    """Raise `ConfigurationError` if `timeout` is not a number of seconds from 0 to 3,600.

    `beside_columns` is whether a caller may have meant a column of this name.
    """
    __tracebackhide__ = True
    try:
        valid_seconds("timeout", timeout if isinstance(timeout, Real) else None)
    except ConfigurationError:
        raise ConfigurationError(
            f"timeout={formatting.value(timeout)} is not valid; give a number of seconds from 0 to "
            "3,600" + (f"; {_as_column('timeout')}" if beside_columns else "")
        ) from None


def check_rule(rule: str | None) -> None:
    """Raise `ConfigurationError` if there is no such rule."""
    __tracebackhide__ = True
    if rule is None:
        return
    from ..protocol.rules import rules

    if rule in rules:
        return
    import difflib

    ids = [each.id for each in rules]
    near = difflib.get_close_matches(str(rule).upper(), ids, 1, 0.5)
    question = f"did you mean {near[0]}? " if near else ""
    raise ConfigurationError(
        f"rule={formatting.value(rule)} is not the id of a rule; {question}"
        "`tdpostback rules` lists the rules"
    )


def _as_column(name: str) -> str:
    return f'a column with this name is compared by where={{"{name}": ...}}'
