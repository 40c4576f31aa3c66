"""Which records of the Data Ingestion API were stored already (rule I17)."""

from __future__ import annotations

HOUR = 3_600
"""I17: seconds in which a `uuid` is recognised."""
REMEMBERED = 4_096
"""I17: how many of the last records of a table are recognised."""


class Deduplication:
    """The `uuid` of the last records of each table, and when they were received."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], int] = {}
        """How many records of each table were stored."""
        self._known: dict[tuple[str, str], dict[str, tuple[int, float]]] = {}
        """For each table by `uuid`, in order: the number of its record, and when that came."""

    def is_repeated(self, table: tuple[str, str], uuid: str | None, received_at: float) -> bool:
        """Return whether `uuid` is that of a stored record of `table`; if not, count it as stored.

        `uuid` is `None` if the record brings none. `received_at` is when the record was received,
        in UNIX seconds by the server's clock.
        """
        number = self._stored.get(table, 0)
        known = self._known.setdefault(table, {})
        if uuid is not None:
            uuid = uuid.lower()
            if uuid in known:
                stored, at = known[uuid]
                if number - stored <= REMEMBERED and received_at - at < HOUR:
                    return True
                del known[uuid]
            known[uuid] = number, received_at
            if len(known) > REMEMBERED:
                del known[next(iter(known))]
        self._stored[table] = number + 1
        return False
