"""The event loop of a server: asyncio in a daemon thread, and how other threads reach it."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..collector.waiting import real_time

if TYPE_CHECKING:
    from collections.abc import Callable


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose timers follow real time, even if a test freezes `time.monotonic`.

    It watches sockets by readiness; the proactor loop of Windows cannot.
    """

    time = staticmethod(real_time)
    """Seconds of real time."""


class LoopTimer:
    """A call that the loop makes later; any thread may cancel it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def cancel(self) -> None:
        """Prevent the call, if it has not begun."""
        self._function = None

    def __call__(self) -> None:
        """Make the call, unless it was cancelled."""
        function, self._function = self._function, None
        if function is not None:
            function()


class LoopThread:
    """A running event loop in a thread of its own."""

    def __init__(self, report_error: Callable[[BaseException], object]) -> None:
        """Start the thread; return when the loop runs."""
        self._report_error = report_error
        _check_descriptors()
        self.loop = _Loop()
        self.loop.set_exception_handler(self._handle_error)
        self._started: Future[None] = Future()
        self.thread = threading.Thread(target=self._run, name="tdpostback", daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            self.loop.close()
            raise
        if self._started.exception() is not None:
            self.thread.join()
        self._started.result()

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` in the loop soon; from any thread."""
        self.loop.call_soon_threadsafe(function)

    def call_later(self, seconds: float, function: Callable[[], object]) -> LoopTimer:
        """Run `function` in the loop after `seconds` of real time; from any thread."""
        timer = LoopTimer(function)
        if seconds > 0:
            self.loop.call_soon_threadsafe(self.loop.call_later, seconds, timer)
        else:
            self.loop.call_soon_threadsafe(timer)
        return timer

    def stop(self) -> None:
        """End the loop after all that it was given before, and wait for its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def _run(self) -> None:
        try:
            self.loop.call_soon(self._started.set_result, None)
            self.loop.run_forever()
            self.loop.run_until_complete(self._finish())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)  # raised in the thread that starts
        finally:
            self.loop.close()

    async def _finish(self) -> None:
        """Cancel what still runs; transports close their sockets in the same round."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(asyncio.sleep(0), *tasks, return_exceptions=True)

    def _handle_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG002 - the signature of asyncio
        with suppress(Exception):  # nobody is left to report it to
            self._report_error(context.get("exception") or RuntimeError(context["message"]))


def _check_descriptors() -> None:
    """Raise `OSError` if a loop cannot get its descriptors; asyncio would leave some open."""
    selector = selectors.DefaultSelector()
    try:
        for sock in socket.socketpair():
            sock.close()
    finally:
        selector.close()
