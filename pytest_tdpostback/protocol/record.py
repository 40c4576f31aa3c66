"""From an accepted request to its record (rules V1 to V3, T1 to T7, B10, C3, P1 to P9)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from . import body as json_body
from .escaping import shown
from .judge import FROM_BROWSER, FROM_PHONE, data_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .judge import Verdict
    from .request import PostbackRequest
    from .settings import Settings

_DAY = 86_400
OLDEST = 7 * _DAY
"""T3: the most seconds that a `td_record_time` may be before the receipt; inclusive (T4)."""
NEWEST = 3 * _DAY
"""T3: the most seconds that a `td_record_time` may be after the receipt; inclusive (T4)."""
MILLISECONDS = range(10**11, 10**14)
"""T5: times of the years 1973 to 5138 in milliseconds; none is a plausible time in seconds."""
RECORD_TIME = "td_record_time"


class RecordTime(NamedTuple):
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
    seconds = time_of(request, verdict, columns, received_at).seconds
    if seconds is None:
        seconds = int(received_at)
    columns.pop("time", None)
    columns.pop("uuid" if verdict.ingestion else RECORD_TIME, None)
    if verdict.ingestion:  # I19
        sent_type = request.head.media_type
        if sent_type in (FROM_BROWSER, FROM_PHONE):
            columns.setdefault("td_ip", _address(request))
        if sent_type == FROM_BROWSER and columns.get("td_global_id") == "td_global_id":
            columns["td_global_id"] = global_id
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
        return data_parameters(request.head)
    return json_body.accepted(request.body)


def sent_data(request: PostbackRequest, verdict: Verdict, settings: Settings) -> dict[str, Any]:
    """Return the `payload`; if `url_parameters` is `store`, with the URL parameters (B10)."""
    data = payload(request, verdict)
    if settings.url_parameters == "store" and not (verdict.from_url or verdict.ingestion):
        return {**url_columns(request), **data}
    return data


def url_columns(request: PostbackRequest) -> dict[str, str]:
    """B10: return the URL parameters beside a JSON body, without the key."""
    parameters = request.head.last_parameters.items()
    return {name: value for name, value in parameters if name != "td_write_key"}


def time_of(
    request: PostbackRequest, verdict: Verdict, data: Mapping[str, Any], received_at: float
) -> RecordTime:
    """T1, P2, I15: return what the time in `request` means; `data` is its `sent_data`."""
    source = request.head.last_parameters if verdict.from_url else data
    name = "time" if verdict.ingestion else RECORD_TIME
    if name not in source:
        return RecordTime()
    return record_time(source[name], received_at, ingestion=verdict.ingestion)


def record_time(value: Any, received_at: float, *, ingestion: bool = False) -> RecordTime:
    """T2 to T5, I15: return whether `value`, of any JSON type, sets the time of a record.

    Both are UNIX seconds; `received_at` is the moment of receipt. In the Data Ingestion API
    (`ingestion`) there is no window.
    """
    rule, seconds = "I15" if ingestion else "T5", value if type(value) is int else None
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        seconds = int(value.lstrip("0")[:25] or "0")  # more digits cannot make it plausible
    if seconds is None:
        why = "is not an integer of UNIX seconds"
    elif seconds in MILLISECONDS:
        why = "looks like milliseconds; send UNIX seconds"
    elif ingestion or -NEWEST <= int(received_at) - seconds <= OLDEST:
        return RecordTime(seconds)
    else:
        rule = "T3"
        why = "is older than 7 days" if seconds < received_at else "is more than 3 days ahead"
    outside = seconds is not None and not ingestion
    return RecordTime(None, rule, f"{shown(_compact(value), 60)} {why}", outside)


def substituted(name: str, value: str, request: PostbackRequest, global_id: str) -> str:
    """P3: return the real id, address or user agent if a parameter's value is its own name."""
    if value != name or name not in ("td_global_id", "td_ip", "td_ua"):
        return value
    user_agent = request.headers.get("user-agent", "")
    with suppress(UnicodeDecodeError):  # a sender may use any letters; UTF-8 is what it means
        user_agent = user_agent.encode("latin-1").decode()
    return {"td_global_id": global_id, "td_ip": _address(request), "td_ua": user_agent}[name]


def _address(request: PostbackRequest) -> str:
    return request.peer.rpartition(":")[0].strip("[]")


def as_string(value: Any) -> str | None:
    """V3: return `value` as a string; null stays null."""
    return value if value is None or isinstance(value, str) else _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
