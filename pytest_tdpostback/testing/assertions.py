"""Waiting and asserting: what a test says to a `Postback`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..collector.log import EventState
from ..errors import SettleTimeout
from . import text
from .matching import Wanted, WantedFailure, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..collector.collector import Collector
    from .event import Event, Record


class Assertions:
    """The waiting and asserting half of `Postback`."""

    if TYPE_CHECKING:
        _collector: Collector
        events: Sequence[Event]
        auth_failures: Sequence[Event]
        refused: Sequence[Event]

        def records(
            self, database: str | None = None, table: str | None = None
        ) -> Sequence[Record]: ...
        def _in(self, state: EventState) -> Sequence[Event]: ...
        def _expect(self, events: Sequence[Event]) -> None: ...

    # waiting

    def settle(self, timeout: float = 5.0) -> None:
        """Return when no event is pending, woken by outcomes.

        Raises `SettleTimeout`, which names what is pending, after `timeout` seconds.
        """
        __tracebackhide__ = True
        if not self._collector.settle(timeout):
            waiting = self._in(EventState.PENDING)
            raise SettleTimeout(text.unsettled(waiting, timeout), waiting)

    def wait_for(self, predicate: Callable[[Event], object], timeout: float = 2.0) -> Event:
        """The first event that satisfies `predicate`, as soon as one does.

        Raises `AssertionError` after `timeout` seconds.
        """
        __tracebackhide__ = True
        found = self._collector.wait(
            lambda: [event for event in self.events if predicate(event)][:1], timeout
        )
        if not found:
            raise AssertionError(
                f"no event satisfied the predicate within {timeout:g} s\n{text.lines(self.events)}"
            )
        first: Event = found[0]
        return first

    @contextmanager
    def hold_validation(self) -> Iterator[None]:
        """Keep events that are accepted inside pending until the end (Y2, Y5)."""
        self._collector.hold()
        try:
            yield
        finally:
            self._collector.release()

    # assertions

    def assert_ingested(
        self,
        database: str,
        table: str,
        *,
        count: int | None = 1,
        timeout: float = 2.0,
        where: Where = None,
        **columns: Any,
    ) -> Any:
        """Wait for `count` matching records in `database.table`, and want exactly that many.

        `columns` is a subset of the record, compared with `==`; `where` is a mapping for names that
        are no identifiers, or a predicate on the record; `count` `None` is at least one. Returns the
        record where `count` is 1, else the list. Raises `AssertionError` after `timeout` seconds.
        """
        __tracebackhide__ = True
        wanted = Wanted.of(where, columns)

        def found() -> list[Record]:
            return [row for row in self.records(database, table) if wanted.matches(row)]

        enough = 1 if count is None else count
        self._collector.wait(lambda: len(found()) >= enough, timeout if enough else 0)
        self._collector.validate_due()
        rows = found()
        if len(rows) != count and not (count is None and rows):
            expected = "at least 1" if count is None else str(count)
            raise AssertionError(
                f"expected {expected} record(s) in {database}.{table} matching "
                f"{dict(wanted.columns)!r}, found {len(rows)}\n{text.lines(self.events)}"
            )
        return rows[0] if count == 1 else rows

    def assert_nothing_ingested(
        self, database: str | None = None, table: str | None = None
    ) -> None:
        """Settle, then want no record; `None` is any database, any table."""
        __tracebackhide__ = True
        self.settle()
        rows = self.records(database, table)
        if rows:
            raise AssertionError(
                f"expected no record, found {len(rows)}\n{text.lines(row.event for row in rows)}"
            )

    def assert_refused(
        self, *, status: int | None = None, rule: str | None = None, count: int | None = None
    ) -> Sequence[Event]:
        """Settle, then want `count` events answered with a 4xx (`None`: at least one).

        `status` and `rule` narrow them down. Returns the events; raises `AssertionError`.
        """
        __tracebackhide__ = True
        self.settle()
        found = [
            event
            for event in self.refused
            if status in (None, event.status) and rule in (None, event.rule)
        ]
        _want(found, count, "refused events", self.events)
        return found

    def assert_auth_failed(
        self,
        *,
        key: str | None = None,
        database: str | None = None,
        table: str | None = None,
        count: int | None = None,
    ) -> Sequence[Event]:
        """Settle, then want `count` events rejected after their 200 (`None`: at least one).

        The events it returns are expected from then on. Raises `AssertionError`.
        """
        __tracebackhide__ = True
        self.settle()
        wanted = WantedFailure(key, database, table)
        found = [event for event in self.auth_failures if wanted.matches(event)]
        self._expect(found)
        _want(found, count, "authentication failures", self.events)
        return found

    @contextmanager
    def expect_auth_failure(
        self,
        *,
        key: str | None = None,
        database: str | None = None,
        table: str | None = None,
        count: int | None = None,
    ) -> Iterator[list[Event]]:
        """Failures of events that arrive inside are expected; settles on exit.

        Yields a list that holds them after the exit. Raises `AssertionError` where none failed, or
        not `count` of them.
        """
        __tracebackhide__ = True
        wanted = WantedFailure(key, database, table)
        first = self._collector.log.first + len(self._collector.log)
        failures: list[Event] = []
        yield failures
        self.settle()
        failures += [e for e in self.auth_failures if e.seq >= first and wanted.matches(e)]
        self._expect(failures)
        _want(failures, count, "authentication failures", self.events)

    def assert_valid(
        self,
        schema: Mapping[str, Any] | bool,
        database: str | None = None,
        table: str | None = None,
    ) -> None:
        """Settle, then want every record to satisfy the JSON Schema `schema`.

        Raises `AssertionError` naming the records that do not, and where they differ.
        """
        __tracebackhide__ = True
        from .schemas import violations

        self.settle()
        wrong = violations(schema, self.records(database, table))
        if wrong:
            raise AssertionError("\n".join(wrong))


def _want(found: Sequence[Event], count: int | None, what: str, events: Sequence[Event]) -> None:
    __tracebackhide__ = True
    if len(found) != count and not (count is None and found):
        expected = "at least 1" if count is None else str(count)
        raise AssertionError(
            f"expected {expected} {what}, found {len(found)}\n{text.lines(events)}"
        )
