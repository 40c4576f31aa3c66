"""Which records of the Data Ingestion API were stored already (rule I17)."""

from __future__ import annotations

HOUR = 3_600
"""I17: seconds in which a `uuid` is recognised."""
REMEMBERED = 4_096
"""I17: how many of the last records of a table are recognised."""


class Deduplication:
    """The last records of each table, and when they were received."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], dict[object, float]] = {}

    def is_repeated(self, table: tuple[str, str], uuid: str | None, received_at: float) -> bool:
        """Return whether `uuid` is that of a stored record of `table`; if not, count it as stored.

        `uuid` is `None` if the record brings none. `received_at` is when the record was received,
        in UNIX seconds by the server's clock.
        """
        last = self._last.setdefault(table, {})
        record = object() if uuid is None else uuid.lower()
        if record in last and received_at - last[record] < HOUR:
            return True
        last.pop(record, None)  # to be stored as the last one
        last[record] = received_at
        if len(last) > REMEMBERED:
            del last[next(iter(last))]
        return False
