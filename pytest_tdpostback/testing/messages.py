"""What a failure says: first what happened, then what was wanted, then what to do."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass

from ..collector.event_log import NO_STATUS, EventState
from ..collector.events import Event, Events
from ..protocol.escaping import escaped
from ..protocol.secrets import KeyRedactor, shortened
from . import formatting
from .aio import in_event_loop
from .formatting import SHOWN, counted
from .nearest import CANDIDATES, did_you_mean, difference, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..collector.collector import RefusedConnection
    from ..collector.event_log import EventLog
    from ..protocol.findings import Finding
    from .matching import Search
    from .nearest import Nearest
    from .receiver import Receiver

COMPARED_IN_FULL = 100_000
"""Bytes of the largest body whose values are compared in full: a longer diff takes minutes."""
_GENERATED_KEY = re.compile(r"\d{5}/[0-9a-f]{40}\Z")
"""The shape of the write keys that this package generates."""
_SENDER = re.compile(r"\S+ (at \S+|by WSGI|without a connection): ")
"""How the reason of a refused connection begins."""
_TO_SETTLE = "Fix: end hold_validation(), lower validation_delay, or give a longer timeout"
_END_FAULT = "Fix: end the fault before you send, or let the sender try again"
_ALL_SENT = "Has the sender sent them all (flushed, joined, awaited)?"
_ENDINGS: dict[EventState | None, str] = {
    EventState.REFUSED: " refused (4xx)",
    EventState.REJECTED: " rejected after 200",
}
"""What an assertion wants of events; of records it wants that they are there."""

_Told = tuple[str, list[str], str | None]
"""The cause in a few words, lines about it, and the id of the rule that explains it."""


def not_found(search: Search) -> str:
    """An assertion found another number of records or events than it wanted."""
    receiver, count, log = search.receiver, search.count, search.log
    found, noun = len(search.found), "event" if search.state in _ENDINGS else "record"
    goal = f"{counted(count, noun)}{_ENDINGS.get(search.state, '')}" if search.state else "one"
    so_far = f" (waited {search.waited:g} s)"
    if found > (count or 0):
        cause, details, rule = _too_many(search)
        goal, so_far = goal if count else "none", ""
    elif not len(log):
        cause, details, rule = _nothing_arrived(receiver)
    else:
        if search.state is EventState.INGESTED:
            cause, details, rule = _not_ingested(search)
            so_far = f", found {found:,}{so_far}" if found else so_far
        else:
            cause, details, rule = _no_such_event(search)
        if refused := search.collector.refused_connections:
            details += formatting.refused_connections(refused)
    for fault in receiver.unmatched_faults():
        limits = {name: value for name, value in fault.limits.items() if value}
        of = f" with {formatting.assignments(limits)}" if limits else ""
        asked = counted(fault.asked, "time")
        details.append(f"fault {fault.name}{of} never matched: asked {asked}, matched 0")
    return _text(receiver, f"{cause}; wanted {goal}{search}{so_far}", details, ids=[rule])


def requests(receiver: Receiver) -> str:
    """`assert_no_requests` saw some."""
    log, refused = receiver.collector.log, receiver.collector.refused_connections
    arrived = [counted(len(log), "request")] if len(log) else []
    arrived += [counted(len(refused), "refused connection")] if refused else []
    return _text(
        receiver,
        f"{' and '.join(arrived)} arrived; wanted none",
        [*formatting.lines(Events(log)), *formatting.refused_connections(refused)],
        f"Fix: stop the sender; {receiver.name}.clear() forgets what was sent on purpose",
    )


def invalid_records(receiver: Receiver, wrong: Sequence[tuple[Event, str]], checked: int) -> str:
    """`assert_valid` found records that do not satisfy their schema: their events, and why."""
    number, first = len({event.seq for event, _ in wrong}), wrong[0][1]
    fails = f"{'does' if number == 1 else 'do'} not satisfy the schema: {first}"
    head = f"{number:,} of {counted(checked, 'record')} {fails}"
    shown = wrong[: formatting.EVENTS_SHOWN]
    details = [f"#{event.seq} {formatting.place(event)}: {text}" for event, text in shown]
    fix = "Fix: change what is sent, or the schema"
    return _text(receiver, head, formatting.first_of(details, len(wrong)), fix)


def unsettled(receiver: Receiver, pending: Sequence[Event], seconds: float) -> str:
    """Events are still pending after `seconds`."""
    why = receiver.collector.why_pending(0) or f"waited {seconds:g} s"
    head = f"{counted(len(pending), 'event')} still pending: {why}"
    lines = formatting.lines(pending, most=SHOWN)
    return _text(receiver, head, lines, _TO_SETTLE, ids=["Y2"])


def unexpected_losses(receiver: Receiver, events: Sequence[Event]) -> str:
    """`events` were rejected after their response, and the test does not expect it (Y3)."""
    statuses = dict.fromkeys(event.status or "no response" for event in events)
    shown = [
        f"#{event.seq} {event.request.method} {formatting.place(event)}: "
        f"{event.reason} ({event.rule})"
        for event in events[:SHOWN]
    ]
    names = {event.database for event in events}, {event.table for event in events}
    same = itertools.takewhile(lambda each: len(each) == 1, names)
    arguments = ", ".join(f'"{name}"' for (name,) in same)
    causes = [(event.rule, event.key or "", str(event.reason)) for event in events[:SHOWN]]
    fixes = itertools.chain.from_iterable(_fix(receiver, *cause) for cause in causes)
    return _text(
        receiver,
        f"Silent loss: {counted(len(events), 'event')} got {' or '.join(map(str, statuses))} "
        f"but {'was' if len(events) == 1 else 'were'} never stored.",
        formatting.first_of(shown, len(events)),
        *dict.fromkeys(fixes),
        f"Expected? with {receiver.name}.expect_auth_failure({arguments}): ...",
        f"Expected every time? {receiver.setting.format('on_auth_failure', 'ignore')}",
        ids=[event.rule for event in events[:SHOWN]],
    )


def unclaimed(receiver: Receiver, events: Sequence[Event], setting: str) -> str:
    """No assertion claimed `events`, and `setting` says that this fails the test."""
    what, assertion = "ingested", "assert_ingested(...)"
    if setting == "on_refusal":
        what, assertion = "refused (4xx)", "assert_refused(...)"
    them = "it" if len(events) == 1 else "them"
    return _text(
        receiver,
        f"{counted(len(events), 'event')} {what}, and no assertion claimed {them} "
        f'({setting}="fail")',
        formatting.lines(events, most=SHOWN),
        f"Fix: assert it with {receiver.name}.{assertion}, or {receiver.name}.claim(event)",
        f"Or allow it: {receiver.setting.format(setting, 'ignore')}",
        ids=[event.rule for event in events[:SHOWN]],
    )


def unclaimed_connections(receiver: Receiver, refused: Sequence[RefusedConnection]) -> str:
    """Connections that were refused with a 4xx, which the setting `on_refusal` makes a failure."""
    statuses = Counter(str(each.status) for each in refused)
    what = f"{counted(len(refused), 'connection')} refused (4xx) with {_with_counts(statuses)}"
    return _text(
        receiver,
        f'{what}, which left no event (on_refusal="fail")',
        formatting.refused_connections(refused),
        "Fix: change what the sender sends; no assertion claims this",
        f"Or allow it: {receiver.setting.format('on_refusal', 'ignore')}",
    )


def findings(receiver: Receiver, found: Sequence[tuple[Event, Finding]]) -> str:
    """Findings that the setting `on_finding` makes failures."""
    ids = list(dict.fromkeys(finding.rule for _, finding in found))
    shown = [formatting.finding_warning(*each) for each in found[: formatting.EVENTS_SHOWN]]
    return _text(
        receiver,
        f"{counted(len(found), 'finding')}: {found[0][1]} (on_finding makes it a failure)",
        formatting.first_of(shown, len(found)),
        "Fix: change what is sent, as the rule says",
        f"Or allow it: {receiver.setting.format('on_finding', 'ignore:' + ','.join(ids))}",
        ids=ids[:SHOWN],
    )


def never_entered(receiver: Receiver, calls: Sequence[str]) -> str:
    """Context managers that were never entered, and coroutines that were never awaited."""
    done = ["awaited" if call.startswith("aio.") else "entered" for call in calls]
    told = [f"{call} was never {what}" for call, what in zip(calls, done, strict=True)]
    call = f"{calls[0].partition('(')[0]}(...)"
    if not call.startswith("case."):
        call = f"{receiver.name}.{call}"
    fix = f"Fix: await {call}" if done[0] == "awaited" else f"Fix: with {call}: ..."
    others = [f"{each} either" for each in told[1:]]
    return _text(receiver, f"{told[0]}, so it did nothing", others, fix)


# parts of messages


def _text(
    receiver: Receiver,
    head: str,
    details: Sequence[str],
    *tail: str,
    ids: Sequence[str | None] = (),
) -> str:
    """The lines of a message, each safe to print, without a whole write key.

    `details` are indented. The last lines name the command that explains the rules `ids`.
    """
    lines = [head, *details, *tail]
    lines += map("tdpostback rules {}".format, dict.fromkeys(filter(None, ids)))
    if not "".join(lines).isprintable():
        lines = [escaped(line) for line in lines]
    end = 1 + len(details)
    text = "\n".join(["\n  ".join(lines[:end]), *lines[end:]])
    return KeyRedactor(receiver.collector.keys.known())(text)


def _too_many(search: Search) -> _Told:
    if search.state in _ENDINGS:
        fix = "Give more arguments to choose one, or count=None to allow any number."
        cause = f"{counted(len(search.found), 'event')}{_ENDINGS[search.state]}"
        return cause, [*formatting.lines(Events(search.log)), fix], None
    events, details = Events(search.log, search.found), []
    cause = counted(len(events), "record")
    if not search.count:
        for event in events[:SHOWN]:
            details += [formatting.line(event), f"  {formatting.value(event.columns())}"]
        more = formatting.first_of([], len(events) - SHOWN)
        name = search.receiver.name
        fix = f"Fix: stop the sender, or forget what came before with {name}.clear()"
        return f"{cause} ingested", [*details, *more, fix], None
    details += formatting.lines(events)
    some = events[:CANDIDATES]
    most = max(Counter((event.request.target, event.request.body) for event in some).values())
    if copied := [event for event in some if event.copies > 1]:
        details.append(f"#{copied[0].seq} was stored {copied[0].copies} times by a fault.")
    elif most > 1:
        details.append(f"{most} of them are equal in every byte. Was it sent again by a retry?")
    if search.count == 1 and (search.columns or search.predicate):
        details.append("Give more columns to choose one, or count=None to allow any number.")
    details += _misread_arguments(search, events[0].columns())
    return f"{cause} matched", details, None


def _not_ingested(search: Search) -> _Told:  # noqa: C901, PLR0912 - one cause after the other
    """Why a record is not there."""
    receiver, log, near = search.receiver, search.log, nearest(search)
    if near is None:
        return _nothing_near(search)
    event, state = near.event, near.state
    status, rule, reason, details = event.status, event.rule, event.reason, [formatting.line(event)]
    if state is EventState.INGESTED:
        short, differences = difference(near, search)
        details += [*formatting.findings(event), *differences]
        details.append(f"record: {formatting.value(dict(near.columns), 200)}")
        cause = f"the nearest record {short}"
        fix = "Fix: change what is sent, or what is wanted; pytest -vv shows it all"
        if not near.in_place:
            place = formatting.place(event)
            cause = f"the nearest record is in {place}"
            fix = f"Fix: send it to{search.place[3:]}, or assert it in {place}"
        details += [fix, *_in_full(search, near)]
    elif state is EventState.PENDING:
        why = receiver.collector.why_pending(0) or "its validation has not run yet"
        cause = f"still pending: {why}"
        details.append(_TO_SETTLE)
    elif state is EventState.LOST:
        cause = f"lost by the fault {event.fault}"
        details.append(_END_FAULT)
    else:
        if state is EventState.REJECTED or (rule in ("A6", "I4") and event.key is not None):
            details += _fix(receiver, rule, event.key or "", str(reason))
        elif rule is not None:
            from ..protocol.rules import rules  # only a failure needs them

            advice = rules[rule].advice
            details.append(f"Fix: {advice[0].lower()}{advice[1:]}")
        if event.request.body or event.payload:
            details.append(f"sent: {formatting.sent(event)}")
        if state is EventState.REJECTED:
            cause = f"rejected after {status or 'no response'} by {rule}: {reason}"
        elif state is EventState.DEDUPLICATED:
            cause = f"not stored again by {rule}: {reason}"
        else:
            how = "in its receipt" if status == 206 else "(4xx)"
            short = str(reason).partition(": ")[0]
            cause = f"refused {how} with {status} by {rule}: {short}"
    if not near.in_place and state is not EventState.INGESTED:
        details.append(f"It was sent to {formatting.place(event)}, not to {search.place[4:]}.")
    details += _misread_arguments(search, near.columns)
    if len(log) > 1:
        details += _latest(log)
    return cause, details, rule


def _nothing_near(search: Search) -> _Told:
    """Why a record is not there, if nothing that arrived can be meant."""
    log, found, details = search.log, search.found, list(_obstacles(search.receiver).values())
    if found:
        details = details or [_ALL_SENT]
        details += _misread_arguments(search, Event(log, found[0]).columns())
        verb = "arrived"
        if len(set(found)) < len(log):
            verb, details = "matched", details + _latest(log)
        return f"no more than {counted(len(found), 'record')} {verb}", details, None
    places = Counter(formatting.place(event) for event in Events(log)[-CANDIDATES:])
    details.append(f"What arrived was for {_with_counts(places)}.")
    question = did_you_mean(search.place.removeprefix(" in "), places)
    details.append(question or f"Fix: send it to{search.place[3:]}, or assert it where it arrived.")
    return f"nothing arrived{search.place}", details, None


def _latest(log: EventLog) -> list[str]:
    last = f", the last {SHOWN}" if len(log) > SHOWN else ""
    lines = [f"  {line}" for line in formatting.lines(Events(log)[-SHOWN:])]
    return [f"{counted(len(log), 'event')} arrived{last}:", *lines]


def _in_full(search: Search, near: Nearest) -> list[str]:
    """With `-vv`: the headers of the nearest request, and pytest's own comparison of the values."""
    request = near.event.request
    got = {name: near.columns[name] for name in search.columns if name in near.columns}
    if len(request.body) > COMPARED_IN_FULL:
        got = {}
    compared = search.receiver.neighbours.compare(dict(search.columns) if got else {}, got)
    if compared is None:
        return []
    headers = [f"header {name}: {value}" for name, value in request.headers.pairs]
    return [*(formatting.shortened(header, 200) for header in headers), *compared]


def _no_such_event(search: Search) -> _Told:  # noqa: C901 - as `_not_ingested`
    """Why too few events were refused or rejected, or satisfy a predicate."""
    log, state, name = search.log, search.state, search.receiver.name
    arrived, fix, rule = counted(len(log), "event"), "", None
    statuses = ["no response" if each == NO_STATUS else str(each) for each in log.statuses]
    refused = list(log.indexes(EventState.REFUSED))
    rejected = list(log.indexes(EventState.REJECTED))
    earlier = sum(log.first + index < search.first for index in rejected)
    if state is None:
        cause = f"{arrived} arrived"
        fix = f"Fix: compare the predicate with {name}.events, or give a longer timeout"
    elif search.found:
        cause = f"no more than {counted(len(search.found), 'event')}{_ENDINGS[state]}"
        fix = _ALL_SENT
    elif log.count(EventState.LOST) == len(log):
        cause, fix = f"{arrived} lost by a fault", _END_FAULT
    elif state is EventState.REFUSED and refused:
        how = Counter(f"{statuses[index]} by {log.rules[index]}" for index in refused)
        reason = f": {log.reasons[refused[-1]].partition(': ')[0]}" if len(how) == 1 else ""
        cause, rule = f"refused (4xx) with {_with_counts(how)}{reason}", log.rules[refused[-1]]
        fix = "Fix: change what is sent, or what is wanted"
    elif state is EventState.REFUSED:
        got = Counter(statuses)
        cause = f"{arrived} got {_with_counts(got) if len(got) > 1 else statuses[0]}"
        fix = f"A bad key is rejected after its response: {name}.assert_auth_failed() asserts it"
        if not rejected:
            fix = "Fix: send what the service refuses; `tdpostback rules` lists it"
    elif len(rejected) > earlier:
        number = len(rejected) - earlier
        cause = f"{number} rejected after 200 with another key, database or table"
        fix = "Fix: give the key, the database or the table of that event"
    elif earlier:
        cause = f"{earlier} rejected after 200, but sent before the block began"
        fix = "Fix: send it inside the block, or use assert_auth_failed"
    elif at_once := [at for at in refused if log.statuses[at] in (401, 403)]:
        status = log.statuses[at_once[0]]
        cause = (
            f"refused (4xx) with {status} at once, which assert_refused(status={status}) asserts"
        )
    elif pending := log.count(EventState.PENDING):
        why = search.collector.why_pending(0) or "the validation has not run yet"
        cause, fix = f"{counted(pending, 'event')} still pending: {why}", _TO_SETTLE
    else:
        cause = "no event was rejected after 200"
        if stored := log.count(EventState.INGESTED):
            cause = f"{counted(stored, 'event')} ingested: the write key is valid"
        fix = f"Fix: send another key, or make this one invalid: {name}.keys.revoke(key)"
    obstacles = _obstacles(search.receiver).values()
    return cause, [*formatting.lines(Events(log)), *obstacles, *filter(None, [fix])], rule


def _nothing_arrived(receiver: Receiver) -> _Told:
    """What kept requests away, as far as it is known."""
    collector = receiver.collector
    refused, obstacles = collector.refused_connections, _obstacles(receiver)
    details = list(obstacles.values())
    if refused:
        were = "connection was" if len(refused) == 1 else "connections were"
        reason = formatting.shortened(_SENDER.sub("", refused[0].reason.partition(";")[0], 1), 120)
        if not any(";" in each.reason for each in refused):  # else a reason says what to do
            details.append(f"Fix: send an HTTP/1.1 request to {receiver.name}.url")
        details = [*formatting.refused_connections(refused), *details]
        return f"{len(refused)} {were} refused: {reason}", details, None
    if not collector.blocked_hosts:
        others = list(receiver.neighbours.events_at_other_urls(collector))
        if others:
            details = [f"This Postback has the URL {receiver.url}. Fix: send to this URL."]
            details += [f"{formatting.line(event)}, at {where}" for where, event in others[:SHOWN]]
            return f"{counted(len(others), 'request')} arrived at another URL", details, None
    if obstacles:
        return f"no request arrived: {next(iter(obstacles))}", details, None
    if apart := [counted(n, each) for each, n in collector.other_requests.items()]:
        details = ["Did the page send its event after that? See the console of the browser."]
        return f"no event arrived, only {' and '.join(apart)}", details, None
    details = [
        f"Nothing reached {receiver.url}. Does the sender use this URL?",
        "Has it sent (flushed, joined, awaited)?",
        f"Is its host hard-coded? Then: with {receiver.name}.redirect(): ...",
    ]
    return "no request arrived", details, None


def _obstacles(receiver: Receiver) -> dict[str, str]:
    """What is known to keep a sender from sending: in a few words, and in a line."""
    collector, found = receiver.collector, {}
    blocked = [escaped(each) for each in dict.fromkeys(collector.blocked_hosts)][:SHOWN]
    if blocked:
        hosts = ", ".join(each.partition(": ")[0] for each in blocked)
        told = f"Blocked: {'. '.join(blocked)}.".replace("; ", ". Fix: ")
        found[f"connections to {hosts} were blocked"] = told
    if receiver.ended_test:
        told = f"{receiver.ended_test} has ended. Fix: use the Postback of the test that runs."
        found["this Postback belongs to a test that has ended"] = told
    elif receiver.closed:
        state = "is stopped" if receiver.server.stopped else "was never started"
        found[f"the server {state}"] = f"The server {state}. Fix: start it before you send."
    if in_event_loop():
        told = "This call blocks an event loop that runs in this thread; use await "
        found["this call blocks the event loop"] = f"{told}{receiver.name}.aio.… instead."
    if not len(collector.log) and (names := _proxies(receiver)):
        told = f"{names} is set: a client may send to that proxy instead. "
        found[f"{names} is set"] = f"{told}Set NO_PROXY={receiver.server.host}."
    return found


def _proxies(receiver: Receiver) -> str:
    """The variables that lead clients of the URL to a proxy; empty if they leave its host out."""
    host, proxies = receiver.server.host, getproxies_environment()
    https = receiver.collector.settings.tls or receiver.server.ssl_context
    excepted = proxy_bypass(host)
    for network in proxies.get("no", "").split(","):  # as some clients read it
        with suppress(ValueError):
            excepted = excepted or ip_address(host) in ip_network(network.strip(), strict=False)
    used = {f"{each}_proxy" for each in ("https" if https else "http", "all") if each in proxies}
    return "" if excepted else ", ".join(name for name in os.environ if name.lower() in used)


def _fix(receiver: Receiver, rule: str | None, key: str, reason: str) -> list[str]:
    """What to do about an event that was refused or rejected for its key or its time."""
    if rule == "T3":
        return [
            'The setting stale_time="drop" drops an event with such a time.',
            'Fix: send UNIX seconds, or set stale_time="receipt"',
        ]
    if rule == "A10":
        return ["Fix: remove the header Authorization, or give it the scheme TD1"]
    shown = shortened(key)
    add = f'{receiver.name}.keys.add("{shown}"'
    owner = receiver.neighbours.owner_of(key, receiver.collector)
    if owner is not None:
        return [f"{shown} is the write key of {owner}.", f"Fix: send {receiver.name}.write_key"]
    if "was revoked" in reason:
        return [f"Fix: make it valid again: {add})"]
    if "may not write" in reason:
        limit = "databases" if "write to database" in reason else "tables"
        return [f"Fix: extend its limits: {add}, {limit}=...)"]
    fix = f"Fix: send {receiver.name}.write_key, or register yours: {add})"
    if not _GENERATED_KEY.match(key):
        return [fix]
    looks = f"{shown} looks like a key of another test run: a process that outlived its run may"
    return [f"{looks} have sent it.", fix]


def _misread_arguments(search: Search, columns: Mapping[str, Any]) -> list[str]:
    """A note if `count` or `timeout` may be meant as one of `columns`, those of a near event."""
    lines = []
    for name, value, default in (("count", search.count, 1), ("timeout", search.timeout, 2.0)):
        if name in columns and value not in (default, None):
            where = f"where={{{name!r}: ...}}"
            lines.append(f"{name} is an argument here; compare the column {name} with {where}.")
    return lines


def _with_counts(counts: Counter[str]) -> str:
    parts = [
        f"{name} ({times})" if times > 1 or len(counts) > 1 else name
        for name, times in counts.most_common(SHOWN)
    ]
    more = len(counts) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")
