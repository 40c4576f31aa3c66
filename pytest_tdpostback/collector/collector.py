"""The collector: judges requests, responds, and validates accepted events after the response."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4
from weakref import ref

from ..errors import ConfigurationError
from ..protocol import record as protocol_record
from ..protocol import response as responses
from ..protocol.judge import Refusal, judge_batch, judge_body, with_number_of_records
from ..protocol.request import PostbackRequest
from ..protocol.secrets import shortened
from .account import Account, account_of
from .clock import Clock
from .deduplication import Deduplication
from .event_log import NO_STATUS, EventLog, EventState
from .events import global_id, made_up_uuid
from .judged_heads import JudgedHead, JudgedHeads
from .waiting import Timer, call_later, current_cancellation, real_time
from .write_keys import WriteKeys

if TYPE_CHECKING:
    from ..protocol.batch import Batch, Failure
    from ..protocol.judge import Verdict
    from ..protocol.request import RequestHead
    from ..protocol.response import Response
    from ..protocol.settings import Settings

T = TypeVar("T")

NOTED = 1_000
"""How many refused connections and blocked hosts are kept for messages."""
_logger = logging.getLogger("pytest_tdpostback")


@dataclass(frozen=True)
class Effect:
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
    """An event at the moment a fault may hit it: the record it will be, column to value.

    A request that is refused has no columns. A batch has those of its first record, none if that
    record fails.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        request: PostbackRequest,
        judged: JudgedHead,
        refusal: Refusal | None,
        received_at: float,
        log: EventLog,
        batch: Batch | None = None,
    ) -> None:
        """Made for each request while a fault is active."""
        self.request = request
        self._request = request
        self._readable = refusal is None
        if batch is not None:
            first = batch.records[0]
            text = batch.body[first.start : first.end]
            self._request = PostbackRequest(request.head, text, request.peer)
            self._readable = first.failure is None
        self.database = judged.verdict.database
        self.table = judged.verdict.table
        self.refused = refusal is not None
        self.received_at = received_at
        """When the request was received, in UNIX seconds by the clock of the fake server."""
        self._judged = judged
        self._log = log

    @cached_property
    def payload(self) -> Any:
        """What was sent, parsed; `None` if the request is refused or the first record fails."""
        if not self._readable:
            return None
        return protocol_record.payload(self._request, self._judged.verdict)

    @cached_property
    def _columns(self) -> dict[str, Any]:
        if not self._readable:
            return {}
        return protocol_record.record_columns(
            self._request,
            self._judged.verdict,
            self._judged.judge.settings,
            received_at=self.received_at,
            global_id=global_id(self._log, self.request.head, len(self._log)),
        )

    def __getitem__(self, column: str) -> Any:
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Exchange:
    """One request and the response to it, for whoever sends the response."""

    __slots__ = ("collector", "effect", "indexes", "judged", "log", "response", "sent")

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        collector: Collector,
        log: EventLog,
        judged: JudgedHead,
        response: Response,
        indexes: range = range(0),
        effect: Effect | None = None,
    ) -> None:
        """Made by `Collector.receive`."""
        self.collector = collector
        self.log = log
        self.judged = judged
        self.response = response
        self.indexes = indexes
        """The places of its events in `log`; none if the request is not an event (R5, I20)."""
        self.effect = effect
        """What a fault does to the event."""
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
        self.settings = settings
        self.clock = Clock()
        self.keys = WriteKeys(before_change=partial(_wait_for_responses, ref(self)))
        self.log = EventLog()
        """The events since the last `clear`."""
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
        """Hosts that a redirect did not let somebody connect to."""
        self.refused_connections: list[str] = []
        """What reached the server and left no event."""
        self._judge = JudgedHeads(settings)
        self._subscribers: tuple[Callable[[], object], ...] = ()
        self._returned: set[Exchange] = set()
        """Exchanges whose response was returned to a server that may never say it was sent."""
        self._deduplication = Deduplication()
        self._holds = 0
        self._due: list[tuple[float, int, Exchange]] = []
        """Events to validate: when (real time), a number that keeps their order, which."""
        self._due_numbers = itertools.count()
        self._call_later = call_later
        self._timer: Timer | None = None
        self._timer_due = 0.0

    # receiving

    def receive(  # noqa: C901, PLR0912, PLR0915 - one request, top to bottom
        self, head: RequestHead, body: bytes, peer: str, *, size: int | None = None
    ) -> Exchange:
        """Judge a request, keep it as an event, and give the response to it.

        Args:
            head: Its method, target and header fields.
            body: Its body without transfer coding; empty if it was too large to be kept.
            peer: The address of the sender, `host:port`.
            size: The length of the body in bytes, if `body` is not all of it.

        Returns:
            The exchange, whose `response` the caller sends.
        """
        judged = self._judge.of(head.raw, head)
        verdict = judged.verdict
        now = self.clock.now()
        if verdict.preflight:
            date = responses.http_date(int(now))
            response = responses.preflight(head, verdict.profile, date)
            return Exchange(self, self.log, judged, response)
        refusal = verdict.refusal or self._key_refusal(judged)
        if refusal is None and verdict.global_id_request:
            response = responses.global_id(
                verdict,
                responses.http_date(int(now)),
                origin=judged.origin,
                value=responses.sent_global_id(head) or str(uuid4()),
            )
            return Exchange(self, self.log, judged, response)
        batch: Batch | None = None
        if not verdict.ingestion:
            refusal = refusal or judge_body(verdict, head, body, judged.judge.settings, size=size)
        elif refusal is not None:
            refusal = with_number_of_records(refusal, head, body, judged.size_limit)
        else:
            refusal, batch = judge_batch(verdict, head, body, judged.judge.settings, size=size)
        effect = None
        if self.fault_hook is not None:
            request = PostbackRequest(head, body, peer)
            effect = self.fault_hook(Arrival(request, judged, refusal, now, self.log, batch))
        with self.lock:
            log = self.log
            status = 200 if refusal is None else refusal.status
            if batch is not None:
                indexes = log.append_batch(judged, head.raw, body, batch, peer, now, status)
                response = self._receipts(judged, log, indexes, batch, int(now))
            else:
                index = log.append(judged, head.raw, body, peer, now, status)
                indexes = range(index, index + 1)
                if refusal is not None:
                    response = judged.refused(refusal, int(now))
                elif verdict.from_url:
                    response = responses.from_url(
                        verdict,
                        head,
                        responses.http_date(int(now)),
                        origin=judged.origin,
                        global_id=global_id(log, head, index),
                    )
                    log.statuses[index] = response.status
                else:
                    response = judged.accepted(int(now))
            exchange = Exchange(self, log, judged, response, indexes, effect)
            if effect is not None:
                self._apply(effect, exchange)
            lost = effect is not None and not effect.stored
            receipts_sent = effect is None or (effect.responded and effect.response is None)
            decided = []
            for index in indexes:
                failure = batch.records[index - indexes[0]].failure if batch else None
                if failure is not None and (receipts_sent or not lost):
                    log.decide(index, EventState.REFUSED, failure.rule, failure.description)
                elif lost:
                    log.decide(index, EventState.LOST)
                elif refusal is not None:
                    log.decide(index, EventState.REFUSED, refusal.rule, refusal.reason)
                else:
                    continue
                decided.append(index)
            exchange.sent = len(decided) == len(indexes)
            if not exchange.sent:
                log.responses_to_send += 1
        for index in decided:
            _report(log, index)
        self._notify()
        return exchange

    def response_sent(self, exchange: Exchange) -> None:
        """The response is out: the validation of the event may begin (Y1)."""
        if exchange.sent:
            return
        log = exchange.log
        with self.lock:
            if exchange.sent:
                return
            exchange.sent = True
            self._returned.discard(exchange)
            delay = self.settings.validation_delay
            decided = not (delay or self._holds)
            if decided:
                self._decide(exchange)
            else:
                due = real_time() + delay
                heapq.heappush(self._due, (due, next(self._due_numbers), exchange))
                self._schedule()
            log.responses_to_send -= 1  # last: others look at it without the lock
        if decided:
            _report_each(exchange)
        self._notify()

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

        Args:
            exchange: Whose response it is.
            status: The status that reached the sender, `None` if not even that did.
            complete: Whether the whole response reached the sender.
        """
        log = exchange.log
        with self.lock:
            for index in exchange.indexes:
                log.statuses[index] = NO_STATUS if status is None else status
                if complete:
                    log.unconfirmed.discard(index)
                else:
                    log.unconfirmed.add(index)
        self._notify()

    def verdict(self, head: RequestHead) -> Verdict:
        """What `head` alone decides."""
        return self._judge.of(head.raw, head).verdict

    def size_limit(self, head: RequestHead) -> int:
        """B6: the largest body in bytes that a request with `head` may have."""
        return self._judge.of(head.raw, head).size_limit

    def configure(self, settings: Settings) -> None:
        """Judge by `settings` from now on. What arrived before keeps its own."""
        self.settings = settings
        self._judge = JudgedHeads(settings)

    def report_error(self, error: BaseException) -> None:
        """Keep an error that happened while serving, so that the test fails with it."""
        self.errors.append(error)
        self._notify()

    def note_refused_connection(self, reason: str) -> None:
        """Keep what reached the server and left no event, for the messages of assertions."""
        if len(self.refused_connections) < NOTED:
            self.refused_connections.append(reason)
        self._notify()

    def note_blocked_host(self, host: str) -> None:
        """Keep a host that somebody was not let connect to, for the messages of assertions."""
        if len(self.blocked_hosts) < NOTED:
            self.blocked_hosts.append(host)
        self._notify()

    # validating

    def validate(self) -> None:
        """Give every event that is due its outcome (Y3); nothing while validation is held."""
        if not self._due:
            return
        decided: list[Exchange] = []
        with self.lock:
            while self._due and not self._holds and self._due[0][0] <= real_time():
                decided.append(heapq.heappop(self._due)[2])
                self._decide(decided[-1])
            self._schedule()
        for exchange in decided:
            _report_each(exchange)
        if decided:
            self._notify()

    def wait_for_responses(self, timeout: float = 1.0) -> None:
        """Wait until the responses on their way are out, then validate what is due.

        A sender reads its response a moment before the server knows that it is out. Gives up after
        `timeout` seconds.
        """
        if self.log.responses_to_send:
            self.wait_until(lambda: not self.log.responses_to_send, timeout)
        self.validate()

    def hold(self) -> None:
        """Keep accepted events pending from now on, until `release` was called as often."""
        self.wait_for_responses()
        with self.lock:
            self._holds += 1

    def release(self) -> None:
        """End one `hold`. The last one validates what is due.

        Raises:
            ConfigurationError: Nothing is held.
        """
        with self.lock:
            if not self._holds:
                raise ConfigurationError("validation is not held, so there is nothing to release")
            self._holds -= 1
        self.validate()

    @property
    def held(self) -> bool:
        """Whether validation is held."""
        return self._holds > 0

    # looking and waiting

    @property
    def empty(self) -> bool:
        """Whether no event arrived."""
        return not len(self.log)

    @property
    def next_seq(self) -> int:
        """The sequence number of the next event."""
        return self.log.first + len(self.log)

    def account(self) -> Account:
        """The account of the events since the last `clear`."""
        with self.lock:
            return account_of(self.log)

    def settled(self) -> bool:
        """Whether no event is pending."""
        return not self.log.count(EventState.PENDING)

    def settle(self, timeout: float) -> bool:
        """Wait until no event is pending; false if that takes more than `timeout` seconds."""
        return self.wait_until(self.settled, timeout)

    def why_pending(self, timeout: float) -> str:
        """Why what is pending gets no outcome within `timeout` seconds; empty if it does."""
        with self.lock:
            if self._holds:
                return "validation is held"
            remaining = self._due[0][0] - real_time() if self._due else 0.0
        return f"the next one is due in {remaining:.3g} s" if remaining > timeout else ""

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after each change, in the thread that made it and without the lock.

        A change is an event that arrives or gets its outcome, and whatever else a message may be
        about. `callback` must return at once and not raise.

        Returns:
            A function that ends the subscription.
        """
        with self.lock:
            self._subscribers = (*self._subscribers, callback)
        return partial(self._unsubscribe, callback)

    def wait_until(self, condition: Callable[[], T], timeout: float) -> T:
        """Wait until `condition()` is true, for at most `timeout` seconds of real time.

        It is asked at once and after each change, in the thread that waits and without the lock.

        Returns:
            Its last value.

        Raises:
            WaitCancelled: The wait was cancelled by the `Cancellation` of its context.
        """
        __tracebackhide__ = True
        deadline = real_time() + timeout
        changed = threading.Event()
        cancellation = current_cancellation.get()
        unsubscribe = self.subscribe(changed.set)
        try:
            if cancellation is not None:
                cancellation.watch(changed.set)
            while True:
                changed.clear()
                for exchange in self._returned.copy():
                    self.response_sent(exchange)
                self.validate()
                value = condition()
                now = real_time()
                if value or now >= deadline:
                    return value
                changed.wait(min(deadline, self._next_due(deadline)) - now)
                if cancellation is not None:
                    cancellation.check()
        finally:
            unsubscribe()

    def clear(self) -> None:
        """Forget every event, error and note. Sequence numbers go on."""
        with self.lock:
            self.log = EventLog(self.next_seq)
            self._deduplication = Deduplication()
            self._due.clear()
            self._schedule()
            self.errors.clear()
            self.blocked_hosts.clear()
            self.refused_connections.clear()
        self._notify()

    # within

    def _key_refusal(self, judged: JudgedHead) -> Refusal | None:
        """A6, I4: why the key is refused in the response, `None` if it is not."""
        verdict = judged.verdict
        if verdict.key is None or not (verdict.ingestion or verdict.profile.refuses_unknown_keys):
            return None
        reason = self.keys.rejection(verdict.key, *judged.table)
        if not reason or (verdict.global_id_request and verdict.key in self.keys):
            return None
        reason = f"write key {shortened(verdict.key)} {reason}"
        if verdict.ingestion:
            return Refusal(403 if verdict.key in self.keys else 401, "I4", reason)
        return Refusal(403, "A6", reason)

    def _receipts(
        self, judged: JudgedHead, log: EventLog, indexes: range, batch: Batch, second: int
    ) -> Response:
        """I12, I13: the response to a batch, whose events get its status."""
        outcomes: list[str | Failure] = []
        for index, record in zip(indexes, batch.records, strict=True):
            outcomes.append(record.failure or record.uuid or made_up_uuid(log, index))
            if record.uuid:
                log.uuids[index] = record.uuid
        response = responses.receipts(
            judged.verdict,
            judged.head,
            responses.http_date(second),
            origin=judged.origin,
            outcomes=outcomes,
        )
        for index in indexes:
            log.statuses[index] = response.status
        return response

    def _apply(self, effect: Effect, exchange: Exchange) -> None:
        log = exchange.log
        exchange.response = effect.response or exchange.response
        for index in exchange.indexes:
            log.faults[index] = effect.fault
            log.statuses[index] = exchange.response.status if effect.responded else NO_STATUS
            if not effect.responded:
                log.unconfirmed.add(index)
            if effect.copies != 1:
                log.copies[index] = effect.copies
            if effect.recorded is not None:
                effect.recorded(log.first + index)

    def _decide(self, exchange: Exchange) -> None:
        """Y3, Y4, T3, I17: ingest each event, or say by which rule it is not stored."""
        log, judged = exchange.log, exchange.judged
        verdict = judged.verdict
        assert verdict.key is not None
        reason = self.keys.rejection(verdict.key, *judged.table)
        for index in exchange.indexes:
            if log.state(index) is not EventState.PENDING:
                continue
            if reason:
                message = f"write key {shortened(verdict.key)} {reason}"
                log.decide(index, EventState.REJECTED, verdict.key_rule, message)
            elif judged.judge.settings.stale_time == "drop" and (stale := _stale(log, index)):
                log.decide(index, EventState.REJECTED, "T3", stale)
            elif self._is_repeated(log, index, judged):
                message = f"the uuid {log.uuids[index]} was stored in the last hour"
                log.decide(index, EventState.DEDUPLICATED, "I17", message)
            else:
                log.ingest(index, judged.table)

    def _is_repeated(self, log: EventLog, index: int, judged: JudgedHead) -> bool:
        """I17: whether the event was stored already; if not, it counts as stored from now on."""
        if not (judged.verdict.ingestion and self.settings.deduplicate):
            return False
        uuid, received_at = log.uuids.get(index), log.received[index]
        return self._deduplication.is_repeated(judged.table, uuid, received_at)

    def _schedule(self) -> None:
        """Have a timer for the event that is due first, and for nothing else; within the lock."""
        due = self._due[0][0] if self._due and not self._holds else None
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

    def _next_due(self, default: float) -> float:
        with self.lock:
            return self._due[0][0] if self._due and not self._holds else default

    def _unsubscribe(self, callback: Callable[[], object]) -> None:
        with self.lock:
            left = list(self._subscribers)
            if callback in left:
                left.remove(callback)
            self._subscribers = tuple(left)

    def _notify(self) -> None:
        """Call the subscribers; never within the lock."""
        for callback in self._subscribers:
            callback()


def _wait_for_responses(of: ref[Collector]) -> None:
    """Validate what is due before a write key changes. The collector may be gone already."""
    collector = of()
    if collector is not None:
        collector.wait_for_responses()


def _stale(log: EventLog, index: int) -> str:
    """T3: why the event is dropped for its `td_record_time`; empty if it is not."""
    judged = log.judged(index)
    request = PostbackRequest(judged.head, log.body(index), "")
    data = protocol_record.sent_data(request, judged.verdict, judged.judge.settings)
    when = protocol_record.time_of(request, judged.verdict, data, log.received[index])
    return f"td_record_time {when.why}" if when.outside else ""


def _report_each(exchange: Exchange) -> None:
    if not _logger.isEnabledFor(logging.INFO):
        return
    for index in exchange.indexes:
        if exchange.log.state(index) is not EventState.REFUSED:  # those were reported on arrival
            _report(exchange.log, index)


def _report(log: EventLog, index: int) -> None:
    """W4: write to the log of Python why an event came to nothing; never to the sender."""
    if not _logger.isEnabledFor(logging.INFO) or log.state(index) is EventState.INGESTED:
        return
    head = log.judged(index).head
    _logger.info(
        "event #%d %s %s: %d, %s, %s: %s",
        log.first + index,
        head.method,
        repr(head.target)[1:-1],
        log.statuses[index],
        log.state(index),
        log.rules.get(index, log.faults.get(index, "")),
        log.reasons.get(index, "by a fault"),
    )
