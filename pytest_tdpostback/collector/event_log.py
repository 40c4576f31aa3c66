"""The event log: columns of bytes and numbers, one entry for each event.

A million events stay cheap to keep, and the cyclic garbage collector has nothing to walk, because
no entry is an object of its own. `events` makes objects of entries when somebody looks at them.
"""

from __future__ import annotations

import itertools
import uuid
from array import array
from bisect import bisect_right, insort
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

from ..protocol import response as responses
from ..protocol.judge import judge_head
from ..protocol.request import PostbackRequest, RequestHead
from .deduplication import Deduplication

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..protocol.batch import BatchBody
    from ..protocol.response import Response
    from ..protocol.settings import Settings
    from .table_columns import TableColumns

REMEMBERED = 1_024
"""How many different heads or texts are recognised when they come again."""
LONGEST_HEAD = 4_096
"""Bytes of the longest head whose verdict is remembered: hostile ones must not fill the memory."""
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
PENDING, _INGESTED = _CODES[EventState.PENDING], _CODES[EventState.INGESTED]


@dataclass(frozen=True)
class Account:
    """How many events are in each state, and what their senders could not know.

    `sent` is the sum of the states.
    """

    sent: int
    refused: int
    pending: int
    ingested: int
    rejected: int
    lost: int
    deduplicated: int
    duplicated: int
    """Ingested events that were stored more than once."""
    stored_unconfirmed: int
    """Ingested events whose sender did not receive the whole response."""
    lost_after_200: int
    """Lost events that were answered 200."""

    @property
    def balanced(self) -> bool:
        """Whether every event that was sent is in exactly one state."""
        counts: list[int] = [getattr(self, state) for state in STATES]
        return self.sent == sum(counts)

    def __str__(self) -> str:
        counts = [(getattr(self, state), state) for state in STATES]
        shown = [f"{n} {state}" for n, state in counts if n or state is not STATES[-1]]
        return f"{self.sent} sent = {' + '.join(shown)}"


class JudgedHead:
    """A head, the settings that it was judged by, the verdict, and what follows from that alone."""

    __slots__ = (
        "_accepted",
        "_accepted_second",
        "head",
        "key_decides",
        "settings",
        "table",
        "validates_records",
        "verdict",
    )

    def __init__(self, head: RequestHead, settings: Settings) -> None:
        self.head = head
        self.settings = settings
        self.verdict = verdict = judge_head(head, settings)
        self.table = (verdict.database or "", verdict.table or "")
        self.key_decides = verdict.ingestion or verdict.profile.refuses_unknown_keys
        """A6, I4: whether an unknown key is refused in the response."""
        self.validates_records = (
            settings.deduplicate if verdict.ingestion else settings.stale_time == "drop"
        )
        """T3, I17: whether an event with a good key may still be thrown away."""
        self._accepted_second = -1
        self._accepted: Response

    def accepted(self, second: int) -> Response:
        """W1: the response to an event with a JSON body at `second` (UNIX time).

        All responses of one second are equal, so they are one object.
        """
        if second != self._accepted_second:
            date = responses.http_date(second)
            self._accepted = responses.accepted(self.verdict.profile, self.head, date)
            self._accepted_second = second
        return self._accepted


class JudgedHeads(dict[bytes, JudgedHead]):
    """What each head, as bytes, decides by `settings`.

    Senders repeat their heads, and judging one takes as long as all else that is done for an event.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def __missing__(self, raw: bytes) -> JudgedHead:
        return self.add(RequestHead(raw))

    def add(self, head: RequestHead) -> JudgedHead:
        """Judge a head that is not here yet."""
        judged = JudgedHead(head, self.settings)
        if len(head.raw) <= LONGEST_HEAD:
            if len(self) >= REMEMBERED:
                self.clear()
            self[head.raw] = judged
        return judged

    def __reduce__(self) -> tuple[type[JudgedHeads], tuple[Settings]]:
        return JudgedHeads, (self.settings,)


class _BytesColumn:
    """Byte strings in order, in one piece of memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._bytes[self._ends[index] : self._ends[index + 1]])

    def append(self, value: bytes) -> None:
        self._bytes += value
        self._ends.append(len(self._bytes))


class _RepeatedColumn(_BytesColumn):
    """Byte strings in order, of which many are equal. Equal ones are kept once."""

    def __init__(self) -> None:
        super().__init__()
        self._places = array("I")
        """For each string, which of the distinct ones it is."""
        self._recent: dict[bytes | str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> bytes:
        place = self._places[index]
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])

    def append(self, value: bytes | str) -> None:
        place = self._recent.get(value)
        if place is None:
            if len(self._recent) >= REMEMBERED:
                self._recent.clear()
            place = self._recent[value] = len(self._ends) - 1
            self._bytes += value.encode() if isinstance(value, str) else value
            self._ends.append(len(self._bytes))
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
        self.suffixes = _RepeatedColumn()
        self.encoded = _BytesColumn()
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
        self.heads = _RepeatedColumn()
        """The head of each request; `peers` and `received` are of requests, too."""
        self.peers = _RepeatedColumn()
        self.received = array("d")
        """UNIX seconds, by the clock of the collector."""
        self.requests = array("I")
        """The number of the request that sent each event; the records of a batch share one."""
        self.bodies = _BytesColumn()
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
        self.last_batch: tuple[int, PostbackRequest] | None = None
        """The number and the request of the batch whose events were looked at last."""
        self.deduplication = Deduplication()
        self._last_judge: JudgedHeads | None = None
        self._judges: list[JudgedHeads] = []
        self._judged_from: list[int] = []
        """The index of the first event that each of `_judges` judged."""

    def __len__(self) -> int:
        return len(self.states)

    def append(  # noqa: PLR0917 - a value for each column
        self,
        judge: JudgedHeads,
        head: bytes,
        bodies: Iterable[bytes],
        peer: str,
        received: float,
        status: int,
    ) -> range:
        """Add a request with a pending event for each of `bodies`; return the indexes of those."""
        request, first = len(self.received), len(self.states)
        if judge is not self._last_judge:
            self._last_judge = judge
            self._judges.append(judge)
            self._judged_from.append(first)
        self.heads.append(head)
        self.peers.append(peer)
        self.received.append(received)
        index = first
        for body in bodies:
            self.requests.append(request)
            self.bodies.append(body)
            self.statuses.append(status)
            self.states.append(PENDING)
            self.changes.append(index << 1)
            index += 1
        return range(first, index)

    def append_batch(  # noqa: PLR0917 - as `append`
        self,
        judge: JudgedHeads,
        head: bytes,
        body: bytes,
        batch: BatchBody,
        peer: str,
        received: float,
    ) -> range:
        """Add a request with a pending event for each record of `batch`; return their indexes.

        `body` is the body as it was sent.
        """
        first, records = len(self.states), batch.records
        encoded = b"" if body == batch.body else body
        suffix = batch.body[records[-1].end :]
        self._batches.append(first, len(records), records[0].start, suffix, encoded)
        ends = [0, *(record.end for record in records)]
        bodies = (batch.body[start:end] for start, end in pairwise(ends))
        return self.append(judge, head, bodies, peer, received, 200)

    def received_at(self, index: int) -> float:
        """When the event at `index` was received, in UNIX seconds."""
        return self.received[self.requests[index]]

    def peer(self, index: int) -> str:
        """The address of the sender of the event at `index`."""
        return self.peers[self.requests[index]].decode()

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
        number = self._batches.find(index) if self._batches.starts else None
        if number is None:
            return self.bodies[index]
        first, size = self._batches.starts[number], self._batches.sizes[number]
        records = [self.bodies[each] for each in range(first, first + size)]
        return self._batches.encoded[number] or b"".join([*records, self._batches.suffixes[number]])

    def judged(self, index: int) -> JudgedHead:
        """What the head of the event at `index` decided, by the settings of that moment."""
        judge = self._judges[0] if len(self._judges) == 1 else self._judge(index)
        return judge[self.heads[self.requests[index]]]

    def _judge(self, index: int) -> JudgedHeads:
        return self._judges[bisect_right(self._judged_from, index) - 1]

    def decide(self, index: int, state: EventState, rule: str = "", reason: str = "") -> None:
        """Give the event at `index` its outcome."""
        if rule:
            self.rules[index] = rule
            self.reasons[index] = reason
        self.states[index] = _CODES[state]
        self.changes.append(index << 1 | 1)

    def lose(self, index: int) -> None:
        """A fault takes the event away, whatever the service would have done with it."""
        self.rules.pop(index, None)
        self.reasons.pop(index, None)
        self.decide(index, EventState.LOST)

    def ingest(self, index: int, table: tuple[str, str]) -> None:
        """Make the event at `index` as many records of `table` as it has copies."""
        rows = self.ingested.get(table)
        if rows is None:
            rows = self.ingested[table] = array("I")
        if index not in self.copies and (not rows or rows[-1] < index):
            rows.append(index)
        else:
            for _ in range(self.copies.get(index, 1)):
                insort(rows, index)
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
        return array("I", sorted(index for rows in chosen for index in rows))

    def account(self) -> Account:
        """The account of the events. Those that no fault hit do not add to what it costs."""
        ingested = [index for index in list(self.faults) if self.states[index] == _INGESTED]
        return Account(
            len(self),
            **{state.value: self.count(state) for state in STATES},
            duplicated=sum(self.copies.get(index, 1) > 1 for index in ingested),
            stored_unconfirmed=sum(index in self.unconfirmed for index in ingested),
            lost_after_200=sum(
                self.statuses[at] in (200, 206) for at in self.indexes(EventState.LOST)
            ),
        )

    def extract(self, index: int) -> tuple[EventLog, int]:
        """A log with a copy of the event at `index`, and where it is in that log.

        Sequence numbers stay. A record of a batch comes with the whole batch.
        """
        batches, number, start, size = self._batches, self._batches.find(index), index, 1
        if number is not None:
            start, size = batches.starts[number], batches.sizes[number]
        log = EventLog(self.first + start)
        log.id = self.id
        if number is not None:
            prefix, suffix = batches.prefixes[number], batches.suffixes[number]
            log._batches.append(0, size, prefix, suffix, batches.encoded[number])
        several, request = range(start, start + size), self.requests[start]
        head, received = self.heads[request], self.received[request]
        bodies = map(self.bodies.__getitem__, several)
        log.append(self._judge(start), head, bodies, self.peer(start), received, 200)
        for copied, each in enumerate(several):
            log.statuses[copied] = self.statuses[each]
            for column in ("rules", "reasons", "faults", "copies", "uuids"):
                if each in getattr(self, column):
                    getattr(log, column)[copied] = getattr(self, column)[each]
            for marks in ("unconfirmed", "expected", "claimed"):
                if each in getattr(self, marks):
                    getattr(log, marks).add(copied)
            table = self.judged(each).table
            if self.states[each] == _INGESTED:
                log.ingest(copied, table)
                columns = self.table_columns.get(table)
                if columns is not None and columns.crossed_at == each:
                    log.table_columns[table] = columns.of_one_event(copied)
            log.states[copied] = self.states[each]
        return log, index - start
