"""The double's clock: real time, unless a test froze or moved it."""

from __future__ import annotations

import time

from ..errors import ConfigurationError

LAST = 253_402_300_799
"""The last second of the year 9999, and so the last that a `Date` header can say."""


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

        Raises `ConfigurationError` where `at` is no moment of the years 1970 to 9999.
        """
        __tracebackhide__ = True
        self._frozen = self.now() if at is None else _moment("freeze", at)

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, frozen or running; negative moves it back.

        Raises `ConfigurationError` where `seconds` is no number, or leads out of the years 1970 to
        9999.
        """
        __tracebackhide__ = True
        moment = _moment("advance", seconds, self.now())
        if self._frozen is None:
            self._offset += float(seconds)
        else:
            self._frozen = moment

    def reset(self) -> None:
        """Back to real time."""
        self._frozen = None
        self._offset = 0.0


def _moment(name: str, value: float, start: float = 0.0) -> float:
    """The moment `value` seconds after `start`."""
    __tracebackhide__ = True
    try:
        moment = start + float(value)
    except (OverflowError, TypeError, ValueError):
        message = f"clock.{name}({value!r}): give a number of seconds"
        raise ConfigurationError(message) from None
    if not 0 <= moment <= LAST:  # also where it is no number
        message = f"clock.{name}({value!r}): the clock knows the years 1970 to 9999 only"
        raise ConfigurationError(message)
    return moment
