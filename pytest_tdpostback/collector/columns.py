"""How many columns each table has seen (rule C2), counted when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.findings import MAX_COLUMNS, Finding, too_many_columns
from ..protocol.record import RECORD_TIME, sent_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .collector import Collector
    from .event_log import EventLog


def column_findings(
    collector: Collector,
    log: EventLog,
    index: int,
    route: tuple[str, str],
    data: Mapping[str, Any],
) -> list[Finding]:
    """The finding of the event at `index` of `log` where it brings its table over the limit.

    `data` is what it brings to the table `route`. Only what was ingested counts: no other event
    gives the table a column. The column `time`, which every table has, does not.
    """
    rows = log.ingested[route]
    table = log.seen_columns.get(route)
    if table is None or not table.precedes(rows):
        table = log.seen_columns[route] = SeenColumns()
    table.count(collector, log, rows, index, data)
    return [too_many_columns(*route, table.columns)] if table.crossed_at == index else []


class SeenColumns:
    """What the first `rows` of one table brought, and the event that crossed the limit."""

    def __init__(self) -> None:
        self.columns = 0
        self.crossed_at: int | None = None
        self._seen: set[str] = {RECORD_TIME, "time"}
        self._counted = 0
        self._last = -1

    def precedes(self, rows: Sequence[int]) -> bool:
        """Whether `rows` still begins with what was counted: an event may come in late between."""
        return not self._counted or rows[self._counted - 1] == self._last

    def count(
        self,
        collector: Collector,
        log: EventLog,
        rows: Sequence[int],
        until: int,
        last: Mapping[str, Any],
    ) -> None:
        """Go on counting up to the event at `until`, which brings `last`, or one that crosses."""
        while self.crossed_at is None and self._counted < len(rows):
            index = rows[self._counted]
            if index > until:
                return
            self._seen.update(last if index == until else _brought(collector, log, index))
            self._counted += 1
            self._last = index
            self.columns = len(self._seen) - 2
            if self.columns > MAX_COLUMNS:
                self.crossed_at = index


def _brought(collector: Collector, log: EventLog, index: int) -> Mapping[str, Any]:
    request, verdict = collector.judged(log, index)
    return sent_data(request, verdict, collector.settings)
