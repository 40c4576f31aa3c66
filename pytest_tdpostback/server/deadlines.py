"""Until when a connection may owe something: one timer for all connections of a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..collector.waiting import real_time

if TYPE_CHECKING:
    import asyncio

STEP = 0.25
"""Seconds between two looks at what is overdue, while there is anything to look at."""


class Debtor(Protocol):
    """Who can be overdue: a connection."""

    def expired(self) -> None:
        """The time is over."""


class Deadlines:
    """The connections that owe the rest of a request, or their end. Runs in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Debtor, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, debtor: Debtor, seconds: float) -> None:
        """Give `debtor` until so many seconds from now, whatever it was given before."""
        self._due[debtor] = real_time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_later(STEP, self._look)

    def drop(self, debtor: Debtor) -> None:
        """`debtor` owes nothing any more."""
        self._due.pop(debtor, None)

    def _look(self) -> None:
        now = real_time()
        overdue = [debtor for debtor, due in self._due.items() if due <= now]
        for debtor in overdue:
            del self._due[debtor]
            debtor.expired()
        self._timer = self._loop.call_later(STEP, self._look) if self._due else None
