"""Runs what blocks in a worker thread, so that the event loop of asyncio or trio is free."""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..collector.waiting import Cancellation, this_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")


class Call:
    """The call of a coroutine. Nothing happens before somebody awaits it."""

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self._coroutine = coroutine

    @property
    def entered(self) -> bool:
        """Whether somebody awaited the coroutine, cancelled it or closed it."""
        return inspect.getcoroutinestate(self._coroutine) != inspect.CORO_CREATED

    def __del__(self) -> None:
        if not self.entered:  # the test fails for it: Python need not warn of it too
            self._coroutine.close()


def awaitable(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method that runs `method` of the object `self._blocking` in a worker thread.

    `self._expect(name, call)` makes the test fail if nobody awaits the call.
    """

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        coroutine = run_in_thread(method, self._blocking, *args, **kwargs)
        coroutine.__qualname__ = method.__qualname__  # type: ignore[attr-defined]  # a repr shows it
        self._expect(f"aio.{method.__name__}", Call(coroutine))
        return coroutine

    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(call)
    return call


async def run_in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a worker thread, and end its wait if this task is cancelled."""
    cancellation = Cancellation()
    outcome: list[tuple[T | None, BaseException | None]] = []

    def work() -> None:
        this_thread.cancellation = cancellation
        try:
            outcome.append((function(*args, **kwargs), None))
        except BaseException as error:  # noqa: BLE001 - the coroutine raises it
            outcome.append((None, error))
        finally:
            this_thread.cancellation = None  # the thread may do other work afterwards

    try:
        if in_trio():
            import trio

            await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        else:
            import asyncio

            await asyncio.to_thread(work)
    except BaseException:
        cancellation.cancel()
        raise
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def in_trio() -> bool:
    """Whether an event loop of trio runs in this thread."""
    trio = sys.modules.get("trio")
    try:
        return trio is not None and bool(trio.lowlevel.current_task())
    except RuntimeError:
        return False


def in_event_loop() -> bool:
    """Whether an event loop of asyncio or trio runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    with suppress(RuntimeError):
        return bool(asyncio and asyncio.get_running_loop()) or in_trio()
    return in_trio()
