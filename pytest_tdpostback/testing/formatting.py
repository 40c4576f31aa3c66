"""The words of reports and failures: values, events, counts; no text holds a whole write key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.secrets import without_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..collector.events import Event
    from ..protocol.findings import Finding

SHOWN = 10
"""Events that a text shows of a longer list."""
WIDTH = 100
"""Characters of a value that a text shows."""


def shown(value: Any, width: int = WIDTH) -> str:
    """The `repr` of `value`, shortened in its middle where it is long."""
    try:
        text = without_keys(repr(value))
    except Exception as error:  # noqa: BLE001 - the value is somebody else's
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def shown_apart(one: Any, other: Any, width: int = WIDTH) -> tuple[str, str]:
    """Both as `shown`, where both are long around the place at which they begin to differ."""
    texts = (shown(one, 10**6), shown(other, 10**6))
    if min(map(len, texts)) <= width:
        return shown(one, width), shown(other, width)
    at = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, at - width // 4)
    first, second = (_window(text, start, width) for text in texts)
    return first, second


def _window(text: str, start: int, width: int) -> str:
    end = start + width
    return f"{'…' * bool(start)}{text[start:end]}{'…' * (end < len(text))}"


def assigned(columns: Mapping[str, Any]) -> str:
    """`name=value, …` of columns."""
    return ", ".join(f"{name}={shown(value, 40)}" for name, value in columns.items())


def place(event: Event) -> str:
    """Where an event was sent: `database.table`, else the path."""
    if event.database is not None and event.table is not None:
        return f"{event.database}.{event.table}"
    target = repr(event.request.target)[1:-1]
    return target if len(target) <= WIDTH else target[:WIDTH] + "…"


def line(event: Event) -> str:
    """One event in one line: order, route, status, outcome, and the rule and reason behind it."""
    status = "no answer" if event.status is None else str(event.status)
    fault = f", fault {event.fault}" if event.fault else ""
    copies = f" {event.copies} times" if event.copies > 1 else ""
    because = f", {event.rule}: {event.reason}" if event.rule else ""
    where = f"#{event.seq} {event.request.method} {place(event)}"
    return without_keys(f"{where}: {status}, {event.state}{copies}{because}{fault}")


def lines(events: Iterable[Event], *, indent: str = "  ", most: int = SHOWN) -> str:
    """Events in lines, the first ones of them."""
    rows = list(events)
    texts = [indent + line(event) for event in rows[:most]]
    if len(rows) > most:
        texts.append(f"{indent}… and {len(rows) - most} more")
    return "\n".join(texts)


def counted(count: int | None, noun: str) -> str:
    """`1 record`, `2 records`, `at least 1 record` for `None`, `no record` for 0."""
    if count is None:
        return f"at least 1 {noun}"
    if not count:
        return f"no {noun}"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def sent(event: Event) -> str:
    """What an event carried: its data, or the bytes that could not be read as data."""
    payload = event.payload
    return shown(event.request.body if payload is None and event.request.body else payload)


def found(event: Event, finding: Finding) -> str:
    """What a warning says of a finding."""
    return f"{finding} (event #{event.seq} {event.database}.{event.table})"


def unchecked(error: Exception) -> str:
    """What `check` raises, where nobody called it while the server ran."""
    said = without_keys(str(error))
    return f"server.check() raises this, and nobody called it:\n{type(error).__name__}: {said}"


def note(error: Exception, asked_about: str) -> None:
    """Have `error`, which a test's own function raised, say what it was asked about."""
    error.add_note(f"asked about {asked_about}")


def unsettled(events: Sequence[Event], seconds: float, why: str) -> str:
    """Events that have no outcome; `why` they cannot have one, where that is known."""
    are = "event is" if len(events) == 1 else "events are"
    when = f": {why}" if why else f" after {seconds:g} s"
    return (
        f"{len(events)} {are} still pending{when}\n{lines(events)}\n"
        "End hold_validation(), lower validation_delay, or settle(timeout=...) for longer."
    )
