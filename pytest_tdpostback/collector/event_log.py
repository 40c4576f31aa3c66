"""The event log: columns of bytes and numbers, one entry for each event.

A million events stay cheap to keep, and the cyclic garbage collector has nothing to walk, because
no entry is an object of its own. `events` makes objects of entries when somebody looks at them.
"""

from __future__ import annotations

import itertools
import uuid
from array import array
from bisect import bisect_right, insort
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.batch import Batch
    from .judged_heads import JudgedHead, JudgedHeads
    from .table_columns import TableColumns

REMEMBERED_TEXTS = 1_024
"""How many different texts a `RepeatedBytesColumn` recognises when they come again."""
NO_STATUS = 0
"""Stands in the column of statuses for a response whose status never got out."""


class EventState(str, Enum):
    """What became of an event. `str(state)` is the bare value."""

    REFUSED = "refused"
    PENDING = "pending"
    INGESTED = "ingested"
    REJECTED = "rejected"
    LOST = "lost"
    DEDUPLICATED = "deduplicated"

    def __str__(self) -> str:
        return self.value


_PROCESS = uuid.uuid4()
_numbers = itertools.count()
STATES = tuple(EventState)
_CODES = {state: code for code, state in enumerate(STATES)}
_PENDING, _INGESTED = _CODES[EventState.PENDING], _CODES[EventState.INGESTED]


class BytesColumn:
    """Byte strings in order, in one piece of memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        """The byte string at `index`, which must not be negative."""
        return bytes(self._bytes[self._ends[index] : self._ends[index + 1]])

    def append(self, value: bytes) -> None:
        """Add `value` at the end."""
        self._bytes += value
        self._ends.append(len(self._bytes))


class RepeatedBytesColumn:
    """Byte strings in order, of which many are equal. Equal ones are kept once."""

    def __init__(self) -> None:
        self._distinct = BytesColumn()
        self._places = array("I")
        self._recent: dict[bytes, int] = {}

    def __getitem__(self, index: int) -> bytes:
        """The byte string at `index`."""
        return self._distinct[self._places[index]]

    def append(self, value: bytes) -> None:
        """Add `value` at the end."""
        place = self._recent.get(value)
        if place is None:
            if len(self._recent) >= REMEMBERED_TEXTS:
                self._recent.clear()
            place = self._recent[value] = len(self._distinct)
            self._distinct.append(value)
        self._places.append(place)


class _Batches:
    """What is known of each batch (I7), apart from its records, which are entries of the log.

    The body of an entry begins where the one before ends. So `bodies` has the decoded body of a
    batch once: the first entry has a prefix, and what stands after the last one is the suffix.
    """

    def __init__(self) -> None:
        self.starts = array("Q")
        """The index of the first record of each batch."""
        self.sizes = array("H")
        self.prefixes = array("I")
        self.suffixes = RepeatedBytesColumn()
        self.encoded = BytesColumn()
        """The body as it was sent, if it had a content coding; else empty."""

    def append(self, start: int, size: int, prefix: int, suffix: bytes, encoded: bytes) -> None:
        """Add a batch whose first record is the entry at `start`."""
        self.sizes.append(size)
        self.prefixes.append(prefix)
        self.suffixes.append(suffix)
        self.encoded.append(encoded)
        self.starts.append(start)

    def find(self, index: int) -> int | None:
        """The number of the batch of the entry at `index`, `None` if it has none."""
        number = bisect_right(self.starts, index) - 1
        return number if number >= 0 and index - self.starts[number] < self.sizes[number] else None


class EventLog:
    """The events of one collector in order of arrival.

    `first` is the sequence number of the entry at index 0. The collector writes with its lock held.
    Anybody may read what is below `len(log)` at any time: an entry is complete before it counts.
    """

    def __init__(self, first: int = 1) -> None:
        self.first = first
        self.id = f"{_PROCESS}-{next(_numbers)}"
        """Differs from that of any other log; a copy of an event keeps it."""
        self.heads = RepeatedBytesColumn()
        self.bodies = BytesColumn()
        self.peers = RepeatedBytesColumn()
        self.received = array("d")
        """UNIX seconds, by the clock of the collector."""
        self.statuses = array("H")
        self.states = bytearray()
        self.changes = array("Q")
        """What happened, in order: see `change`."""
        self.rules: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self.faults: dict[int, str] = {}
        self.copies: dict[int, int] = {}
        self.uuids: dict[int, str] = {}
        """I16: the `uuid` that a record brought."""
        self.unconfirmed: set[int] = set()
        """Events whose sender did not receive the whole response."""
        self.expected: set[int] = set()
        """Rejections that a test expects."""
        self.claimed: set[int] = set()
        """Events that an assertion matched."""
        self.ingested: dict[tuple[str, str], array[int]] = {}
        """For each table the events that became records of it, each as often as it was stored."""
        self.table_columns: dict[tuple[str, str], TableColumns] = {}
        self.responses_to_send = 0
        """Accepted events whose response is not out yet."""
        self._batches = _Batches()
        self._judges: list[JudgedHeads] = []
        self._judged_from: list[int] = []
        """The index of the first event that each of `_judges` judged."""

    def __len__(self) -> int:
        return len(self.states)

    def append(  # noqa: PLR0917 - a value for each column
        self, judged: JudgedHead, head: bytes, body: bytes, peer: str, received: float, status: int
    ) -> int:
        """Add a pending event and return its index."""
        index = len(self.states)
        if not self._judges or self._judges[-1] is not judged.judge:
            self._judges.append(judged.judge)
            self._judged_from.append(index)
        self.heads.append(head)
        self.bodies.append(body)
        self.peers.append(peer.encode())
        self.received.append(received)
        self.statuses.append(status)
        self.states.append(_PENDING)
        self.changes.append(index << 1)
        return index

    def append_batch(  # noqa: PLR0917 - a value for each column
        self,
        judged: JudgedHead,
        head: bytes,
        body: bytes,
        batch: Batch,
        peer: str,
        received: float,
        status: int,
    ) -> range:
        """Add a pending event for each record of `batch` and return their indexes.

        `body` is the body as it was sent.
        """
        first, end, records = len(self.states), 0, batch.records
        encoded = b"" if body == batch.body else body
        suffix = batch.body[records[-1].end :]
        self._batches.append(first, len(records), records[0].start, suffix, encoded)
        for record in records:
            self.append(judged, head, batch.body[end : record.end], peer, received, status)
            end = record.end
        return range(first, len(self.states))

    def place_in_batch(self, index: int) -> tuple[int, int] | None:
        """The place of the event in its batch, from 0, and the size of that; `None` without one."""
        number = self._batches.find(index)
        if number is None:
            return None
        return index - self._batches.starts[number], self._batches.sizes[number]

    def body(self, index: int) -> bytes:
        """The body of the event at `index`; of a batch, the JSON text of its record."""
        found = self.bodies[index]
        number = self._batches.find(index) if self._batches.starts else None
        if number is None:
            return found
        if index == self._batches.starts[number]:
            return found[self._batches.prefixes[number] :]
        return found.lstrip(b", \t\r\n")

    def around_records(self, index: int) -> bytes:
        """The decoded body of the batch of the event at `index`, without its records.

        Empty for all but the first record, so that it is looked at once.
        """
        number = self._batches.find(index)
        if number is None or index != self._batches.starts[number]:
            return b""
        prefix = self.bodies[index][: self._batches.prefixes[number]]
        return prefix + self._batches.suffixes[number]

    def request_body(self, index: int) -> bytes:
        """The whole body of the request of the event at `index`, as it was sent."""
        number = self._batches.find(index)
        if number is None:
            return self.bodies[index]
        first, size = self._batches.starts[number], self._batches.sizes[number]
        records = [self.bodies[each] for each in range(first, first + size)]
        return self._batches.encoded[number] or b"".join([*records, self._batches.suffixes[number]])

    def judged(self, index: int) -> JudgedHead:
        """What the head of the event at `index` decided, by the settings of that moment."""
        judge = self._judges[-1]
        if len(self._judges) > 1:
            judge = self._judges[bisect_right(self._judged_from, index) - 1]
        return judge.of(self.heads[index])

    def decide(self, index: int, state: EventState, rule: str = "", reason: str = "") -> None:
        """Give the event at `index` its outcome."""
        if rule:
            self.rules[index] = rule
            self.reasons[index] = reason
        self.states[index] = _CODES[state]
        self.changes.append(index << 1 | 1)

    def ingest(self, index: int, table: tuple[str, str]) -> None:
        """Make the event at `index` as many records of `table` as it has copies."""
        rows = self.ingested.get(table)
        if rows is None:
            rows = self.ingested[table] = array("I")
        for _ in range(self.copies.get(index, 1) if self.copies else 1):
            if rows and rows[-1] > index:
                insort(rows, index)
            else:
                rows.append(index)
        self.states[index] = _INGESTED
        self.changes.append(index << 1 | 1)

    def change(self, number: int) -> tuple[int, bool]:
        """The index of the event that changed, and whether it got its outcome (else: it arrived).

        `number` counts changes from 0. There are `len(log.changes)` so far.
        """
        change = self.changes[number]
        return change >> 1, bool(change & 1)

    def state(self, index: int) -> EventState:
        """The state of the event at `index`."""
        return STATES[self.states[index]]

    def count(self, state: EventState) -> int:
        """How many events are in `state`."""
        return self.states.count(_CODES[state])

    def indexes(self, state: EventState) -> Iterator[int]:
        """Where the events in `state` are, in order of arrival."""
        code = _CODES[state]
        index = self.states.find(code)
        while index >= 0:
            yield index
            index = self.states.find(code, index + 1)

    def records(self, database: str | None = None, table: str | None = None) -> array[int]:
        """Which events became records, in order of arrival, each as often as it was stored.

        `None` means any database, any table.
        """
        if database is not None and table is not None:
            return self.ingested.get((database, table), array("I"))[:]
        chosen = [
            rows[:]
            for route, rows in self.ingested.copy().items()
            if database in (None, route[0]) and table in (None, route[1])
        ]
        if len(chosen) == 1:
            return chosen[0]
        return array("I", sorted(index for rows in chosen for index in rows))

    def extract(self, index: int) -> tuple[EventLog, int]:
        """A log with a copy of the event at `index`, and where it is in that log.

        Sequence numbers stay. A record of a batch comes with the whole batch.
        """
        number, start, size = self._batches.find(index), index, 1
        if number is not None:
            start, size = self._batches.starts[number], self._batches.sizes[number]
        log = EventLog(self.first + start)
        log.id = self.id
        if number is not None:
            batches = self._batches
            log._batches.append(
                0, size, batches.prefixes[number], batches.suffixes[number], batches.encoded[number]
            )
        for copied, each in enumerate(range(start, start + size)):
            log._copy(self, each, copied)
        return log, index - start

    def _copy(self, log: EventLog, index: int, copied: int) -> None:
        """Append the event at `index` of `log`, which gets the index `copied` here."""
        judged = log.judged(index)
        self.append(
            judged,
            log.heads[index],
            log.bodies[index],
            log.peers[index].decode(),
            log.received[index],
            log.statuses[index],
        )
        for column in ("rules", "reasons", "faults", "copies", "uuids"):
            if index in getattr(log, column):
                getattr(self, column)[copied] = getattr(log, column)[index]
        for chosen in ("unconfirmed", "expected", "claimed"):
            if index in getattr(log, chosen):
                getattr(self, chosen).add(copied)
        if log.states[index] == _INGESTED:
            self.ingest(copied, judged.table)
            columns = log.table_columns.get(judged.table)
            if columns is not None and columns.crossed_at == index:
                self.table_columns[judged.table] = columns.of_one_event(copied)
        elif log.states[index] != _PENDING:
            self.states[copied] = log.states[index]
