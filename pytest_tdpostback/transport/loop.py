"""One asyncio loop in one daemon thread: it serves every connection of every double."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopThread:
    """A running event loop that other threads hand functions to."""

    def __init__(self) -> None:
        # Listeners and connections are watched by readiness, which the proactor of Windows lacks.
        self.loop = asyncio.SelectorEventLoop()
        self.thread = threading.Thread(target=self._run, name="tdpostback", daemon=True)
        self.thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` in the loop as soon as it can be."""
        self.loop.call_soon_threadsafe(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run `function` in the loop after `seconds`; from any thread."""
        if threading.get_ident() == self.thread.ident:
            self._later(seconds, function)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._later, seconds, function)

    def stop(self) -> None:
        """End the loop after what was handed to it before, and wait for its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        if seconds > 0:
            self.loop.call_later(seconds, function)
        else:
            self.loop.call_soon(function)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
