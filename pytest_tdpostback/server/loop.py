"""The event loop of a server: it waits for sockets and timers, in a thread of its own."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import threading
from collections import deque
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from ..collector.waiting import real_time

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_WAIT = 3600.0
"""Seconds that the loop waits at most: some selectors take no number of months."""
TAKE_NEW_SOCKETS = ("EpollSelector", "KqueueSelector")
"""Selectors that a socket can be added to while they wait."""
SWEEP_SIZE = 1000
"""How many timers there are at least when the loop looks for cancelled ones."""


class LoopTimer:
    """A call that the loop makes later; any thread may cancel it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    @property
    def cancelled(self) -> bool:
        """Whether there is no call to make any more."""
        return self._function is None

    def cancel(self) -> None:
        """Prevent the call, if it has not begun."""
        self._function = None

    def __call__(self) -> None:
        """Make the call, unless it was cancelled."""
        function, self._function = self._function, None
        if function is not None:
            function()


class Loop:
    """Calls what has to be done when a socket is ready or a timer is due, one after the other.

    Its timers follow real time, even if a test freezes `time.monotonic`.
    """

    def __init__(self, report_error: Callable[[BaseException], object]) -> None:
        """Start the thread. `report_error` gets what a call raises; the other calls are made."""
        self._report_error = report_error
        self._calls: deque[Callable[[], object]] = deque()
        self._next_step: list[Callable[[], object]] = []
        self.soon = self._next_step.append
        """Runs a function in the next step of a round. Only what runs in the loop may call this."""
        self._timers: list[tuple[float, int, LoopTimer]] = []
        """A heap: moment, running number, timer."""
        self._sweep_at = SWEEP_SIZE
        self._numbers = itertools.count()
        self._running = True
        self.thread = threading.Thread(target=self._run, name="tdpostback", daemon=True)
        self._opened = opened = ExitStack()
        try:
            self.selector = opened.enter_context(selectors.DefaultSelector())
            """Sockets, and the function to call when one is ready. Only the loop may change it."""
            self.takes_new_sockets = type(self.selector).__name__ in TAKE_NEW_SOCKETS
            """Whether other threads may register a socket, too."""
            self._waker, woken = (opened.enter_context(sock) for sock in socket.socketpair())
            for sock in (self._waker, woken):
                sock.setblocking(False)
            self.selector.register(woken, selectors.EVENT_READ, partial(woken.recv, 4096))
            self.thread.start()
        except BaseException:
            opened.close()
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` in the loop soon; from any thread.

        Raise `RuntimeError` if the loop has ended.
        """
        self._calls.append(function)
        if threading.current_thread() is not self.thread:
            try:
                self._waker.send(b"\0")
            except BlockingIOError:
                pass  # thousands of calls wait, and the loop is about to make them
            except OSError:  # the loop has ended; what it had been given by then, it made
                with suppress(ValueError):
                    self._calls.remove(function)
                    raise RuntimeError("the event loop has ended") from None

    def call_later(self, seconds: float, function: Callable[[], object]) -> LoopTimer:
        """Run `function` in the loop after `seconds` of real time; from any thread."""
        timer = LoopTimer(function)
        entry = real_time() + seconds, next(self._numbers), timer
        if threading.current_thread() is self.thread:
            self._add(entry)
        else:
            self.call(lambda: self._add(entry))
        return timer

    def stop(self) -> None:
        """End the loop after all that it was given before, and wait for its thread."""

        def end() -> None:
            self._running = False
            self._opened.close()  # from now on `call` raises

        self.call(end)
        self.thread.join()

    def _add(self, entry: tuple[float, int, LoopTimer]) -> None:
        heapq.heappush(self._timers, entry)
        if len(self._timers) > self._sweep_at:
            self._timers = [each for each in self._timers if not each[2].cancelled]
            heapq.heapify(self._timers)
            self._sweep_at = max(SWEEP_SIZE, 2 * len(self._timers))

    def _run(self) -> None:  # noqa: C901 - a round, top to bottom
        due: list[Callable[[], object]] = []
        with self._opened:
            while self._running or self._calls:
                # What has arrived is served before a timer or a call ends its connection.
                for from_sockets in (True, False):
                    if not from_sockets:
                        timers = self._timers if self._running else []
                        while timers and timers[0][0] <= real_time():
                            due.append(heapq.heappop(timers)[2])
                        while self._calls:
                            due.append(self._calls.popleft())
                    elif self._running:
                        seconds = 0.0 if self._calls else LONGEST_WAIT
                        if self._timers:
                            seconds = min(seconds, max(0.0, self._timers[0][0] - real_time()))
                        for key, _ in self.selector.select(seconds):
                            due.append(key.data)
                            del key  # it holds a connection, and the loop may sleep for long
                    # Steps read all sockets, then judge all requests, then send all responses. To
                    # do the same thing in a row takes 24 µs a request; in turn it takes 28.
                    while due:
                        due.reverse()
                        while due:  # and keep none of them, for the same reason
                            try:
                                due.pop()()
                            except BaseException as error:  # noqa: BLE001 - the test fails with it
                                with suppress(Exception):  # nobody is left to report it to
                                    self._report_error(error)
                        due.extend(self._next_step)
                        self._next_step.clear()
