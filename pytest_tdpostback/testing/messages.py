"""What a failed assertion says: first what happened, then what was wanted, then what to do.

Most functions take the receiver at which the events arrive.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..collector.events import Event, Events
from ..protocol.secrets import shortened
from . import formatting
from .matching import WantedEvents, WantedRecords, predicate_name
from .nearest import columns_of, did_you_mean, difference, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..collector.collector import Collector
    from ..collector.event_log import EventLog
    from ..protocol.findings import Finding
    from .receiver import Receiver

LOSSES_SHOWN = 5
"""How many lost events a message shows."""
OTHERS_SHOWN = 5
"""How many of the other events a message shows."""
CAUSES_SHOWN = 3
"""How many causes of one kind a message shows."""
COPIES_COMPARED = 1_000
"""How many events are compared to find one that was sent twice."""
_GENERATED_KEY = re.compile(r"\d{5}/[0-9a-f]{40}\Z")
"""The shape of the write keys that this package generates."""


def not_ingested(
    receiver: Receiver,
    wanted: WantedRecords,
    *,
    count: int | None,
    timeout: float,
    found: tuple[EventLog, Sequence[int]],
) -> str:
    """`assert_ingested` found the records at the places `found`, and not `count` of them."""
    log, indexes = found
    goal = f"wanted {formatting.counted(count, 'record')}{wanted}"
    goal += f", found {len(indexes):,}" if indexes else ""
    if len(indexes) > (1 if count is None else count):
        matched = formatting.counted(len(indexes), "record")
        goal = f"wanted {formatting.counted(count, 'record')}{wanted}"
        details = _too_many(Events(log, indexes), count, wanted)
        return _message(f"{matched} matched; {goal} (waited {timeout:g} s)", details)
    near = nearest(log, wanted, set(indexes))
    if near is None:
        cause, details = _nothing_near(receiver, log, wanted, len(indexes))
        event = None
    else:
        event = near.event
        cause, details = _why_not_stored(receiver, event)
        if not cause:
            place = formatting.place(event)
            short, differences = difference(near, wanted)
            details = [formatting.line(event), *formatting.findings(event), *differences]
            details.append(f"record: {formatting.value(dict(near.columns), 200)}")
            cause = f"the nearest record {short}"
            if not _in_place(wanted, event):
                cause = f"the nearest record is in {place}"
        elif not _in_place(wanted, event):
            details.append(f"It was sent to {formatting.place(event)}, not to {wanted.place[3:]}.")
    details += _misread_arguments(count, timeout, near.columns if near else _first(log, indexes))
    arrived = len(log)
    if arrived > 1 and near is not None:
        last = f", the last {OTHERS_SHOWN}" if arrived > OTHERS_SHOWN else ""
        details.append(f"{formatting.counted(arrived, 'event')} arrived{last}:")
        details += formatting.indented(formatting.lines(Events(log)[-OTHERS_SHOWN:]))
    return _message(f"{cause}; {goal} (waited {timeout:g} s)", details, event)


def ingested(log: EventLog, wanted: WantedRecords, indexes: Sequence[int]) -> str:
    """`assert_nothing_ingested` found the records at the places `indexes`."""
    stored = f"{formatting.counted(len(indexes), 'record')} ingested"
    details = []
    for event in Events(log, indexes[: formatting.EVENTS_SHOWN]):
        details.append(formatting.line(event))
        details.append(f"  {formatting.value(event.columns())}")
    if len(indexes) > formatting.EVENTS_SHOWN:
        details.append(f"… and {len(indexes) - formatting.EVENTS_SHOWN} more")
    return _message(f"{stored}; wanted none{wanted}", details)


def not_refused(
    receiver: Receiver,
    wanted: WantedEvents,
    *,
    count: int | None,
    timeout: float,
    found: tuple[EventLog, Sequence[int]],
) -> str:
    """`assert_refused` found the events at the places `found`, and not `count` of them."""
    log, indexes = found
    goal = f"wanted {formatting.counted(count, 'refused event')} (4xx){wanted}"
    if not len(log):
        cause, details = _nothing_arrived(receiver)
        return _message(f"{cause}; {goal} (waited {timeout:g} s)", details)
    others = [index for index in log.indexes(EventState.REFUSED) if index not in set(indexes)]
    if len(indexes) > (count or 0):
        cause = f"{formatting.counted(len(indexes), 'event')} refused (4xx)"
    elif others:
        why = Counter(f"{log.statuses[index]} by {log.rules.get(index)}" for index in others)
        cause = f"refused (4xx) with {_with_counts(why)}"
    else:
        accepted = log.count(EventState.INGESTED) + log.count(EventState.PENDING)
        accepted += log.count(EventState.REJECTED)
        cause = f"{formatting.counted(accepted, 'event')} got 200"
    last = Event(log, others[-1]) if others else None
    return _message(f"{cause}; {goal} (waited {timeout:g} s)", _all(log), last)


def not_rejected(
    receiver: Receiver,
    wanted: WantedEvents,
    *,
    count: int | None,
    timeout: float,
    found: tuple[EventLog, Sequence[int]],
    first: int = 0,
) -> str:
    """No `count` events were rejected after their 200, of those from number `first` on."""
    log, indexes = found
    goal = f"wanted {formatting.counted(count, 'event')} rejected after 200{wanted}"
    if not len(log):
        cause, details = _nothing_arrived(receiver)
        return _message(f"{cause}; {goal} (waited {timeout:g} s)", details)
    others = [index for index in log.indexes(EventState.REJECTED) if index not in set(indexes)]
    earlier = [index for index in others if log.first + index < first]
    stored = log.count(EventState.INGESTED)
    if len(indexes) > (count or 0):
        cause = f"{formatting.counted(len(indexes), 'event')} rejected after 200"
    elif len(others) > len(earlier):
        cause = f"{len(others) - len(earlier)} rejected with another key, database or table"
    elif earlier:
        cause = f"{len(earlier)} rejected, but sent before the block began"
    elif any(log.statuses[index] == 403 for index in log.indexes(EventState.REFUSED)):
        cause = "refused (4xx) with 403 at once, which assert_refused(status=403) asserts"
    elif stored:
        cause = f"{formatting.counted(stored, 'event')} ingested: the write key is valid"
    else:
        cause = "no event was rejected after 200"
    return _message(f"{cause}; {goal} (waited {timeout:g} s)", _all(log))


def not_satisfied(
    receiver: Receiver,
    predicate: Callable[[Event], object],
    timeout: float,
) -> str:
    """`wait_for` saw no event that satisfies its predicate."""
    goal = f"wanted one that satisfies {predicate_name(predicate)} (waited {timeout:g} s)"
    log = receiver.collector.log
    if not len(log):
        cause, details = _nothing_arrived(receiver)
        return _message(f"{cause}; {goal}", details)
    arrived = formatting.counted(len(log), "event")
    return _message(f"{arrived} arrived; {goal}", [*_obstacles(receiver), *_all(log)])


def requests(collector: Collector) -> str:
    """`assert_no_requests` saw some."""
    log, refused = collector.log, collector.refused_connections
    arrived = [formatting.counted(len(log), "request")] if len(log) else []
    arrived += [formatting.counted(len(refused), "refused connection")] if refused else []
    return _message(
        f"{' and '.join(arrived)} arrived; wanted none",
        [*_all(log), *_refused_connections(refused)],
    )


def invalid_records(violations: Sequence[tuple[Event, str]], checked: int) -> str:
    """`assert_valid` found records that do not satisfy their schema."""
    if not checked:
        return (
            "no record was ingested, so the schema checked nothing; "
            "use assert_nothing_ingested() if the test wants that"
        )
    wrong = len({event.seq for event, _ in violations})
    details = [
        f"#{event.seq} {formatting.place(event)}: {text}"
        for event, text in violations[: formatting.EVENTS_SHOWN]
    ]
    if len(violations) > formatting.EVENTS_SHOWN:
        details.append(f"… and {len(violations) - formatting.EVENTS_SHOWN} more")
    of = formatting.counted(checked, "record")
    return _message(f"{wrong:,} of {of} {_do(wrong)} not satisfy the schema", details)


def unsettled(log: EventLog, seconds: float, why: str) -> str:
    """Events without an outcome; `why` is the reason if it is known."""
    pending = Events(log, list(log.indexes(EventState.PENDING)))
    when = why or f"waited {seconds:g} s"
    return "\n".join(
        [
            f"{formatting.counted(len(pending), 'event')} still pending: {when}",
            *formatting.indented(formatting.lines(pending, most=LOSSES_SHOWN)),
            "Fix: end hold_validation(), lower validation_delay, or settle(timeout=...) for longer",
            "tdpostback rules Y2",
        ]
    )


def unexpected_losses(receiver: Receiver, events: Sequence[Event]) -> str:
    """`events` got 200 and were rejected afterwards, and the test does not expect it (Y3)."""
    were = "was" if len(events) == 1 else "were"
    lost = formatting.counted(len(events), "event")
    shown = [
        formatting.escaped(
            f"#{event.seq} {event.request.method} {formatting.place(event)}: "
            f"{event.reason} ({event.rule})"
        )
        for event in events[:LOSSES_SHOWN]
    ]
    if len(events) > LOSSES_SHOWN:
        shown.append(f"… and {len(events) - LOSSES_SHOWN} more")
    databases = {event.database for event in events}
    tables = {event.table for event in events}
    arguments = ""
    if len(databases) == 1:
        names = [*databases, *(tables if len(tables) == 1 else ())]
        arguments = ", ".join(f'"{formatting.escaped(str(name))}"' for name in names)
    return "\n".join(
        [
            f"Silent loss: {lost} got 200 but {were} never stored.",
            *formatting.indented(shown),
            *_fixes(receiver, events),
            f"Expected? with {receiver.name}.expect_auth_failure({arguments}): ...",
            f"Expected every time? {receiver.ignore_losses}",
            *dict.fromkeys(f"tdpostback rules {event.rule}" for event in events[:LOSSES_SHOWN]),
        ]
    )


def unclaimed(receiver: Receiver, events: Sequence[Event], setting: str) -> str:
    """No assertion claimed `events`, and `setting` says that this fails the test."""
    refused = setting == "on_refusal"
    what = "refused (4xx)" if refused else "ingested"
    counted, them = formatting.counted(len(events), "event"), "it" if len(events) == 1 else "them"
    assertion = "assert_refused(...)" if refused else "assert_ingested(...)"
    return "\n".join(
        [
            f'{counted} {what}, and no assertion claimed {them} ({setting}="fail")',
            *formatting.indented(formatting.lines(events, most=LOSSES_SHOWN)),
            f"Fix: assert it with {receiver.name}.{assertion}, or {receiver.name}.claim(event)",
            f'Or allow it: @pytest.mark.tdpostback({setting}="ignore")',
            *dict.fromkeys(f"tdpostback rules {e.rule}" for e in events[:LOSSES_SHOWN] if e.rule),
        ]
    )


def findings(found: Sequence[tuple[Event, Finding]]) -> str:
    """Findings that the setting `on_finding` makes failures."""
    rules = dict.fromkeys(finding.rule for _, finding in found)
    shown = [formatting.finding_warning(*each) for each in found[: formatting.EVENTS_SHOWN]]
    more = len(found) - len(shown)
    return "\n".join(
        [
            f"{formatting.counted(len(found), 'finding')} that on_finding makes a failure",
            *formatting.indented(shown),
            *([f"  … and {more} more"] if more > 0 else ()),
            f'Allow it: @pytest.mark.tdpostback(on_finding="ignore:{",".join(rules)}")',
            *(f"tdpostback rules {rule}" for rule in list(rules)[:CAUSES_SHOWN]),
        ]
    )


def never_entered(receiver: Receiver, calls: Sequence[str]) -> str:
    """Context managers that were called and never entered."""
    first = calls[0]
    name = first.partition("(")[0]
    return "\n".join(
        [
            f"{first} was never entered, so it did nothing",
            *formatting.indented(f"{call} was never entered either" for call in calls[1:]),
            f"Fix: with {receiver.name}.{name}(...): ...",
        ]
    )


# parts of messages


def _message(head: str, details: Iterable[str], event: Event | None = None) -> str:
    rule = event and event.rule
    last = [f"tdpostback rules {rule}"] if rule else []
    return "\n".join([head, *formatting.indented(details), *last])


def _all(log: EventLog) -> list[str]:
    return formatting.lines(Events(log))


def _in_place(wanted: WantedRecords, event: Event) -> bool:
    return wanted.database in (None, event.database) and wanted.table in (None, event.table)


def _why_not_stored(receiver: Receiver, event: Event) -> tuple[str, list[str]]:
    """Why an event is no record, in a few words and in lines; empty if it is one."""
    state, rule, lines = event.state, event.rule, [formatting.line(event)]
    if state in (EventState.REFUSED, EventState.REJECTED):
        if state is EventState.REJECTED or rule == "A6":
            lines += _fixes(receiver, [event])
        lines.append(f"sent: {formatting.sent(event)}")
    if state is EventState.REFUSED:
        how = "in its receipt" if event.status == 206 else "(4xx)"
        return f"refused {how} with {event.status} by {rule}", lines
    if state is EventState.REJECTED:
        return formatting.escaped(f"rejected after 200 by {rule}: {event.reason}"), lines
    if state is EventState.PENDING:
        why = receiver.collector.why_pending(0) or "its validation has not run yet"
        return f"still pending: {why}", lines
    if state is EventState.LOST:
        return f"lost by the fault {event.fault}", lines
    if state is EventState.DEDUPLICATED:
        return formatting.escaped(f"not stored again by {rule}: {event.reason}"), lines
    return "", lines


def _nothing_near(
    receiver: Receiver, log: EventLog, wanted: WantedRecords, found: int
) -> tuple[str, list[str]]:
    if not len(log):
        return _nothing_arrived(receiver)
    obstacles = _obstacles(receiver)
    if found:
        return f"no more than {formatting.counted(found, 'record')} arrived", obstacles or [
            "Has the sender sent them all (flushed, joined, awaited)?"
        ]
    places = Counter(formatting.place(event) for event in Events(log)[-1000:])
    question = did_you_mean(wanted.place.removeprefix("in "), places)
    details = [*obstacles, f"What arrived was for {_with_counts(places)}."]
    return f"nothing arrived {wanted.place}", [*details, *([question] if question else [])]


def _nothing_arrived(receiver: Receiver) -> tuple[str, list[str]]:
    """What kept requests away, as far as it is known: in a few words, and in lines."""
    collector = receiver.collector
    refused = collector.refused_connections
    if refused:
        were = "connection was" if len(refused) == 1 else "connections were"
        reason = formatting.shortened(formatting.escaped(refused[0].partition(";")[0]), 120)
        details = [*_refused_connections(refused), *_obstacles(receiver)]
        return f"{len(refused)} {were} refused: {reason}", details
    if collector.blocked_hosts:
        hosts = list(dict.fromkeys(collector.blocked_hosts))
        shown = formatting.escaped(", ".join(hosts[:CAUSES_SHOWN]))
        return f"connections to {shown} were blocked", _obstacles(receiver)
    elsewhere = list(receiver.neighbours.events_at_other_urls(collector))
    if elsewhere:
        details = [f"This Postback has the URL {receiver.url}."]
        for where, event in elsewhere[:CAUSES_SHOWN]:
            details.append(f"{formatting.line(event)}, at {where}")
        return f"{formatting.counted(len(elsewhere), 'request')} arrived at another URL", details
    obstacles = _obstacles(receiver)
    return "no request arrived", obstacles or [
        f"Nothing reached {receiver.url}. Does the sender use this URL?",
        "Has it sent (flushed, joined, awaited)?",
        f"Is its host hard-coded? Then: with {receiver.name}.redirect(): ...",
    ]


def _obstacles(receiver: Receiver) -> list[str]:
    """What is known to keep a sender from sending."""
    collector = receiver.collector
    lines = []
    if collector.blocked_hosts:
        hosts = list(dict.fromkeys(collector.blocked_hosts))
        shown = formatting.escaped(", ".join(hosts[: formatting.EVENTS_SHOWN]))
        lines.append(f"block_network did not allow connections to {shown}.")
    if _in_event_loop():
        lines.append(
            "This call blocks an event loop that runs in this thread; "
            f"use await {receiver.name}.aio.… instead."
        )
    proxies = _proxies_in_use()
    if proxies and not len(collector.log):
        lines.append(
            f"{', '.join(proxies)} is set: a client may send to that proxy instead. "
            "Set NO_PROXY=127.0.0.1."
        )
    return lines


def _in_event_loop() -> bool:
    """Whether an event loop of asyncio or trio runs in this thread."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    try:
        if asyncio is not None and asyncio.get_running_loop():
            return True
    except RuntimeError:
        pass
    try:
        return trio is not None and bool(trio.lowlevel.current_task())
    except RuntimeError:
        return False


def _proxies_in_use() -> list[str]:
    """The environment variables that lead requests to this machine to a proxy."""
    import os
    from urllib.request import getproxies_environment, proxy_bypass

    if proxy_bypass("127.0.0.1"):
        return []
    used = [f"{scheme}_proxy" for scheme in getproxies_environment() if scheme in ("http", "all")]
    return [name for name in os.environ if name.lower() in used]


def _refused_connections(reasons: Sequence[str]) -> list[str]:
    told = list(dict.fromkeys(formatting.escaped(reason) for reason in reasons))
    lines = [f"connection refused: {reason}" for reason in told[:CAUSES_SHOWN]]
    return lines + [f"… and {len(told) - CAUSES_SHOWN} more"] * (len(told) > CAUSES_SHOWN)


def _fixes(receiver: Receiver, events: Sequence[Event]) -> list[str]:
    """What to do about events that were refused or rejected for their key or their time."""
    lines: dict[str, None] = {}
    for event in events[:LOSSES_SHOWN]:
        if event.rule == "T3":
            lines['The setting stale_time="drop" drops an event with such a time.'] = None
            lines['Fix: send UNIX seconds, or set stale_time="receipt"'] = None
            continue
        key, reason = event.key or "", str(event.reason)
        shown = formatting.escaped(shortened(key))
        owner = receiver.neighbours.owner_of(key, receiver.collector)
        if owner is not None:
            lines[f"{shown} is the write key of {owner}."] = None
            lines[f"Fix: send {receiver.name}.write_key"] = None
        elif reason.endswith("was revoked"):
            lines[f'Fix: make it valid again: {receiver.name}.keys.add("{shown}")'] = None
        elif "may not write" in reason:
            lines[f'Fix: extend its limits: {receiver.name}.keys.add("{shown}", tables=...)'] = None
        else:
            if _GENERATED_KEY.match(key):
                lines[
                    f"{shown} looks like a key of another test run: a process that outlived its "
                    "run may have sent it."
                ] = None
            lines[
                f"Fix: send {receiver.name}.write_key, or register yours: "
                f'{receiver.name}.keys.add("{shown}")'
            ] = None
    return list(lines)


def _too_many(events: Events, count: int | None, wanted: WantedRecords) -> list[str]:
    details = formatting.lines(events)
    some = events[:COPIES_COMPARED]
    times = Counter((event.request.target, event.request.body) for event in some)
    most = max(times.values())
    copied = [event for event in some if event.copies > 1]
    if copied:
        details.append(f"#{copied[0].seq} was stored {copied[0].copies} times by a fault.")
    elif most > 1:
        details.append(f"{most} of them are equal in every byte. Was it sent again by a retry?")
    if count == 1 and (wanted.columns or wanted.predicate):
        details.append("Give more columns to choose one, or count=None to allow any number.")
    return details


def _misread_arguments(count: int | None, timeout: float, columns: Mapping[str, Any]) -> list[str]:
    """A note if `count` or `timeout` may be meant as one of `columns`, those of a near event."""
    notes = []
    for name, value, default in (("count", count, 1), ("timeout", timeout, 2.0)):
        if name in columns and value not in (default, None):
            notes.append(
                f"{name} is an argument here; compare the column {name} with "
                f"where={{{name!r}: ...}}."
            )
    return notes


def _first(log: EventLog, indexes: Sequence[int]) -> Mapping[str, Any]:
    return columns_of(Event(log, indexes[0])) if indexes else {}


def _with_counts(counts: Counter[str]) -> str:
    parts = [
        f"{name} ({times})" if times > 1 or len(counts) > 1 else name
        for name, times in counts.most_common(OTHERS_SHOWN)
    ]
    more = len(counts) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")


def _do(count: int) -> str:
    return "does" if count == 1 else "do"
