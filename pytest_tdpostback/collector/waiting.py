"""Real time, for deadlines and delays: libraries that freeze clocks must not stop it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class _Real:
    """Keeps the function as an attribute of a class, where no freezing library replaces it."""

    from time import monotonic as _monotonic

    clock = staticmethod(_monotonic)


def real_time() -> float:
    """Seconds of real time since some moment."""
    return _Real.clock()


def later(seconds: float, function: Callable[[], None]) -> None:
    """Run `function` after `seconds`: at once where there are none to wait, else in a thread."""
    if seconds <= 0:
        function()
        return
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
