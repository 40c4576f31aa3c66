"""Real time, for deadlines and delays: libraries that freeze clocks must not stop it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Real:
    """Keeps the function as an attribute of a class: freezegun replaces those of modules."""

    clock = staticmethod(time.monotonic)


def real_time() -> float:
    """Seconds of real time since some moment; frozen clocks do not stop it."""
    return Real.clock()


class Changed(threading.Condition):
    """A condition that also wakes those who must not block: event loops."""

    def __init__(self, lock: threading.RLock) -> None:  # type: ignore[valid-type, unused-ignore]
        super().__init__(lock)
        self._wakes: list[Callable[[], None]] = []

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` with each change from now on, in the thread that made it."""
        self._wakes.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Call `wake` no more."""
        self._wakes.remove(wake)

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        super().notify_all()
        for wake in self._wakes:
            wake()


def later(seconds: float, function: Callable[[], None]) -> None:
    """Run `function` after `seconds`: at once where there are none to wait, else in a thread."""
    if seconds <= 0:
        function()
        return
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
