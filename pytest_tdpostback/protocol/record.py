"""From an accepted request to the row it becomes (rules V1 to V3, T1 to T7, B10, P1 to P9)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import body as json_body
from .judge import CONSUMED, Kind, data_parameters

if TYPE_CHECKING:
    from .judge import Verdict
    from .request import PostbackRequest
    from .settings import Settings

DAY = 86_400
OLDEST = 7 * DAY
"""T3: seconds before receipt that a `td_record_time` may lie; the end is inside (T4)."""
NEWEST = 3 * DAY
"""T3: seconds after receipt that a `td_record_time` may lie; the end is inside (T4)."""
RECORD_TIME = "td_record_time"
_DIGITS = re.compile(r"[0-9]{1,20}\Z")
_PLACEHOLDERS = ("td_global_id", "td_ip", "td_ua")


@dataclass(frozen=True)
class RecordTime:
    """What `td_record_time` came to: `seconds` where it counts, else the `rule` and why not."""

    seconds: int | None = None
    rule: str | None = None
    why: str = ""


def columns(
    request: PostbackRequest,
    verdict: Verdict,
    settings: Settings,
    *,
    received_at: float,
    visitor: str,
) -> dict[str, Any]:
    """The row that `request` is stored as, column to value.

    `received_at` is the moment of receipt in UNIX seconds, `visitor` the global id of P7.
    """
    sent = payload(request, verdict)
    row = dict(sent)
    if verdict.from_url:
        row = {name: substituted(name, value, request, visitor) for name, value in row.items()}
    elif settings.url_parameters == "store":
        row = {**url_columns(request), **row}
    when = record_time(record_time_value(request, verdict, sent), received_at)
    row.pop(RECORD_TIME, None)
    row.pop("time", None)
    if settings.value_types == "string":
        row = {name: as_string(value) for name, value in row.items()}
    seconds = int(received_at) if when.seconds is None else when.seconds
    return {"time": str(seconds), **row}


def payload(request: PostbackRequest, verdict: Verdict) -> dict[str, Any]:
    """What was sent as data: the JSON object, or the URL parameters where they are the record."""
    if verdict.from_url:
        return dict(data_parameters(request.head))
    return json_body.parse(request.body)


def url_columns(request: PostbackRequest) -> dict[str, str]:
    """B10: the URL parameters beside a JSON body, other than the key."""
    return {name: value for name, value in request.head.parameters if name not in ("td_write_key",)}


def record_time_value(request: PostbackRequest, verdict: Verdict, sent: dict[str, Any]) -> Any:
    """The `td_record_time` that was sent, `None` where none was; of a URL it is consumed (P2)."""
    if verdict.from_url:
        return request.head.last_parameters.get(RECORD_TIME)
    return sent.get(RECORD_TIME)


def record_time(value: Any, received_at: float) -> RecordTime:
    """T1 to T5: whether `value` sets the time of an event received at `received_at`."""
    if value is None:
        return RecordTime()
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _DIGITS.match(text):
        return RecordTime(rule="T5", why=f"{_short(value)} is not an integer of UNIX seconds")
    seconds, now = int(text), int(received_at)
    if -OLDEST <= seconds - now <= NEWEST:
        return RecordTime(seconds)
    if -OLDEST <= seconds // 1000 - now <= NEWEST:
        return RecordTime(rule="T5", why=f"{text} looks like milliseconds; send UNIX seconds")
    if seconds < now:
        return RecordTime(rule="T3", why=f"{text} is older than 7 days")
    return RecordTime(rule="T3", why=f"{text} is more than 3 days ahead")


def substituted(name: str, value: str, request: PostbackRequest, visitor: str) -> str:
    """P3: the real id, address or user agent where a parameter holds its own name."""
    if value != name or name not in _PLACEHOLDERS:
        return value
    real = {
        "td_global_id": visitor,
        "td_ip": address(request.peer),
        "td_ua": request.headers.get("user-agent", ""),
    }
    return real[name]


def address(peer: str) -> str:
    """The address of `peer` without its port."""
    return peer.rpartition(":")[0].strip("[]") or peer


def as_string(value: Any) -> str | None:
    """V3: `value` as the string reading stores it; null stays null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


__all__ = [
    "CONSUMED",
    "Kind",
    "RecordTime",
    "address",
    "as_string",
    "columns",
    "payload",
    "record_time",
    "record_time_value",
    "substituted",
    "url_columns",
]
