"""How many columns each table has seen (rule C2), counted when somebody asks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..protocol.findings import MAX_COLUMNS
from ..protocol.record import RECORD_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_NOT_COUNTED = {RECORD_TIME, "time"}
_counting = threading.Lock()


class TableColumns:
    """The columns that the records of one table brought, and the event that crossed the limit.

    Only what was ingested counts. The column `time`, which every table has, does not.
    """

    def __init__(self, crossed_at: int | None = None, count: int = 0) -> None:
        self.crossed_at = crossed_at
        """The index of the event that brought the table above its limit."""
        self.count = count
        self._names = set(_NOT_COUNTED)
        self._counted = 0
        self._last = -1

    def count_until(
        self, index: int, rows: Sequence[int], names_of: Callable[[int], Iterable[str]]
    ) -> None:
        """Count up to the event at `index`, or to the one that crosses the limit.

        `rows` are the events of the table; `names_of(index)` gives the columns that one brings.
        """
        with _counting:
            if self._counted and rows[self._counted - 1] != self._last:
                # An event was ingested later than one that arrived after it.
                self.crossed_at, self._names, self._counted = None, set(_NOT_COUNTED), 0
            while self.crossed_at is None and self._counted < len(rows):
                current = rows[self._counted]
                if current > index:
                    return
                self._names.update(names_of(current))
                self._counted += 1
                self._last = current
                self.count = len(self._names) - len(_NOT_COUNTED)
                if self.count > MAX_COLUMNS:
                    self.crossed_at = current
