"""What assertions have in common: they search, wait, claim what matches, and fail."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from numbers import Real
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..collector.event_log import EventState
from ..collector.events import Event, Record, SettleTimeout, stored_columns
from ..collector.waiting import real_time
from ..errors import ConfigurationError
from ..protocol.rules import rules
from ..protocol.secrets import shortened
from ..protocol.settings import MAX_SECONDS
from . import formatting
from .aio import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.collector import Collector
    from ..collector.event_log import EventLog
    from .receiver import Receiver

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

P = ParamSpec("P")
T = TypeVar("T")
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
        where: Where = None,
        columns: Mapping[str, Any] | None = None,
        predicate: Callable[[Any], object] | None = None,
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
        if rule is not None and not (isinstance(rule, str) and rule in rules):  # type: ignore[redundant-expr]
            shown = formatting.value(rule)
            raise ConfigurationError(f"rule={shown} is not the id of a rule; {rules.hint(rule)}")
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
                    if state is None or (decided and log.state(index) is state):
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


def unsettled(collector: Collector, timeout: float, *, held_may_end: bool = True) -> list[Event]:
    """Wait until no event is pending, for `timeout` seconds; gives those that still are.

    It does not wait if an event is due later than that.
    """
    collector.wait_for_responses(0.1)  # else nothing is known to be due
    held = held_may_end and collector.held
    if collector.settle(0 if not held and collector.why_pending(timeout) else timeout):
        return []
    log = collector.log
    return [Event(log, index) for index in log.indexes(EventState.PENDING)]


def settle(receiver: Receiver, timeout: float, *, waited: float | None = None) -> None:
    """Wait until no event is pending; raise `SettleTimeout` after `timeout` seconds.

    `waited` is how long the message says that it waited, if the wait began earlier.
    """
    check_timeout(timeout)
    if pending := unsettled(receiver.collector, timeout):
        from . import messages

        told = timeout if waited is None else waited
        raise SettleTimeout(messages.unsettled(receiver, pending, told), pending)


def find(search: Search) -> list[Any]:
    """Wait for as many events as `search` wants, claim and return them; with count 0, settle.

    Of ingested events it returns the records. It does not wait if nothing can arrive any more. If
    another number of events is there, it raises `AssertionError`.
    """
    receiver, collector, count = search.receiver, search.collector, search.count
    began = real_time()
    if count == 0:
        settle(receiver, search.timeout)
    else:
        collector.wait_until(search.look, search.timeout)
    passed = real_time() - began
    search.waited = search.timeout if passed >= search.timeout else round(passed, 1)
    if count == 0 or collector.log.responses_to_send:
        collector.wait_for_responses()
        search.look()
    if search.settled:
        settle(receiver, 0, waited=search.waited)
        search.look()
    if search.state is None and not search.found:
        search.start_at(0)  # a fault may have changed an event without an outcome since
        search.look()
    log, found = search.log, len(search.found)
    if search.state is EventState.REJECTED:  # also if they are too many
        log.claimed.update(search.found)
        log.expected.update(search.found)
    if found != count and (count is not None or not found):
        from . import messages

        raise AssertionError(messages.not_found(search))
    log.claimed.update(search.found)
    view = Record if search.state is EventState.INGESTED else Event
    return [view(log, index) for index in search.found]


class HeldValidation(ContextDecorator):
    """Keeps accepted events pending while it lasts (Y2, Y5)."""

    def __init__(self, collector: Collector) -> None:
        self.entered = False
        self._collector = collector

    def __enter__(self) -> None:
        self.entered = True
        self._collector.hold()

    def __exit__(self, *_: object) -> None:
        self._collector.release()


class ExpectedFailures:
    """Expects authentication failures while it lasts, for `with` and for `async with`.

    It gives a list, which holds the failed events after the end. If an exception ends the block,
    it passes, and what was sent inside may still fail.
    """

    def __init__(self, search: Search) -> None:
        self.entered = False
        self._search = search
        self._failures: list[Event] = []

    def __enter__(self) -> list[Event]:
        self.entered = True
        self._search.start_at(self._search.collector.next_seq)
        return self._failures

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        search = self._search
        if error is None:
            self._failures += find(search)
            return
        log = search.collector.log
        sent = range(max(0, search.first - log.first), len(log))
        log.expected.update(index for index in sent if search.match(log, index))

    async def __aenter__(self) -> list[Event]:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        await run_in_thread(self.__exit__, kind, error, traceback)


def validate(
    receiver: Receiver,
    records: Sequence[Record],
    schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
) -> None:
    """Raise `AssertionError` unless every record satisfies a JSON Schema. A `format` counts."""
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, (Mapping, bool)):
        shown = formatting.value(schema)
        raise ConfigurationError(
            f"not a JSON Schema: {shown}; give a mapping, like load_schema('record')"
        )
    plain: Any = schema if isinstance(schema, bool) else dict(schema)
    validator_class = validator_for(plain, default=Draft202012Validator)
    try:
        validator_class.check_schema(plain)
    except SchemaError as error:
        raise ConfigurationError(f"not a JSON Schema: {error.message}") from None
    validator = validator_class(plain, format_checker=FormatChecker())
    violations = [
        (record.event, formatting.shortened(f"{error.json_path}: {error.message}", 300))
        for record in records
        for error in validator.iter_errors(dict(record))
    ]
    if violations:
        from . import messages

        raise AssertionError(messages.invalid_records(receiver, violations, len(records)))


# arguments


def with_hint(method: Callable[P, T]) -> Callable[P, T]:
    """`method`, which says how to give its arguments if a call does not fit them."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # from within the method
            spec = inspect.getfullargspec(method)
            names, named = ", ".join(spec.args[1:]), "=..., ".join(spec.kwonlyargs)
            hint = f"give {names} in this order, then {named}=..."
            if spec.varkw:
                hint = 'give a database, a table, and columns by name, or as where={"name": value}'
            raise TypeError(f"{error}; {hint}") from None

    return call


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
