"""The collector: takes requests, gives answers, and validates what it accepted afterwards."""

from __future__ import annotations

import threading
import uuid
import weakref
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..protocol import response as responses
from ..protocol.findings import findings
from ..protocol.judge import Refusal, judge_body, judge_json
from ..protocol.record import sent_data
from ..protocol.request import PostbackRequest, RequestHead
from ..protocol.secrets import shortened
from .clock import Clock
from .columns import column_findings
from .event_log import NO_STATUS, EventLog, EventState
from .plans import Plan, Plans
from .receipt import Intervene, Intervention, Receipt
from .validation import Validation
from .waiting import Changed, later, real_time
from .write_keys import WriteKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..protocol.findings import Finding
    from ..protocol.judge import Verdict
    from ..protocol.response import Response
    from ..protocol.settings import Settings

__all__ = ["Collector", "Intervene", "Intervention", "Receipt"]


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
        self.keys = WriteKeys(before_change=partial(_validate_due, weakref.ref(self)))
        self.errors: list[BaseException] = []
        self.blocked_hosts: list[str] = []
        """Hosts that a redirect did not let somebody connect to."""
        self.on_outcome: list[Callable[[EventLog, int], None]] = []
        self.intervene: Intervene | None = None
        self._log: EventLog | None = None
        self._first = 1
        self.lock = threading.RLock()
        """Held while reading more than one thing that belongs together."""
        self._changed: Changed | None = None
        self._watchers = 0
        self._validation = Validation(call_later)
        self._handed_over: set[int] = set()
        self._plans = Plans(settings)

    @property
    def log(self) -> EventLog:
        """The events that arrived; made when it is needed, for many tests send none."""
        if self._log is None:
            with self.lock:
                if self._log is None:
                    self._log = EventLog(self._first)
        return self._log

    @property
    def empty(self) -> bool:
        """Whether no event arrived."""
        return self._log is None or not len(self._log)

    @property
    def next_seq(self) -> int:
        """The sequence number of the next event."""
        return self._first if self._log is None else self._first + len(self._log)

    # receiving

    def receive(
        self, head: RequestHead, body: bytes, peer: str, *, size: int | None = None
    ) -> Receipt:
        """Judge a request, keep it as an event and return the answer to it.

        `size` is the length of the body in bytes where `body` is not all of it. The caller sends
        the answer, then calls `answered`: only then is the event validated (Y1).
        """
        plan = self._plans.of(head.raw)
        verdict = plan.verdict
        now = self.clock.now()
        if verdict.preflight:
            with self.lock:
                return Receipt(self._preflight(head, plan, now))
        if plan.straight and (len(body) if size is None else size) <= plan.limit:
            refusal = judge_json(body)
        else:
            refusal = (
                verdict.refusal
                or (self._key_refusal(plan) if verdict.profile.refuses_unknown_keys else None)
                or judge_body(verdict, head, body, self.settings, size=size)
            )
        with self.lock:
            log = self.log if self._log is None else self._log
            index = log.append(head.raw, body, peer, now, refusal.status if refusal else 200)
            seq = log.first + index
            if self.intervene is not None:
                request = PostbackRequest(head, body, peer)
                intervention = self._intervention(index, request, verdict, refusal)
                if intervention is not None:
                    answer = self._answer(head, plan, refusal, seq, now)
                    return self._intervened(index, plan, answer, refusal, intervention)
            if refusal is not None:
                log.decide(index, EventState.REFUSED, refusal.rule, refusal.reason)
                self.announce(index)
            else:
                self._validation.unanswered[seq] = plan
            answer = self._answer(head, plan, refusal, seq, now)
            log.statuses[index] = answer.status
        return Receipt(answer, seq)

    def verdict(self, head: RequestHead) -> Verdict:
        """What `head` alone decides."""
        return self._plans.of(head.raw).verdict

    def limit(self, head: RequestHead) -> int:
        """B6: the largest body in bytes that a request with `head` may have."""
        return self._plans.of(head.raw).limit

    def answered(self, *seqs: int) -> None:
        """The answers to the events `seqs` are on the wire: their validation may begin (Y1)."""
        with self.lock:
            for seq in seqs:
                self._validation.begin(self, seq)

    def answered_late(self, seq: int, status: int, *, whole: bool = True) -> None:
        """Of the answer to event `seq`, which a fault kept back, the status got out, or `whole`.

        `status` is `NO_STATUS` where not even that did.
        """
        with self.lock:
            index = seq - self.log.first
            if index >= 0:
                self.log.statuses[index] = status
                (self.log.unheard.discard if whole else self.log.unheard.add)(index)
                self.wake()

    def handed_over(self, seq: int) -> None:
        """The answer to event `seq` is with somebody who may never say that it was sent.

        It counts as sent when they say so by `answered`, at the latest when somebody waits.
        """
        self._handed_over.add(seq)

    def visitor(self, head: RequestHead, seq: int) -> str:
        """P7: the global id of the sender: of its cookie, else one made up for event `seq`."""
        return responses.sent_global_id(head) or str(uuid.uuid5(self._visitors, str(seq)))

    @cached_property
    def _visitors(self) -> uuid.UUID:
        return uuid.uuid4()

    def configure(self, settings: Settings) -> None:
        """Judge by `settings` from now on; what arrived before is shown by them, too."""
        with self.lock:
            self.settings = settings
            self._plans = Plans(settings)

    # validating

    def validate(self) -> None:
        """Give every event that is due its outcome (Y3); a no-op while validation is held."""
        with self.lock:
            self._validation.run(self)

    def validate_due(self, seconds: float = 1.0) -> None:
        """Validate what is due, after the answers on their way are out or `seconds` over."""
        if self.empty:
            return
        with self.lock:
            self.wait(self.all_answered, seconds)
            self.validate()

    def hold(self) -> None:
        """Keep accepted events pending from now on, until as many `release` calls came."""
        self.validate_due()
        with self.lock:
            self._validation.holds += 1

    def release(self) -> None:
        """End one `hold`; with the last one, what is due is validated."""
        with self.lock:
            self._validation.holds -= 1
        self.validate()

    # looking

    @property
    def changed(self) -> Changed:
        """What those who wait for an outcome are told by; made when somebody waits."""
        with self.lock:
            if self._changed is None:
                self._changed = Changed(self.lock)
            return self._changed

    def wait(self, met: Callable[[], Any], seconds: float) -> Any:
        """The first true value of `met()`, asked now and after each change, else its last value.

        Gives up after `seconds` of real time.
        """
        __tracebackhide__ = True
        deadline = real_time() + seconds
        with self.lock:
            self._watchers += 1
            try:
                self._presume_answered()
                value = met()
                while not value:
                    now = real_time()
                    if now >= deadline:
                        break
                    due = self._validation.due()
                    self.changed.wait(min(deadline, due or deadline) - now)
                    self._validation.run(self)
                    value = met()
                return value
            finally:
                self._watchers -= 1

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` with each change from now on, in the thread that made it."""
        with self.lock:
            self._watchers += 1
            self.changed.watch(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Call `wake` no more."""
        with self.lock:
            self._watchers -= 1
            self.changed.unwatch(wake)

    def all_answered(self) -> bool:
        """Whether no answer is still on its way to the wire."""
        return not self._validation.unanswered

    def settled(self) -> bool:
        """Whether no event is pending."""
        return self._log is None or not self._log.count(EventState.PENDING)

    @property
    def held(self) -> bool:
        """Whether validation is held."""
        return self._validation.holds > 0

    def why_pending(self, seconds: float) -> str:
        """Why what is pending cannot have its outcome within `seconds`; empty where it can."""
        with self.lock:
            if self.held:
                return "validation is held"
            due = self._validation.due()
        remaining = 0.0 if due is None else due - real_time()
        return f"the next one is due in {remaining:.3g} s" if remaining > seconds else ""

    def settle(self, seconds: float) -> bool:
        """Wait until no event is pending; false where that took more than `seconds`."""
        return bool(self.wait(self.settled, seconds))

    def request(self, log: EventLog, index: int) -> PostbackRequest:
        """The stored request at `index` of `log`."""
        peer = log.peers[index].decode()
        return PostbackRequest(RequestHead(log.heads[index]), log.bodies[index], peer)

    def judged(self, log: EventLog, index: int) -> tuple[PostbackRequest, Verdict]:
        """The request at `index` of `log`, its head cut to what it was judged by, and the verdict.

        It costs less than `request`: what is found out about a head is remembered.
        """
        plan = self._plans.of(log.heads[index])
        return PostbackRequest(plan.head, log.bodies[index], ""), plan.verdict

    def findings(self, log: EventLog, index: int) -> list[Finding]:
        """What the service would silently change or ignore of the event at `index` of `log`."""
        plan = self._plans.of(log.heads[index])
        state = log.state(index)
        if plan.verdict.key is None or state in (EventState.REFUSED, EventState.LOST):
            return []
        request = PostbackRequest(plan.head, log.bodies[index], "")
        data = sent_data(request, plan.verdict, self.settings)
        found = list(findings(request, plan.verdict, data, self.settings, log.received[index]))
        if state is EventState.INGESTED:
            found += column_findings(self, log, index, plan.route, data)
        return found

    def clear(self) -> None:
        """Forget every event and error; sequence numbers go on."""
        with self.lock:
            self._first, self._log = self.next_seq, None
            self._plans.clear()
            self._validation.clear()
            self.errors.clear()
            self.wake()

    def note_blocked_host(self, host: str) -> None:
        """Keep a host that somebody was not let connect to, for the messages of assertions."""
        self.blocked_hosts.append(host)

    def announce(self, index: int) -> None:
        """Tell who waits that the event at `index` has an outcome; within the lock."""
        for listener in self.on_outcome:
            listener(self.log, index)
        self.wake()

    def wake(self) -> None:
        """Have everybody who waits look again; within the lock."""
        if self._watchers:
            self.changed.notify_all()

    # within

    def _presume_answered(self) -> None:
        while self._handed_over:
            self.answered(self._handed_over.pop())

    def _key_refusal(self, plan: Plan) -> Refusal | None:
        verdict = plan.verdict
        if verdict.key is None:
            return None
        fault = self.keys.fault(verdict.key, *plan.route)
        if not fault:
            return None
        return Refusal(403, "A6", f"write key {shortened(verdict.key)} {fault}")

    def _answer(
        self, head: RequestHead, plan: Plan, refusal: Refusal | None, seq: int, now: float
    ) -> Response:
        second = int(now)
        if refusal is not None:
            return plan.refused(refusal, second, explain=self.settings.explain)
        if plan.straight or not plan.verdict.from_url:
            return plan.accepted(second)
        date, visitor = responses.http_date(second), self.visitor(head, seq)
        return responses.from_url(plan.verdict, head, date, origin=plan.origin, visitor=visitor)

    def _preflight(self, head: RequestHead, plan: Plan, now: float) -> Response:
        if plan.verdict.refusal is None:
            return responses.preflight(head, plan.verdict.profile, responses.http_date(int(now)))
        return self._answer(head, plan, plan.verdict.refusal, 0, now)

    def _intervention(
        self, index: int, request: PostbackRequest, verdict: Verdict, refusal: Refusal | None
    ) -> Intervention | None:
        assert self.intervene is not None
        try:
            return self.intervene(self.log.first + index, request, verdict, refusal)
        except BaseException:
            self.log.statuses[index] = 500
            self.log.decide(index, EventState.LOST)
            self.announce(index)
            raise

    def _intervened(
        self,
        index: int,
        plan: Plan,
        answer: Response,
        refusal: Refusal | None,
        intervention: Intervention,
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
            self.announce(index)
        elif refusal is not None:
            log.decide(index, EventState.REFUSED, refusal.rule, refusal.reason)
            self.announce(index)
        else:
            self._validation.unanswered[log.first + index] = plan
        return Receipt(answer, log.first + index, intervention)

    def pending(self) -> Iterator[int]:
        """Where in the log the events without an outcome are."""
        return self.log.indexes(EventState.PENDING)


def _validate_due(of: weakref.ref[Collector]) -> None:
    """Validate what is due of a collector that may be gone, while its keys are not."""
    collector = of()
    if collector is not None:
        collector.validate_due()
