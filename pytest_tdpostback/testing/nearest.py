"""The event that came nearest to a wanted record, and how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from ..collector.event_log import EventState
from ..collector.events import Event
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .matching import Search

CANDIDATES = 1_000
"""How many of the latest events may be the nearest."""
_MISSING = object()
_SCALARS = {str: "a string", bool: "a boolean", int: "a number", float: "a number", type(None): ""}


class Nearest(NamedTuple):
    """An event that may be the missing one."""

    event: Event
    state: EventState
    columns: Mapping[str, Any]
    """The record that it is or would be stored as; what was sent if it was refused."""
    in_place: bool
    """Whether it was sent to a database and a table that are wanted."""


def nearest(wanted: Search) -> Nearest | None:
    """The event that came nearest to a wanted record, of those that were not found.

    Place and columns decide, then whether it was lost, then how late it came. `None` if nothing
    that arrived can be meant.
    """
    best, best_nearness = None, (0.0, False, -1)
    log, found = wanted.log, set(wanted.found)
    for index in range(len(log))[-CANDIDATES:]:
        if index in found:
            continue
        event = Event(log, index)
        database, table, state = event.database, event.table, event.state
        in_place, place = False, 1.0
        if database is not None and table is not None:
            in_place = wanted.is_in_place(database, table)
            place = 2.0 if in_place else 1.5
            pairs = ((wanted.database or database, database), (wanted.table or table, table))
            if not in_place and not all(get_close_matches(a, [b], 1, 0.7) for a, b in pairs):
                place = 0.0
        columns: Any = event.payload if state is EventState.REFUSED else event.columns()
        columns = columns if isinstance(columns, Mapping) else {}
        body = b"" if columns else log.bodies[index]
        points = 0.0
        for name, value in wanted.columns.items():
            if not columns:
                points += str(value).encode("utf-8", "surrogatepass") in body
            elif name in columns:
                got = columns[name]
                points += 1 if _equal(value, got) else 0.75 * _same_text(value, got)
        agreement = points / (len(wanted.columns) or 1)
        nearness = (place + 2.5 * agreement, state is not EventState.INGESTED, index)
        if (place or agreement >= 1) and nearness > best_nearness:
            best, best_nearness = Nearest(event, state, columns, in_place), nearness
    return best


def difference(near: Nearest, wanted: Search) -> tuple[str, list[str]]:
    """How the nearest record differs.

    Gives the first difference in a few words, and a line for each of them; those with a hint at the
    reason come first.
    """
    told: list[tuple[bool, str, str]] = []
    for name, value in wanted.columns.items():
        got = near.columns.get(name, _MISSING)
        if _equal(value, got):
            continue
        shown = formatting.shortened(name)
        if got is _MISSING:
            short = f"has no column {shown}"
            hint = _why_missing(name, near)
            full = f"{shown}: wanted {formatting.value(value)}, but there is no such column"
            full += hint or f"; there are {formatting.value(list(near.columns))}"
        else:
            short = f"has {shown}={formatting.value(got, 24)}, not {formatting.value(value, 24)}"
            hint = _why_different(value, got)
            one, other = formatting.two_values(value, got)
            full = f"{shown}: wanted {one}, got {other}{hint}"
            if path := _path(value, got):
                full += f"; the first difference is at {path}"
        told.append((not hint, short, full))
    told.sort(key=lambda each: each[0])
    lines = [full for _, _, full in told[: formatting.COLUMNS_SHOWN]]
    short = told[0][1] if told else "does not satisfy the predicate"
    return short, formatting.first_of(lines, len(told))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question about the one of `known` that looks like `name`; empty if none does."""
    near = [each for each in get_close_matches(name, sorted(known), 2, 0.7) if each != name]
    return f"did you mean {formatting.value(near[0])}?" if near else ""


def _equal(wanted: Any, got: Any) -> bool:
    try:
        return bool(wanted == got)
    except Exception:  # noqa: BLE001 - the comparison belongs to a test; the message must be made
        return False


def _same_text(one: Any, other: Any) -> bool:
    both_scalars = type(one) in _SCALARS and type(other) in _SCALARS
    return both_scalars and str(one).lower() == str(other).lower()


def _why_different(wanted: Any, got: Any) -> str:
    one, other = _SCALARS.get(type(wanted)), _SCALARS.get(type(got))
    if one and other and one != other and _same_text(wanted, got):
        return f" (it is {other}, not {one})"
    if one == other == "a number" and wanted and got == wanted * 1000:
        return " (it is 1000 times as much: milliseconds, not seconds?)"
    return ""


def _path(wanted: Any, got: Any) -> str:
    """Where two values that contain others differ first; empty if they contain none."""
    if isinstance(wanted, list) and isinstance(got, list):
        wanted, got = dict(enumerate(wanted)), dict(enumerate(got))
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key in {**wanted, **got}:
            one, other = wanted.get(key, _MISSING), got.get(key, _MISSING)
            if not _equal(one, other):
                return f"[{formatting.value(key, 40)}]{_path(one, other)}"
    return ""


def _why_missing(name: str, near: Nearest) -> str:
    if name == "td_record_time":
        return " (T2: it is consumed and sets the column time)"
    if name in near.event.request.head.last_parameters:
        return " (B10: a URL parameter beside a JSON body is not stored)"
    question = did_you_mean(name, near.columns)
    return f"; {question}" if question else ""
