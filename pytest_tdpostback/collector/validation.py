"""What happens to an accepted event once its answer is out (rules Y1 to Y5)."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from ..protocol.record import sent_data, time_of
from ..protocol.secrets import shortened
from .event_log import EventState
from .waiting import real_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from .collector import Collector
    from .plans import Plan


class Validation:
    """The accepted events of one collector that have no outcome yet.

    Its caller is that collector, which holds its lock. It keeps no reference back: a double that
    nobody uses any more is freed at once, without the garbage collector.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], None]) -> None:
        """`call_later(seconds, function)` is how what is not due yet gets its turn."""
        self.unanswered: dict[int, Plan] = {}
        self.holds = 0
        self._call_later = call_later
        self._pending: deque[tuple[float, int, Plan]] = deque()
        self._scheduled = False

    def begin(self, collector: Collector, seq: int) -> None:
        """The answer to event `seq` is out: decide, at once where nothing asks to wait (Y5)."""
        plan = self.unanswered.pop(seq, None)
        if plan is None:
            return
        delay = collector.settings.validation_delay
        if delay or self.holds or self._pending:
            self._pending.append((real_time() + delay, seq, plan))
            self._schedule(collector, delay)
            collector.wake()
        else:
            _decide(collector, seq, plan)

    def run(self, collector: Collector) -> None:
        """Give every event that is due its outcome; a no-op while validation is held."""
        if self.holds or not self._pending:
            return
        now = real_time()
        while self._pending and self._pending[0][0] <= now:
            _, seq, plan = self._pending.popleft()
            _decide(collector, seq, plan)
        if self._pending:
            self._schedule(collector, self._pending[0][0] - now)

    def due(self) -> float | None:
        """Real time at which the next event is due; `None` where none is, or all are held."""
        return self._pending[0][0] if self._pending and not self.holds else None

    def clear(self) -> None:
        """Forget all of them."""
        self.unanswered.clear()
        self._pending.clear()

    def _schedule(self, collector: Collector, seconds: float) -> None:
        if not self._scheduled and not self.holds:
            self._scheduled = True
            self._call_later(max(seconds, 0.0), partial(self._scheduled_run, collector))

    def _scheduled_run(self, collector: Collector) -> None:
        self._scheduled = False
        collector.validate()


def _decide(collector: Collector, seq: int, plan: Plan) -> None:
    """Y3, Y4, T3: ingested, or rejected with the rule that says why."""
    log, verdict = collector.log, plan.verdict
    index = seq - log.first
    assert verdict.key is not None
    fault = collector.keys.fault(verdict.key, *plan.route)
    if fault:
        reason = f"write key {shortened(verdict.key)} {fault}"
        log.decide(index, EventState.REJECTED, verdict.key_rule, reason)
    elif collector.settings.stale_time == "drop" and (stale := _stale(collector, index, plan)):
        log.decide(index, EventState.REJECTED, "T3", stale)
    else:
        if not plan.straight and verdict.from_url:
            log.from_url.add(index)
        log.ingest(index, plan.route)
    collector.announce(index)


def _stale(collector: Collector, index: int, plan: Plan) -> str:
    request = collector.request(collector.log, index)
    data = sent_data(request, plan.verdict, collector.settings)
    when = time_of(request, plan.verdict, data, collector.log.received[index])
    return f"td_record_time {when.why}" if when.outside else ""
