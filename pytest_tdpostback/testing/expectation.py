"""`expect_auth_failure`: failures that a test wants to happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import messages
from .waits import block, go_on

if TYPE_CHECKING:
    from types import TracebackType

    from ..collector.events import Event
    from .assertions import Assertions
    from .matching import WantedFailure
    from .waits import Steps


class ExpectedFailures:
    """A context, for `with` and for `async with`; its list holds the failures when it has ended.

    Ended by an exception it lets that pass, and what was sent inside may still fail.
    """

    def __init__(self, postback: Assertions, wanted: WantedFailure, count: int | None) -> None:
        self._postback = postback
        self._collector = postback._collector
        self._wanted = wanted
        self._count = count
        self._failures: list[Event] = []
        self._first = 0

    def __enter__(self) -> list[Event]:
        self._first = self._collector.log.first + len(self._collector.log)
        return self._failures

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        if error is None:
            block(self._collector, self._end())
        else:
            self._excuse()

    async def __aenter__(self) -> list[Event]:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        if error is None:
            await go_on(self._collector, self._end())
        else:
            self._excuse()

    def _end(self) -> Steps[None]:
        __tracebackhide__ = True
        postback = self._postback
        yield from postback._settled()
        self._failures += [
            event
            for event in postback.auth_failures
            if event.seq >= self._first and self._wanted.matches(event)
        ]
        postback._expect(self._failures)
        messages.want_failures(
            postback, self._failures, self._wanted, self._count, since=self._first
        )

    def _excuse(self) -> None:
        sent = [event for event in self._postback.events if event.seq >= self._first]
        self._postback._expect([event for event in sent if self._wanted.matches(event)])
