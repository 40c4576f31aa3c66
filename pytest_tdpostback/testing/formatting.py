"""How values, events and counts are written in messages and reports.

Text of a sender is escaped and shortened here, and no text holds a whole write key.
"""

from __future__ import annotations

from bisect import bisect
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..protocol.escaping import escaped
from ..protocol.secrets import without_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..collector.collector import RefusedConnection
    from ..collector.events import Event
    from ..protocol.findings import Finding

SHOWN = 5
"""How many events, causes or places of one kind a message shows."""
EVENTS_SHOWN = 10
"""How many events of a longer list a text shows, of each end if it shows both."""
COLUMNS_SHOWN = 8
"""How many columns of a longer list a text shows."""
FINDINGS_SHOWN = 3
"""How many findings of one event a text shows."""
WIDTH = 100
"""How many characters of a value a text shows."""
_LONGEST_KEY = 300
"""A text is cut this far outside of what is shown, so that a key at the edge is still found."""


def value(value: Any, width: int = WIDTH) -> str:
    """The `repr` of a value, shortened in its middle to `width` characters."""
    return shortened(_repr(value), width)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - the value belongs to a test
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def shortened(text: str, width: int = WIDTH) -> str:
    """`text`, escaped, without whole write keys, and shortened in its middle to `width`."""
    if len(text) > 2 * (width + _LONGEST_KEY):
        text = f"{text[: width + _LONGEST_KEY]}…{text[-width - _LONGEST_KEY :]}"
    text = escaped(without_keys(text))
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def two_values(one: Any, other: Any) -> list[str]:
    """Both as `value` does, but long ones around the place where they begin to differ."""
    first, second = texts = [_repr(each) for each in (one, other)]
    end = min(len(first), len(second))
    if end <= WIDTH:
        return [shortened(each) for each in texts]
    # Long beginnings are compared, because character by character takes seconds.
    start = bisect(range(end), False, key=lambda at: not first.startswith(second[: at + 1]))
    return [_part(each, max(0, start - WIDTH // 4)) for each in texts]


def _part(text: str, start: int) -> str:
    """A part of `text`. A write key at its edge is found, because more than the part is read."""
    before = escaped(without_keys(text[max(0, start - _LONGEST_KEY) : start]))
    end = start + WIDTH
    part = escaped(without_keys(text[max(0, start - _LONGEST_KEY) : end + _LONGEST_KEY]))
    shown = part[len(before) : len(before) + WIDTH]
    return f"{'…' * bool(start)}{shown}{'…' * (end < len(text))}"


def assignments(columns: Mapping[str, Any]) -> str:
    """Columns as `name=value, …`, the first ones of many."""
    parts = []
    for name, each in islice(columns.items(), COLUMNS_SHOWN):
        parts.append(shortened(f"{name}={_repr(each)}", 60))
    if len(columns) > len(parts):
        parts.append(f"… and {len(columns) - len(parts)} more")
    return ", ".join(parts)


def place(event: Event) -> str:
    """Where an event was sent: `database.table`, or the path if it is another one; not escaped."""
    database, table = event.database, event.table
    if database is not None and table is not None:
        text = f"{database}.{table}"
    else:
        text = without_keys(str(event.request.target)[: WIDTH + _LONGEST_KEY])
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


def line(event: Event) -> str:
    """One event in one line: number, method, place, status and what became of it, and why."""
    status, state, rule, fault = event.status, event.state.value, event.rule, event.fault
    got = "no response" if status is None else str(status)
    if state == "refused":
        text = f"refused {'in its receipt' if status == 206 else '(4xx)'} with {got}"
    elif state == "rejected":
        text = f"rejected after {got}"
    else:
        text = f"{got}, {state}"
    if fault:
        text += f" by the fault {fault}" if state == "lost" else f", fault {fault}"
    if state == "ingested" and event.copies > 1:
        text += f", {event.copies} copies"
    if rule:
        text += f", {rule}: {event.reason}"
    return escaped(without_keys(f"#{event.seq} {event.request.head.method} {place(event)}: {text}"))


def lines(events: Sequence[Event], *, most: int = EVENTS_SHOWN) -> list[str]:
    """A line for each event, the first `most` of them."""
    return first_of([line(event) for event in events[:most]], len(events))


def first_of(texts: list[str], count: int) -> list[str]:
    """`texts` and a line that says how many more there are, if they are `count`."""
    return [*texts, f"… and {count - len(texts):,} more"] if count > len(texts) else texts


def findings(event: Event) -> list[str]:
    """A line for each finding of an event, the first ones of many."""
    found = event.findings
    texts = [f"finding {escaped(without_keys(str(each)[:500]))}" for each in found[:FINDINGS_SHOWN]]
    return first_of(texts, len(found))


def counted(count: int | None, noun: str) -> str:
    """`1 record`, `2 records`, `at least 1 record` for `None`, `no record` for 0."""
    if count is None:
        return f"at least 1 {noun}"
    return f"{count:,} {noun}{'s' * (count > 1)}" if count else f"no {noun}"


def sent(event: Event) -> str:
    """What an event carried: its data, or the bytes if they are no data."""
    payload = event.payload
    return value(event.request.body if payload is None and event.request.body else payload)


def finding_warning(event: Event, finding: Finding) -> str:
    """The text of the warning about a finding."""
    return escaped(without_keys(f"{finding} (event #{event.seq} {place(event)})"))


def refused_connections(refused: Sequence[RefusedConnection]) -> list[str]:
    """A line for each connection that left no event, the first ones of many."""
    told = list(dict.fromkeys(escaped(each.reason) for each in refused))
    return first_of([f"connection refused: {reason}" for reason in told[:SHOWN]], len(told))
