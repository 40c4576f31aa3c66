"""What a failed assertion says: what was wanted, what is the matter, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from ..protocol.secrets import shortened
from . import formatting
from .nearest import Near, Wish, differences, findings, misspelled, nearest, row_of
from .waits import blocks_a_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..collector.events import Event, Record
    from .assertions import Assertions
    from .matching import WantedFailure

__all__ = [
    "Wish",
    "ingested",
    "not_ingested",
    "nothing_satisfied",
    "unexpected",
    "want_failures",
    "want_refused",
]
ELSEWHERE = 3
"""Events at other URLs that a text shows."""
LOSSES = 5
"""Lost events that a text shows before it says why."""
KEYS = 3
"""Write keys that a text says something about."""
ARGUMENTS = {"count": (1, None), "timeout": (2.0,)}
"""Arguments of `assert_ingested` that may be meant as columns, unless they have these values."""


def not_ingested(postback: Assertions, wish: Wish, rows: Sequence[int]) -> str:
    """`assert_ingested` did not find what was wanted; `rows` is where in the log it found what."""
    events = postback.events
    found = [events[index] for index in rows]
    if len(rows) > (1 if wish.count is None else wish.count):
        return _joined(f"expected {wish}, found {len(rows)}: too many", _too_many(found, wish))
    near = nearest(wish, events, {event.seq for event in found})
    cause, details = _cause(postback, wish, near, some=bool(rows))
    head = f"expected {wish}, found {len(rows) or 'none'} within {wish.seconds:g} s: {cause}"
    details += _taken_for_arguments(wish, [*found[:1], *([near.event] if near else [])])
    if len(events) > 1:
        last = f", the last {formatting.SHOWN}" if len(events) > formatting.SHOWN else ""
        details.append(f"arrived here: {len(events)} events{last}")
        details.append(formatting.lines(events[-formatting.SHOWN :]))
    return _joined(head, details)


def ingested(rows: Sequence[Record], database: str | None, table: str | None) -> str:
    """`assert_nothing_ingested` found `rows`."""
    asked = {"database": database, "table": table}
    where = "".join(f" in {role} {name}" for role, name in asked.items() if name is not None)
    shown = [
        f"{formatting.line(row.event)}\n  {formatting.shown(dict(row))}"
        for row in rows[: formatting.SHOWN]
    ]
    if len(rows) > formatting.SHOWN:
        shown.append(f"… and {len(rows) - formatting.SHOWN} more")
    return _joined(f"expected no record{where}, found {len(rows)}", shown)


def nothing_satisfied(
    postback: Assertions, predicate: Callable[[Event], object], seconds: float
) -> str:
    """`wait_for` saw no event that satisfies its predicate."""
    name = getattr(predicate, "__name__", "")
    called = f" {name}" if name and name != "<lambda>" else ""
    head = f"no event satisfied the predicate{called} within {seconds:g} s: "
    if not postback.events:
        return _joined(f"{head}nothing arrived", _nothing(postback))
    arrived = [*_kept_back(postback), *_all(postback)]
    return _joined(f"{head}{len(postback.events)} arrived", arrived)


def unexpected(postback: Assertions, events: Sequence[Event]) -> str:
    """`events` were answered 200 and rejected, though nobody expected it."""
    were = "event was" if len(events) == 1 else "events were"
    shared = [
        f"{name}={value!r}"
        for name, value in (("database", events[0].database), ("table", events[0].table))
        if all(getattr(event, name) == value for event in events)
    ]
    called = postback._server.name_of(postback)
    made = f" ({called} is the one at {postback.url})" if called == "double" else ""
    return "\n".join(
        [
            f"{len(events)} {were} answered 200 and rejected afterwards; the sender cannot know",
            formatting.lines(events, most=LOSSES),
            *dict.fromkeys(line for event in _each_cause(events) for line in _why(postback, event)),
            f"If the test means this, it says so{made}:",
            f"  with {called}.expect_auth_failure({', '.join(shared)}):",
            "      ...",
            f"or, {postback._server.lenience(postback)}",
        ]
    )


def want_refused(
    postback: Assertions,
    found: Sequence[Event],
    status: int | None,
    rule: str | None,
    count: int | None,
) -> None:
    """Raise `AssertionError` unless `found` are `count` events."""
    __tracebackhide__ = True
    asked = {"status": status, "rule": rule}
    of = _with({name: value for name, value in asked.items() if value is not None})
    if not _enough(found, count):
        wanted = formatting.counted(count, "refused event") + of
        others = [event for event in postback.refused if event not in found]
        accepted = [event for event in postback.events if event.state is not EventState.REFUSED]
        if len(found) > (count or 0):
            cause = "too many"
        elif others:
            cause = f"{len(others)} refused for another reason"
        else:
            cause = f"{len(accepted)} accepted with 200" if accepted else "nothing else arrived"
        raise AssertionError(_unwanted(postback, wanted, found, cause))


def want_failures(
    postback: Assertions,
    found: Sequence[Event],
    wanted: WantedFailure,
    count: int | None,
    *,
    since: int = 0,
) -> None:
    """Raise `AssertionError` unless `found` are `count` events, of those from number `since` on."""
    __tracebackhide__ = True
    if not _enough(found, count):
        what = formatting.counted(count, "authentication failure") + (
            f" of {wanted}" * bool(str(wanted))
        )
        too_many = len(found) > (count or 0)
        cause = "too many" if too_many else _no_failure(postback, found, since)
        raise AssertionError(_unwanted(postback, what, found, cause))


def _no_failure(postback: Assertions, found: Sequence[Event], since: int) -> str:
    others = [event for event in postback.auth_failures if event not in found]
    earlier = [event for event in others if event.seq < since]
    if len(others) > len(earlier):
        return f"{len(others) - len(earlier)} failed with another key, database or table"
    if earlier:
        return f"{len(earlier)} failed of what was sent before the block began"
    if any(event.status == 403 for event in postback.refused):
        return "403 was answered at once, which assert_refused(status=403) asserts"
    stored = len(postback.records())
    return f"{stored} ingested, their keys are valid" if stored else "nothing else arrived"


def _unwanted(postback: Assertions, wanted: str, found: Sequence[Event], cause: str) -> str:
    head = f"expected {wanted}, found {len(found) or 'none'}: "
    if not postback.events:
        return _joined(f"{head}nothing arrived", _nothing(postback))
    return _joined(f"{head}{cause}", _all(postback))


def _enough(found: Sequence[Event], count: int | None) -> bool:
    return bool(found) if count is None else len(found) == count


def _with(columns: dict[str, Any]) -> str:
    return f" with {formatting.assigned(columns)}" if columns else ""


def _all(postback: Assertions) -> list[str]:
    return [formatting.lines(postback.events, indent="")]


def _joined(head: str, details: Sequence[str]) -> str:
    return "\n".join([head, *(f"  {line}" for each in details for line in each.splitlines())])


# why a record is missing


def _cause(
    postback: Assertions, wish: Wish, near: Near | None, *, some: bool
) -> tuple[str, list[str]]:
    another = "another" if some else "it"
    if near is None:
        arrived = len(postback.events)
        if some:
            return "no more arrived", _nothing(postback)
        if arrived:
            others = [*_kept_back(postback), *_other_routes(postback, wish)]
            return f"nothing arrived for {wish.route}", others
        return "nothing arrived", _nothing(postback)
    event = near.event
    if event.state is EventState.REFUSED:
        return (
            f"{another} arrived and was refused with {event.status}",
            _refused(postback, wish, event),
        )
    if event.state is EventState.REJECTED:
        return (
            f"{another} arrived, was answered 200 and rejected afterwards",
            _rejected(postback, event),
        )
    if event.state is EventState.PENDING:
        why = postback._collector.why_pending(0) or "its validation has not run yet"
        return f"{another} arrived and is still pending: {why}", [formatting.line(event)]
    if event.state is EventState.LOST:
        return f"{another} arrived and was lost by the fault {event.fault}", [
            formatting.line(event)
        ]
    return _differs(wish, near, some=some)


def _nothing(postback: Assertions) -> list[str]:
    elsewhere = list(postback._server.elsewhere(postback))
    if elsewhere:
        shown = [f"{formatting.line(event)}, at {where}" for where, event in elsewhere[:ELSEWHERE]]
        return [f"{len(elsewhere)} arrived at another URL than {postback.url}:", *shown]
    if not postback._collector.empty:
        return _kept_back(postback) or ["Has the sender sent them all: flushed, joined, awaited?"]
    return [
        f"No request reached {postback.url}.",
        *(
            _kept_back(postback)
            or ["Is the sender given this URL, and has it sent: flushed, joined, awaited?"]
        ),
    ]


def _kept_back(postback: Assertions) -> list[str]:
    """What is known to have kept a sender from sending."""
    told = []
    blocked = dict.fromkeys(postback._collector.blocked_hosts)
    if blocked:
        told.append(f"Connections were blocked to {', '.join(blocked)}.")
    if blocks_a_loop():
        call = f"await {postback._server.name_of(postback)}.aio.…"
        told.append(f"This call blocks an event loop that runs in this thread; use {call} instead.")
    return told


def _taken_for_arguments(wish: Wish, events: Iterable[Event]) -> list[str]:
    columns = {name for event in events for name in row_of(event)}
    given = {"count": wish.count, "timeout": wish.seconds}
    return [
        f"{name} is an argument here; the column {name} is compared by where={{{name!r}: ...}}."
        for name, usual in ARGUMENTS.items()
        if name in columns and given[name] not in usual
    ]


def _other_routes(postback: Assertions, wish: Wish) -> Iterator[str]:
    routes = Counter(formatting.place(event) for event in postback.events)
    shown = ", ".join(f"{place} ({times})" for place, times in routes.most_common(formatting.SHOWN))
    yield f"What arrived was for: {shown}"
    question = misspelled(wish.route, routes)
    if question:
        yield question


def _refused(postback: Assertions, wish: Wish, event: Event) -> list[str]:
    details = [formatting.line(event)]
    if event.rule == "A6":
        details += _why(postback, event)
    if event.database is not None and (event.database, event.table) != (wish.database, wish.table):
        details.append(f"It was sent to {formatting.place(event)}, not to {wish.route}.")
    details.append(f"sent: {formatting.sent(event)}")
    return details


def _rejected(postback: Assertions, event: Event) -> list[str]:
    return [
        formatting.line(event),
        *_why(postback, event),
        *findings(event),
        f"sent: {formatting.sent(event)}",
    ]


def _each_cause(events: Sequence[Event]) -> list[Event]:
    """The first event of each key, and the first that was lost for its time."""
    causes = {None if event.rule == "T3" else event.key: event for event in reversed(events)}
    return sorted(causes.values(), key=lambda event: event.seq)[:KEYS]


def _why(postback: Assertions, event: Event) -> Iterator[str]:
    """What is the matter with an event that was refused or rejected, and what to do."""
    if event.rule == "T3":
        yield 'No key is at fault: the setting stale_time="drop" drops what has such a time (T3).'
        yield 'Send the time of the event in UNIX seconds, or set stale_time="receipt".'
        return
    key = event.key or ""
    owner = postback._server.owner_of(key, postback)
    if owner:
        yield f"{shortened(key)} is the write key of {owner}."
    if key not in postback._collector.keys and key != postback.write_key:
        yield f"The key of this double is {shortened(postback.write_key)}."


def _differs(wish: Wish, near: Near, *, some: bool) -> tuple[str, list[str]]:
    event = near.event
    which = "the nearest other record" if some else "the nearest record"
    details = [f"nearest: {formatting.line(event)}"]
    if (event.database, event.table) != (wish.database, wish.table):
        cause = f"{which} is in {formatting.place(event)}, not in {wish.route}"
    else:
        cause = f"{which} differs"
    details += findings(event)
    details += [f"  {line}" for line in differences(event, wish.wanted)]
    details.append(f"record: {formatting.shown(event.columns(), 200)}")
    return cause, details


def _too_many(found: Sequence[Event], wish: Wish) -> list[str]:
    details = [formatting.lines(found, indent="")]
    bodies = Counter((event.request.target, event.request.body) for event in found)
    twice = max(bodies.values())
    duplicated = [event for event in found if event.copies > 1]
    if duplicated:
        details.append(f"#{duplicated[0].seq} was stored {duplicated[0].copies} times by a fault.")
    elif twice > 1:
        details.append(f"{twice} of them are equal to the byte: was it sent again, or retried?")
    if wish.count == 1 and not wish.wanted.anything:
        details.append("More columns narrow it down; count=None takes any number.")
    return details
