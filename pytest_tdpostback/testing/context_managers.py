"""The context managers of `Postback`. Each one knows whether it was entered, and who made it."""

from __future__ import annotations

import sys
from contextlib import ContextDecorator
from pathlib import Path
from typing import TYPE_CHECKING

from . import assertions
from .aio import run_in_thread

if TYPE_CHECKING:
    from types import TracebackType

    from ..collector.collector import Collector
    from ..collector.events import Event
    from .matching import WantedEvents
    from .receiver import Receiver

_PACKAGE = str(Path(__file__).parents[1])


class HeldValidation(ContextDecorator):
    """Keeps accepted events pending while it lasts (Y2, Y5)."""

    def __init__(self, collector: Collector) -> None:
        """Made by `Postback.hold_validation`."""
        self.entered = False
        self.call_site = call_site()
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
        self.call_site = call_site()
        self._receiver = receiver
        self._collector = receiver.collector
        self._wanted = wanted
        self._count = count
        self._timeout = timeout
        self._first = 0
        self._failures: list[Event] = []

    def __enter__(self) -> list[Event]:
        self.entered = True
        self._first = self._collector.next_seq
        return self._failures

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        if error is not None:
            assertions.expect_sent_since(self._collector, self._wanted, self._first)
            return
        self._failures += assertions.assert_auth_failed(
            self._receiver,
            self._wanted,
            count=self._count,
            timeout=self._timeout,
            first=self._first,
        )

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


def call_site() -> str:
    """File and line of the innermost caller outside this package."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
