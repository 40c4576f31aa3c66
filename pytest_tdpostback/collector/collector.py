"""The collector: takes requests, gives answers, and validates what it accepted afterwards."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..protocol import answer as answers
from ..protocol.judge import Refusal, Verdict, judge_body, judge_head
from ..protocol.record import sent_data, time_of
from ..protocol.request import Head, PostbackRequest
from ..protocol.secrets import shortened
from .clock import Clock
from .columns import SeenColumns
from .keys import WriteKeys
from .log import NO_STATUS, EventLog, EventState
from .waiting import later, real_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..protocol.answer import Answer
    from ..protocol.findings import Finding
    from ..protocol.settings import Settings

    Intervene = Callable[[int, PostbackRequest, Verdict, Refusal | None], "Intervention | None"]

REMEMBERED_HEADS = 1024
"""Verdicts kept for heads seen before; senders repeat their heads, so few are needed."""


@dataclass(frozen=True)
class Intervention:
    """What a fault does to one event: answer something else or nothing, store it not or twice.

    `delivery` is for the transport: how the answer travels.
    """

    fault: str
    answer: Answer | None = None
    answered: bool = True
    stored: bool = True
    copies: int = 1
    delivery: Any = None


@dataclass(frozen=True)
class Receipt:
    """What a request came to: the answer, and the event's sequence number (none for `OPTIONS`)."""

    answer: Answer
    seq: int = 0
    intervention: Intervention | None = None


class Collector:
    """The events of one double and all that decides about them. Safe to use from any thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        call_later: Callable[[float, Callable[[], None]], None] = later,
    ) -> None:
        """`call_later(seconds, function)` is how validation gets to run after an answer."""
        self.settings = settings
        self.clock = Clock()
        self.keys = WriteKeys(before_change=self.validate_due)
        self.log = EventLog()
        self.errors: list[BaseException] = []
        self.on_outcome: list[Callable[[EventLog, int], None]] = []
        self.intervene: Intervene | None = None
        self._call_later = call_later
        self._changed = threading.Condition(threading.RLock())
        self._watchers = 0
        self._unanswered: dict[int, Verdict] = {}
        self._handed_over: set[int] = set()
        self._pending: deque[tuple[float, int, Verdict]] = deque()
        self._scheduled = False
        self._holds = 0
        self._columns = SeenColumns()
        self._visitors = uuid.uuid4()
        self._verdicts: dict[bytes, Verdict] = {}
        self._accepted: dict[bytes, Answer] = {}
        self._second = -1
        self._date = ""

    # receiving

    def receive(self, head: Head, body: bytes, peer: str, *, size: int | None = None) -> Receipt:
        """Judge a request, keep it as an event and return the answer to it.

        `size` is the length of the body in bytes where `body` is not all of it. The caller sends the answer, then calls `answered`: only then is the event validated (Y1).
        """
        verdict = self.verdict(head)
        now = self.clock.now()
        if verdict.preflight:
            return Receipt(self._preflight(head, verdict, now))
        refusal = (
            verdict.refusal
            or (self._key_refusal(verdict) if verdict.profile.refuses_unknown_keys else None)
            or judge_body(verdict, head, body, self.settings, size=size)
        )
        with self._changed:
            log = self.log
            index = log.append(head.raw, body, peer, now, refusal.status if refusal else 200)
            seq = log.first + index
            intervention = None
            if self.intervene is not None:
                request = PostbackRequest(head, body, peer)
                intervention = self.intervene(seq, request, verdict, refusal)
            if refusal is not None and intervention is None:
                log.decide(index, EventState.REFUSED, refusal.rule, refusal.reason)
                self._announce(index)
            elif intervention is None or intervention.stored:
                self._unanswered[seq] = verdict
            answer = self._answer(head, verdict, refusal, seq, now)
            log.statuses[index] = answer.status
            if intervention is not None:
                return self._intervened(index, answer, refusal, intervention)
        return Receipt(answer, seq)

    def verdict(self, head: Head) -> Verdict:
        """What `head` alone decides, remembered for the next request with an equal head."""
        verdict = self._verdicts.get(head.raw)
        if verdict is None:
            if len(self._verdicts) >= REMEMBERED_HEADS:
                self._verdicts.clear()
            verdict = self._verdicts[head.raw] = judge_head(head, self.settings)
        return verdict

    def answered(self, seq: int) -> None:
        """The answer to event `seq` is on the wire: its validation may begin (Y1)."""
        with self._changed:
            verdict = self._unanswered.pop(seq, None)
            if verdict is not None:
                delay = self.settings.validation_delay
                self._pending.append((real_time() + delay, seq, verdict))
                self._schedule(delay)

    def answered_late(self, seq: int, status: int, *, whole: bool = True) -> None:
        """Of the answer to event `seq`, which a fault kept back, the status got out, or `whole`.

        `status` is `NO_STATUS` where not even that did.
        """
        with self._changed:
            index = seq - self.log.first
            if index >= 0:
                self.log.statuses[index] = status
                (self.log.unheard.discard if whole else self.log.unheard.add)(index)
                if self._watchers:
                    self._changed.notify_all()

    def handed_over(self, seq: int) -> None:
        """The answer to event `seq` is with somebody who may never say that it was sent.

        It counts as sent when they say so by `answered`, at the latest when somebody waits.
        """
        self._handed_over.add(seq)

    def visitor(self, head: Head, seq: int) -> str:
        """P7: the global id of the sender: of its cookie, else one made up for event `seq`."""
        return answers.sent_global_id(head) or str(uuid.uuid5(self._visitors, str(seq)))

    def configure(self, settings: Settings) -> None:
        """Judge by `settings` from now on; what arrived before is shown by them, too."""
        with self._changed:
            self.settings = settings
            self._verdicts.clear()
            self._accepted.clear()

    # validating

    def validate(self) -> None:
        """Give every event that is due its outcome (Y3); a no-op while validation is held."""
        with self._changed:
            self._scheduled = False
            if self._holds:
                return
            now = real_time()
            while self._pending and self._pending[0][0] <= now:
                _, seq, verdict = self._pending.popleft()
                index = seq - self.log.first
                if index >= 0:
                    self._decide(index, verdict)
            if self._pending:
                self._schedule(self._pending[0][0] - now)
            if self._watchers:
                self._changed.notify_all()

    def validate_due(self) -> None:
        """Validate what is due, after the answers on their way are out (a moment, bounded)."""
        with self._changed:
            self.wait(lambda: not self._unanswered, 1.0)
            self.validate()

    def hold(self) -> None:
        """Keep accepted events pending from now on, until as many `release` calls came."""
        self.validate_due()
        with self._changed:
            self._holds += 1

    def release(self) -> None:
        """End one `hold`; with the last one, what is due is validated."""
        with self._changed:
            self._holds -= 1
        self.validate()

    # looking

    @property
    def changed(self) -> threading.Condition:
        """Held while reading more than one thing that belongs together."""
        return self._changed

    def wait(self, met: Callable[[], Any], seconds: float) -> Any:
        """The first true value of `met()`, asked now and after each change, else its last value.

        Gives up after `seconds` of real time.
        """
        deadline = real_time() + seconds
        with self._changed:
            self._watchers += 1
            try:
                self._presume_answered()
                value = met()
                while not value:
                    remaining = deadline - real_time()
                    if remaining <= 0:
                        break
                    self._changed.wait(remaining)
                    value = met()
                return value
            finally:
                self._watchers -= 1

    def settle(self, seconds: float) -> bool:
        """Wait until no event is pending; false where that took more than `seconds`."""
        return bool(self.wait(lambda: not self.log.count(EventState.PENDING), seconds))

    def request(self, log: EventLog, index: int) -> PostbackRequest:
        """The stored request at `index` of `log`."""
        return PostbackRequest(Head(log.heads[index]), log.bodies[index], log.peers[index])

    def column_findings(self, log: EventLog, index: int) -> list[Finding]:
        """C2: the finding of the event that brings its table above the limit of columns."""
        return self._columns.findings(self, log, index)

    def clear(self) -> None:
        """Forget every event and error; sequence numbers go on."""
        with self._changed:
            self.log = EventLog(first=self.log.first + len(self.log))
            self._pending.clear()
            self._unanswered.clear()
            self.errors.clear()
            self._changed.notify_all()

    # within

    def _presume_answered(self) -> None:
        while self._handed_over:
            self.answered(self._handed_over.pop())

    def _key_refusal(self, verdict: Verdict) -> Refusal | None:
        if verdict.key is None or verdict.database is None or verdict.table is None:
            return None
        fault = self.keys.fault(verdict.key, verdict.database, verdict.table)
        if not fault:
            return None
        return Refusal(403, "A6", f"write key {shortened(verdict.key)} {fault}")

    def _answer(
        self, head: Head, verdict: Verdict, refusal: Refusal | None, seq: int, now: float
    ) -> Answer:
        date = self._dated(now)
        known = self._accepted.get(head.raw) if refusal is None else None
        if known is not None:
            return known
        origin = head.headers.get("origin")
        if refusal is not None:
            return answers.refused(
                refusal, verdict.profile, date, origin=origin, explain=self.settings.explain
            )
        if verdict.from_url:
            visitor = self.visitor(head, seq)
            return answers.from_url(verdict, head, date, origin=origin, visitor=visitor)
        known = self._accepted[head.raw] = answers.ok(verdict.profile, date, origin=origin)
        return known

    def _preflight(self, head: Head, verdict: Verdict, now: float) -> Answer:
        if verdict.refusal is None:
            return answers.preflight(head, verdict.profile, self._dated(now))
        return self._answer(head, verdict, verdict.refusal, 0, now)

    def _dated(self, now: float) -> str:
        if int(now) != self._second or len(self._accepted) >= REMEMBERED_HEADS:
            self._accepted.clear()
            self._second = int(now)
            self._date = answers.http_date(now)
        return self._date

    def _intervened(
        self, index: int, answer: Answer, refusal: Refusal | None, intervention: Intervention
    ) -> Receipt:
        log = self.log
        answer = intervention.answer or answer
        log.faults[index] = intervention.fault
        log.statuses[index] = answer.status if intervention.answered else NO_STATUS
        if not intervention.answered:
            log.unheard.add(index)
        if intervention.copies != 1:
            log.copies[index] = intervention.copies
        if not intervention.stored:
            log.decide(index, EventState.LOST)
            self._announce(index)
        elif refusal is not None:
            log.decide(index, EventState.REFUSED, refusal.rule, refusal.reason)
            self._announce(index)
        return Receipt(answer, log.first + index, intervention)

    def _decide(self, index: int, verdict: Verdict) -> None:
        assert verdict.key is not None
        assert verdict.database is not None
        assert verdict.table is not None
        route = (verdict.database, verdict.table)
        fault = self.keys.fault(verdict.key, *route)
        if fault:
            reason = f"write key {shortened(verdict.key)} {fault}"
            self.log.decide(index, EventState.REJECTED, verdict.key_rule, reason)
        elif self.settings.stale_time == "drop" and (stale := self._stale(index, verdict)):
            self.log.decide(index, EventState.REJECTED, "T3", stale)
        else:
            self.log.ingest(index, route)
        self._announce(index)

    def _stale(self, index: int, verdict: Verdict) -> str:
        request = self.request(self.log, index)
        data = sent_data(request, verdict, self.settings)
        when = time_of(request, verdict, data, self.log.received[index])
        return f"td_record_time {when.why}" if when.rule == "T3" else ""

    def _announce(self, index: int) -> None:
        for listener in self.on_outcome:
            listener(self.log, index)
        if self._watchers:
            self._changed.notify_all()

    def _schedule(self, seconds: float) -> None:
        if not self._scheduled and not self._holds:
            self._scheduled = True
            self._call_later(max(seconds, 0.0), self.validate)

    def pending(self) -> Iterator[int]:
        """Where in the log the events without an outcome are."""
        return self.log.indexes(EventState.PENDING)
