"""The context managers of `Postback`. Each one knows whether it was entered."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import TYPE_CHECKING

from . import assertions
from .aio import run_in_thread

if TYPE_CHECKING:
    from types import TracebackType

    from ..collector.collector import Collector
    from ..collector.events import Event
    from .matching import WantedEvents
    from .receiver import Receiver


class HeldValidation(ContextDecorator):
    """Keeps accepted events pending while it lasts (Y2, Y5)."""

    def __init__(self, collector: Collector) -> None:
        """Made by `Postback.hold_validation`."""
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

    def __init__(
        self, receiver: Receiver, wanted: WantedEvents, count: int | None, timeout: float
    ) -> None:
        """Made by `Postback.expect_auth_failure`."""
        self.entered = False
        self._receiver = receiver
        self._wanted = wanted
        self._count = count
        self._timeout = timeout
        self._first = 0
        self._failures: list[Event] = []

    def __enter__(self) -> list[Event]:
        self.entered = True
        self._first = self._receiver.collector.next_seq
        return self._failures

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        if error is not None:
            collector = self._receiver.collector
            assertions.expect_sent_since(collector, self._wanted, self._first)
            return
        count, timeout, first = self._count, self._timeout, self._first
        search = assertions.find(
            self._receiver, self._wanted, count=count, timeout=timeout, first=first
        )
        self._failures += search.events()

    async def __aenter__(self) -> list[Event]:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        await run_in_thread(self.__exit__, kind, error, traceback)
