"""How many columns each table has seen (rule C2), counted when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import findings
from ..protocol.body import Unacceptable
from ..protocol.record import payload
from .log import EventState

if TYPE_CHECKING:
    from ..protocol.findings import Finding
    from .collector import Collector
    from .log import EventLog


class SeenColumns:
    """The columns that accepted events brought, table by table, in order of arrival."""

    def __init__(self) -> None:
        self._log: EventLog | None = None
        self._next = 0
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._crossing: dict[int, Finding] = {}

    def findings(self, collector: Collector, log: EventLog, index: int) -> list[Finding]:
        """The finding of the event at `index` of `log` where it is the one that crosses the limit."""
        if log is not self._log:
            self._log, self._next = log, 0
            self._seen.clear()
            self._crossing.clear()
        while self._next <= index:
            self._count(collector, log, self._next)
            self._next += 1
        return [self._crossing[index]] if index in self._crossing else []

    def _count(self, collector: Collector, log: EventLog, index: int) -> None:
        request = collector.request(log, index)
        verdict = collector.verdict(request.head)
        if log.state(index) is EventState.REFUSED or verdict.database is None:
            return
        assert verdict.table is not None
        seen = self._seen.setdefault((verdict.database, verdict.table), set())
        before = len(seen)
        try:
            seen.update(payload(request, verdict))
        except Unacceptable:
            return
        if before <= findings.MAX_COLUMNS < len(seen):
            finding = findings.too_many_columns(verdict.database, verdict.table, len(seen))
            self._crossing[index] = finding
