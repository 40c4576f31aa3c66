"""What assertions have in common: they wait, search, claim what matches, and fail."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..collector.event_log import EventState
from ..collector.events import Event, Record, SettleTimeout
from ..collector.waiting import real_time
from ..errors import ConfigurationError
from . import formatting, messages
from .aio import run_in_thread
from .matching import check_timeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.collector import Collector
    from .matching import Search
    from .receiver import Receiver

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

P = ParamSpec("P")
T = TypeVar("T")


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


def settle(
    receiver: Receiver, timeout: float, *, waited: float = 0, held_may_end: bool = True
) -> None:
    """Wait until no event is pending; raise `SettleTimeout` if some are after `timeout` seconds.

    It does not wait if an event is due later than that. `waited` is how long the message says that
    it waited, if the wait began earlier.
    """
    check_timeout(timeout)
    collector = receiver.collector
    collector.wait_for_responses(0.1)  # else nothing is known to be due
    held = held_may_end and collector.holds
    if collector.settle(0 if not held and collector.why_pending(timeout) else timeout):
        return  # what arrives from now on may be pending
    log = collector.log
    if pending := [Event(log, index) for index in log.indexes(EventState.PENDING)]:
        text = messages.unsettled(receiver, pending, waited or timeout)
        raise SettleTimeout(text, pending)


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
    if count == 0 or collector.log.in_progress:
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
        raise AssertionError(messages.invalid_records(receiver, violations, len(records)))
