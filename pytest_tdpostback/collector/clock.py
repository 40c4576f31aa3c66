"""The double's clock: real time, unless a test froze or moved it."""

from __future__ import annotations

import time

from ..errors import ConfigurationError


class Clock:
    """Time as the double sees it, in UNIX seconds: `received_at`, `Date`, the window of T3.

    Follows `time.time()`, so that a library which freezes that freezes the double with it.
    Deadlines and `validation_delay` run on real time and never on this clock.
    """

    def __init__(self) -> None:
        self._frozen: float | None = None
        self._offset = 0.0

    def now(self) -> float:
        """The present moment in UNIX seconds."""
        return time.time() + self._offset if self._frozen is None else self._frozen

    def freeze(self, at: float | None = None) -> None:
        """Stop the clock `at` UNIX seconds; `None` (the default) stops it where it is.

        Raises `ConfigurationError` where `at` is no number of seconds.
        """
        __tracebackhide__ = True
        self._frozen = self.now() if at is None else _seconds("freeze", at)

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, frozen or running; negative moves it back.

        Raises `ConfigurationError` where `seconds` is no number.
        """
        __tracebackhide__ = True
        step = _seconds("advance", seconds)
        if self._frozen is None:
            self._offset += step
        else:
            self._frozen += step

    def reset(self) -> None:
        """Back to real time."""
        self._frozen = None
        self._offset = 0.0


def _seconds(name: str, value: float) -> float:
    __tracebackhide__ = True
    try:
        return float(value)
    except (TypeError, ValueError):
        message = f"clock.{name}({value!r}): give a number of seconds"
        raise ConfigurationError(message) from None
