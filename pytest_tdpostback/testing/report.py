"""What a run reports beside its failures: the section of a failed test, and the summary."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..collector.event_log import STATES, EventState
from ..collector.events import Events
from ..protocol.secrets import KeyRedactor
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..collector.event_log import EventLog
    from ..collector.events import Event
    from .receiver import Receiver

LATE_SHOWN = 100
"""How many late events the summary lists."""
ENDS_SHOWN = 10
"""How many events a section shows of each end of a long list."""


def section(receivers: Iterable[Receiver]) -> str:
    """What the report of a failed test shows of what arrived; empty if nothing did."""
    return "\n".join(_section(each) for each in receivers if each.used and not each.collector.empty)


def counts(log: EventLog) -> str:
    """How many events there are, and how many in each state."""
    parts = ", ".join(f"{log.count(state)} {state}" for state in STATES if log.count(state))
    return f"{formatting.counted(len(log), 'event')}: {parts}"


def _section(receiver: Receiver) -> str:
    collector = receiver.collector
    collector.wait_for_responses()
    log, account = collector.log, collector.account()
    notes = {
        "stored although no whole response reached its sender": account.stored_unconfirmed,
        "stored more than once": account.duplicated,
        "lost after a response of 200": account.lost_after_200,
    }
    lines = [f"{counts(log)}, at {receiver.url}"]
    lines += [f"{number} {what}" for what, number in notes.items() if number]
    events = Events(log)
    first, last = events[:ENDS_SHOWN], events[max(ENDS_SHOWN, len(log) - ENDS_SHOWN) :]
    lines += [line for event in first for line in _event(event, receiver.url)]
    if len(log) > 2 * ENDS_SHOWN:
        lines.append(f"… {len(log) - 2 * ENDS_SHOWN} more …")
    lines += [line for event in last for line in _event(event, receiver.url)]
    return "\n".join(lines)


def _event(event: Event, url: str) -> Iterator[str]:
    host = event.request.head.host
    elsewhere = f", sent to {formatting.escaped(host)}" if host not in url else ""
    yield f"{formatting.line(event)}{elsewhere}"
    record = event.record
    if record is not None:
        yield f"    record {formatting.value(dict(record))}"
    else:
        yield f"    sent {formatting.sent(event)}"
    for line in formatting.findings(event):
        yield f"    {line}"


class Summary:
    """What the summary of a run is made of; it adds up over the workers of xdist."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        """Unexpected rejections after 200, by rule."""
        self.findings: Counter[str] = Counter()
        self.late: list[str] = []
        self.late_not_listed = 0
        self.late_failures = 0
        """Late events that make the run fail."""

    def count_losses(self, log: EventLog) -> None:
        """Count the events of `log` that were rejected after their 200 and not expected."""
        for index in log.indexes(EventState.REJECTED):
            if index not in log.expected:
                self.lost[log.rules[index]] += 1

    def add_late(
        self, test: str, events: Sequence[Event], on_late: str, keys: Iterable[str]
    ) -> None:
        """Note events that reached a test after its end.

        Args:
            test: The id of the test.
            events: The late events.
            on_late: Its setting.
            keys: The write keys that were valid there.
        """
        redact = KeyRedactor(keys)
        if on_late == "fail":
            self.late_failures += len(events)
        for event in events:
            if len(self.late) == LATE_SHOWN:
                self.late_not_listed += 1
            else:
                self.late.append(redact(f"{test}: {formatting.line(event)}"))

    def values(self) -> dict[str, Any]:
        """All of it in plain values, for another process."""
        return {
            "lost": dict(self.lost),
            "findings": dict(self.findings),
            "late": self.late,
            "late_not_listed": self.late_not_listed,
            "late_failures": self.late_failures,
        }

    def add(self, values: Mapping[str, Any]) -> None:
        """Add what another process gave as `values`."""
        self.lost.update(values["lost"])
        self.findings.update(values["findings"])
        self.late_failures += values["late_failures"]
        room = LATE_SHOWN - len(self.late)
        self.late_not_listed += values["late_not_listed"] + len(values["late"][room:])
        self.late += values["late"][:room]

    def lines(self) -> list[str]:
        """The summary; empty if there is nothing to report."""
        lines = []
        if self.lost:
            lines.append(f"rejected after 200, not expected: {_with_counts(self.lost)}")
        if self.findings:
            lines.append(f"findings: {_with_counts(self.findings)}")
        if self.late:
            lines.append("arrived after the end of their test:")
            lines += [f"  {line}" for line in self.late]
        if self.late_not_listed:
            lines.append(f"  … and {self.late_not_listed} more")
        if self.late_failures:
            lines.append('The run fails because of them: on_late="fail"')
        return lines


def _with_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in sorted(counts.items()))
