"""How many columns each table has seen (rule C2), counted when somebody asks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..protocol.findings import MAX_COLUMNS
from ..protocol.record import RECORD_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_counting = threading.Lock()


class TableColumns:
    """The columns that the records of one table brought, and the event that crossed the limit.

    Only what was ingested counts. The column `time`, which every table has, does not.
    """

    def __init__(self) -> None:
        self.count = 0
        self.crossed_at: int | None = None
        """The index of the event that brought the table above its limit."""
        self._names: set[str] = {RECORD_TIME, "time"}
        self._counted = 0
        self._last = -1

    def covers_start_of(self, rows: Sequence[int]) -> bool:
        """Whether `rows` still begins with what was counted.

        It does not if an event was ingested later than one that arrived after it.
        """
        return not self._counted or rows[self._counted - 1] == self._last

    def count_until(
        self, index: int, rows: Sequence[int], names_of: Callable[[int], Iterable[str]]
    ) -> None:
        """Count up to the event at `index`, or to the one that crosses the limit.

        `rows` are the events of the table; `names_of(index)` gives the columns that one brings.
        """
        with _counting:
            while self.crossed_at is None and self._counted < len(rows):
                current = rows[self._counted]
                if current > index:
                    return
                self._names.update(names_of(current))
                self._counted += 1
                self._last = current
                self.count = len(self._names) - 2
                if self.count > MAX_COLUMNS:
                    self.crossed_at = current

    def of_one_event(self, index: int) -> TableColumns:
        """The same count for a log in which `index` is the event that crossed the limit."""
        copy = TableColumns()
        copy.count, copy.crossed_at = self.count, index
        return copy
