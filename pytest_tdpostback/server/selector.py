"""A selector that serves sockets itself, beside those that it watches for asyncio."""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

from ..collector.waiting import real_time

if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class ServingSelector(selectors.DefaultSelector):
    """What is registered with a function is served by it, with its events, when it is ready.

    asyncio makes, schedules and runs a handle for each event, which is a large part of what a short
    connection costs. What asyncio registered goes back to it as usual. Belongs to one loop.
    """

    def __init__(self, failed: Callable[[BaseException], object]) -> None:
        """`failed(error)` is told what such a function raised."""
        super().__init__()
        self._failed = failed
        self.interrupted = False
        """Whether the loop has got something else to do since it began to wait."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready for asyncio; serves everything else, until the loop has something to do."""
        self.interrupted = False
        end = real_time() + timeout if timeout else None
        while True:
            others = []
            for pair in super().select(timeout):
                key, events = pair
                if type(key.data) is tuple:  # that of asyncio: its handles
                    others.append(pair)
                else:
                    self._serve(key.data, events)
            if others or self.interrupted or timeout == 0:
                return others
            if end is not None:
                timeout = max(0.0, end - real_time())

    def _serve(self, ready: Callable[[int], None], events: int) -> None:
        try:
            ready(events)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - pytest.fail is one; the loop goes on
            self._failed(error)
