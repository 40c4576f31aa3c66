"""The collector: judges requests, responds, and validates accepted events after the response."""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import ref

from ..errors import ConfigurationError
from ..protocol import response as responses
from ..protocol.escaping import shown
from ..protocol.judge import Refusal, judge_batch, judge_body
from ..protocol.record import payload, time_of
from ..protocol.request import PostbackRequest
from ..protocol.secrets import KeyRedactor
from .clock import Clock
from .event_log import NO_STATUS, PENDING, Account, EventLog, EventState, JudgedHeads
from .events import columns_of, global_id, sent_data
from .waiting import WaitCancelled, call_later, current_cancellation, real_time
from .write_keys import WriteKeys

if TYPE_CHECKING:
    from ..protocol.batch import BatchBody, Failure
    from ..protocol.request import RequestHead
    from ..protocol.response import Response
    from ..protocol.settings import Settings
    from .event_log import JudgedHead
    from .waiting import Timer

_T = TypeVar("_T")

NOTED = 1_000
"""How many refused connections and blocked hosts are kept for messages."""
_logger = logging.getLogger("pytest_tdpostback")


class Effect(NamedTuple):
    """What a fault does to one event."""

    fault: str
    """The name that `event.fault` shows."""
    response: Response | None = None
    """Sent instead of the response of the service; `None` keeps that one."""
    responded: bool = True
    """Whether the sender receives the response as usual; else `transmission` decides."""
    stored: bool = True
    """Whether the event reaches the service; else it is lost."""
    copies: int = 1
    """How many records it becomes."""
    transmission: Any = None
    """How the server sends the response; `None` is as usual."""
    recorded: Callable[[int], object] | None = None
    """Called with the sequence number of the event, with the lock of the collector held."""


class Arrival(Mapping[str, Any]):
    """An event when a fault may hit it: the record it will be, column to value.

    A request that is refused has no columns. A batch has those of its first record, none if that
    record fails.
    """

    def __init__(
        self,
        request: PostbackRequest,
        judged: JudgedHead,
        received_at: float,
        log: EventLog,
        *,
        refused: bool,
        batch: BatchBody | None,
    ) -> None:
        self.request = request
        self.database = judged.verdict.database
        self.table = judged.verdict.table
        self.refused = refused
        self.received_at = received_at
        """When the request was received, in UNIX seconds by the clock of the fake server."""
        self._judged = judged
        self._log = log
        self._accepted = None if refused else request
        """The request that becomes a record: of a batch, as if its first record had come alone."""
        if batch is not None:
            first = batch.records[0]
            text = batch.body[first.start : first.end]
            alone = PostbackRequest(request.head, text, request.peer)
            self._accepted = alone if first.failure is None else None

    @cached_property
    def payload(self) -> Any:
        """What was sent, parsed; `None` if the request is refused or the first record fails."""
        return None if self._accepted is None else payload(self._accepted, self._judged.verdict)

    @cached_property
    def _columns(self) -> dict[str, Any]:
        if self._accepted is None:
            return {}
        log = self._log
        return columns_of(log, len(log), self._judged, self._accepted, self.received_at)

    def __getitem__(self, column: str) -> Any:
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class RefusedConnection(NamedTuple):
    """What reached the server and left no event."""

    reason: str
    status: int | None
    """That of the response; `None` if the service would not have sent one."""
    number: int
    """Counts those of one collector, from 1."""


class Exchange:
    """One request and the response to it, for whoever sends the response."""

    def __init__(  # noqa: PLR0917 - in the order in which a request gets them
        self,
        collector: Collector,
        log: EventLog,
        judged: JudgedHead,
        response: Response,
        indexes: Sequence[int] = (),
        effect: Effect | None = None,
    ) -> None:
        """`indexes` are the places of its events in `log`, `effect` what a fault does to them."""
        self.collector, self.log, self.judged = collector, log, judged
        self.response, self.indexes, self.effect = response, indexes, effect
        self.sent = not indexes
        """Whether the response is out, or nothing depends on it."""


class Collector:
    """The events of one fake server, and all that decides about them. Any thread may use it."""

    def __init__(
        self,
        settings: Settings,
        *,
        call_later: Callable[[float, Callable[[], None]], Timer] = call_later,
    ) -> None:
        """`call_later(seconds, function)` runs validation that is due later."""
        self.clock = Clock()
        self.keys = WriteKeys(before_change=partial(_wait_for_responses, ref(self)))
        self.lock = threading.RLock()
        """Held while the log changes, and by whoever reads several things that belong together.

        User code never runs with it.
        """
        self.errors: list[BaseException] = []
        """Errors that happened while serving; the test has to see them."""
        self.fault_hook: Callable[[Arrival], Effect | None] | None = None
        """Asked what a fault does to an event, before the event is in the log."""
        self.calls_user_code = False
        """Whether `fault_hook` runs code of a user, so that `receive` may take long."""
        self.blocked_hosts: list[str] = []
        """Hosts that a redirect did not let somebody connect to, and why: `host: reason`."""
        self.refused_connections: list[RefusedConnection] = []
        self._refused_numbers = itertools.count(1)
        self.other_requests: dict[str, int] = defaultdict(int)
        """How many requests arrived that are no event (R5, I20), by what they are."""
        self._subscribers: list[Callable[[], object]] = []
        self._returned: set[Exchange] = set()
        """Exchanges whose response was returned to a server that may never say it was sent."""
        self.holds: list[str] = []
        """Who holds validation, once for each call of `hold`; empty if nobody does."""
        self._due: list[tuple[float, Exchange]] = []
        """Events to validate, and when (real time): those that are due first come first."""
        self._call_later = call_later
        self._timer: Timer | None = None
        self._timer_due = 0.0
        self.configure(settings)
        self.log = EventLog(self._judge)
        """The events since the last `clear`."""

    def configure(self, settings: Settings) -> None:
        """Judge by `settings` from now on. What arrived before keeps its own."""
        self.settings = settings
        self._judge = JudgedHeads(settings)

    # receiving

    def size_limit(self, head: RequestHead) -> int:
        """B6: the largest body in bytes that a request with `head` may have."""
        return (self._judge.get(head.raw) or self._judge.add(head)).verdict.size_limit

    def receive(  # noqa: C901, PLR0912, PLR0915 - one request, top to bottom
        self, head: RequestHead, body: bytes, peer: str, *, size: int | None = None
    ) -> Exchange:
        """Judge a request, keep it as an event, and return the exchange, whose response is to send.

        `body` is without transfer coding. It is not kept if it is larger than `size_limit`, and may
        be empty then, with its length in bytes as `size`. `peer` is the address of the sender,
        `host:port`.
        """
        judge = self._judge
        judged = judge.get(head.raw) or judge.add(head)
        verdict, now = judged.verdict, self.clock.now()
        if len(body) > verdict.size_limit:
            body, size = b"", len(body)
        refusal, batch, effect = verdict.refusal, None, None
        if judged.key_decides and (key := verdict.key) is not None:
            reason, known = self.keys.rejection(key, judged.table), key in self.keys
            if reason and (judged.is_event or not known):  # the limits of a key are about tables
                status = 401 if verdict.ingestion and not known else 403
                rule = "I4" if verdict.ingestion else "A6"
                refusal = Refusal(status, rule, f"write key {key.shown} {reason}")
        if refusal is None and not judged.is_event:
            response = self._response_without_event(judged, peer, int(now))
            return Exchange(self, self.log, judged, response)
        if verdict.ingestion:
            refusal, batch = judge_batch(verdict, head, body, refusal, size=size)
        elif refusal is None:
            refusal = judge_body(verdict, head, body, size=size)
        if self.fault_hook is not None:
            request = PostbackRequest(head, body, peer)
            arrival = Arrival(
                request, judged, now, self.log, refused=refusal is not None, batch=batch
            )
            effect = self.fault_hook(arrival)
        with self.lock:
            log = self.log
            indexes: Sequence[int]
            if batch is not None:
                spans = [(record.start, record.end) for record in batch.records]
                indexes = log.append_batch(judge, head.raw, body, peer, now, batch.body, spans)
                response = self._receipts(judged, log, indexes, batch, int(now))
            else:
                status = 200 if refusal is None else refusal.status
                index = log.append(judge, head.raw, body, peer, now, status)
                indexes = (index,)
                if refusal is not None:
                    log.decide(index, EventState.REFUSED, refusal.rule, refusal.reason)
                    explain, date = judged.settings.explain, responses.http_date(int(now))
                    if explain:  # a sender puts a key anywhere, and logs what it receives
                        reason = KeyRedactor(self.keys.known())(refusal.reason)
                        refusal = refusal._replace(reason=reason)
                    response = responses.refused(
                        refusal, verdict.profile, head, date, explain=explain
                    )
                elif verdict.from_url:
                    sender, date = global_id(log, head, index), responses.http_date(int(now))
                    response = responses.from_url(verdict, head, date, sender)
                    log.statuses[index] = response.status
                else:
                    response = judged.accepted(now)
            exchange = Exchange(self, log, judged, response, indexes, effect)
            decided: list[int] = []
            if effect is not None:
                self._apply(effect, exchange, batch)
            if refusal is not None or effect is not None or batch is not None:
                decided = [index for index in indexes if log.states[index] != PENDING]
                exchange.sent = len(decided) == len(indexes)
                log.in_progress += bool(decided)
            log.in_progress += not exchange.sent
        if decided:
            self._report(log, decided)
        if self._subscribers:
            self.notify()
        return exchange

    def response_sent(self, exchange: Exchange) -> None:
        """The response is out: the validation of the event may begin (Y1)."""
        log, unstored = exchange.log, []
        with self.lock:
            if exchange.sent:
                return
            exchange.sent = True
            if self._returned:
                self._returned.discard(exchange)
            delay = self.settings.validation_delay
            if delay or self.holds:
                insort(self._due, (real_time() + delay, exchange), key=itemgetter(0))
                self._schedule()
            else:
                unstored = self._decide(exchange)
            if not unstored:
                log.in_progress -= 1  # last: others look at it without the lock
        if unstored:
            self._report(log, unstored)
        if self._subscribers:
            self.notify()

    def response_returned(self, exchange: Exchange) -> None:
        """The response was returned to a server that may never say that it sent it (WSGI).

        It counts as sent as soon as somebody waits for outcomes, if `response_sent` does not come
        first.
        """
        if not exchange.sent:
            self._returned.add(exchange)

    def response_interrupted(
        self, exchange: Exchange, status: int | None, *, complete: bool
    ) -> None:
        """A fault kept the response back.

        `status` is what reached the sender, `None` if not even that did; `complete` tells whether
        the whole response did.
        """
        log = exchange.log
        with self.lock:
            for index in exchange.indexes:
                log.statuses[index] = NO_STATUS if status is None else status
                (log.unconfirmed.discard if complete else log.unconfirmed.add)(index)
        self.notify()

    def report_error(self, error: BaseException) -> None:
        """Keep an error that happened while serving, so that the test fails with it."""
        self.errors.append(error)
        self.notify()

    def note_refused_connection(self, reason: str, status: int | None = None) -> None:
        """Keep what reached the server and left no event; `status` is that of the response."""
        if len(self.refused_connections) < NOTED:
            refused = RefusedConnection(reason, status, next(self._refused_numbers))
            self.refused_connections.append(refused)
        self.notify()

    def note_blocked_host(self, blocked: str) -> None:
        """Keep `host: reason` of who was not let connect, for the messages of assertions."""
        if len(self.blocked_hosts) < NOTED:
            self.blocked_hosts.append(blocked)
        self.notify()

    # validating

    def validate(self) -> None:
        """Give every event that is due its outcome (Y3); nothing while validation is held."""
        if not self._due:
            return
        with self.lock:
            end = 0 if self.holds else bisect_right(self._due, real_time(), key=itemgetter(0))
            due = self._due[:end]
            del self._due[:end]
            decided = [(exchange.log, self._decide(exchange)) for _, exchange in due]
            for log, _ in decided:
                log.in_progress += 1
            self._schedule()
        for log, unstored in decided:
            self._report(log, unstored)
        if decided:
            self.notify()

    def wait_for_responses(self, timeout: float = 1.0) -> None:
        """Wait until the responses on their way are out, then validate what is due.

        A sender reads its response a moment before the server knows that it is out. Gives up after
        `timeout` seconds.
        """
        if self.log.in_progress:
            self.wait_until(lambda: not self.log.in_progress, timeout)
        self.validate()

    def hold(self, holder: str = "the test") -> None:
        """Keep accepted events pending from now on, until `holder` called `release` as often."""
        self.wait_for_responses()
        with self.lock:
            self.holds.append(holder)

    def release(self, holder: str = "the test") -> None:
        """End one `hold` of `holder`; the last one validates what is due. Raises without one."""
        with self.lock:
            if holder not in self.holds:
                by = f" by {holder}, only by {self.holds[0]}" if self.holds else ""
                raise ConfigurationError(f"validation is not held{by}; nothing to release")
            self.holds.remove(holder)
        self.validate()

    # looking and waiting

    @property
    def next_seq(self) -> int:
        """The sequence number of the next event."""
        return self.log.first + len(self.log)

    def account(self) -> Account:
        """The account of the events since the last `clear`."""
        with self.lock:
            return self.log.account()

    def settled(self) -> bool:
        """Whether no event is pending."""
        return not self.log.count(EventState.PENDING)

    def settle(self, timeout: float) -> bool:
        """Wait until no event is pending; false if that takes more than `timeout` seconds."""
        return self.wait_until(self.settled, timeout)

    def why_pending(self, timeout: float) -> str:
        """Why what is pending gets no outcome within `timeout` seconds; empty if it does."""
        with self.lock:
            if self.holds:
                return "validation is held"
            remaining = self._due[0][0] - real_time() if self._due else 0.0
        return f"the next one is due in {remaining:.3g} s" if remaining > timeout else ""

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after each change, in the thread that made it and without the lock.

        A change is an event that arrives or gets its outcome, and whatever else a message may be
        about. `callback` must return at once and not raise. The function returned ends the calls.
        """
        self._subscribers.append(callback)
        return partial(self._subscribers.remove, callback)

    def notify(self) -> None:
        """Let whoever waits look again, because something changed; never within the lock."""
        for callback in self._subscribers.copy():
            callback()

    def wait_until(self, condition: Callable[[], _T], timeout: float) -> _T:
        """Wait until `condition()` is true, for at most `timeout` seconds of real time; its value.

        It is asked at once and after each change, in the thread that waits and without the lock.
        Raises `WaitCancelled` if the `Cancellation` of this context is cancelled.
        """
        __tracebackhide__ = True
        deadline = real_time() + timeout
        changed = threading.Event()
        cancellation = current_cancellation.get()
        unsubscribe = self.subscribe(changed.set)
        try:
            if cancellation is not None:
                cancellation.wake = changed.set
            while True:
                changed.clear()
                if cancellation is not None and cancellation.cancelled:
                    raise WaitCancelled
                for exchange in self._returned.copy():
                    self.response_sent(exchange)
                if self._due:
                    self.validate()
                value = condition()
                now = real_time()
                if value or now >= deadline:
                    return value
                with self.lock:
                    due = self._due[0][0] if self._due and not self.holds else deadline
                changed.wait(min(deadline, due) - now)
        finally:
            unsubscribe()

    def clear(self) -> None:
        """Forget every event, error and note. Sequence numbers go on."""
        with self.lock:
            self.log = EventLog(self._judge, self.next_seq)
            self._due.clear()
            self._schedule()
            self.errors.clear()
            self.blocked_hosts.clear()
            self.refused_connections.clear()
            self.other_requests.clear()
        self.notify()

    # within

    def _response_without_event(self, judged: JudgedHead, peer: str, second: int) -> Response:
        """R5, I20: the response to a preflight or to a request for the global id."""
        head, verdict, date = judged.head, judged.verdict, responses.http_date(second)
        if verdict.global_id_request:
            self.other_requests["global id request"] += 1
            value = responses.sent_global_id(head) or str(uuid.uuid4())
            return responses.global_id(verdict, head, date, value)
        self.other_requests["CORS preflight"] += 1
        response = responses.preflight(head, verdict.profile, date)
        if reason := responses.refused_by_browser(head, response):
            self.note_refused_connection(f"{peer} at {shown(head.host or '*')}: {reason}")
        return response

    @staticmethod
    def _receipts(
        judged: JudgedHead, log: EventLog, indexes: Sequence[int], batch: BatchBody, second: int
    ) -> Response:
        """I12, I13: the response to a batch, whose events get its status."""
        outcomes: list[str | Failure] = []
        for index, record in zip(indexes, batch.records, strict=True):
            failure = record.failure
            outcomes.append(failure or record.uuid or log.made_up_uuid(index))
            if failure is not None:
                log.decide(index, EventState.REFUSED, failure.rule, failure.description)
            elif record.uuid is not None:
                log.uuids[index] = record.uuid
        date = responses.http_date(second)
        response = responses.receipts(judged.verdict, judged.head, date, outcomes)
        for index in indexes:
            log.statuses[index] = response.status
        return response

    @staticmethod
    def _apply(effect: Effect, exchange: Exchange, batch: BatchBody | None) -> None:
        log = exchange.log
        has_receipts = batch is not None and effect.responded and effect.response is None
        exchange.response = effect.response or exchange.response
        for index in exchange.indexes:
            log.faults[index] = effect.fault
            log.statuses[index] = exchange.response.status if effect.responded else NO_STATUS
            if not effect.responded:
                log.unconfirmed.add(index)
            if effect.copies != 1:
                log.copies[index] = effect.copies
            # A receipt that is sent already tells of a record that fails.
            if not (effect.stored or (has_receipts and log.states[index] != PENDING)):
                log.rules.pop(index, None)
                log.reasons.pop(index, None)
                log.decide(index, EventState.LOST)
            if effect.recorded is not None:
                effect.recorded(log.first + index)

    def _decide(self, exchange: Exchange) -> list[int]:
        """Ingest each event, or say by which rule it is not stored; return those that are not."""
        log, judged = exchange.log, exchange.judged
        verdict, key, table = judged.verdict, judged.verdict.key, judged.table
        assert key is not None
        unstored: list[int] = []
        key_reason = self.keys.rejection(key, table)
        if verdict.key_rule == "A10" and key in self.keys:
            key_reason = "is an Authorization without the scheme TD1"
        for index in exchange.indexes:
            if log.states[index] != PENDING:
                continue
            if not key_reason and not judged.validates_records:
                log.ingest(index, table)
                continue
            rule, reason = verdict.key_rule, ""
            if key_reason:
                reason = f"write key {key.shown} {key_reason}"
            elif verdict.ingestion:
                rule, sent = "I17", log.uuids.get(index)
                if log.deduplication.is_repeated(table, sent, log.received(index)):
                    reason = f"the uuid {sent} was stored in the last hour"
            else:
                request, data = sent_data(log, index)
                when = time_of(request, verdict, data, log.received(index))
                rule, reason = "T3", f"td_record_time {when.why}" if when.outside else ""
            if reason:
                state = EventState.DEDUPLICATED if rule == "I17" else EventState.REJECTED
                log.decide(index, state, rule, reason)
                unstored.append(index)
            else:
                log.ingest(index, table)
        return unstored

    def _schedule(self) -> None:
        """Have a timer for the event that is due first, and for nothing else; within the lock."""
        due = self._due[0][0] if self._due and not self.holds else None
        if self._timer is not None and self._timer_due != due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer_due = due
            self._timer = self._call_later(max(due - real_time(), 0.0), self._timer_fired)

    def _timer_fired(self) -> None:
        with self.lock:
            self._timer = None
        self.validate()

    def _report(self, log: EventLog, indexes: list[int]) -> None:
        """W4: write to the log of Python why events came to nothing; never to the sender.

        Until that is done, they count as in progress.
        """
        try:
            if not _logger.isEnabledFor(logging.INFO):
                return
            for index in indexes:
                head = log.judged(index).head
                _logger.info(
                    "event #%d %s %s: %d, %s, %s: %s",
                    log.first + index,
                    head.method,
                    head.shown_target,
                    log.statuses[index],
                    log.state(index),
                    log.rules.get(index, log.faults.get(index, "")),
                    log.reasons.get(index, "by a fault"),
                )
        finally:
            with self.lock:
                log.in_progress -= 1


def _wait_for_responses(of: ref[Collector]) -> None:
    """Validate what is due before a write key changes. The collector may be gone already."""
    collector = of()
    if collector is not None:
        collector.wait_for_responses()
