"""Waiting, written once for those who may block and for those who may not.

A method that waits is a generator: it yields what it waits for and goes on with the answer.
`waiting` makes a plain method of it, which blocks; `awaitable` a coroutine, which does not.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ..collector.waiting import real_time

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from ..collector.collector import Collector

    P = ParamSpec("P")

T = TypeVar("T")


class Wait(NamedTuple):
    """Wait until `met()` is true, at most `seconds`; the answer is its last value."""

    met: Callable[[], Any]
    seconds: float


class Waiter(Protocol):
    """Somebody who waits for the changes of a collector."""

    _collector: Collector


W = TypeVar("W", bound=Waiter)
Steps = Generator[Wait, Any, T]


def waiting(steps: Callable[Concatenate[W, P], Steps[T]]) -> Callable[Concatenate[W, P], T]:
    """The method that takes `steps` and blocks while it waits."""

    @wraps(steps)
    def method(self: W, /, *args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        return block(self._collector, steps(self, *args, **kwargs))

    return method


def awaitable(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Waiter, P], Coroutine[Any, Any, T]]:
    """A method that `waiting` made, as a coroutine; of `self` it takes the double."""
    steps: Callable[..., Steps[T]] = method.__wrapped__  # type: ignore[attr-defined]

    @wraps(steps)
    async def coroutine(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        return await go_on(self._collector, steps(self.postback, *args, **kwargs))

    return coroutine


def block(collector: Collector, steps: Steps[T]) -> T:
    """Take `steps` to their end in this thread."""
    __tracebackhide__ = True
    answer = None
    _here.blocks = True
    try:
        while True:
            wait = steps.send(answer)
            answer = collector.wait_until(wait.met, wait.seconds)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        _here.blocks = False


class _Here(threading.local):
    blocks = False


_here = _Here()


def blocks_a_loop() -> bool:
    """Whether the steps that ask hold up an event loop of this thread."""
    return _here.blocks and (_in_trio() or _in_asyncio())


async def go_on(collector: Collector, steps: Steps[T]) -> T:
    """Take `steps` to their end in this event loop, of asyncio or trio."""
    __tracebackhide__ = True
    answer = None
    while True:
        try:
            wait = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer = await _until(collector, wait)


async def _until(collector: Collector, wait: Wait) -> Any:
    """As `Collector.wait`, on real time too: the clock of the loop may be frozen."""
    __tracebackhide__ = True
    deadline = real_time() + wait.seconds
    wakeup = _Wakeup()
    timer = threading.Timer(wait.seconds, wakeup.set)
    timer.daemon = True
    unsubscribe = collector.subscribe(wakeup.set)
    try:
        value = collector.wait_until(wait.met, 0)
        if not value:
            timer.start()
        while not value and real_time() < deadline:
            await wakeup.wait()
            value = collector.wait_until(wait.met, 0)
        return value
    finally:
        unsubscribe()
        timer.cancel()


class _Wakeup:
    """Wakes one task of the running event loop from any thread, as often as it waits."""

    def __init__(self) -> None:
        self._event: Any
        if _in_trio():
            import trio

            self._new_event: Callable[[], Any] = trio.Event
            self._post: Callable[..., object] = trio.lowlevel.current_trio_token().run_sync_soon
        else:
            import asyncio

            self._new_event = asyncio.Event
            self._post = asyncio.get_running_loop().call_soon_threadsafe
        self._event = self._new_event()
        self.set = self._set_from_any_thread

    async def wait(self) -> None:
        """Until somebody called `set` since the last time."""
        await self._event.wait()
        self._event = self._new_event()

    def _set_from_any_thread(self) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody waits
            self._post(self._ring)

    def _ring(self) -> None:
        self._event.set()


def _in_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
