"""What several assertions have in common: they wait, search, claim what matches, and fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..collector.events import Event, SettleTimeout
from ..errors import ConfigurationError
from ..protocol.secrets import KeyRedactor
from . import formatting, messages
from .matching import check_timeout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..collector.collector import Collector
    from ..collector.events import Record
    from .matching import Search
    from .receiver import Receiver


def settle(collector: Collector, timeout: float) -> None:
    """Wait until no event is pending; raise `SettleTimeout` after `timeout` seconds.

    It raises at once if an event is due later than that.
    """
    __tracebackhide__ = True
    check_timeout(timeout)
    collector.wait_for_responses(min(timeout, 0.1))  # else nothing is known to be due
    too_late = not collector.held and collector.why_pending(timeout)
    if not collector.settle(0 if too_late else timeout):
        log = collector.log
        text = messages.unsettled(log, timeout, collector.why_pending(0))
        raise SettleTimeout(text, [Event(log, at) for at in log.indexes(EventState.PENDING)])


def find(search: Search, *, settled: bool = False) -> Search:
    """Wait for as many events as `search` wants, and claim them; with count 0, settle instead.

    It does not wait if nothing can arrive any more. With `settled` it also waits until nothing is
    pending.

    Raises:
        AssertionError: Another number of them is there.
        SettleTimeout: It should settle, and an event is still pending.
    """
    __tracebackhide__ = True
    collector, count = search.collector, search.count

    def looked_and_settled() -> bool:
        __tracebackhide__ = True
        return search.look() and collector.settled()

    if count == 0:
        settle(collector, search.timeout)
        search.look()
    else:
        if search.receiver.closed:
            search.timeout = 0
        collector.wait_until(looked_and_settled if settled else search.look, search.timeout)
        if collector.log.responses_to_send:
            collector.wait_for_responses()
            search.look()
    if settled:
        settle(collector, 0)
        search.look()
    if search.wanted.state is None and not search.found:
        search.start_at(0)  # a fault may have changed an event without an outcome since
        search.look()
    log, found = search.log, len(search.found)
    if search.wanted.state is EventState.REJECTED:  # also if they are too many
        log.claimed.update(search.found)
        log.expected.update(search.found)
    if found != count and (count is not None or not found):
        raise failure(search.receiver, messages.not_found(search))
    log.claimed.update(search.found)
    return search


def expect_sent(search: Search) -> None:
    """Expect the failure of every event that may be one of those that `search` wants."""
    log = search.collector.log
    sent = range(max(0, search.first - log.first), len(log))
    log.expected.update(index for index in sent if search.wanted.match(log, index))


def claim(collector: Collector, events: Iterable[Event]) -> None:
    """Count `events` as asserted. Events from before a `clear` are ignored."""
    log = collector.log
    for event in events:
        index = event.seq - log.first
        if 0 <= index < len(log) and Event(log, index) == event:
            log.claimed.add(index)


def failure(receiver: Receiver, text: str) -> AssertionError:
    """An `AssertionError` with `text`, in which every known write key is shortened."""
    return AssertionError(KeyRedactor(receiver.collector.keys.known())(text))


def violations(
    schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
    records: Iterable[Record],
) -> list[tuple[Event, str]]:
    """Each place where a record does not satisfy a JSON Schema: its event, and what is wrong.

    The draft is that of `$schema`, else 2020-12. A `format` counts.

    Raises:
        ConfigurationError: `schema` is not a JSON Schema.
    """
    __tracebackhide__ = True
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, (Mapping, bool)):
        raise ConfigurationError(
            f"not a JSON Schema: {formatting.value(schema)}; "
            "give a mapping, like load_schema('record')"
        )
    plain: Any = schema if isinstance(schema, bool) else dict(schema)
    validator_class = validator_for(plain, default=Draft202012Validator)
    try:
        validator_class.check_schema(plain)
    except SchemaError as error:
        raise ConfigurationError(f"not a JSON Schema: {error.message}") from None
    validator = validator_class(plain, format_checker=FormatChecker())
    return [
        (record.event, formatting.shortened(f"{error.json_path}: {error.message}", 300))
        for record in records
        for error in validator.iter_errors(dict(record))
    ]
