"""What a failed assertion says: first what happened, then what was wanted, then what to do."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass

from ..collector.event_log import EventState
from ..collector.events import Event, Events
from ..protocol.secrets import shortened
from . import formatting
from .aio import in_event_loop
from .formatting import counted, escaped
from .matching import Search, WantedRecords
from .nearest import CANDIDATES, did_you_mean, difference, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..collector.collector import Collector, RefusedConnection
    from ..collector.event_log import EventLog
    from ..protocol.findings import Finding
    from .nearest import Nearest
    from .receiver import Receiver

SHOWN = 5
"""How many events, causes or places of one kind a message shows."""
COMPARED_IN_FULL = 100_000
"""Bytes of the largest body whose values are compared in full: a longer diff takes minutes."""
_GENERATED_KEY = re.compile(r"\d{5}/[0-9a-f]{40}\Z")
"""The shape of the write keys that this package generates."""
_SENDER = re.compile(r"\S+ (at \S+|by WSGI): ")
"""How the reason of a refused connection begins."""
_TO_SETTLE = "Fix: end hold_validation(), lower validation_delay, or give a longer timeout"
_NOUNS: dict[EventState | None, tuple[str, str, str]] = {
    EventState.INGESTED: ("record", "", "record{} matched"),
    EventState.REFUSED: ("refused event", " (4xx)", "event{} refused (4xx)"),
    EventState.REJECTED: ("event", " rejected after 200", "event{} rejected after 200"),
    None: ("", "", ""),
}
"""What an assertion counts, what follows that word, and how it says that there are too many."""


def not_found(search: Search) -> str:
    """An assertion found another number of records or events than it wanted."""
    receiver, wanted, count = search.receiver, search.wanted, search.count
    log, found = search.log, len(search.found)
    noun, ending, too_many = _NOUNS[wanted.state]
    goal = f"wanted {counted(count, noun) if noun else 'one'}{ending}{wanted}"
    waited = f" (waited {search.timeout:g} s)"
    near: Event | None = None
    if found > (count or 0):
        cause = f"{found:,} {too_many.format('s' * (found > 1))}"
        waited = ""
        details = _too_many(search)
    elif not len(log):
        cause, details = _nothing_arrived(receiver)
    elif isinstance(wanted, WantedRecords):
        goal += f", found {found:,}" if found else ""
        cause, details, near = _not_ingested(search, wanted)
    elif wanted.state is None:
        cause = f"{counted(len(log), 'event')} arrived"
        details = [*_obstacles(receiver).values(), *_all(log)]
    elif found:
        cause = f"no more than {found:,} {too_many.format('s' * (found > 1))}"
        details = _all(log)
    elif wanted.state is EventState.REFUSED:
        cause, near = _not_refused(search)
        details = _all(log)
    else:
        cause, fix = _not_rejected(search)
        details = [*_all(log), fix] if fix else _all(log)
    if len(log) and found <= (count or 0):
        details += refused_connections(search.collector.refused_connections)
    return _message(receiver, f"{cause}; {goal}{waited}", details, near.rule if near else None)


def ingested(search: Search) -> str:
    """`assert_nothing_ingested` found records."""
    events = Events(search.log, search.found)
    details = []
    for event in events[: formatting.EVENTS_SHOWN]:
        details += [formatting.line(event), f"  {formatting.value(event.columns())}"]
    if len(events) > formatting.EVENTS_SHOWN:
        details.append(f"… and {len(events) - formatting.EVENTS_SHOWN:,} more")
    head = f"{counted(len(events), 'record')} ingested; wanted none{search.wanted}"
    return _message(search.receiver, head, details)


def requests(collector: Collector) -> str:
    """`assert_no_requests` saw some."""
    log, refused = collector.log, collector.refused_connections
    arrived = [counted(len(log), "request")] if len(log) else []
    arrived += [counted(len(refused), "refused connection")] if refused else []
    head = f"{' and '.join(arrived)} arrived; wanted none"
    return _text(head, [*_all(log), *refused_connections(refused)])


def invalid_records(violations: Sequence[tuple[Event, str]], checked: int) -> str:
    """`assert_valid` found records that do not satisfy their schema."""
    wrong = len({event.seq for event, _ in violations})
    details = [
        f"#{event.seq} {formatting.place(event)}: {text}"
        for event, text in violations[: formatting.EVENTS_SHOWN]
    ]
    do = "does" if wrong == 1 else "do"
    head = f"{wrong:,} of {counted(checked, 'record')} {do} not satisfy the schema"
    return _text(head, formatting.first_of(details, len(violations)))


def unsettled(log: EventLog, seconds: float, why: str) -> str:
    """Events without an outcome; `why` is the reason if it is known."""
    pending = Events(log, list(log.indexes(EventState.PENDING)))
    head = f"{counted(len(pending), 'event')} still pending: {why or f'waited {seconds:g} s'}"
    lines = formatting.lines(pending, most=SHOWN)
    return _text(head, lines, _TO_SETTLE, "tdpostback rules Y2")


def unexpected_losses(receiver: Receiver, events: Sequence[Event]) -> str:
    """`events` got 200 and were rejected afterwards, and the test does not expect it (Y3)."""
    were = "was" if len(events) == 1 else "were"
    shown = [
        escaped(
            f"#{event.seq} {event.request.method} {formatting.place(event)}: "
            f"{event.reason} ({event.rule})"
        )
        for event in events[:SHOWN]
    ]
    databases = {event.database for event in events}
    tables = {event.table for event in events}
    names = [*databases, *(tables if len(tables) == 1 else ())] if len(databases) == 1 else []
    arguments = ", ".join(f'"{escaped(str(name))}"' for name in names)
    return _text(
        f"Silent loss: {counted(len(events), 'event')} got 200 but {were} never stored.",
        formatting.first_of(shown, len(events)),
        *_fixes(receiver, events),
        f"Expected? with {receiver.name}.expect_auth_failure({arguments}): ...",
        f"Expected every time? {receiver.setting.format('on_auth_failure', 'ignore')}",
        *_rules(events),
    )


def unclaimed(receiver: Receiver, events: Sequence[Event], setting: str) -> str:
    """No assertion claimed `events`, and `setting` says that this fails the test."""
    what, assertion = "ingested", "assert_ingested(...)"
    if setting == "on_refusal":
        what, assertion = "refused (4xx)", "assert_refused(...)"
    them = "it" if len(events) == 1 else "them"
    head = f"{counted(len(events), 'event')} {what}, and no assertion claimed {them}"
    return _text(
        f'{head} ({setting}="fail")',
        formatting.lines(events, most=SHOWN),
        f"Fix: assert it with {receiver.name}.{assertion}, or {receiver.name}.claim(event)",
        f"Or allow it: {receiver.setting.format(setting, 'ignore')}",
        *_rules(events),
    )


def unclaimed_connections(receiver: Receiver, refused: Sequence[RefusedConnection]) -> str:
    """Connections that were refused with a 4xx, which the setting `on_refusal` makes a failure."""
    statuses = Counter(str(each.status) for each in refused)
    what = f"{counted(len(refused), 'connection')} refused (4xx) with {_with_counts(statuses)}"
    return _text(
        f'{what}, which left no event (on_refusal="fail")',
        refused_connections(refused),
        "Fix: change what the sender sends; no assertion claims this",
        f"Or allow it: {receiver.setting.format('on_refusal', 'ignore')}",
    )


def findings(receiver: Receiver, found: Sequence[tuple[Event, Finding]]) -> str:
    """Findings that the setting `on_finding` makes failures."""
    rules = list(dict.fromkeys(finding.rule for _, finding in found))
    shown = [formatting.finding_warning(*each) for each in found[: formatting.EVENTS_SHOWN]]
    return _text(
        f"{counted(len(found), 'finding')} that on_finding makes a failure",
        formatting.first_of(shown, len(found)),
        f"Allow it: {receiver.setting.format('on_finding', 'ignore:' + ','.join(rules))}",
        *(f"tdpostback rules {rule}" for rule in rules[:SHOWN]),
    )


def never_entered(receiver: Receiver, calls: Sequence[str]) -> str:
    """Context managers that were never entered, and coroutines that were never awaited."""
    told = [
        f"{call} was never {'awaited' if call.startswith('aio.') else 'entered'}" for call in calls
    ]
    call = f"{calls[0].partition('(')[0]}(...)"
    if not call.startswith("case."):
        call = f"{receiver.name}.{call}"
    fix = f"Fix: await {call}" if calls[0].startswith("aio.") else f"Fix: with {call}: ..."
    others = [f"{each} either" for each in told[1:]]
    return _text(f"{told[0]}, so it did nothing", others, fix)


def two_arguments(method: str, name: object) -> str:
    """A method that takes a database and a table got one argument."""
    database, _, table = str(name).partition(".")
    example = escaped(f'"{database}", "{table or "table"}"')
    given = formatting.value(name)
    return (
        f"{method}({given}): give the database and the table as two arguments: {method}({example})"
    )


# parts of messages


def _text(head: str, details: Iterable[str], *tail: str) -> str:
    return "\n".join([head, *formatting.indented(details), *tail])


def _rules(events: Sequence[Event]) -> dict[str, None]:
    return dict.fromkeys(f"tdpostback rules {each.rule}" for each in events[:SHOWN] if each.rule)


def _message(receiver: Receiver, head: str, details: list[str], rule: str | None = None) -> str:
    for fault in receiver.unmatched_faults():
        limits = {name: value for name, value in vars(fault.limits).items() if value}
        of = f" with {formatting.assignments(limits)}" if limits else ""
        asked = counted(fault.asked, "time")
        details.append(f"fault {escaped(fault.name)}{of} never matched: asked {asked}, matched 0")
    return _text(head, details, f"tdpostback rules {rule}") if rule else _text(head, details)


def _all(log: EventLog) -> list[str]:
    return formatting.lines(Events(log))


def _too_many(search: Search) -> list[str]:
    wanted = search.wanted
    if not isinstance(wanted, WantedRecords):
        return _all(search.log)
    events = Events(search.log, search.found)
    details = formatting.lines(events)
    some = events[:CANDIDATES]
    times = Counter((event.request.target, event.request.body) for event in some)
    most = max(times.values())
    copied = [event for event in some if event.copies > 1]
    if copied:
        details.append(f"#{copied[0].seq} was stored {copied[0].copies} times by a fault.")
    elif most > 1:
        details.append(f"{most} of them are equal in every byte. Was it sent again by a retry?")
    if search.count == 1 and (wanted.columns or wanted.predicate):
        details.append("Give more columns to choose one, or count=None to allow any number.")
    return details + _misread_arguments(search, events[0].columns())


def _not_ingested(search: Search, wanted: WantedRecords) -> tuple[str, list[str], Event | None]:
    """Why a record is not there, in a few words and in lines; and the event that may be it."""
    receiver, log, found = search.receiver, search.log, search.found
    near = nearest(log, wanted, found)
    if near is None:
        if not found:
            return *_nothing_in_place(receiver, log, wanted), None
        details = list(_obstacles(receiver).values()) or [
            "Has the sender sent them all (flushed, joined, awaited)?"
        ]
        details += _misread_arguments(search, Event(log, found[0]).columns())
        return f"no more than {counted(len(found), 'record')} arrived", details, None
    event = near.event
    cause, details = _why_not_stored(receiver, event)
    if not cause:
        short, differences = difference(near, wanted)
        record = f"record: {formatting.value(dict(near.columns), 200)}"
        details += [*formatting.findings(event), *differences, record]
        cause = f"the nearest record {short}"
        if not near.in_place:
            place = formatting.place(event)
            cause = f"the nearest record is in {place}"
            details.append(f"Fix: send it to{wanted.place[3:]}, or assert it in {place}")
    elif not near.in_place:
        details.append(f"It was sent to {formatting.place(event)}, not to {wanted.place[4:]}.")
    details += [*_misread_arguments(search, near.columns), *_in_full(receiver, near, wanted)]
    if len(log) > 1:
        last = f", the last {SHOWN}" if len(log) > SHOWN else ""
        details.append(f"{counted(len(log), 'event')} arrived{last}:")
        details += formatting.indented(formatting.lines(Events(log)[-SHOWN:]))
    return cause, details, event


def _in_full(receiver: Receiver, near: Nearest, wanted: WantedRecords) -> list[str]:
    """With `-vv`: the headers of the nearest request, and pytest's own comparison of the values."""
    request = near.event.request
    got = {name: near.columns[name] for name in wanted.columns if name in near.columns}
    if len(request.body) > COMPARED_IN_FULL:
        got = {}
    compared = receiver.neighbours.compare(dict(wanted.columns) if got else {}, got)
    if compared is None:
        return []
    headers = (f"header {name}: {value}" for name, value in request.headers.pairs)
    return [*(formatting.shortened(header, 200) for header in headers), *map(escaped, compared)]


def _why_not_stored(receiver: Receiver, event: Event) -> tuple[str, list[str]]:
    """Why an event is no record, in a few words and in lines; empty words if it is one."""
    state, rule, lines = event.state, event.rule, [formatting.line(event)]
    if state is EventState.PENDING:
        why = receiver.collector.why_pending(0) or "its validation has not run yet"
        return f"still pending: {why}", [*lines, _TO_SETTLE]
    if state is EventState.LOST:
        fix = "Fix: end the fault before you send, or let the sender try again"
        return f"lost by the fault {escaped(str(event.fault))}", [*lines, fix]
    if state is EventState.INGESTED:
        return "", lines
    if state is EventState.REJECTED or rule == "A6":
        lines += _fixes(receiver, [event])
    if event.request.body or event.payload:
        lines.append(f"sent: {formatting.sent(event)}")
    reason = escaped(str(event.reason))
    if state is EventState.DEDUPLICATED:
        return f"not stored again by {rule}: {reason}", lines
    if state is EventState.REFUSED:
        how = "in its receipt" if event.status == 206 else "(4xx)"
        return f"refused {how} with {event.status} by {rule}: {reason.partition(': ')[0]}", lines
    return f"rejected after 200 by {rule}: {reason}", lines


def _nothing_in_place(
    receiver: Receiver, log: EventLog, wanted: WantedRecords
) -> tuple[str, list[str]]:
    places = Counter(formatting.place(event) for event in Events(log)[-CANDIDATES:])
    question = did_you_mean(wanted.place.removeprefix(" in "), places)
    details = [*_obstacles(receiver).values(), f"What arrived was for {_with_counts(places)}."]
    return f"nothing arrived{wanted.place}", details + [question] * bool(question)


def _not_refused(search: Search) -> tuple[str, Event | None]:
    log = search.log
    others = list(log.indexes(EventState.REFUSED))
    if others:
        why = Counter(f"{log.statuses[index]} by {log.rules.get(index)}" for index in others)
        return f"refused (4xx) with {_with_counts(why)}", Event(log, others[-1])
    lost = log.count(EventState.LOST)
    if lost == len(log):
        return f"{counted(lost, 'event')} lost by a fault", None
    return f"{counted(len(log) - lost, 'event')} got 200", None


def _not_rejected(search: Search) -> tuple[str, str]:
    """Why no event was rejected after its 200, and what to do, if that is known."""
    log = search.log
    others = list(log.indexes(EventState.REJECTED))
    earlier = sum(log.first + index < search.first for index in others)
    if len(others) > earlier:
        return f"{len(others) - earlier} rejected after 200 with another key, database or table", ""
    if earlier:
        return f"{earlier} rejected after 200, but sent before the block began", ""
    if any(log.statuses[index] == 403 for index in log.indexes(EventState.REFUSED)):
        return "refused (4xx) with 403 at once, which assert_refused(status=403) asserts", ""
    pending, stored = log.count(EventState.PENDING), log.count(EventState.INGESTED)
    if pending:
        why = search.collector.why_pending(0) or "the validation has not run yet"
        return f"{counted(pending, 'event')} still pending: {why}", _TO_SETTLE
    if stored:
        name = search.receiver.name
        fix = f"Fix: send another key, or make this one invalid: {name}.keys.revoke(key)"
        return f"{counted(stored, 'event')} ingested: the write key is valid", fix
    return "no event was rejected after 200", ""


def _nothing_arrived(receiver: Receiver) -> tuple[str, list[str]]:
    """What kept requests away, as far as it is known: in a few words, and in lines."""
    collector = receiver.collector
    refused = collector.refused_connections
    obstacles = _obstacles(receiver)
    if refused:
        were = "connection was" if len(refused) == 1 else "connections were"
        reason = formatting.shortened(_SENDER.sub("", refused[0].reason.partition(";")[0], 1), 120)
        details = [*refused_connections(refused), *obstacles.values()]
        return f"{len(refused)} {were} refused: {reason}", details
    if collector.blocked_hosts:
        return f"no request arrived: {next(iter(obstacles))}", list(obstacles.values())
    elsewhere = list(receiver.neighbours.events_at_other_urls(collector))
    if elsewhere:
        details = [f"This Postback has the URL {receiver.url}."]
        for where, event in elsewhere[:SHOWN]:
            details.append(f"{formatting.line(event)}, at {where}")
        return f"{counted(len(elsewhere), 'request')} arrived at another URL", details
    if obstacles:
        return f"no request arrived: {next(iter(obstacles))}", list(obstacles.values())
    return "no request arrived", [
        f"Nothing reached {receiver.url}. Does the sender use this URL?",
        "Has it sent (flushed, joined, awaited)?",
        f"Is its host hard-coded? Then: with {receiver.name}.redirect(): ...",
    ]


def _obstacles(receiver: Receiver) -> dict[str, str]:
    """What is known to keep a sender from sending: in a few words, and in a line."""
    collector, found = receiver.collector, {}
    blocked = [escaped(each) for each in dict.fromkeys(collector.blocked_hosts)][:SHOWN]
    if blocked:
        hosts = ", ".join(each.partition(": ")[0] for each in blocked)
        found[f"connections to {hosts} were blocked"] = f"Blocked: {'. '.join(blocked)}."
    if receiver.closed:
        found["the server is stopped"] = "The server is stopped. Fix: start it before you send."
    if in_event_loop():
        found["this call blocks the event loop"] = (
            "This call blocks an event loop that runs in this thread; "
            f"use await {receiver.name}.aio.… instead."
        )
    if not len(collector.log) and not proxy_bypass("127.0.0.1"):
        used = {f"{name}_proxy" for name in getproxies_environment() if name in ("http", "all")}
        names = ", ".join(name for name in os.environ if name.lower() in used)
        if names:
            found[f"{names} is set"] = (
                f"{names} is set: a client may send to that proxy instead. Set NO_PROXY=127.0.0.1."
            )
    return found


def refused_connections(refused: Sequence[RefusedConnection]) -> list[str]:
    """A line for each connection that left no event, the first ones of many."""
    told = list(dict.fromkeys(escaped(each.reason) for each in refused))
    lines = [f"connection refused: {reason}" for reason in told[:SHOWN]]
    return formatting.first_of(lines, len(told))


def _fixes(receiver: Receiver, events: Sequence[Event]) -> list[str]:
    """What to do about events that were refused or rejected for their key or their time."""
    lines: list[str] = []
    for event in events[:SHOWN]:
        if event.rule == "T3":
            lines.append('The setting stale_time="drop" drops an event with such a time.')
            lines.append('Fix: send UNIX seconds, or set stale_time="receipt"')
            continue
        key, reason = event.key or "", str(event.reason)
        shown = escaped(shortened(key))
        add = f'{receiver.name}.keys.add("{shown}"'
        owner = receiver.neighbours.owner_of(key, receiver.collector)
        if owner is not None:
            lines.append(f"{shown} is the write key of {owner}.")
            lines.append(f"Fix: send {receiver.name}.write_key")
        elif reason.endswith("was revoked"):
            lines.append(f"Fix: make it valid again: {add})")
        elif "may not write" in reason:
            lines.append(f"Fix: extend its limits: {add}, tables=...)")
        else:
            if _GENERATED_KEY.match(key):
                lines.append(
                    f"{shown} looks like a key of another test run: a process that outlived its "
                    "run may have sent it."
                )
            lines.append(f"Fix: send {receiver.name}.write_key, or register yours: {add})")
    return list(dict.fromkeys(lines))


def _misread_arguments(search: Search, columns: Mapping[str, Any]) -> list[str]:
    """A note if `count` or `timeout` may be meant as one of `columns`, those of a near event."""
    return [
        f"{name} is an argument here; compare the column {name} with where={{{name!r}: ...}}."
        for name, value, default in (("count", search.count, 1), ("timeout", search.timeout, 2.0))
        if name in columns and value not in (default, None)
    ]


def _with_counts(counts: Counter[str]) -> str:
    parts = [
        f"{name} ({times})" if times > 1 or len(counts) > 1 else name
        for name, times in counts.most_common(SHOWN)
    ]
    more = len(counts) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")
