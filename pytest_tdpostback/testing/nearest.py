"""The event that came nearest to a wanted record, and how it differs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..collector.event_log import EventState
from ..collector.events import Event
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..collector.event_log import EventLog
    from .matching import WantedRecords

CANDIDATES = 1_000
"""How many of the latest events may be the nearest."""
DIFFERENCES_SHOWN = 8
"""How many differing columns a message shows."""
_MISSING = object()


class Nearest(NamedTuple):
    """An event that may be the missing one."""

    nearness: tuple[float, bool, int]
    """What decides: place and columns, then whether it was lost, then how late it came."""
    event: Event
    columns: Mapping[str, Any]
    """The record that it is or would be stored as; what was sent if it was refused."""


def nearest(log: EventLog, wanted: WantedRecords, found: Collection[int]) -> Nearest | None:
    """The event that came nearest to `wanted`, of those that are not at the places `found`.

    Returns:
        `None` if nothing that arrived can be meant.
    """
    best: Nearest | None = None
    for index in range(len(log))[-CANDIDATES:]:
        if index in found:
            continue
        event = Event(log, index)
        place = _likeness_of_places(wanted, event)
        columns: Mapping[str, Any] = columns_of(event)
        agreement = _agreement(wanted.columns, columns, event) if wanted.columns else 0.0
        if not place and agreement < 1:
            continue
        lost = event.state is not EventState.INGESTED
        nearness = (place + 2.5 * agreement, lost, index)
        if best is None or nearness > best.nearness:
            best = Nearest(nearness, event, columns)
    return best


def columns_of(event: Event) -> Mapping[str, Any]:
    """The record that an event is or would be stored as; what was sent if it was refused."""
    if event.state is not EventState.REFUSED:
        return event.columns()
    payload = event.payload
    return payload if isinstance(payload, Mapping) else {}


def difference(near: Nearest, wanted: WantedRecords) -> tuple[str, list[str]]:
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
        shown_name = formatting.escaped(name)
        if got is _MISSING:
            short = f"has no column {shown_name}"
            hint = _why_missing(name, near)
            full = f"{shown_name}: wanted {formatting.value(value)}, but there is no such column"
            full += hint or f"; there are {formatting.value(list(near.columns))}"
        else:
            one, other = formatting.two_values(value, got)
            hint = _other_type(value, got) or _other_unit(value, got)
            got_short, wanted_short = formatting.value(got, 24), formatting.value(value, 24)
            short = f"has {shown_name}={got_short}, not {wanted_short}"
            full = f"{shown_name}: wanted {one}, got {other}{hint}{_path(value, got)}"
        told.append((not hint, short, full))
    told.sort(key=lambda each: each[0])
    lines = [full for _, _, full in told[:DIFFERENCES_SHOWN]]
    if len(told) > DIFFERENCES_SHOWN:
        lines.append(f"… and {len(told) - DIFFERENCES_SHOWN} more")
    return (told[0][1] if told else "does not satisfy the predicate"), lines


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question about the one of `known` that looks like `name`; empty if none does."""
    near = [each for each in difflib.get_close_matches(name, sorted(known), 2, 0.7) if each != name]
    return f"did you mean {formatting.value(near[0])}?" if near else ""


def _likeness_of_places(wanted: WantedRecords, event: Event) -> float:
    database, table = event.database, event.table
    if database is None or table is None:
        return 1.0
    likeness = 2.0
    for asked, got in ((wanted.database, database), (wanted.table, table)):
        if asked in (None, got):
            continue
        if not difflib.get_close_matches(str(asked), [got], 1, 0.7):
            return 0.0
        likeness = 1.5
    return likeness


def _agreement(wanted: Mapping[str, Any], got: Mapping[str, Any], event: Event) -> float:
    """Which part of the wanted columns an event has, from 0 to 1."""
    if not got:
        body = event.request.body
        texts = [str(value).encode("utf-8", "surrogatepass") for value in wanted.values()]
        return sum(text in body for text in texts) / len(wanted)
    points = 0.0
    for name, value in wanted.items():
        present = got.get(name, _MISSING)
        if _equal(value, present):
            points += 1
        elif present is not _MISSING and _same_text(value, present):
            points += 0.75
    return points / len(wanted)


def _equal(wanted: Any, got: Any) -> bool:
    try:
        return bool(wanted == got)
    except Exception:  # noqa: BLE001 - the comparison belongs to a test; the message must be made
        return False


def _same_text(one: Any, other: Any) -> bool:
    scalars = (str, int, float, bool, type(None))
    if type(one) not in scalars or type(other) not in scalars:
        return False
    return str(one).lower() == str(other).lower()


def _other_type(wanted: Any, got: Any) -> str:
    types = {str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    one, other = types.get(type(wanted)), types.get(type(got))
    if one is None or other is None or one == other or not _same_text(wanted, got):
        return ""
    return f" (it is {other}, not {one})"


def _other_unit(wanted: Any, got: Any) -> str:
    if {type(wanted), type(got)} <= {int, float} and wanted and got == wanted * 1000:
        return " (it is 1000 times as much: milliseconds, not seconds?)"
    return ""


def _path(wanted: Any, got: Any) -> str:
    """Where two values that contain others differ first; empty if they contain none."""
    path = ""
    while True:
        if isinstance(wanted, Mapping) and isinstance(got, Mapping):
            keys = [*wanted, *(key for key in got if key not in wanted)]
        elif isinstance(wanted, list) and isinstance(got, list):
            keys = list(range(max(len(wanted), len(got))))
            wanted, got = dict(enumerate(wanted)), dict(enumerate(got))
        else:
            break
        differing = [
            key for key in keys if not _equal(wanted.get(key, _MISSING), got.get(key, _MISSING))
        ]
        if not differing:
            break
        path += f"[{formatting.value(differing[0], 40)}]"
        wanted, got = wanted.get(differing[0], _MISSING), got.get(differing[0], _MISSING)
    return f"; the first difference is at {path}" if path else ""


def _why_missing(name: str, near: Nearest) -> str:
    if name == "td_record_time":
        return " (T2: it is consumed and sets the column time)"
    if name in near.event.request.head.last_parameters:
        return " (B10: a URL parameter beside a JSON body is not stored)"
    question = did_you_mean(name, near.columns)
    return f"; {question}" if question else ""
