"""Which records and events an assertion wants, and the search for them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..collector.events import Event, Record, stored_columns
from ..errors import ConfigurationError
from ..protocol.rules import rules
from ..protocol.secrets import shortened
from ..protocol.settings import MAX_SECONDS
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.event_log import EventLog
    from .receiver import Receiver

Where = Mapping[str, Any] | Callable[[Record], object] | None
"""What `where=` takes: columns, or a function that is asked about each record."""


class Wanted:
    """The events that an assertion is about. A part that is `None` may be anything."""

    def __init__(
        self,
        state: EventState | None,
        database: str | None = None,
        table: str | None = None,
        *,
        beside_columns: bool = False,
    ) -> None:
        """With `state` `None` an event need not have an outcome, and the first match is enough.

        `beside_columns` is whether the other arguments of the assertion are columns.
        """
        __tracebackhide__ = True
        for argument, name in (("database", database), ("table", table)):
            if name is not None and not isinstance(name, str):
                raise invalid(argument, name, "a string", beside_columns=beside_columns)
        if database and "." in database and table is None:
            names = ", ".join(f'"{formatting.escaped(n)}"' for n in database.split(".", 1))
            raise invalid(
                "database", database, f"the database and the table as two arguments: {names}"
            )
        self.state = state
        self.database = database
        self.table = table
        self.beside_columns = beside_columns

    @property
    def place(self) -> str:
        """` in shop.orders`, ` in database shop`, ` in tables named orders`, or nothing."""
        database, table = self.database, self.table
        if database is None:
            return "" if table is None else f" in tables named {table}"
        return f" in database {database}" if table is None else f" in {database}.{table}"

    def is_in(self, database: str | None, table: str | None) -> bool:
        """Whether they may be in this database and table."""
        return self.database in (None, database) and self.table in (None, table)

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the event at `index` of `log`, which is in `state`, is one of them."""
        raise NotImplementedError


class WantedRecords(Wanted):
    """Events that became records with certain columns, which a predicate accepts."""

    def __init__(
        self,
        database: str | None,
        table: str | None,
        where: Where = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """`columns` is `None` for an assertion that takes no columns."""
        __tracebackhide__ = True
        super().__init__(EventState.INGESTED, database, table, beside_columns=columns is not None)
        self.columns = columns or {}
        self.predicate: Callable[[Record], object] | None = None
        if isinstance(where, Mapping) and all(isinstance(name, str) for name in where):
            if twice := [name for name in self.columns if name in where]:
                shown = formatting.shortened(twice[0])
                raise TypeError(f"the column {shown} is given twice: by name and in where={{...}}")
            self.columns = {**where, **self.columns}
        elif callable(where):
            self.predicate = where
        elif where is not None:
            valid = "a mapping of column names to values, or a function that takes a record"
            raise invalid("where", where, valid, beside_columns=True)

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the record of the event at `index` of `log`, in a right place, is one of them."""
        __tracebackhide__ = True
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
        text = self.place
        if self.columns:
            text += f" with {formatting.assignments(self.columns)}"
        if self.predicate is not None:
            text += f" that satisfies {predicate_name(self.predicate)}"
        return text


class WantedEvents(Wanted):
    """Events that were refused or rejected in a certain way."""

    def __init__(
        self,
        state: EventState,
        database: str | None,
        table: str | None,
        *,
        key: str | None = None,
        status: int | None = None,
        rule: str | None = None,
    ) -> None:
        __tracebackhide__ = True
        super().__init__(state, database, table)
        possible = (None, HTTPStatus.PARTIAL_CONTENT, *range(400, 500))
        if status not in possible or isinstance(status, float):
            raise invalid("status", status, "a whole number from 400 to 499, or 206 for a receipt")
        if key is not None and not isinstance(key, str):
            raise invalid("key", key, "a string")
        if rule is not None and not (isinstance(rule, str) and rule in rules):  # type: ignore[redundant-expr]
            near = rules.hint(rule).replace("'", "").removesuffix("`tdpostback rules` lists all")
            raise ConfigurationError(
                f"rule={formatting.value(rule)} is not the id of a rule; "
                f"{near}{' ' * bool(near)}`tdpostback rules` lists the rules"
            )
        self.key = key
        self.status = status
        self.rule = rule

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the event at `index` of `log` is one of them."""
        verdict = log.judged(index).verdict
        return (
            self.is_in(verdict.database, verdict.table)
            and self.key in (None, verdict.key)
            and self.status in (None, log.statuses[index])
            and self.rule in (None, log.rules.get(index))
        )

    def __str__(self) -> str:
        key = None if self.key is None else shortened(self.key)
        parts = {"status": self.status, "rule": self.rule, "key": key}
        chosen = {name: value for name, value in parts.items() if value is not None}
        return self.place + (f" with {formatting.assignments(chosen)}" if chosen else "")


class WantedEvent(Wanted):
    """The first event that satisfies a predicate; it is asked on arrival and at the outcome."""

    def __init__(self, predicate: Callable[[Event], object]) -> None:
        __tracebackhide__ = True
        super().__init__(None)
        if not callable(predicate):
            raise invalid("predicate", predicate, "a function that takes an event")
        self.predicate = predicate

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the event at `index` of `log` satisfies the predicate."""
        __tracebackhide__ = True
        event = Event(log, index)
        try:
            return bool(self.predicate(event))
        except Exception as error:
            error.add_note(f"asked about {formatting.line(event)}")
            raise

    def __str__(self) -> str:
        return f" that satisfies {predicate_name(self.predicate)}"


class Search:
    """The events that match, in the order of arrival, each as often as it was stored.

    An event is looked at once, when it gets its outcome; a later look continues where the last one
    ended. The functions of a test run in the thread that looks, without the lock of the collector.
    """

    def __init__(
        self,
        receiver: Receiver,
        wanted: Wanted,
        *,
        count: int | None = None,
        timeout: float = 0,
        settled: bool = False,
    ) -> None:
        """Of an assertion that wants `count` of them; `None` is at least one.

        With `settled` it also wants that no event is pending.
        """
        __tracebackhide__ = True
        if count is not None and (type(count) is bool or not isinstance(count, int) or count < 0):  # type: ignore[redundant-expr]
            valid = "a whole number from 0, or None for at least one"
            raise invalid("count", count, valid, beside_columns=wanted.beside_columns)
        check_timeout(timeout, beside_columns=wanted.beside_columns)
        self.receiver = receiver
        self.collector = receiver.collector
        self.wanted = wanted
        self.count = count
        self.timeout = timeout
        self.settled = settled
        self.waited = 0.0
        """For how many seconds the assertion waited."""
        self.first = 0
        """The lowest sequence number that counts."""
        self.log = self.collector.log
        """The log of the last look."""
        self.found: list[int] = []
        """Where in it the events are that match."""
        self._changes = -1
        """How many changes of the log were looked at; -1 before the first look."""

    def start_at(self, first: int) -> None:
        """Search anew, among the events from the sequence number `first` on."""
        self.first, self._changes = first, -1

    def events(self) -> list[Event]:
        """The events that were found."""
        return [Event(self.log, index) for index in self.found]

    def look(self) -> bool:
        """Look at what changed since the last look; gives whether the wait may end."""
        __tracebackhide__ = True
        wanted, state = self.wanted, self.wanted.state
        candidates: Sequence[int]
        with self.collector.lock:
            log, start = self.collector.log, self._changes
            self._changes = len(log.changes)
            if start < 0 or log is not self.log:
                self.log, self.found = log, []
                if state is None:
                    candidates = range(len(log))
                elif state is EventState.INGESTED:
                    candidates = log.records(wanted.database, wanted.table)
                else:
                    candidates = list(log.indexes(state))
            else:
                changed = set()
                for number in range(start, self._changes):
                    index, decided = log.change(number)
                    if state is None or (decided and log.state(index) is state):
                        changed.add(index)
                candidates = sorted(changed)
                if changed and state is EventState.INGESTED:
                    candidates = [
                        index
                        for index in candidates
                        if wanted.is_in(*log.judged(index).table)
                        for _ in range(log.copies.get(index, 1))
                    ]
        found = []
        for index in candidates:
            if log.first + index >= self.first and wanted.match(log, index):
                found.append(index)
                if state is None:
                    break
        self.found = sorted(self.found + found)
        enough = len(self.found) >= (1 if self.count is None else self.count)
        return (
            enough and not (self.settled and log.count(EventState.PENDING))
        ) or self.receiver.closed


def predicate_name(predicate: Callable[..., object]) -> str:
    """What to call a function of a test: its name, or the source of a `lambda`."""
    if isinstance(predicate, functools.partial):
        given = "".join(f", {formatting.value(each, 40)}" for each in predicate.args)
        given += f", {formatting.assignments(predicate.keywords)}" if predicate.keywords else ""
        return f"partial({predicate_name(predicate.func)}{given})"
    name = getattr(predicate, "__name__", "") or type(predicate).__name__
    if name != "<lambda>":
        return str(name)
    try:
        source = " ".join(inspect.getsource(predicate).split())
    except (OSError, TypeError):
        return "a lambda"
    starts = [word.start() for word in re.finditer(r"\blambda\b", source)]
    if len(starts) != 1:  # a rewritten assertion has none; of several it may be any
        return "a lambda"
    depth, source = 0, source[starts[0] :]
    for at, char in enumerate(source):
        depth += (char in "([{") - (char in ")]}")
        if depth < 0 or (char == "," and not depth and ":" in source[:at]):
            return source[: min(at, 80)]  # the bracket or comma behind the expression
    return source[:80]


def check_timeout(timeout: object, *, beside_columns: bool = False) -> None:
    """Raise `ConfigurationError` if `timeout` is not a number of seconds from 0 to 3,600."""
    __tracebackhide__ = True
    number: Any = timeout if isinstance(timeout, Real) else -1
    if isinstance(timeout, bool) or not 0 <= number <= MAX_SECONDS:  # nan is not in the range
        valid = f"a number of seconds from 0 to {MAX_SECONDS:,}"
        raise invalid("timeout", timeout, valid, beside_columns=beside_columns)


def invalid(
    argument: str, value: object, valid: str, *, beside_columns: bool = False
) -> ConfigurationError:
    """The error for a wrong argument; `valid` says what to give.

    `beside_columns` is whether a caller may have meant a column of this name.
    """
    text = f"{argument}={formatting.value(value)} is not valid; give {valid}"
    if beside_columns:
        text += f'; a column with this name is compared by where={{"{argument}": ...}}'
    return ConfigurationError(text)
