"""The account of a double: what became of everything that was sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .event_log import EventState

if TYPE_CHECKING:
    from .collector import Collector


@dataclass(frozen=True)
class Account:
    """How many events are in each state, and what senders could not know of them.

    It balances: `sent` is the sum of the five states. `duplicated` events were stored more than
    once, `unheard` ones are stored although no whole answer reached their sender; both are among
    the ingested ones. `deceived` ones are among the lost: answered 200, and not stored.
    """

    sent: int
    refused: int
    pending: int
    ingested: int
    rejected: int
    lost: int
    duplicated: int
    unheard: int
    deceived: int

    @property
    def balanced(self) -> bool:
        """Whether every event that was sent is in exactly one state."""
        states = (self.refused, self.pending, self.ingested, self.rejected, self.lost)
        return self.sent == sum(states)

    def __str__(self) -> str:
        return (
            f"{self.sent} sent = {self.refused} refused + {self.pending} pending"
            f" + {self.ingested} ingested + {self.rejected} rejected + {self.lost} lost"
        )

    def notes(self) -> list[str]:
        """What faults hid from senders, a line for each sort of it."""
        notes = {
            "stored although no whole answer reached its sender": self.unheard,
            "stored more than once": self.duplicated,
            "answered 200 and not stored": self.deceived,
        }
        return [f"{number} {what}" for what, number in notes.items() if number]


def account(collector: Collector) -> Account:
    """The account of `collector` now; what it costs does not grow with events no fault hit."""
    with collector.lock:
        log = collector.log
        ingested = [index for index in log.faults if log.state(index) is EventState.INGESTED]
        lost = log.indexes(EventState.LOST)
        return Account(
            sent=len(log),
            refused=log.count(EventState.REFUSED),
            pending=log.count(EventState.PENDING),
            ingested=log.count(EventState.INGESTED),
            rejected=log.count(EventState.REJECTED),
            lost=log.count(EventState.LOST),
            duplicated=sum(log.copies.get(index, 1) > 1 for index in ingested),
            unheard=sum(index in log.unheard for index in ingested),
            deceived=sum(log.statuses[index] == 200 for index in lost),
        )
