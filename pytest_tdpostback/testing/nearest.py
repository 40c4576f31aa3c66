"""Why a record is not there: the event that came nearest, and what became of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..collector.event_log import EventState
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ..collector.events import Event
    from .matching import Wanted

LOOKED_AT = 1_000
"""Latest events among which the nearest is looked for."""
FINDINGS = 3
_MISSING = object()


@dataclass(frozen=True)
class Wish:
    """What `assert_ingested` wanted."""

    database: str
    table: str
    wanted: Wanted
    count: int | None
    seconds: float

    def __str__(self) -> str:
        where = " that satisfies where=..." if self.wanted.predicate else ""
        columns = f" with {formatting.assigned(self.wanted.columns)}" if self.wanted.columns else ""
        return f"{formatting.counted(self.count, 'record')} in {self.route}{columns}{where}"

    @property
    def route(self) -> str:
        """Database and table, with a dot between them."""
        return f"{self.database}.{self.table}"


@dataclass(frozen=True)
class Near:
    """An event that may be the missing one, and how near it came."""

    event: Event
    route: float
    agreement: float

    @property
    def nearness(self) -> tuple[float, bool, int]:
        """What is compared: route and columns, then whether it was lost, then how late it came."""
        return (
            self.route + 2.5 * self.agreement,
            self.event.state is not EventState.INGESTED,
            self.event.seq,
        )


def nearest(wish: Wish, events: Sequence[Event], found: Collection[int]) -> Near | None:
    """The event that came nearest to `wish`, of those that are not among the records `found`.

    `found` holds sequence numbers. `None` where nothing that arrived can be meant.
    """
    candidates = (_near(wish, event) for event in events[-LOOKED_AT:] if event.seq not in found)
    meant = [near for near in candidates if near.route or near.agreement == 1]
    return max(meant, key=lambda near: near.nearness, default=None)


def differences(event: Event, wanted: Wanted) -> list[str]:
    """A line for each wanted column that `event` has not as it should be; first come hints."""
    row = row_of(event)
    told = [
        _difference(name, value, row, event)
        for name, value in wanted.columns.items()
        if not _equal(value, row.get(name, _MISSING))
    ]
    lines = [what + hint for what, hint in sorted(told, key=lambda each: not each[1])]
    if not lines and wanted.predicate is not None:
        lines.append(f"where=... does not hold for {formatting.shown(row)}")
    return lines


def misspelled(name: str, known: Iterable[str]) -> str:
    """A question about the one of `known` that looks like `name`; empty where none does."""
    near = [each for each in difflib.get_close_matches(name, sorted(known), 2, 0.7) if each != name]
    return f"did you mean {near[0]!r}?" if near else ""


def findings(event: Event) -> list[str]:
    """The findings of `event`, the first ones, in lines."""
    return [f"finding {finding}" for finding in event.findings[:FINDINGS]]


def row_of(event: Event) -> dict[str, Any]:
    """The row that `event` is or would have been; empty where there is none."""
    if event.state is EventState.REFUSED:
        payload = event.payload
        return dict(payload) if isinstance(payload, Mapping) else {}
    return event.columns()


def _near(wish: Wish, event: Event) -> Near:
    return Near(event, _route(wish, event), _agreement(wish.wanted.columns, event))


def _route(wish: Wish, event: Event) -> float:
    if event.database is None or event.table is None:
        return 1.0
    asked, came = (wish.database, wish.table), (event.database, event.table)
    if asked == came:
        return 2.0
    return 1.5 if all(map(_alike, asked, came)) else 0.0


def _alike(one: str, other: str) -> bool:
    return one == other or bool(difflib.get_close_matches(one, [other], 1, 0.7))


def _agreement(columns: Mapping[str, Any], event: Event) -> float:
    """Which part of the wanted columns `event` has, from 0 to 1."""
    if not columns:
        return 0.0
    row = row_of(event)
    if not row and event.request.body:
        return sum(
            _as_text(value).encode() in event.request.body for value in columns.values()
        ) / len(columns)
    return sum(_likeness(value, row.get(name, _MISSING)) for name, value in columns.items()) / len(
        columns
    )


def _likeness(wanted: Any, got: Any) -> float:
    if _equal(wanted, got):
        return 1.0
    return 0.75 if got is not _MISSING and _same_text(wanted, got) else 0.0


def _equal(wanted: Any, got: Any) -> bool:
    try:
        return bool(wanted == got)
    except Exception:  # noqa: BLE001 - the comparison is somebody else's, the failure is ours to tell
        return False


def _same_text(one: Any, other: Any) -> bool:
    return _as_text(one).lower() == _as_text(other).lower()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else formatting.shown(value)


def _difference(name: str, wanted: Any, row: Mapping[str, Any], event: Event) -> tuple[str, str]:
    """What differs, and a hint at why, which may be empty."""
    if name in row:
        expected, got = formatting.shown_apart(wanted, row[name])
        hint = _of_kinds(wanted, row[name]) or _of_units(wanted, row[name])
        return f"{name}: expected {expected}, got {got}", hint
    missing = f"{name}: expected {formatting.shown(wanted)}, but there is no such column"
    hint = _absent(name, row, event)
    return (missing, hint) if hint else (f"{missing}; there are {formatting.shown(list(row))}", "")


def _of_kinds(wanted: Any, got: Any) -> str:
    kinds = {str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    one, other = kinds.get(type(wanted)), kinds.get(type(got))
    if one is None or other is None or one == other or not _same_text(wanted, got):
        return ""
    return f" (it is {other}, not {one})"


def _of_units(wanted: Any, got: Any) -> str:
    if {type(wanted), type(got)} <= {int, float} and wanted and got == wanted * 1000:
        return " (it is 1000 times as much: milliseconds, not seconds?)"
    return ""


def _absent(name: str, row: Mapping[str, Any], event: Event) -> str:
    if name == "td_record_time":
        return " (T2: it is consumed, and sets the column time)"
    if name in event.request.head.last_parameters:
        return " (B10: a URL parameter beside a JSON body is not stored)"
    question = misspelled(name, row)
    return f"; {question}" if question else ""
