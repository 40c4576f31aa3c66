"""What the service changes, ignores or loses in silence in an event that it accepts.

Findings are computed from the stored request when somebody asks for them, never while a request
is served.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from . import body as json_body
from .escaping import shown
from .judge import FROM_BROWSER, PLATFORM_NAME, RecordSource, content_encodings
from .record import RECORD_TIME, time_of, url_columns
from .request import decoded_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .judge import Verdict
    from .request import PostbackRequest, RequestHead
    from .settings import Settings

MAX_COLUMNS = 512
"""C2: the most columns of a table."""
_COLUMN = re.compile(r"[a-z_][a-z0-9_]*\Z")


class Finding(NamedTuple):
    """One silent change or loss.

    `rule` is the id of the rule behind it and `message` says it in words. `column` is the column,
    parameter or JSON key that it is about, `None` if it is about none.
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
    """Yield the findings of an accepted request that was received at `received_at` (UNIX seconds).

    `data` is its `sent_data`. They come section by section: route, authentication, body or URL,
    time, columns. C2 depends on the events before and isn't among them.
    """
    time = time_of(request, verdict, data, received_at)
    if verdict.ingestion:
        yield from _ingestion(request)
    else:
        yield from _head(request, verdict)
        if not verdict.from_url:
            yield from repeated_names("B5", request.body)
            for name in () if settings.url_parameters == "store" else url_columns(request):
                message = f"URL parameter '{shown(name)}' beside a JSON body is not stored"
                yield Finding("B10", message, name)
        if request.head.parameters:
            yield from _parameters(request, verdict, settings)
    if time.rule is not None:
        name = "time" if verdict.ingestion else RECORD_TIME
        dropped = time.outside and settings.stale_time == "drop"
        outcome = f"the event is dropped for its {name}" if dropped else f"{name} is ignored"
        yield Finding(time.rule, f"{outcome}: {time.why}", name)
    if "time" in data and not verdict.ingestion:
        yield Finding("T6", "the column time is replaced by the time of the record", "time")
    for name in data:
        if not _COLUMN.match(name):
            message = (
                f"column '{shown(name)}' gets an alias: column names are lower-case letters, "
                "digits and _, and don't start with a digit"
            )
            yield Finding("C1", message, name)


def of_response(head: RequestHead, state: str) -> Iterator[Finding]:
    """I13: yield what a client does with a 206 that loses or repeats an event in this state."""
    agent = head.field("user-agent")
    if agent.startswith("TD-iOS-SDK/") or "CFNetwork/" in agent:
        message = "td-ios-sdk takes a 206 for an error and sends the whole batch again"
        if state == "ingested":
            yield Finding("I13", message)
    elif state == "refused" and (head.media_type == FROM_BROWSER or agent.startswith("Mozilla/")):
        message = "td-js-sdk reports success to the page: it never reads the receipts of a 206"
        yield Finding("I13", message)


def _ingestion(request: PostbackRequest) -> Iterator[Finding]:
    """I3, I4, I10, I11: findings of a record of the Data Ingestion API."""
    for name in request.head.last_parameters:
        if name not in ("modified", "time"):
            message = f"URL parameter '{shown(name)}' is ignored, as the whole query is"
            yield Finding("I3", message, name)
    times = len(request.head.fields.get("authorization", ()))
    if times > 1:
        yield Finding("I4", f"Authorization was sent {times} times; the first one counts")
    if "identity" in content_encodings(request.head):
        yield Finding("I10", "Content-Encoding: identity is not documented")
    yield from repeated_names("I11", request.body)


def repeated_names(rule: str, body: bytes) -> Iterator[Finding]:
    """B5, I11: yield the findings about names that stand more than once in an object of `body`."""
    for key in json_body.duplicate_keys(body):
        message = f"key '{shown(key)}' stands more than once; the last value counts"
        yield Finding(rule, message, key)


def _head(request: PostbackRequest, verdict: Verdict) -> Iterator[Finding]:
    if len(request.head.segments) > 6:
        yield Finding("R3", "the slash after the table name is not documented")
    for role, name in (("database", verdict.database), ("table", verdict.table)):
        if name is not None and not PLATFORM_NAME.match(name):
            message = (
                f"{role} name '{shown(name)}': the platform wants 3 to 128 lower-case letters, "
                "digits and _"
            )
            yield Finding("R8", message)
    for name in ("X-TD-Write-Key", "Authorization")[: 1 + verdict.profile.td1_authorization]:
        times = len(request.head.fields.get(name.lower(), ()))
        if times > 1:
            yield Finding("A4", f"{name} was sent {times} times; the first one counts")
    reads_body = verdict.source in (RecordSource.JSON, RecordSource.URL_PARAMETERS)
    if reads_body and content_encodings(request.head):
        yield Finding("B8", "Content-Encoding: identity is not documented")
    if verdict.source is RecordSource.URL_PARAMETERS:
        yield Finding("B9", "an empty POST whose data are URL parameters is not documented")
    if verdict.source is RecordSource.DEPRECATED_GET:
        yield Finding("P6", "GET without td_format=pixel is deprecated and may lose data")


def _parameters(
    request: PostbackRequest, verdict: Verdict, settings: Settings
) -> Iterator[Finding]:
    """Findings about the parameters that count: data, and a key if the profile reads it."""
    data_count = verdict.from_url or settings.url_parameters == "store"

    def counts(name: str) -> bool:
        return verdict.profile.url_interface if name == "td_write_key" else data_count

    for name, times in Counter(name for name, _ in request.head.parameters).items():
        if times > 1 and counts(name):
            message = f"URL parameter '{shown(name)}' was sent {times} times; the last one counts"
            yield Finding("P9", message, name)
    for piece in request.head.query.split("&"):
        for name, _ in decoded_parameters(piece):
            if counts(name):
                for change in _decoding_changes(piece):
                    yield Finding("P10", f"URL parameter '{shown(name)}' {change}", name)


def _decoding_changes(piece: str) -> Iterator[str]:
    if not piece.isascii():
        yield "has bytes above 0x7F that are not percent-encoded; they are read as UTF-8"
    try:
        unquote_to_bytes(piece.encode("latin-1")).decode()
    except UnicodeDecodeError:
        yield "has bytes that are not UTF-8; U+FFFD replaces them"
    if re.search("%(?![0-9A-Fa-f]{2})", piece):
        yield "has a % without two hexadecimal digits; it stays as it is"
