"""The event log: columns of bytes and numbers, one entry for each event.

A million events stay cheap to keep, and the cyclic garbage collector has nothing to walk, because
no entry is an object of its own. `events` makes objects of entries when somebody looks at them.
"""

from __future__ import annotations

import itertools
import uuid
from array import array
from bisect import bisect_right, insort
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..protocol import response as responses
from ..protocol.judge import judge_head
from ..protocol.request import PostbackRequest, RequestHead
from .deduplication import Deduplication

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..protocol.response import Response
    from ..protocol.settings import Settings

REMEMBERED = 1_024
"""How many different heads or texts are recognised when they come again."""
LONGEST_HEAD = 4_096
"""Bytes of the longest head whose verdict is remembered: hostile ones must not fill the memory."""
NO_STATUS = 0
"""Stands in the column of statuses for a response whose status never got out."""


class EventState(StrEnum):
    """What became of an event. `str(state)` is the bare value."""

    REFUSED = "refused"
    PENDING = "pending"
    INGESTED = "ingested"
    REJECTED = "rejected"
    LOST = "lost"
    DEDUPLICATED = "deduplicated"


STATES = tuple(EventState)
_CODES = {state: code for code, state in enumerate(STATES)}
PENDING, _INGESTED = _CODES[EventState.PENDING], _CODES[EventState.INGESTED]
_UUID_START = str(uuid.uuid4())[:19]
_log_numbers = itertools.count()


class Account(NamedTuple):
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

    def __init__(self, head: RequestHead, settings: Settings) -> None:
        self.head = head
        self.settings = settings
        self.verdict = verdict = judge_head(head, settings)
        self.table = (verdict.database or "", verdict.table or "")
        self.is_event = not (verdict.preflight or verdict.global_id_request)
        """R5, I20: whether the request is an event if it is not refused."""
        self.key_decides = verdict.key is not None and (
            verdict.ingestion or verdict.profile.refuses_unknown_keys
        )
        """A6, I4: whether an unknown key is refused in the response."""
        self.validates_records = (
            settings.deduplicate if verdict.ingestion else settings.stale_time == "drop"
        )
        """T3, I17: whether an event with a good key may still be thrown away."""
        self.describes_sender = verdict.from_url or verdict.ingestion
        """P7, I19: whether a record may have columns about its sender."""
        self._accepted_from = -1
        self._accepted: Response

    def accepted(self, now: float) -> Response:
        """W1: the response to an event with a JSON body at `now` (UNIX time).

        All responses of one second are equal, so they are one object.
        """
        if not 0 <= now - self._accepted_from < 1:
            self._accepted_from = int(now)
            date = responses.http_date(self._accepted_from)
            self._accepted = responses.accepted(self.verdict.profile, self.head, date)
        return self._accepted


class JudgedHeads(dict[bytes, JudgedHead]):
    """What each head, as bytes, decides by `settings`.

    Senders repeat their heads, and judging one takes as long as all else that is done for an event.
    """

    def __init__(self, settings: Settings) -> None:
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


class _Slices:
    """Byte strings in order, each a slice of `text`."""

    def __init__(self, text: bytearray) -> None:
        self._text = text
        self.starts = array("Q")
        self.ends = array("Q")

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._text[self.starts[index] : self.ends[index]])


class _RepeatedColumn:
    """Byte strings in order, of which many are equal. Equal ones are kept once."""

    def __init__(self) -> None:
        self.text = bytearray()
        """The distinct strings, one behind the other."""
        self._ends = array("Q", [0])
        self._places = array("I")
        """For each string, which of the distinct ones it is."""
        self._recent: dict[bytes | str, int] = {}

    def __getitem__(self, index: int) -> bytes:
        place = self._places[index]
        return bytes(self.text[self._ends[place] : self._ends[place + 1]])

    def append(self, value: bytes | str) -> None:
        place = self._recent.get(value)
        if place is None:
            if len(self._recent) >= REMEMBERED:
                self._recent.clear()
            place = self._recent[value] = len(self._ends) - 1
            self.text += value.encode() if isinstance(value, str) else value
            self._ends.append(len(self.text))
        self._places.append(place)


class TableColumns:
    """C2: the columns that the records of one table brought, as far as they were counted."""

    def __init__(self, names: Iterable[str] = (), crossed_at: int | None = None) -> None:
        self.names = set(names)
        self.crossed_at = crossed_at
        """The index of the event that brought the table above its limit."""
        self.counted = 0
        """How many records were counted."""
        self.last = -1
        """The index of the event of the last one."""


class EventLog:
    """The events of one collector in order of arrival.

    `first` is the sequence number of the entry at index 0. The collector writes with its lock held.
    Anybody may read what is below `len(log)` at any time: an entry is complete before it counts.
    """

    def __init__(self, judge: JudgedHeads, first: int = 1) -> None:
        self.first = first
        number = next(_log_numbers)
        self.id = f"{_UUID_START}8{number >> 16:03x}-{number & 0xFFFF:04x}"
        """Begins the UUIDs of the events (I16). A log with a copy of an event has the same."""
        self.heads = _RepeatedColumn()
        """The head of each request. All records of a batch came with one request."""
        self._peers = _RepeatedColumn()
        self._received = array("d")
        self.text = bytearray()
        """All bodies, one behind the other."""
        self.bodies = _Slices(self.text)
        """The body of each event; of a batch, the JSON text of its record."""
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
        self.in_progress = 0
        """Requests whose response is not out yet, or whose loss is not in the log of Python yet."""
        self.last_batch: tuple[int, PostbackRequest] | None = None
        """The batch whose events were looked at last: its number and its request."""
        self.deduplication = Deduplication()
        self._batch_starts = array("Q")
        """The index of the first record of each batch (I7)."""
        self._batch_sizes = array("H")
        self._batch_requests = array("Q")
        """Which of all requests each batch is."""
        self._batch_bodies = _Slices(self.text)
        """The decoded body of each batch: the bodies of its events are parts of it."""
        self._encoded: dict[int, bytes] = {}
        """For the number of a batch, its body as it was sent, if it had a content coding."""
        self._judge = judge
        """What judged the last event."""
        self._earlier_judges: list[tuple[int, JudgedHeads]] = []
        """What judged the events before, up to which index."""

    def __len__(self) -> int:
        return len(self.states)

    def append(  # noqa: PLR0917 - a value for each column
        self,
        judge: JudgedHeads,
        head: bytes,
        body: bytes,
        peer: str,
        received: float,
        status: int,
    ) -> int:
        """Add a pending event; return its index."""
        index, text, bodies = len(self.states), self.text, self.bodies
        self._append_request(judge, head, peer, received)
        bodies.starts.append(len(text))
        text += body
        bodies.ends.append(len(text))
        self.statuses.append(status)
        self.changes.append(index << 1)
        self.states.append(PENDING)
        return index

    def append_batch(  # noqa: PLR0917 - as `append`
        self,
        judge: JudgedHeads,
        head: bytes,
        body: bytes,
        peer: str,
        received: float,
        decoded: bytes,
        spans: list[tuple[int, int]],
    ) -> range:
        """Add a pending event for each record of a batch; return their indexes.

        `body` is the body as it was sent, and `decoded` is it without content coding. `spans` is
        where each record begins and ends in that.
        """
        first, start, size = len(self.states), len(self.text), len(spans)
        if body != decoded:
            self._encoded[len(self._batch_starts)] = body
        self._batch_requests.append(len(self._received))
        self._batch_bodies.starts.append(start)
        self._batch_bodies.ends.append(start + len(decoded))
        self._batch_sizes.append(size)
        self._batch_starts.append(first)
        self._append_request(judge, head, peer, received)
        self.text += decoded
        self.bodies.starts.extend(start + begin for begin, _ in spans)
        self.bodies.ends.extend(start + end for _, end in spans)
        self.statuses.extend([200] * size)
        self.changes.extend(index << 1 for index in range(first, first + size))
        self.states += bytes([PENDING]) * size
        return range(first, first + size)

    def _append_request(self, judge: JudgedHeads, head: bytes, peer: str, received: float) -> None:
        if judge is not self._judge:
            self._earlier_judges.append((len(self.states), self._judge))
            self._judge = judge
        self.heads.append(head)
        self._peers.append(peer)
        self._received.append(received)

    def batch_of(self, index: int) -> tuple[int | None, int, int]:
        """The number of the batch of the event at `index` (I7), its first index, and its size.

        An event that was sent alone has no number; its index and 1 follow.
        """
        number = bisect_right(self._batch_starts, index) - 1
        if number >= 0:
            first, size = self._batch_starts[number], self._batch_sizes[number]
            if index < first + size:
                return number, first, size
        return None, index, 1

    def around_records(self, index: int) -> bytes:
        """The decoded body of the batch of the event at `index`, without its records.

        Empty for all but the first record, so that it is looked at once.
        """
        number, first, size = self.batch_of(index)
        if number is None or index != first:
            return b""
        body, start = self._batch_bodies[number], self._batch_bodies.starts[number]
        end = self.bodies.ends[first + size - 1]
        return body[: self.bodies.starts[first] - start] + body[end - start :]

    def request_body(self, index: int) -> bytes:
        """The whole body of the request of the event at `index`, as it was sent."""
        number, _, _ = self.batch_of(index)
        if number is None:
            return self.bodies[index]
        return self._encoded.get(number) or self._batch_bodies[number]

    def request(self, index: int) -> PostbackRequest:
        """The request of the event at `index`; of a batch, as if its record had come alone."""
        return PostbackRequest(self.judged(index).head, self.bodies[index], self.peer(index))

    def peer(self, index: int) -> str:
        """The address of the sender of the event at `index`."""
        return self._peers[self._request_of(index) if self._batch_starts else index].decode()

    def received(self, index: int) -> float:
        """When the event at `index` was received: UNIX seconds by the clock of the server."""
        return self._received[self._request_of(index) if self._batch_starts else index]

    def _request_of(self, index: int) -> int:
        """Which of all requests the event at `index` came with."""
        batch = bisect_right(self._batch_starts, index) - 1
        if batch < 0:
            return index
        last = self._batch_starts[batch] + self._batch_sizes[batch] - 1
        return self._batch_requests[batch] + max(0, index - last)

    def made_up_uuid(self, index: int) -> str:
        """I16: the UUID of the event at `index`, if it brings none; always the same one."""
        return f"{self.id}{self.first + index:08x}"

    def judged(self, index: int) -> JudgedHead:
        """What the head of the event at `index` decided, by the settings of that moment."""
        judge = self._judge
        for end, earlier in self._earlier_judges:
            if index < end:
                judge = earlier
                break
        return judge[self.heads[self._request_of(index) if self._batch_starts else index]]

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
        return array("I", sorted(itertools.chain(*chosen)))

    def account(self) -> Account:
        """The account of the events. Those that no fault hit do not add to what it costs."""
        ingested = [index for index in list(self.faults) if self.states[index] == _INGESTED]
        lost = [self.statuses[index] for index in self.indexes(EventState.LOST)]
        return Account(
            len(self),
            **{state.value: self.count(state) for state in STATES},
            duplicated=sum(self.copies.get(index, 1) > 1 for index in ingested),
            stored_unconfirmed=len(self.unconfirmed.intersection(ingested)),
            lost_after_200=lost.count(200) + lost.count(206),
        )

    def extract(self, index: int) -> tuple[EventLog, int]:
        """A log with a copy of the event at `index`, and where it is in that log.

        Sequence numbers stay. A record of a batch comes with the whole batch.
        """
        number, start, size = self.batch_of(index)
        several = range(start, start + size)
        judged, peer, received = self.judged(start), self.peer(start), self.received(start)
        judge, head, body = JudgedHeads(judged.settings), judged.head.raw, self.request_body(start)
        log = EventLog(judge, self.first + start)
        log.id = self.id
        if number is None:
            log.append(judge, head, body, peer, received, 200)
        else:
            starts, ends = self.bodies.starts, self.bodies.ends
            begin = self._batch_bodies.starts[number]
            spans = [(starts[each] - begin, ends[each] - begin) for each in several]
            decoded = self._batch_bodies[number]
            log.append_batch(judge, head, body, peer, received, decoded, spans)
        log.statuses = self.statuses[start : start + size]
        for name in ("rules", "reasons", "faults", "copies", "uuids"):
            column = getattr(self, name)
            setattr(log, name, {at - start: column[at] for at in several if at in column})
        for name in ("unconfirmed", "expected", "claimed"):
            marked = getattr(self, name)
            setattr(log, name, {at - start for at in several if at in marked})
        columns = self.table_columns.get(judged.table, TableColumns())
        if columns.crossed_at is not None and columns.crossed_at in several:
            copy = TableColumns(columns.names, columns.crossed_at - start)
            log.table_columns[judged.table] = copy
        for copied, state in enumerate(self.states[start : start + size]):
            if state == _INGESTED:
                log.ingest(copied, judged.table)
            log.states[copied] = state
        return log, index - start
