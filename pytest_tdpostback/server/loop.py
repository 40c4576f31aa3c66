"""One asyncio loop in one daemon thread: it serves every connection of every double."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from ..collector.waiting import real_time
from .deadlines import Deadlines
from .selector import ServingSelector

if TYPE_CHECKING:
    from collections.abc import Callable


class _Loop(asyncio.SelectorEventLoop):
    """Runs on real time, whatever clock a test has frozen; its `selector` serves sockets itself."""

    time = staticmethod(real_time)

    def __init__(self) -> None:
        self.selector = ServingSelector(self._failed)
        super().__init__(self.selector)

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        self.selector.interrupted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self.selector.interrupted = True
        return super().call_at(when, callback, *args, context=context)

    def _failed(self, error: BaseException) -> None:
        self.call_exception_handler({"message": f"{error!r} while serving", "exception": error})


class LoopTimer:
    """A call in the loop that any thread may cancel before it begins."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Prevent the call."""
        self._function = None

    def run(self) -> None:
        """Make the call, unless it was cancelled."""
        if self._function is not None:
            self._function()


class LoopThread:
    """A running event loop that other threads hand functions to."""

    def __init__(self, failed: Callable[[Exception], object]) -> None:
        """`failed(error)` is told what a function raised that ran in the loop.

        Returns when the loop runs; raises what keeps it from that.
        """
        self._failed = failed
        # Listeners and connections are watched by readiness, which the proactor of Windows lacks.
        self.loop = _Loop()
        self.loop.set_exception_handler(self._handle)
        self.deadlines = Deadlines(self.loop)
        self._settled = threading.Event()
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="tdpostback", daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # no thread is to be had
            self.loop.close()
            raise
        self._settled.wait()
        if self._error is not None:
            self.thread.join()
            raise self._error

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` in the loop as soon as it can be."""
        self.loop.call_soon_threadsafe(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> LoopTimer:
        """Run `function` in the loop after `seconds`; from any thread.

        Raises `RuntimeError` when the loop is over.
        """
        timer = LoopTimer(function)
        if threading.get_ident() == self.thread.ident:
            self._later(seconds, timer.run)
        else:
            self.loop.call_soon_threadsafe(self._later, seconds, timer.run)
        return timer

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
        try:
            self.loop.call_soon(self._settled.set)
            self.loop.run_forever()
            self.loop.run_until_complete(self._end())
        except BaseException as error:  # raised where the thread was started
            self._error = error
            if self._settled.is_set():
                raise
        finally:
            self.loop.close()
            self._settled.set()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        # One more round even without tasks: transports of asyncio close their sockets in it.
        await asyncio.gather(asyncio.sleep(0), *tasks, return_exceptions=True)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG002
        error = context.get("exception")
        self._failed(error if isinstance(error, Exception) else RuntimeError(context["message"]))
