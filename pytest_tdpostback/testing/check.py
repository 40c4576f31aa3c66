"""What a test fails with at its end, and the findings it is warned about."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from ..collector.event_log import EventState
from ..collector.events import Event, Events, SettleTimeout, UnexpectedAuthFailure
from ..errors import ConfigurationError, StrictnessFailure
from ..protocol.secrets import KeyRedactor
from . import formatting, messages
from .assertions import settle

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from ..collector.collector import Collector, RefusedConnection
    from ..collector.event_log import EventLog
    from ..protocol.findings import Finding
    from .receiver import Receiver

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

SETTLE_SECONDS = 5.0
"""How long a check waits for outcomes."""
RESPONSE_SECONDS = 0.1
"""How long it waits for the end of a response; one that a fault keeps back takes longer."""
EVENTS_INSPECTED = 1_000
"""The findings of so many events are looked for at the end of a test."""
FINDINGS_REPORTED = 20
"""How many kinds of findings a test is warned about."""
T = TypeVar("T")


class Check:
    """Finds what one `Postback` fails with. Each failure is raised once."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._checked = 1
        """The first event that a later check has to look at."""
        self._raised: set[int] = set()
        """The events that a failure was raised for."""
        self._unsettled: set[int] = set()
        """The events that were pending when `SettleTimeout` was raised."""
        self._connections = 0
        """How many refused connections were looked at."""
        self._inspected = {"warn": 1, "fail": 1}
        """The first event whose findings were not looked for, by the action of `on_finding`."""
        self._known_findings: dict[str, set[object]] = {"warn": set(), "fail": set()}
        self.reported: list[str] = []
        """The rules of the findings that somebody was told of."""
        self._context_managers: list[tuple[str, Any]] = []
        """The calls of those that were not entered when somebody last looked."""

    def expect_entering(self, name: str, manager: T) -> T:
        """Fail if `manager.entered`, of the result of the method `name`, never becomes true."""
        frame = inspect.currentframe()
        while frame and "__tracebackhide__" in frame.f_globals:  # one of our modules
            frame = frame.f_back
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "unknown"
        self._context_managers = [each for each in self._context_managers if not each[1].entered]
        self._context_managers.append((f"{name}() at {line}", manager))
        _ = self.receiver.collector  # without one, there is nothing to check
        return manager

    def check(self, *, wait: bool = True) -> None:
        """Raise what `raise_failures` does, if something is new, and what was never entered."""
        calls = [call for call, manager in self._context_managers if not manager.entered]
        self._context_managers = []
        if calls:
            raise ConfigurationError(messages.never_entered(self.receiver, calls))
        collector = self.receiver.collector
        new = self._checked != collector.next_seq
        if not (new or collector.errors or self._new_refused_connections(collector)):
            return
        self.raise_failures(wait=wait)
        with collector.lock:
            log = collector.log
            self._checked = log.first + next(log.indexes(EventState.PENDING), len(log))

    def raise_failures(self, *, wait: bool = True) -> None:
        """Raise errors of the server, what is pending, and what the settings make a failure.

        With `wait`, it waits for outcomes as long as they can come, for five seconds at most;
        else it ignores what is pending.
        """
        receiver, collector = self.receiver, self.receiver.collector
        if wait and not (collector.errors or collector.settled()):
            try:
                settle(receiver, SETTLE_SECONDS, held_may_end=False)
            except SettleTimeout as error:
                new = {event.seq for event in error.events} - self._unsettled
                self._unsettled |= new
                if new:
                    raise
        raise_errors([collector])
        log, settings = collector.log, collector.settings
        if settings.on_auth_failure != "ignore" and (
            events := self._new_events(log, EventState.REJECTED, log.expected)
        ):
            raise UnexpectedAuthFailure(messages.unexpected_losses(receiver, events), events)
        if refused := self._new_refused_connections(collector):
            self._connections = refused[-1].number
            raise StrictnessFailure(messages.unclaimed_connections(receiver, refused))
        for setting, state in (
            ("on_refusal", EventState.REFUSED),
            ("on_unasserted", EventState.INGESTED),
        ):
            if getattr(settings, setting) == "fail" and (
                events := self._new_events(log, state, log.claimed)
            ):
                raise StrictnessFailure(messages.unclaimed(receiver, events, setting))
        if "fail" in settings.on_finding and (found := self._new_findings(collector, "fail")):
            raise StrictnessFailure(messages.findings(receiver, found))

    def unchecked(self) -> Sequence[Event]:
        """What arrived after the last check, or had no outcome by then."""
        log = self.receiver.collector.log
        return Events(log, range(max(0, self._checked - log.first), len(log)))

    def findings_to_warn_of(self) -> list[str]:
        """The warning of each new finding that `on_finding` makes a warning."""
        collector = self.receiver.collector
        found = self._new_findings(collector, "warn")
        if not found:
            return []
        redact = KeyRedactor(collector.keys.known())
        return [redact(formatting.finding_warning(*each)) for each in found]

    def _new_findings(self, collector: Collector, action: str) -> list[tuple[Event, Finding]]:
        """The findings, each kind once, for which `on_finding` has this action."""
        log, settings, known = collector.log, collector.settings, self._known_findings[action]
        found: list[tuple[Event, Finding]] = []
        start, arrived = max(0, self._inspected[action] - log.first), len(log)
        self._inspected[action] = log.first + arrived
        end = arrived if "fail" in settings.on_finding else min(arrived, EVENTS_INSPECTED)
        for index in range(start, end):
            event = Event(log, index)
            for finding in event.findings:
                kind = (finding.rule, finding.column, formatting.place(event))
                if (
                    settings.finding_action(finding.rule) == action
                    and kind not in known
                    and len(known) < FINDINGS_REPORTED
                ):
                    known.add(kind)
                    found.append((event, finding))
        self.reported += [finding.rule for _, finding in found]
        return found

    def _new_refused_connections(self, collector: Collector) -> list[RefusedConnection]:
        """Those that got a 4xx, if the setting `on_refusal` makes that a failure."""
        if collector.settings.on_refusal != "fail":
            return []
        refused = collector.refused_connections
        return [e for e in refused if e.number > self._connections and 400 <= (e.status or 0) < 500]

    def _new_events(self, log: EventLog, state: EventState, excused: Container[int]) -> list[Event]:
        """The events in `state` that are not excused, each of them once."""
        raised = self._raised
        found = [i for i in log.indexes(state) if i not in excused and log.first + i not in raised]
        raised.update(log.first + index for index in found)
        return [Event(log, index) for index in found]


def raise_errors(collectors: Iterable[Collector]) -> None:
    """Raise the errors that happened while serving, each of them once."""
    told: list[BaseException] = []
    for collector in collectors:
        told += collector.errors
        del collector.errors[:]
    if len(told) == 1:
        raise told[0]
    if told:
        raise BaseExceptionGroup(f"{len(told)} errors happened while serving", told)
