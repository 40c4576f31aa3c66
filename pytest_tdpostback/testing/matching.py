"""Which records and events an assertion wants, and the search for them."""

from __future__ import annotations

import ast
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..collector.event_log import STATES, EventState
from ..collector.events import Event, Record, stored_columns
from ..errors import ConfigurationError
from ..protocol.secrets import shortened
from ..protocol.settings import MAX_SECONDS
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.event_log import EventLog
    from .receiver import Receiver

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

Where = Mapping[str, Any] | Callable[[Record], object] | None
"""What `where=` takes: columns, or a function that is asked about each record."""


class Search:
    """What an assertion wants, and the events that match, in the order of arrival.

    A record is found as often as it was stored. An event is looked at once, when it gets its
    outcome; a later look continues where the last one ended. The functions of a test run in the
    thread that looks, without the lock of the collector.
    """

    def __init__(
        self,
        receiver: Receiver,
        state: EventState | None,
        database: str | None = None,
        table: str | None = None,
        *,
        where: Where | Callable[[Event], object] = None,
        columns: Mapping[str, Any] | None = None,
        key: str | None = None,
        status: int | None = None,
        rule: str | None = None,
        count: int | None = None,
        timeout: float = 0,
        settled: bool = False,
    ) -> None:
        """What is `None` may be anything; `count` is then at least one.

        Without `state`, an event need not have an outcome, and the first that matches is enough.
        `columns` is `None` for an assertion that takes no columns. With `settled`, no event may be
        pending.
        """
        beside_columns = columns is not None
        check_names(database, table, beside_columns=beside_columns)
        columns = columns or {}
        predicate: Callable[[Any], object] | None = None
        if isinstance(where, Mapping) and all(isinstance(name, str) for name in where):
            if twice := [name for name in columns if name in where]:
                shown = formatting.shortened(twice[0])
                raise TypeError(f"the column {shown} is given twice: by name and in where={{...}}")
            columns = {**where, **columns}
        elif callable(where):
            predicate = where
        elif where is not None:
            valid = "a mapping of column names to values, or a function that takes a record"
            raise invalid("where", where, valid, beside_columns=True)
        if status not in (None, 206, *range(400, 500)) or isinstance(status, float):
            raise invalid("status", status, "a whole number from 400 to 499, or 206 for a receipt")
        if key is not None and not isinstance(key, str):
            raise invalid("key", key, "a string")
        if rule is not None:
            from ..protocol.rules import rules  # most runs name no rule

            if not isinstance(rule, str) or rule not in rules:  # type: ignore[redundant-expr]
                hint = f"is not the id of a rule; {rules.hint(rule)}"
                raise ConfigurationError(f"rule={formatting.value(rule)} {hint}")
        if count is not None and (type(count) is bool or not isinstance(count, int) or count < 0):  # type: ignore[redundant-expr]
            valid = "a whole number from 0, or None for at least one"
            raise invalid("count", count, valid, beside_columns=beside_columns)
        check_timeout(timeout, beside_columns=beside_columns)
        self.receiver, self.collector = receiver, receiver.collector
        self.state, self.database, self.table = state, database, table
        self.columns, self.predicate = columns, predicate
        self.key, self.status, self.rule = key, status, rule
        self.count, self.timeout, self.settled = count, timeout, settled
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

    @property
    def place(self) -> str:
        """` in shop.orders`, ` in database shop`, ` in tables named orders`, or nothing."""
        database, table = self.database, self.table
        if database is None:
            return "" if table is None else f" in tables named {table}"
        return f" in database {database}" if table is None else f" in {database}.{table}"

    def __str__(self) -> str:
        shown = self.columns
        if not shown:
            key = None if self.key is None else shortened(self.key)
            parts = {"status": self.status, "rule": self.rule, "key": key}
            shown = {name: value for name, value in parts.items() if value is not None}
        text = self.place + (f" with {formatting.assignments(shown)}" if shown else "")
        if self.predicate is not None:
            text += f" that satisfies {predicate_name(self.predicate)}"
        return text

    def is_in_place(self, database: str | None, table: str | None) -> bool:
        """Whether an event of this database and table may be wanted."""
        return self.database in (None, database) and self.table in (None, table)

    def match(self, log: EventLog, index: int) -> bool:
        """Whether the event at `index` of `log`, which is in `state`, is one of them.

        One that is a record is in a right place.
        """
        if self.columns:
            stored = stored_columns(log, index)
            for name, value in self.columns.items():
                if name not in stored or not value == stored[name]:  # noqa: SIM201 - matchers define ==
                    return False
        elif self.state in (EventState.REFUSED, EventState.REJECTED):
            verdict = log.judged(index).verdict
            return (
                self.is_in_place(verdict.database, verdict.table)
                and self.key in (None, verdict.key)
                and self.status in (None, log.statuses[index])
                and self.rule in (None, log.rules.get(index))
            )
        if self.predicate is None:
            return True
        event = Event(log, index)
        try:
            return bool(self.predicate(event if self.state is None else Record(log, index)))
        except Exception as error:
            columns = "" if self.state is None else f": {formatting.value(event.columns())}"
            error.add_note(f"asked about {formatting.line(event)}{columns}")
            raise

    def start_at(self, first: int) -> None:
        """Search anew, among the events from the sequence number `first` on."""
        self.first, self._changes = first, -1

    def look(self) -> bool:
        """Look at what changed since the last look; gives whether the wait may end."""
        state = self.state
        candidates: Sequence[int]
        with self.collector.lock:
            log, start = self.collector.log, self._changes
            self._changes = len(log.changes)
            if start < 0 or log is not self.log:
                self.log, self.found = log, []
                if state is None:
                    candidates = range(len(log))
                elif state is EventState.INGESTED:
                    candidates = log.records(self.database, self.table)
                else:
                    candidates = list(log.indexes(state))
            else:
                changed = set()
                for number in range(start, self._changes):
                    index, decided = log.change(number)
                    if state is None or (decided and STATES[log.states[index]] is state):
                        changed.add(index)
                candidates = sorted(changed)
                if changed and state is EventState.INGESTED:
                    candidates = [
                        index
                        for index in candidates
                        if self.is_in_place(*log.judged(index).table)
                        for _ in range(log.copies.get(index, 1))
                    ]
        first, match = self.first - log.first, self.match
        for index in candidates:
            if index >= first and match(log, index):
                self.found.append(index)
                if state is None:
                    break
        self.found.sort()
        enough = len(self.found) >= (1 if self.count is None else self.count)
        done = enough and not (self.settled and log.count(EventState.PENDING))
        return done or self.receiver.closed


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
        function = inspect.unwrap(predicate)
        source = "".join(inspect.findsource(function)[0])
        first = function.__code__.co_firstlineno
        with warnings.catch_warnings(action="ignore"):  # they came when the file was imported
            tree = ast.parse(source)
        nodes = [each for each in ast.walk(tree) if isinstance(each, ast.Lambda)]
        (node,) = (each for each in nodes if each.lineno == first)
    except (OSError, TypeError, AttributeError, ValueError, SyntaxError):
        return "a lambda"  # there is no source, or it has several on that line
    return " ".join((ast.get_source_segment(source, node) or "").split())[:80]


def check_names(database: object, table: object, *, beside_columns: bool = False) -> None:
    """Raise `ConfigurationError` unless these are names, or `None`."""
    for argument, name in (("database", database), ("table", table)):
        if name is not None and not isinstance(name, str):
            raise invalid(argument, name, "a string", beside_columns=beside_columns)
    if isinstance(database, str) and "." in database and table is None:
        valid = f"the database and the table as two arguments: {two_names(database)}"
        raise invalid("database", database, valid)


def two_names(name: str) -> str:
    """`"shop", "orders"` for `shop.orders`."""
    database, _, table = name.partition(".")
    return formatting.shortened(f'"{database}", "{table or "table"}"')


def check_timeout(timeout: object, *, beside_columns: bool = False) -> None:
    """Raise `ConfigurationError` if `timeout` is not a number of seconds from 0 to 3,600."""
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
