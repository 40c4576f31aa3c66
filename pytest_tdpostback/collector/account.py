"""The account of a fake server: what became of everything that was sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .event_log import EventState

if TYPE_CHECKING:
    from .event_log import EventLog


@dataclass(frozen=True)
class Account:
    """How many events are in each state, and what their senders could not know.

    `sent` is the sum of the states.
    """

    sent: int
    refused: int
    pending: int
    ingested: int
    rejected: int
    lost: int
    deduplicated: int
    """I17: accepted and not stored again."""
    duplicated: int
    """Ingested events that were stored more than once."""
    stored_unconfirmed: int
    """Ingested events whose sender did not receive the whole response."""
    lost_after_200: int
    """Lost events whose sender was told that they were accepted."""

    @property
    def balanced(self) -> bool:
        """Whether every event that was sent is in exactly one state."""
        return self.sent == (
            self.refused
            + self.pending
            + self.ingested
            + self.rejected
            + self.lost
            + self.deduplicated
        )

    def __str__(self) -> str:
        deduplicated = f" + {self.deduplicated} deduplicated" if self.deduplicated else ""
        return (
            f"{self.sent} sent = {self.refused} refused + {self.pending} pending"
            f" + {self.ingested} ingested + {self.rejected} rejected + {self.lost} lost"
            f"{deduplicated}"
        )


def account_of(log: EventLog) -> Account:
    """The account of `log` now. Events that no fault hit do not add to what it costs."""
    ingested = [index for index in list(log.faults) if log.state(index) is EventState.INGESTED]
    return Account(
        sent=len(log),
        refused=log.count(EventState.REFUSED),
        pending=log.count(EventState.PENDING),
        ingested=log.count(EventState.INGESTED),
        rejected=log.count(EventState.REJECTED),
        lost=log.count(EventState.LOST),
        deduplicated=log.count(EventState.DEDUPLICATED),
        duplicated=sum(log.copies.get(index, 1) > 1 for index in ingested),
        stored_unconfirmed=sum(index in log.unconfirmed for index in ingested),
        lost_after_200=sum(
            log.statuses[index] in (200, 206) for index in log.indexes(EventState.LOST)
        ),
    )
