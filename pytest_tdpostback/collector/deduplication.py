"""Which records of the Data Ingestion API were stored already (rule I17)."""

from __future__ import annotations

from collections import OrderedDict

HOUR = 3_600
"""I17: seconds in which a `uuid` is recognised."""
REMEMBERED = 4_096
"""I17: how many of the last records of a table are recognised."""


class Deduplication:
    """The `uuid` of the last records of each table, and when they were received."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], OrderedDict[str, float]] = {}

    def is_known(self, table: tuple[str, str], uuid: str, received_at: float) -> bool:
        """Return whether `uuid` is that of a stored record of `table`; if not, remember it.

        `received_at` is when the record was received, in UNIX seconds by the server's clock.
        """
        known = self._tables.setdefault(table, OrderedDict())
        uuid = uuid.lower()
        if uuid in known and received_at - known[uuid] < HOUR:
            return True
        known[uuid] = received_at
        known.move_to_end(uuid)
        if len(known) > REMEMBERED:
            known.popitem(last=False)
        return False
