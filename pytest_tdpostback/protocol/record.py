"""From an accepted request to its record (rules V1 to V3, T1 to T7, B10, C3, P1 to P9)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import body as json_body
from .escaping import shown
from .judge import data_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .judge import Verdict
    from .request import PostbackRequest
    from .settings import Settings

DAY = 86_400
OLDEST = 7 * DAY
"""T3: the most seconds that a `td_record_time` may be before the receipt; inclusive (T4)."""
NEWEST = 3 * DAY
"""T3: the most seconds that a `td_record_time` may be after the receipt; inclusive (T4)."""
MILLISECONDS = range(10**11, 10**14)
"""T5: times of the years 1973 to 5138 in milliseconds; none is a plausible time in seconds."""
RECORD_TIME = "td_record_time"
_DIGITS = re.compile(r"[0-9]+\Z")
_ENOUGH_DIGITS = 25
"""A number with so many digits is far outside the window; the rest need not be read."""
_PLACEHOLDERS = ("td_global_id", "td_ip", "td_ua")


@dataclass(frozen=True)
class RecordTime:
    """What a `td_record_time` means for a record.

    `seconds` is the time if it counts. If it doesn't, `rule` and `why` say why not. `outside` is
    true for an integer outside the window of T3, whichever rule explains it.
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
    """Return the record that an accepted `request` becomes, column to value (V1, T7).

    `received_at` is the moment of receipt in UNIX seconds, `global_id` the global id of P7.
    """
    columns = sent_data(request, verdict, settings)
    seconds = int(received_at)
    if RECORD_TIME in columns or verdict.from_url:
        time = time_of(request, verdict, columns, received_at)
        seconds = seconds if time.seconds is None else time.seconds
        columns.pop(RECORD_TIME, None)
    columns.pop("time", None)
    if verdict.from_url:
        columns = {
            name: substituted(name, value, request, global_id) for name, value in columns.items()
        }
    if settings.value_types == "string":
        columns = {name: as_string(value) for name, value in columns.items()}
    return {"time": str(seconds), **columns}


def payload(request: PostbackRequest, verdict: Verdict) -> dict[str, Any]:
    """Return what was sent as the record, in a new dictionary that the caller may change.

    It is the JSON object, or the data parameters (P2).
    """
    if verdict.from_url:
        return dict(data_parameters(request.head))
    return json_body.accepted(request.body)


def sent_data(request: PostbackRequest, verdict: Verdict, settings: Settings) -> dict[str, Any]:
    """Return the `payload`; if `url_parameters` is `store`, with the URL parameters (B10)."""
    data = payload(request, verdict)
    if settings.url_parameters == "store" and not verdict.from_url:
        return {**url_columns(request), **data}
    return data


def url_columns(request: PostbackRequest) -> dict[str, str]:
    """B10: return the URL parameters beside a JSON body, without the key."""
    parameters = request.head.last_parameters.items()
    return {name: value for name, value in parameters if name != "td_write_key"}


def time_of(
    request: PostbackRequest, verdict: Verdict, data: Mapping[str, Any], received_at: float
) -> RecordTime:
    """T1, P2: return what the `td_record_time` of `request` means; `data` is its `sent_data`."""
    source = request.head.last_parameters if verdict.from_url else data
    if RECORD_TIME not in source:
        return RecordTime()
    return record_time(source[RECORD_TIME], received_at)


def record_time(value: Any, received_at: float) -> RecordTime:
    """T2 to T5: return whether `value`, of any JSON type, sets the time of a record.

    Both arguments are UNIX seconds; `received_at` is the moment of receipt.
    """
    seconds = _whole_seconds(value)
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
    """P3: return the real id, address or user agent if a parameter's value is its own name."""
    if value != name or name not in _PLACEHOLDERS:
        return value
    real = {
        "td_global_id": global_id,
        "td_ip": address(request.peer),
        "td_ua": request.headers.get("user-agent", ""),
    }
    return real[name]


def address(peer: str) -> str:
    """Return the address of `peer` without its port."""
    return peer.rpartition(":")[0].strip("[]")


def as_string(value: Any) -> str | None:
    """V3: return `value` as a string; null stays null."""
    return value if value is None or isinstance(value, str) else _compact(value)


def _whole_seconds(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and _DIGITS.match(value):
        return int(value.lstrip("0")[:_ENOUGH_DIGITS] or "0")
    return None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _shown(value: Any) -> str:
    return shown(_compact(value), 60)
