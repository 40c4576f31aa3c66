"""From a request to a verdict, in the service's order of judgement.

The first of these that applies decides: unknown path 404; `OPTIONS`; other method 405; names 400;
authentication 403; size 413; content type or encoding 400; body 400. In the Data Ingestion API
authentication is 401 or 403, type and encoding come before the size, and a wrong shape is 422.

Nothing here reads a clock, keeps state or knows which keys are valid. If unknown keys are refused
at once (A6, I4), the caller looks them up between `judge_head` and `judge_body`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from . import batch
from . import body as json_body
from .escaping import shown
from .profiles import for_host
from .secrets import WriteKey, shortened

if TYPE_CHECKING:
    from .profiles import Profile
    from .request import RequestHead
    from .settings import Settings

ROUTE = ("", "postback", "v3", "event")
NAME = re.compile(r"[A-Za-z0-9_]+\Z")
"""R2: a database or table name."""
KEY_SHAPE = re.compile(r"[^/\s]+/[^/\s]+\Z")
"""A7: the shape of a write key, `account/secret`."""
CONSUMED = frozenset({"td_format", "td_write_key", "td_record_time", "td_redirect"})
"""P2: URL parameters that don't become columns of a record made from the URL."""
PLATFORM_NAME = re.compile(r"[a-z0-9_]{3,128}\Z")
"""I2, R8: a database or table name as the platform wants it."""
_TYPE = "application/vnd.treasuredata.v1{}+json"
SINGLE = _TYPE.format(".single")
"""I5: the media type of one record."""
FROM_BROWSER, FROM_PHONE = _TYPE.format(".js"), _TYPE.format(".mobile")
"""I19: the types of batches that get columns of the sender."""
INGESTION_TYPES = frozenset({_TYPE.format(""), FROM_BROWSER, FROM_PHONE, SINGLE})
"""I5: the media types of the Data Ingestion API."""
_LEGACY_SDKS: dict[tuple[str, ...], str] = {
    ("js", "v3", "event"): "td-js-sdk before 4.0",
    ("android", "v3", "event"): "td-android-sdk before 1.0",
    ("ios", "v3", "event"): "td-ios-sdk before 1.0",
}
"""R6: paths of older SDKs."""
_NO_CODING = ("", "identity")
_PATH_SHOWN = 200


class RecordSource(Enum):
    """Where the record of an accepted request comes from."""

    JSON = "the JSON body"
    PIXEL = "the URL parameters of a tracking pixel (P1)"
    DEPRECATED_GET = "the URL parameters of a GET without td_format (P6)"
    URL_PARAMETERS = "the URL parameters of an empty POST (B9)"
    BATCH = "an element of the list `events` (I7)"
    SINGLE = "the JSON body, `v1.single+json` (I5)"


_FROM_URL = (RecordSource.PIXEL, RecordSource.DEPRECATED_GET, RecordSource.URL_PARAMETERS)


@dataclass(frozen=True)
class Refusal:
    """A 4xx: its status, the id of the rule behind it, and the reason in words."""

    status: int
    rule: str
    reason: str
    allow: str = ""
    """The value of `Allow`, if it is not that of the event route."""


class Verdict(NamedTuple):
    """What is known of a request: refused, a preflight (R5, not an event), or an event to accept.

    `global_id_request` is a request for the global id (I20), which is not an event either.
    `refusal` counts before the key is looked up. `body_refusal` (size, content type, encoding)
    counts after it. `database` and `table` are set if the path names them, whatever else is wrong.
    `key_rule` is the rule by which an event fails if its key isn't valid.
    """

    profile: Profile
    refusal: Refusal | None = None
    preflight: bool = False
    database: str | None = None
    table: str | None = None
    key: WriteKey | None = None
    key_rule: str = "A5"
    source: RecordSource = RecordSource.JSON
    body_refusal: Refusal | None = None
    global_id_request: bool = False

    @property
    def from_url(self) -> bool:
        """Whether the URL parameters are the record."""
        return self.source in _FROM_URL

    @property
    def ingestion(self) -> bool:
        """Whether the request speaks the Data Ingestion API."""
        return self.profile.postback is not None


def judge_head(head: RequestHead, settings: Settings) -> Verdict:
    """Return what method, target and header fields decide; equal heads have equal verdicts."""
    profile = settings.profile or for_host(head.host)
    if profile.postback is not None:
        if head.segments[:4] != ROUTE:
            return _judge_ingestion_head(profile, head, settings)
        profile = profile.postback
    if head.segments[:4] != ROUTE:
        return Verdict(profile, _not_served(head))
    if head.method == "OPTIONS":
        return Verdict(profile, preflight=True)
    database, table, refusal = _route(head)
    if head.method not in profile.methods:
        allowed = ", ".join(profile.methods)
        refusal = Refusal(405, "R4", f"the method {shown(head.method)} is not one of {allowed}")
    if refusal is not None:
        return Verdict(profile, refusal, database=database, table=table)
    key, key_rule, refusal = _key(profile, head, settings)
    if refusal is not None:
        return Verdict(profile, refusal, database=database, table=table)
    source = _record_source(profile, head)
    return Verdict(
        profile,
        database=database,
        table=table,
        key=WriteKey(key),
        key_rule=key_rule,
        source=source,
        body_refusal=_body_refusal(profile, source, head, settings),
    )


def judge_body(
    verdict: Verdict, head: RequestHead, body: bytes, settings: Settings, *, size: int | None = None
) -> Refusal | None:
    """Return why the body of a request is refused, `None` if it is accepted.

    `verdict` is what `judge_head` returned for `head` and has no refusal. `size` is the length of
    the body in bytes if `body` isn't all of it.
    """
    size = len(body) if size is None else size
    if size > size_limit(verdict.profile, settings):
        return _too_large(size, verdict.profile, settings)
    if verdict.source is RecordSource.URL_PARAMETERS and body:
        return _not_json(head)
    if verdict.body_refusal:
        return verdict.body_refusal
    if verdict.source is RecordSource.URL_PARAMETERS and not data_parameters(head):
        return Refusal(400, "B4", "the body is empty and the URL has no data parameter")
    return None if verdict.from_url else judge_json(body)


def judge_batch(
    verdict: Verdict, head: RequestHead, body: bytes, settings: Settings, *, size: int | None = None
) -> tuple[Refusal | None, batch.Batch | None]:
    """Return why a request to the Data Ingestion API is refused, or the records in its body.

    The arguments are those of `judge_body`.
    """
    limit = size_limit(verdict.profile, settings)
    size = len(body) if size is None else size
    if verdict.body_refusal:
        return with_number_of_records(verdict.body_refusal, head, body, limit), None
    if size > limit:
        return _too_large(size, verdict.profile, settings), None
    single = verdict.source is RecordSource.SINGLE
    try:
        return None, batch.read(body, coded(head), single=single, limit=limit)
    except batch.InvalidBatch as error:
        return Refusal(error.status, error.rule, str(error)), None


def with_number_of_records(refusal: Refusal, head: RequestHead, body: bytes, limit: int) -> Refusal:
    """Return the refusal of a whole batch with the number of its records, if it can be read."""
    known = head.segments[:4] != ROUTE and all(each in batch.CODINGS for each in coded(head))
    records = batch.count(body, coded(head), limit) if known and body else None
    if records is None:
        return refusal
    counted = "1 record" if records == 1 else f"{records} records"
    return replace(refusal, reason=f"{refusal.reason} (the batch has {counted})")


def judge_json(body: bytes) -> Refusal | None:
    """Return why a JSON body is refused if nothing else is left to judge (B2 to B4, B7)."""
    try:
        json_body.parse(body)
    except json_body.InvalidBody as error:
        return Refusal(400, error.rule, str(error))
    return None


def size_limit(profile: Profile, settings: Settings) -> int:
    """B6: return the largest body in bytes that is accepted."""
    return min(profile.body_limit or settings.max_body, settings.max_body)


def data_parameters(head: RequestHead) -> dict[str, str]:
    """P2: return the URL parameters that are columns if the URL is the record."""
    return {name: value for name, value in head.parameters if name not in CONSUMED}


def media_type(head: RequestHead) -> str:
    """B1: return the type in `Content-Type` in lower case without parameters; may be empty."""
    return head.field("content-type").partition(";")[0].strip().lower()


def content_encodings(head: RequestHead) -> set[str]:
    """B8: return every value of `Content-Encoding` in lower case; empty values don't count."""
    values = head.fields.get("content-encoding", ())
    return {value.strip().lower() for value in values} - {""}


def coded(head: RequestHead) -> list[str]:
    """I10: return the content codings of the body, in the order in which they were applied."""
    values = ",".join(head.fields.get("content-encoding", ())).split(",")
    return [value for value in (each.strip().lower() for each in values) if value not in _NO_CODING]


def _judge_ingestion_head(profile: Profile, head: RequestHead, settings: Settings) -> Verdict:
    """I1 to I5, I20: what the head of a request to the Data Ingestion API decides."""
    names = head.segments[1:]
    wants_global_id = names == ("",)
    if len(names) != 2 and not wants_global_id:
        return Verdict(profile, _not_served(head))
    if head.method == "OPTIONS":
        return Verdict(profile, preflight=True)
    database, table = (None, None) if wants_global_id else names
    if head.method != ("GET" if wants_global_id else "POST"):
        allowed = "GET, OPTIONS" if wants_global_id else "POST, OPTIONS"
        reason = f"the method {shown(head.method)} is not one of {allowed}"
        return Verdict(profile, Refusal(405, "I2", reason, allowed), database=database, table=table)
    for role, name in (("database", database), ("table", table)):
        if name is not None and not PLATFORM_NAME.match(name):
            reason = f"the {role} name '{shown(name)}' is not 3 to 128 of a to z, 0 to 9 and _"
            return Verdict(profile, Refusal(400, "I2", reason))
    scheme, _, key = head.field("authorization").partition(" ")
    key = key.strip() if scheme.lower() == "td1" else ""
    if not key:
        sent = f"has the scheme '{shown(scheme)}'" if scheme else "is missing"
        if scheme.lower() == "td1":
            sent = "has no key"
        refusal = Refusal(401, "I4", f"no write key: Authorization {sent}, not 'TD1 <key>'")
        return Verdict(profile, refusal, database=database, table=table)
    return Verdict(
        profile,
        database=database,
        table=table,
        key=WriteKey(key),
        key_rule="I14",
        source=RecordSource.SINGLE if media_type(head) == SINGLE else RecordSource.BATCH,
        body_refusal=None if wants_global_id else _ingestion_body_refusal(head, settings, profile),
        global_id_request=wants_global_id,
    )


def _ingestion_body_refusal(
    head: RequestHead, settings: Settings, profile: Profile
) -> Refusal | None:
    if media_type(head) not in INGESTION_TYPES:
        sent = media_type(head)
        found = f"Content-Type is '{shown(sent)}'" if sent else "Content-Type is missing"
        return Refusal(400, "I5", f"{found}, not one of {', '.join(sorted(INGESTION_TYPES))}")
    for encoding in coded(head):
        if encoding not in batch.CODINGS:
            reason = f"Content-Encoding '{shown(encoding)}' is not gzip, deflate or identity"
            return Refusal(400, "I10", reason)
    return _announced_too_large(head, profile, settings)


def _not_served(head: RequestHead) -> Refusal:
    reason = f"the path {_path(head)} is not served"
    sdk = _LEGACY_SDKS.get(head.segments[1:4])
    if sdk:
        reason += f"; it is of another API, the one of {sdk}, which newer versions don't use"
    return Refusal(404, "R6", reason)


def _route(head: RequestHead) -> tuple[str | None, str | None, Refusal | None]:
    """The database and the table, or why the path doesn't name them (R2, R3)."""
    names = head.segments[4:]
    if len(names) == 3 and not names[2]:
        names = names[:2]
    if len(names) != 2:
        reason = f"{_path(head)} is not /postback/v3/event/{{database}}/{{table}}"
        return None, None, Refusal(400, "R2", reason)
    for role, name in zip(("database", "table"), names, strict=True):
        if not name:
            return None, None, Refusal(400, "R2", f"the {role} name is empty")
        if not NAME.match(name):
            reason = f"the {role} name '{shown(name)}' has more than ASCII letters, digits and _"
            return None, None, Refusal(400, "R2", reason)
    return names[0], names[1], None


def _key(
    profile: Profile, head: RequestHead, settings: Settings
) -> tuple[str, str, Refusal | None]:
    """The key that decides, the rule by which it fails if it isn't valid, and the refusal."""
    key, rule = _sent_key(profile, head)
    if not key:
        return key, rule, Refusal(403, "A4", f"no write key: {rule}")
    if rule == "A5" and not KEY_SHAPE.match(key):
        rule = "A7"
        if settings.malformed_key == "refuse":
            reason = f"the write key {shown(shortened(key))} is not account/secret"
            return key, rule, Refusal(403, "A7", reason)
    return key, rule, None


def _sent_key(profile: Profile, head: RequestHead) -> tuple[str, str]:
    """The key that decides and the rule by which it fails; without a key, why there is none."""
    header = "x-td-write-key"
    if profile.td1_authorization and "authorization" in head.fields:
        scheme, _, credentials = head.field("authorization").partition(" ")
        if scheme.lower() == "td1":
            key = credentials.strip()
            return key, "A5" if key else "the Authorization header has none"
        if header in head.fields and scheme:
            return head.field("authorization"), "A10"
        return "", _no_key(profile) if scheme else "the Authorization header has none"
    if header in head.fields:
        key = head.field(header)
        return key, "A5" if key else "the X-TD-Write-Key header is empty"
    key = head.last_parameters.get("td_write_key", "") if profile.url_interface else ""
    return key, "A5" if key else _no_key(profile)


def _no_key(profile: Profile) -> str:
    td1, url = "an Authorization of the scheme TD1", "the URL parameter td_write_key"
    other = td1 if profile.td1_authorization else url
    return f"neither the X-TD-Write-Key header nor {other} has one"


def _record_source(profile: Profile, head: RequestHead) -> RecordSource:
    if not profile.url_interface:
        return RecordSource.JSON
    if head.last_parameters.get("td_format") == "pixel":
        return RecordSource.PIXEL
    if head.method == "GET":
        return RecordSource.DEPRECATED_GET
    if media_type(head) in ("", "text/plain"):
        return RecordSource.URL_PARAMETERS
    return RecordSource.JSON


def _body_refusal(
    profile: Profile, source: RecordSource, head: RequestHead, settings: Settings
) -> Refusal | None:
    refusal = _announced_too_large(head, profile, settings)
    if refusal is not None:
        return refusal
    if source in (RecordSource.PIXEL, RecordSource.DEPRECATED_GET):
        return None
    if source is RecordSource.JSON and media_type(head) != "application/json":
        return _not_json(head)
    for encoding in sorted(content_encodings(head) - {"identity"}):
        return Refusal(400, "B8", f"Content-Encoding '{shown(encoding)}' is not documented")
    return None


def _announced_too_large(head: RequestHead, profile: Profile, settings: Settings) -> Refusal | None:
    length = head.field("content-length")
    if length.isdecimal():
        size = int(length.lstrip("0")[:20] or "0")  # 20 digits are above any limit
        if size > size_limit(profile, settings):
            return _too_large(size, profile, settings)
    return None


def _not_json(head: RequestHead) -> Refusal:
    sent = media_type(head)
    found = f"Content-Type is '{shown(sent)}'" if sent else "Content-Type is missing"
    return Refusal(400, "B1", f"{found}, not application/json")


def _too_large(size: int, profile: Profile, settings: Settings) -> Refusal:
    limit = size_limit(profile, settings)
    rule = "B6" if profile.postback is None else "I9"
    return Refusal(413, rule, f"the body has {size} bytes; the limit is {limit}")


def _path(head: RequestHead) -> str:
    return shown(str(head.target).partition("?")[0], _PATH_SHOWN)
