"""Every text that a disappointed test is told, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.secrets import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .event import Event

SHOWN = 10


def line(event: Event) -> str:
    """One event in one line."""
    status = "no answer" if event.status is None else str(event.status)
    rule = f" ({event.rule}: {event.reason})" if event.rule else ""
    fault = f" [fault: {event.fault}]" if event.fault else ""
    target = repr(event.request.target)[1:-1]
    return f"#{event.seq} {event.request.method} {target} -> {status}, {event.state}{rule}{fault}"


def lines(events: Iterable[Event], *, indent: str = "  ") -> str:
    """Events in lines, the first ten of them."""
    rows = list(events)
    shown = [indent + line(event) for event in rows[:SHOWN]]
    if len(rows) > SHOWN:
        shown.append(f"{indent}... and {len(rows) - SHOWN} more")
    return "\n".join(shown)


def unexpected(events: Sequence[Event]) -> str:
    """Events that were answered 200 and rejected, though nobody expected it."""
    first = events[0]
    key = shortened(first.key or "")
    plural = "event was" if len(events) == 1 else "events were"
    return (
        f"{len(events)} {plural} answered 200 and then rejected: the sender does not know\n"
        f"{lines(events)}\n"
        f"The write key was {key}. If this is expected, say so:\n"
        f"  with tdpostback.expect_auth_failure(database={first.database!r}, "
        f"table={first.table!r}): ...\n"
        'or for the whole test: @pytest.mark.tdpostback(on_auth_failure="ignore")'
    )


def unsettled(events: Sequence[Event], timeout: float) -> str:
    """Events that have no outcome yet."""
    plural = "event is" if len(events) == 1 else "events are"
    return (
        f"{len(events)} {plural} still pending after {timeout:g} s\n{lines(events)}\n"
        "End hold_validation(), lower validation_delay, or settle(timeout=...) for longer"
    )
