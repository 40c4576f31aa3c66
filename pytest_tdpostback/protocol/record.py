"""From an accepted request to the row it becomes (rules V1 to V3, T1 to T7, B10, C3, P1 to P9)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from . import body as json_body
from .judge import data_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .judge import Verdict
    from .request import PostbackRequest
    from .settings import Settings

DAY = 86_400
OLDEST = 7 * DAY
"""T3: seconds before receipt that a `td_record_time` may lie; the end is inside (T4)."""
NEWEST = 3 * DAY
"""T3: seconds after receipt that a `td_record_time` may lie; the end is inside (T4)."""
MILLISECONDS = range(10**11, 10**14)
"""T5: numbers that are a time of the years 1973 to 5138 in milliseconds; none of them is a
plausible time in seconds."""
RECORD_TIME = "td_record_time"
_DIGITS = re.compile(r"[0-9]+\Z")
_FAR = 25
"""Digits that show a number to be far outside the window, so that no longer one has to be read."""
_PLACEHOLDERS = ("td_global_id", "td_ip", "td_ua")


@dataclass(frozen=True)
class RecordTime:
    """What `td_record_time` came to: `seconds` where it counts, else the `rule` and why not.

    `outside` is an integer outside the window, however it is explained (T3).
    """

    seconds: int | None = None
    rule: str | None = None
    why: str = ""
    outside: bool = False


def record_columns(
    request: PostbackRequest,
    verdict: Verdict,
    settings: Settings,
    *,
    received_at: float,
    global_id: str,
) -> dict[str, Any]:
    """The row that an accepted `request` is stored as, column to value (V1, T7).

    `received_at` is the moment of receipt in UNIX seconds, `global_id` the global id of P7.
    """
    data = sent_data(request, verdict, settings)
    when = time_of(request, verdict, data, received_at)
    row = {name: value for name, value in data.items() if name not in (RECORD_TIME, "time")}
    if verdict.from_url:
        row = {name: substituted(name, value, request, global_id) for name, value in row.items()}
    if settings.value_types == "string":
        row = {name: as_string(value) for name, value in row.items()}
    seconds = int(received_at) if when.seconds is None else when.seconds
    return {"time": str(seconds), **row}


def payload(request: PostbackRequest, verdict: Verdict) -> dict[str, Any]:
    """What was sent as the record: the JSON object, or the URL parameters that are columns (P2)."""
    if verdict.from_url:
        return dict(data_parameters(request.head))
    return json_body.parse(request.body)


def sent_data(request: PostbackRequest, verdict: Verdict, settings: Settings) -> dict[str, Any]:
    """The `payload`, and where `url_parameters` is `store` the URL parameters beside it (B10)."""
    data = payload(request, verdict)
    if settings.url_parameters == "store" and not verdict.from_url:
        return {**url_columns(request), **data}
    return data


def url_columns(request: PostbackRequest) -> dict[str, str]:
    """B10: the URL parameters beside a JSON body, other than the key."""
    parameters = request.head.last_parameters.items()
    return {name: value for name, value in parameters if name != "td_write_key"}


def time_of(
    request: PostbackRequest, verdict: Verdict, data: Mapping[str, Any], received_at: float
) -> RecordTime:
    """T1, P2: what the `td_record_time` of `request` comes to; `data` is its `sent_data`."""
    source = request.head.last_parameters if verdict.from_url else data
    if RECORD_TIME not in source:
        return RecordTime()
    return record_time(source[RECORD_TIME], received_at)


def record_time(value: Any, received_at: float) -> RecordTime:
    """T2 to T5: whether `value` sets the time of an event received at `received_at`.

    Both are UNIX seconds; `value` is what was sent, of any JSON type.
    """
    seconds = _whole(value)
    if seconds is None:
        return RecordTime(rule="T5", why=f"{_shown(value)} is not an integer of UNIX seconds")
    now = int(received_at)
    if -OLDEST <= seconds - now <= NEWEST:
        return RecordTime(seconds)
    if seconds in MILLISECONDS:
        why = f"{_shown(value)} looks like milliseconds; send UNIX seconds"
        return RecordTime(rule="T5", why=why, outside=True)
    if seconds < now:
        return RecordTime(rule="T3", why=f"{_shown(value)} is older than 7 days", outside=True)
    why = f"{_shown(value)} is more than 3 days ahead"
    return RecordTime(rule="T3", why=why, outside=True)


def substituted(name: str, value: str, request: PostbackRequest, global_id: str) -> str:
    """P3: the real id, address or user agent where a parameter holds its own name."""
    if value != name or name not in _PLACEHOLDERS:
        return value
    real = {
        "td_global_id": global_id,
        "td_ip": address(request.peer),
        "td_ua": request.headers.get("user-agent", ""),
    }
    return real[name]


def address(peer: str) -> str:
    """The address of `peer` without its port."""
    return peer.rpartition(":")[0].strip("[]")


def as_string(value: Any) -> str | None:
    """V3: `value` as the string reading stores it; null stays null."""
    return value if value is None or isinstance(value, str) else _compact(value)


def _whole(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and _DIGITS.match(value):
        return int(value.lstrip("0")[:_FAR] or "0")
    return None


def _compact(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except ValueError:  # an integer beyond what the user allows: sys.set_int_max_str_digits
        return _compact_by_hand(value)


def _compact_by_hand(value: Any) -> str:
    if type(value) is int:
        return str(Decimal(value))
    if isinstance(value, list):
        return "[" + ",".join(map(_compact_by_hand, value)) + "]"
    if isinstance(value, dict):
        values = map(_compact_by_hand, value.values())
        members = map(":".join, zip(map(_compact, value), values, strict=True))
        return "{" + ",".join(members) + "}"
    return _compact(value)


def _shown(value: Any) -> str:
    text = _compact(value)
    return text if len(text) <= 60 else text[:60] + "…"
