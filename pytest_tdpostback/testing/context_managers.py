"""The context managers of `Postback`. Each one knows whether it was entered."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import TYPE_CHECKING

from . import assertions
from .aio import run_in_thread

if TYPE_CHECKING:
    from ..collector.collector import Collector
    from ..collector.events import Event
    from .matching import Search


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

    def __init__(self, search: Search) -> None:
        """Made by `Postback.expect_auth_failure`."""
        self.entered = False
        self._search = search
        self._failures: list[Event] = []

    def __enter__(self) -> list[Event]:
        self.entered = True
        self._search.start_at(self._search.collector.next_seq)
        return self._failures

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        __tracebackhide__ = True
        if error is None:
            self._failures += assertions.find(self._search).events()
        else:
            assertions.expect_sent(self._search)

    async def __aenter__(self) -> list[Event]:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        __tracebackhide__ = True
        await run_in_thread(self.__exit__, kind, error, traceback)
