"""The clock of a fake server: real time, unless a test freezes or moves it."""

from __future__ import annotations

import time

from ..errors import ConfigurationError

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

LAST_MOMENT = 253_402_300_799
"""The last second of the year 9999, which is the last one a `Date` header can hold."""


class Clock:
    """Decides what time it is for the fake server: `received_at`, `Date`, the window of rule T3.

    It follows `time.time()`, so a library that freezes that function freezes this clock too.
    Timeouts and `validation_delay` run on real time and never on this clock.
    """

    def __init__(self) -> None:
        self._frozen: float | None = None
        self._offset = 0.0

    def now(self) -> float:
        """The present moment in UNIX seconds."""
        return time.time() + self._offset if self._frozen is None else self._frozen

    def freeze(self, at: float | None = None) -> None:
        """Stop the clock `at` a moment in UNIX seconds; `None` (the default) is the present one.

        Raises:
            ConfigurationError: `at` is not a moment of the years 1970 to 9999.
        """
        self._frozen = self.now() if at is None else _moment("freeze", at)

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, whether it is frozen or running; a negative number: back.

        Raises:
            ConfigurationError: `seconds` is not a number, or leads out of the years 1970 to 9999.
        """
        moment = _moment("advance", seconds, self.now())
        if self._frozen is None:
            self._offset += float(seconds)
        else:
            self._frozen = moment

    def reset(self) -> None:
        """Return to real time."""
        self._frozen = None
        self._offset = 0.0


def _moment(method: str, value: float, start: float = 0.0) -> float:
    try:
        moment = start + float(value if hasattr(value, "__float__") else "")
    except (OverflowError, TypeError, ValueError):
        message = f"clock.{method}({value!r}): give a number of seconds"
        raise ConfigurationError(message) from None
    if not 0 <= moment <= LAST_MOMENT:  # false for NaN, too
        message = f"clock.{method}({value!r}): the clock takes the years 1970 to 9999 only"
        raise ConfigurationError(message)
    return moment
