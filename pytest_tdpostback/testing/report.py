"""What a run reports beside its failures: the section of a failed test, and the summary."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from ..collector.event_log import STATES, EventState
from ..collector.events import Events
from ..protocol.escaping import escaped
from ..protocol.secrets import KeyRedactor
from . import formatting
from .formatting import EVENTS_SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..collector.collector import Collector
    from ..collector.events import Event
    from .receiver import Receiver

LATE_SHOWN = 100
"""How many late events the summary lists."""


def section(receivers: Iterable[Receiver]) -> str:
    """What the report of a failed test shows of what arrived; empty if nothing did."""
    return "\n".join(line for each in receivers if each.used for line in _section(each))


def _section(receiver: Receiver) -> Iterator[str]:
    collector = receiver.collector
    collector.wait_for_responses()
    log, account, refused = collector.log, collector.account(), collector.refused_connections
    if not (len(log) or refused):
        return
    states = [f"{log.count(state)} {state}" for state in STATES if log.count(state)]
    of = f": {', '.join(states)}" if states else ""
    yield f"{formatting.counted(len(log), 'event')}{of}, at {receiver.url}"
    for number, what in (
        (account.stored_unconfirmed, "stored although no whole response reached its sender"),
        (account.duplicated, "stored more than once"),
        (account.lost_after_200, "lost after a response of 200"),
    ):
        if number:
            yield f"{number} {what}"
    events = Events(log)
    last = events[max(EVENTS_SHOWN, len(log) - EVENTS_SHOWN) :]
    for place, event in enumerate([*events[:EVENTS_SHOWN], *last]):
        if place == EVENTS_SHOWN and len(log) > 2 * EVENTS_SHOWN:
            yield f"… {len(log) - 2 * EVENTS_SHOWN} more …"
        host = event.request.head.host
        sent_to = f", sent to {escaped(host)}" if host not in receiver.url else ""
        yield f"{formatting.line(event)}{sent_to}"
        if event.record is not None:
            yield f"    record {formatting.value(dict(event.record))}"
        else:
            yield f"    sent {formatting.sent(event)}"
        for line in formatting.findings(event):
            yield f"    {line}"
    yield from formatting.refused_connections(refused)


class Summary:
    """What the summary of a run is made of; it adds up over the workers of xdist."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        """Unexpected rejections after 200, by rule."""
        self.findings: Counter[str] = Counter()
        self.late: list[str] = []
        """The lines of the first late events."""
        self.late_count = 0
        self.late_failures = 0
        """Late events that make the run fail."""

    def take(self, collector: Collector, test: str, late: Sequence[Event]) -> None:
        """Count the losses in `collector`, list its `late` events of `test`, and clear it."""
        log = collector.log
        if collector.settings.on_auth_failure != "ignore":
            for index in log.indexes(EventState.REJECTED):
                if index not in log.expected:
                    self.lost[log.rules[index]] += 1
        if late:
            self.late_count += len(late)
            if collector.settings.on_late == "fail":
                self.late_failures += len(late)
            redact = KeyRedactor(collector.keys.known())
            for event in late[: LATE_SHOWN - len(self.late)]:
                self.late.append(redact(f"{test}: {formatting.line(event)}"))
        collector.clear()

    def to_json(self) -> str:
        """All of it for another process."""
        return json.dumps(vars(self))

    def add(self, text: str) -> None:
        """Add what another process gave as `to_json`."""
        counted = json.loads(text)
        self.lost.update(counted["lost"])
        self.findings.update(counted["findings"])
        self.late = [*self.late, *counted["late"]][:LATE_SHOWN]
        self.late_count += counted["late_count"]
        self.late_failures += counted["late_failures"]

    def lines(self) -> Iterator[str]:
        """The summary; nothing if there is nothing to report."""
        for title, counts in (
            ("rejected after 200, not expected", self.lost),
            ("findings", self.findings),
        ):
            if counts:
                yield f"{title}: {', '.join(f'{name} ({n})' for name, n in sorted(counts.items()))}"
        if self.late:
            yield "arrived after the end of their test:"
            yield from (f"  {line}" for line in self.late)
        if self.late_count > len(self.late):
            yield f"  … and {self.late_count - len(self.late)} more"
        if self.late_failures:
            yield 'The run fails because of them: on_late="fail"'
