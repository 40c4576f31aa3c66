"""Real time, timers that run on it, and the way to cancel a wait in another thread."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Timer(Protocol):
        """A call that is still to come."""

        def cancel(self) -> object:
            """Prevent the call, if it has not begun. Any thread may ask for it."""


real_time = partial(time.monotonic)
"""Gives seconds of real time since some moment.

Libraries that freeze clocks do not stop it: they replace only the function itself.
"""


def call_later(seconds: float, function: Callable[[], None]) -> Timer:
    """Call `function` after `seconds` of real time, in a thread of its own."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


class WaitCancelled(BaseException):
    """Ends a wait whose caller no longer needs the result.

    Derives from `BaseException`, so that no `except Exception` in between keeps the thread alive.
    """


class Cancellation:
    """Lets one thread end a wait that runs in another.

    The thread that waits makes it `this_thread.cancellation`; each of its waits then ends with
    `WaitCancelled` soon after `cancel` is called.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.wake: Callable[[], object] = bool
        """Makes the thread that waits look at `cancelled`, which it does at once, too."""

    def cancel(self) -> None:
        """End the wait, from any thread."""
        self.cancelled = True
        self.wake()


class _ThisThread(threading.local):
    cancellation: Cancellation | None = None
    """That of the waits in this thread, if there is one."""


this_thread = _ThisThread()
