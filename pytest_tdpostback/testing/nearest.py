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
DIFFERENCES_SHOWN = 8
"""How many differing columns a message shows."""
_MISSING = object()
_IN_PLACE = 2.0
_SCALARS = {str: "a string", bool: "a boolean", int: "a number", float: "a number", type(None): ""}


class Nearest(NamedTuple):
    """An event that may be the missing one."""

    nearness: tuple[float, bool, int]
    """What decides: place and columns, then whether it was lost, then how late it came."""
    event: Event
    columns: Mapping[str, Any]
    """The record that it is or would be stored as; what was sent if it was refused."""
    in_place: bool
    """Whether it was sent to a database and a table that are wanted."""


def nearest(wanted: Search) -> Nearest | None:
    """The event that came nearest to a wanted record, of those that were not found.

    `None` if nothing that arrived can be meant.
    """
    best: Nearest | None = None
    log, found = wanted.log, set(wanted.found)
    for index in range(len(log))[-CANDIDATES:]:
        if index in found:
            continue
        event = Event(log, index)
        place, state = _likeness_of_places(wanted, event), event.state
        columns: Any = event.payload if state is EventState.REFUSED else event.columns()
        columns = columns if isinstance(columns, Mapping) else {}
        agreement = 0.0
        if wanted.columns:
            body = b"" if columns else log.bodies[index]
            agreement = _agreement(wanted.columns, columns, body)
        if place or agreement >= 1:
            nearness = (place + 2.5 * agreement, state is not EventState.INGESTED, index)
            if best is None or nearness > best.nearness:
                best = Nearest(nearness, event, columns, place == _IN_PLACE)
    return best


def difference(near: Nearest, wanted: Search) -> tuple[str, list[str]]:
    """How the nearest record differs.

    Returns:
        The first difference in a few words, and a line for each of them; those with a hint at the
        reason come first.
    """
    told: list[tuple[bool, str, str]] = []
    for name, value in wanted.columns.items():
        got = near.columns.get(name, _MISSING)
        if _equal(value, got):
            continue
        shown_name = formatting.shortened(name)
        if got is _MISSING:
            hint = _why_missing(name, near)
            short = f"has no column {shown_name}"
            full = f"{shown_name}: wanted {formatting.value(value)}, but there is no such column"
            full += hint or f"; there are {formatting.value(list(near.columns))}"
        else:
            hint = _why_different(value, got)
            short = (
                f"has {shown_name}={formatting.value(got, 24)}, not {formatting.value(value, 24)}"
            )
            one, other = formatting.two_values(value, got)
            full = f"{shown_name}: wanted {one}, got {other}{hint}{_path(value, got)}"
        told.append((not hint, short, full))
    told.sort(key=lambda each: each[0])
    lines = [full for _, _, full in told[:DIFFERENCES_SHOWN]]
    short = told[0][1] if told else "does not satisfy the predicate"
    return short, formatting.first_of(lines, len(told))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question about the one of `known` that looks like `name`; empty if none does."""
    near = [each for each in get_close_matches(name, sorted(known), 2, 0.7) if each != name]
    return f"did you mean {formatting.value(near[0])}?" if near else ""


def _likeness_of_places(wanted: Search, event: Event) -> float:
    database, table = event.database, event.table
    if database is None or table is None:
        return 1.0
    if wanted.is_in_place(database, table):
        return _IN_PLACE
    pairs = ((wanted.database or database, database), (wanted.table or table, table))
    alike = all(get_close_matches(asked, [got], 1, 0.7) for asked, got in pairs)
    return 1.5 if alike else 0.0


def _agreement(wanted: Mapping[str, Any], got: Mapping[str, Any], body: bytes) -> float:
    """Which part of the wanted columns is in `got`, from 0 to 1; without `got`, in `body`."""
    points = 0.0
    for name, value in wanted.items():
        if not got:
            points += str(value).encode("utf-8", "surrogatepass") in body
        elif name in got:
            points += 1 if _equal(value, got[name]) else 0.75 * _same_text(value, got[name])
    return points / len(wanted)


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
    path = ""
    while True:
        if isinstance(wanted, list) and isinstance(got, list):
            wanted, got = dict(enumerate(wanted)), dict(enumerate(got))
        elif not (isinstance(wanted, Mapping) and isinstance(got, Mapping)):
            break
        for key in {**wanted, **got}:
            one, other = wanted.get(key, _MISSING), got.get(key, _MISSING)
            if not _equal(one, other):
                path += f"[{formatting.value(key, 40)}]"
                wanted, got = one, other
                break
        else:
            break
    return f"; the first difference is at {path}" if path else ""


def _why_missing(name: str, near: Nearest) -> str:
    if name == "td_record_time":
        return " (T2: it is consumed and sets the column time)"
    if name in near.event.request.head.last_parameters:
        return " (B10: a URL parameter beside a JSON body is not stored)"
    question = did_you_mean(name, near.columns)
    return f"; {question}" if question else ""
