"""What a run tells beside its failures: the section of a failed test, the summary of the run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..collector.event_log import STATES, EventState
from ..collector.events import Event
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..collector.account import Account
    from ..protocol.findings import Finding
    from .postback import Postback

LOOKED_AT = 1_000
"""Events of a double whose findings are looked for at the end of its test."""
KINDS = 20
"""Kinds of findings that one double tells of."""
LATE = 100
"""Late arrivals that the summary lists."""
ENDS = 10
"""Events that a section shows from each end of a long list."""


def section(postbacks: Iterable[Postback]) -> str:
    """What a failed test's report shows of its doubles; empty where nothing arrived."""
    return "\n".join(_of(each) for each in postbacks if not each.empty)


def account(events: Sequence[Event]) -> str:
    """How many events there are, and of which state: the sum of the states is all of them."""
    states = Counter(event.state for event in events)
    parts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    return f"{formatting.counted(len(events), 'event')}: {parts}"


def _of(postback: Postback) -> str:
    postback._collector.wait_for_responses()
    events = postback.events
    head, tail = events, events[:0]
    if len(events) > 2 * ENDS:
        head, tail = events[:ENDS], events[-ENDS:]
    lines = [f"{account(events)}, at {postback.url}", *_notes(postback.account)]
    lines += [line for event in head for line in _told(event)]
    if tail:
        lines.append(f"… {len(events) - 2 * ENDS} more …")
        lines += [line for event in tail for line in _told(event)]
    return "\n".join(lines)


def _notes(account: Account) -> list[str]:
    """What faults hid from senders, a line for each sort of it."""
    notes = {
        "stored although no whole answer reached its sender": account.stored_unconfirmed,
        "stored more than once": account.duplicated,
        "answered 200 and not stored": account.lost_after_200,
    }
    return [f"{number} {what}" for what, number in notes.items() if number]


def _told(event: Event) -> Iterator[str]:
    yield formatting.line(event)
    record = event.record
    what = (
        f"record {formatting.shown(dict(record))}"
        if record is not None
        else f"sent {formatting.sent(event)}"
    )
    yield f"    {what}"
    for finding in event.findings:
        yield f"    finding {finding}"


class NewFindings:
    """The findings of one double, each kind once, looked for among its first events."""

    def __init__(self, postback: Postback) -> None:
        self._collector = postback._collector
        self._next = 1
        self._known: set[tuple[str, str | None, str]] = set()

    def __iter__(self) -> Iterator[tuple[Event, Finding]]:
        """Those of events that arrived since the last time."""
        log = self._collector.log
        arrived = len(log)
        start, self._next = max(0, self._next - log.first), log.first + arrived
        for index in range(start, min(arrived, LOOKED_AT)):
            for finding in Event(log, index).findings:
                event = Event(log, index)
                kind = (finding.rule, finding.column, formatting.place(event))
                if kind not in self._known and len(self._known) < KINDS:
                    self._known.add(kind)
                    yield event, finding


class Tally:
    """What the summary of a run is made of; adds up over the workers of xdist."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.late: list[str] = []
        self.unlisted = 0

    def count(self, postback: Postback) -> None:
        """Count what `postback` answered 200 and lost."""
        log = postback._collector.log
        for state in (EventState.REJECTED, EventState.LOST):
            for index in log.indexes(state):
                if log.statuses[index] == 200:
                    self.lost[log.rules.get(index) or f"fault {log.faults[index]}"] += 1

    def arrived_late(self, test: str, events: Iterable[Event]) -> None:
        """Note `events` that reached `test` after its end."""
        for event in events:
            if len(self.late) < LATE:
                self.late.append(f"{test}: {formatting.line(event)}")
            else:
                self.unlisted += 1

    def plain(self) -> dict[str, Any]:
        """All of it in plain values, to travel between processes."""
        return {
            "lost": dict(self.lost),
            "findings": dict(self.findings),
            "late": self.late,
            "unlisted": self.unlisted,
        }

    def add(self, plain: Mapping[str, Any]) -> None:
        """Add what another process gave as `plain`."""
        self.lost.update(plain["lost"])
        self.findings.update(plain["findings"])
        room = LATE - len(self.late)
        self.unlisted += plain["unlisted"] + len(plain["late"][room:])
        self.late += plain["late"][:room]

    def lines(self) -> list[str]:
        """The summary; empty where there is nothing to tell."""
        lines = []
        if self.lost:
            lines.append(f"answered 200 and lost afterwards: {_times(self.lost)}")
        if self.findings:
            lines.append(f"findings: {_times(self.findings)}")
        if self.late:
            lines.append("arrived after their test was over:")
            lines += [f"  {line}" for line in self.late]
        if self.unlisted:
            lines.append(f"  … and {self.unlisted} more")
        return lines


def _times(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in sorted(counts.items()))
