"""What the service would silently change, ignore or lose in an event it accepts.

Computed from the stored request when somebody asks, never on the way of a request.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import body as json_body
from .judge import RecordSource
from .record import time_of, url_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .judge import Verdict
    from .request import PostbackRequest
    from .settings import Settings

MAX_COLUMNS = 512
"""C2: columns that one table can have."""
_PLATFORM_NAME = re.compile(r"[a-z0-9_]{3,128}\Z")
_COLUMN = re.compile(r"[a-z_][a-z0-9_]*\Z")


@dataclass(frozen=True)
class Finding:
    """One silent change or loss.

    `rule` is the id of the rule behind it, `message` says it in words, `column` is the column,
    parameter or JSON key that is meant, `None` where it is about none.
    """

    rule: str
    message: str
    column: str | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def find(
    request: PostbackRequest,
    verdict: Verdict,
    data: Mapping[str, Any],
    settings: Settings,
    received_at: float,
) -> Iterator[Finding]:
    """The findings of an accepted request received at `received_at` (UNIX seconds).

    `data` is its `sent_data`. They come section by section: route, authentication, body or URL,
    time, columns. C2, which depends on the events before, is not among them.
    """
    yield from _route(request, verdict)
    yield from _authentication(request, verdict)
    yield from _record_source(verdict)
    if not verdict.from_url:
        yield from _body(request, data, settings)
    if request.head.parameters:
        yield from _repeated(request, verdict, settings)
    when = time_of(request, verdict, data, received_at)
    if when.rule is not None:
        dropped = when.outside and settings.stale_time == "drop"
        fate = "the event is dropped for its td_record_time"
        message = f"{fate if dropped else 'td_record_time was ignored'}: {when.why}"
        yield Finding(when.rule, message, "td_record_time")
    if "time" in data:
        yield Finding("T6", "the column time is replaced by the time of the record", "time")
    yield from _columns(data)


def too_many_columns(database: str | None, table: str | None, count: int) -> Finding:
    """C2: the finding of the event that brings a table above its limit of columns."""
    message = f"{database}.{table} has seen {count} columns; a table takes {MAX_COLUMNS}"
    return Finding("C2", message)


def _route(request: PostbackRequest, verdict: Verdict) -> Iterator[Finding]:
    if len(request.head.segments) > 6:
        yield Finding("R3", "the trailing slash after the table is not documented")
    for role, name in (("database", verdict.database), ("table", verdict.table)):
        if name is not None and not _PLATFORM_NAME.match(name):
            yield Finding(
                "R8", f"{role} name {name!r}: the platform takes 3 to 128 of lower case, digits, _"
            )


def _authentication(request: PostbackRequest, verdict: Verdict) -> Iterator[Finding]:
    names = ["X-TD-Write-Key"]
    if verdict.profile.td1_authorization:
        names.append("Authorization")
    for name in names:
        times = len(request.head.fields.get(name.lower(), ()))
        if times > 1:
            yield Finding("A4", f"{name} was sent {times} times; the first one counts")


def _record_source(verdict: Verdict) -> Iterator[Finding]:
    if verdict.source is RecordSource.URL_PARAMETERS:
        yield Finding("B9", "an empty POST whose data are URL parameters is not documented")
    if verdict.source is RecordSource.DEPRECATED_GET:
        yield Finding("P6", "GET without td_format=pixel is deprecated and may lose data")


def _body(
    request: PostbackRequest, data: Mapping[str, Any], settings: Settings
) -> Iterator[Finding]:
    beside = settings.url_parameters == "store"
    parsed = json_body.parse(request.body) if beside else data
    for key in json_body.duplicate_keys(request.body, parsed):
        yield Finding("B5", f"key {key!r} stands more than once; the last value counts", key)
    if settings.url_parameters == "ignore":
        for name in url_columns(request):
            message = f"URL parameter {name} beside a JSON body is not stored"
            yield Finding("B10", message, name)


def _repeated(request: PostbackRequest, verdict: Verdict, settings: Settings) -> Iterator[Finding]:
    key_counts = verdict.profile.url_interface
    others_count = verdict.from_url or settings.url_parameters == "store"
    for name, times in Counter(name for name, _ in request.head.parameters).items():
        if times > 1 and (key_counts if name == "td_write_key" else others_count):
            message = f"URL parameter {name} was sent {times} times; the last one counts"
            yield Finding("P9", message, name)


def _columns(data: Mapping[str, Any]) -> Iterator[Finding]:
    for name in data:
        if not _COLUMN.match(name):
            message = f"column {name!r} gets an alias: lower case, digits and _, no digit first"
            yield Finding("C1", message, name)
