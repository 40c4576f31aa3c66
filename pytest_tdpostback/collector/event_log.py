"""The event log: columns of bytes and numbers, one entry an event.

A million events stay cheap to keep, and the cyclic garbage collector has nothing to walk: no
entry is an object of its own. `Event` objects are made by the floor above, when somebody looks.
"""

from __future__ import annotations

import logging
from array import array
from bisect import insort
from enum import Enum
from typing import TYPE_CHECKING

from ..protocol.request import RequestHead
from .blobs import Blobs, Repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .columns import SeenColumns

_journal = logging.getLogger("pytest_tdpostback")


class EventState(str, Enum):
    """What became of an event. `str(state)` is the bare value."""

    REFUSED = "refused"
    PENDING = "pending"
    INGESTED = "ingested"
    REJECTED = "rejected"
    LOST = "lost"

    def __str__(self) -> str:
        return self.value


STATES = tuple(EventState)
CODES = {state: code for code, state in enumerate(STATES)}
_PENDING, _INGESTED = CODES[EventState.PENDING], CODES[EventState.INGESTED]
NO_STATUS = 0


class EventLog:
    """Events in order of arrival; `first` is the sequence number of the entry at index 0."""

    def __init__(self, first: int = 1) -> None:
        self.first = first
        self.heads = Repeated()
        self.bodies = Blobs()
        self.peers = Repeated()
        self.received = array("d")
        self.statuses = array("H")
        self.states = bytearray()
        self.rules: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self.faults: dict[int, str] = {}
        self.copies: dict[int, int] = {}
        self.ingested: dict[tuple[str, str], array[int]] = {}
        self.from_url: set[int] = set()
        """Where the record is in the URL, not in the body."""
        self.expected: set[int] = set()
        self.unheard: set[int] = set()
        self.seen_columns: dict[tuple[str, str], SeenColumns] = {}

    def __len__(self) -> int:
        return len(self.states)

    def append(self, head: bytes, body: bytes, peer: str, received: float, status: int) -> int:
        """Add a pending event and return its index."""
        self.heads.append(head)
        self.bodies.append(body)
        self.peers.append(peer)
        self.received.append(received)
        self.statuses.append(status)
        self.states.append(_PENDING)
        return len(self.states) - 1

    def decide(self, index: int, state: EventState, rule: str = "", reason: str = "") -> None:
        """Give the event at `index` its outcome."""
        self.states[index] = CODES[state]
        if rule:
            self.rules[index] = rule
            self.reasons[index] = reason
        if _journal.isEnabledFor(logging.INFO):
            self._report(index)

    def _report(self, index: int) -> None:
        """W4: why an event came to nothing stands in the log, never on the wire."""
        head = RequestHead(self.heads[index])
        rule = self.rules.get(index, self.faults.get(index, ""))
        _journal.info(
            "event #%d %s %s: %d, %s, %s: %s",
            self.first + index,
            head.method,
            repr(head.target)[1:-1],
            self.statuses[index],
            self.state(index),
            rule,
            self.reasons.get(index, "by a fault"),
        )

    def ingest(self, index: int, route: tuple[str, str]) -> None:
        """The event at `index` becomes as many records of `route` as it has copies."""
        self.states[index] = _INGESTED
        rows = self.ingested.get(route)
        if rows is None:
            rows = self.ingested[route] = array("I")
        for _ in range(self.copies.get(index, 1) if self.copies else 1):
            if rows and rows[-1] > index:
                insort(rows, index)
            else:
                rows.append(index)

    def state(self, index: int) -> EventState:
        """The state of the event at `index`."""
        return STATES[self.states[index]]

    def count(self, state: EventState) -> int:
        """How many events are in `state`."""
        return self.states.count(CODES[state])

    def indexes(self, state: EventState) -> Iterator[int]:
        """Where the events in `state` are, in order of arrival."""
        code = CODES[state]
        index = self.states.find(code)
        while index >= 0:
            yield index
            index = self.states.find(code, index + 1)
