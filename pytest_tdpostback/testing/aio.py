"""Runs what blocks in a worker thread, so that the event loop of asyncio or trio is free."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..collector.waiting import Cancellation, current_cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Wraps(Protocol[S_co]):
    """An object whose methods run those of `blocking` in a worker thread."""

    @property
    def blocking(self) -> S_co: ...  # noqa: D102


def awaitable(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[Wraps[S], P], Coroutine[Any, Any, T]]:
    """The method of an object that wraps another one: `method` of that one, as a coroutine."""

    @wraps(method)
    async def coroutine(self: Wraps[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        return await run_in_thread(method, self.blocking, *args, **kwargs)

    return coroutine


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a worker thread, and end its wait if this task is cancelled."""
    __tracebackhide__ = True
    cancellation = Cancellation()
    outcome: list[tuple[T | None, BaseException | None]] = []

    def work() -> None:
        __tracebackhide__ = True
        token = current_cancellation.set(cancellation)
        try:
            outcome.append((function(*args, **kwargs), None))
        except BaseException as error:  # noqa: BLE001 - the coroutine raises it
            outcome.append((None, error))
        finally:
            current_cancellation.reset(token)

    try:
        if _in_trio():
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


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
