"""Waiting and asserting: what a test says to a `Postback`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..collector.events import SettleTimeout
from . import formatting, messages
from .expectation import ExpectedFailures
from .matching import Wanted, WantedFailure, Where, check_count, check_rule, check_timeout
from .search import MatchingEvents, MatchingRecords
from .waits import Steps, Wait, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ..collector.collector import Collector
    from ..collector.events import Event, Record
    from .server import PostbackServer

SETTLE_SECONDS = 5.0
"""How long the assertions that settle wait for outcomes."""


class Assertions:
    """The waiting and asserting half of `Postback`."""

    if TYPE_CHECKING:
        _collector: Collector
        _server: PostbackServer

        @property
        def url(self) -> str: ...  # noqa: D102
        @property
        def write_key(self) -> str: ...  # noqa: D102
        @property
        def events(self) -> Sequence[Event]: ...  # noqa: D102
        @property
        def auth_failures(self) -> Sequence[Event]: ...  # noqa: D102
        @property
        def refused(self) -> Sequence[Event]: ...  # noqa: D102
        def records(  # noqa: D102
            self, database: str | None = None, table: str | None = None
        ) -> Sequence[Record]: ...
        def _in(self, state: EventState) -> Sequence[Event]: ...
        def _expect(self, events: Sequence[Event]) -> None: ...

    # waiting

    @waiting
    def settle(self, timeout: float = SETTLE_SECONDS) -> Steps[None]:
        """Return when no event is pending, woken by outcomes.

        Raises `SettleTimeout`, which names what is pending, after `timeout` seconds.
        """
        __tracebackhide__ = True
        check_timeout(timeout)
        yield from self._settled(timeout)

    @waiting
    def wait_for(self, predicate: Callable[[Event], object], timeout: float = 2.0) -> Steps[Event]:
        """The first event that satisfies `predicate`, as soon as one does.

        `predicate` is asked about an event when it arrives, when it has its outcome, and once more
        at the end. Raises `AssertionError` after `timeout` seconds.
        """
        __tracebackhide__ = True
        check_timeout(timeout)
        matching = MatchingEvents(self._collector, predicate)
        found: Event | None = yield Wait(matching.first, timeout)
        if found is None:
            yield from self._decided()
            found = MatchingEvents(self._collector, predicate).first()
        if found is None:
            raise AssertionError(messages.nothing_satisfied(self, predicate, timeout))
        return found

    def hold_validation(self) -> AbstractContextManager[None]:
        """Keep events that are accepted inside pending until the end (Y2, Y5)."""
        return _Held(self._collector)

    # assertions

    @waiting
    def assert_ingested(
        self,
        /,
        database: str,
        table: str,
        *,
        count: int | None = 1,
        timeout: float = 2.0,
        where: Where = None,
        **columns: Any,
    ) -> Steps[Any]:
        """Wait for `count` matching records in `database.table`, and want exactly that many.

        `columns` is a subset of the record, compared with `==`; `where` is a mapping for names that
        are no identifiers, or a predicate on the record; `count` `None` is at least one. Returns
        the record where `count` is 1, else the list. Raises `AssertionError` after `timeout`
        seconds, which says what came nearest.
        """
        __tracebackhide__ = True
        check_count(count)
        check_timeout(timeout)
        wanted = Wanted.of(where, columns)
        matching = MatchingRecords(self._collector, database, table, wanted)
        enough = 1 if count is None else count
        if enough:
            yield Wait(partial(matching.found, enough), timeout)
        yield from self._decided()
        with self._collector.lock:
            rows = list(matching.look())
        if len(rows) != count and not (count is None and rows):
            wish = messages.Wish(database, table, wanted, count, timeout)
            raise AssertionError(messages.not_ingested(self, wish, rows))
        found = matching.records(rows)
        return found[0] if count == 1 else found

    @waiting
    def assert_nothing_ingested(
        self, database: str | None = None, table: str | None = None
    ) -> Steps[None]:
        """Settle, then want no record; `None` is any database, any table."""
        __tracebackhide__ = True
        yield from self._settled()
        rows = self.records(database, table)
        if rows:
            raise AssertionError(messages.ingested(rows, database, table))

    @waiting
    def assert_refused(
        self, *, status: int | None = None, rule: str | None = None, count: int | None = None
    ) -> Steps[Sequence[Event]]:
        """Settle, then want `count` events answered with a 4xx (`None`: at least one).

        `status` and `rule` narrow them down. Returns the events; raises `AssertionError`.
        """
        __tracebackhide__ = True
        check_count(count)
        check_rule(rule)
        yield from self._settled()
        found = [
            event
            for event in self.refused
            if status in (None, event.status) and rule in (None, event.rule)
        ]
        messages.want_refused(self, found, status, rule, count)
        return found

    @waiting
    def assert_auth_failed(
        self,
        *,
        key: str | None = None,
        database: str | None = None,
        table: str | None = None,
        count: int | None = None,
    ) -> Steps[Sequence[Event]]:
        """Settle, then want `count` events rejected after their 200 (`None`: at least one).

        The events it returns are expected from then on. Raises `AssertionError`.
        """
        __tracebackhide__ = True
        check_count(count)
        yield from self._settled()
        wanted = WantedFailure(key, database, table)
        found = [event for event in self.auth_failures if wanted.matches(event)]
        self._expect(found)
        messages.want_failures(self, found, wanted, count)
        return found

    def expect_auth_failure(
        self,
        *,
        key: str | None = None,
        database: str | None = None,
        table: str | None = None,
        count: int | None = None,
    ) -> ExpectedFailures:
        """Failures of events that arrive inside are expected; settles on exit.

        A context that gives a list, which holds the failures after the exit. Raises
        `AssertionError` where none failed, or not `count` of them.
        """
        __tracebackhide__ = True
        check_count(count)
        return ExpectedFailures(self, WantedFailure(key, database, table), count)

    @waiting
    def assert_valid(
        self,
        schema: Mapping[str, Any] | bool,  # noqa: FBT001 - a schema may be true or false
        database: str | None = None,
        table: str | None = None,
    ) -> Steps[None]:
        """Settle, then want every record to satisfy the JSON Schema `schema`.

        Raises `AssertionError` naming the records that do not, and where they differ.
        """
        __tracebackhide__ = True
        from .schemas import violations

        yield from self._settled()
        wrong = violations(schema, self.records(database, table))
        if wrong:
            raise AssertionError("\n".join(wrong))

    def _decided(self) -> Steps[None]:
        """Let what is due have its outcome; an answer may just be on its way."""
        if self._collector.log.responses_to_send:
            yield Wait(lambda: not self._collector.log.responses_to_send, 1.0)
        self._collector.validate()

    def _settled(self, seconds: float = SETTLE_SECONDS) -> Steps[None]:
        __tracebackhide__ = True
        if not (yield Wait(self._collector.settled, seconds)):
            waiting = self._in(EventState.PENDING)
            why = self._collector.why_pending(0)
            raise SettleTimeout(formatting.unsettled(waiting, seconds, why), waiting)


class _Held:
    """The context of `hold_validation`."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def __enter__(self) -> None:
        self._collector.hold()

    def __exit__(self, *_: object) -> None:
        self._collector.release()
