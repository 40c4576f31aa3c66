"""From a request to a verdict, in the service's order of judgement.

The first of these that applies decides: unknown path 404; `OPTIONS`; other method 405; names 400;
authentication 403; size 413; content type or encoding 400; body 400. In the Data Ingestion API
authentication is 401 or 403, type and encoding come before the size, and a wrong shape is 422.

Nothing here reads a clock, keeps state or knows which keys are valid. If unknown keys are refused
at once (A6, I4), the caller looks them up between `judge_head` and `judge_body`.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import body as json_body
from .escaping import shown
from .profiles import for_host
from .secrets import WriteKey, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from .batch import BatchBody
    from .profiles import Profile
    from .request import RequestHead
    from .settings import Settings

ROUTE = ("", "postback", "v3", "event")
"""R1: the first segments of the path of an event."""
NAME = re.compile(r"[A-Za-z0-9_]+\Z")
"""R2: a database or table name."""
KEY_SHAPE = re.compile(r"[^/\s]+/[^/\s]+\Z")
"""A7: the shape of a write key, `account/secret`."""
CONSUMED = frozenset({"td_format", "td_write_key", "td_record_time", "td_redirect"})
"""P2: URL parameters that don't become columns of a record made from the URL."""
PLATFORM_NAME = re.compile(r"[a-z0-9_]{3,128}\Z")
"""I2, R8: a database or table name as the platform wants it."""
SINGLE = "application/vnd.treasuredata.v1.single+json"
"""I5: the media type of one record."""
FROM_BROWSER = "application/vnd.treasuredata.v1.js+json"
FROM_PHONE = "application/vnd.treasuredata.v1.mobile+json"
"""I19: the types of batches whose records get columns of the sender."""
INGESTION_TYPES = {"application/vnd.treasuredata.v1+json", FROM_BROWSER, FROM_PHONE, SINGLE}
"""I5: the media types of the Data Ingestion API."""
CODINGS = ("gzip", "deflate")
"""I10: the content codings that are decoded."""
_LEGACY_SDKS = {
    "js": "td-js-sdk before 4.0",
    "android": "td-android-sdk before 1.0",
    "ios": "td-ios-sdk before 1.0",
}
"""R6: older SDKs, by the first segment of the path that they send to."""


class RecordSource(Enum):
    """Where the record of an accepted request comes from."""

    JSON = "the JSON body"
    PIXEL = "the URL parameters of a tracking pixel (P1)"
    DEPRECATED_GET = "the URL parameters of a GET without td_format (P6)"
    URL_PARAMETERS = "the URL parameters of an empty POST (B9)"
    BATCH = "an element of the list `events` (I7)"
    SINGLE = "the JSON body, `v1.single+json` (I5)"


class Refusal(NamedTuple):
    """A 4xx: its status, the id of the rule behind it, and the reason in words."""

    status: int
    rule: str
    reason: str
    allow: str = ""
    """The value of `Allow`, if the status is 405."""


class Verdict(NamedTuple):
    """What is known of a request: refused, a preflight (R5, not an event), or an event to accept.

    `size_limit` is the largest body in bytes (B6). `refusal` counts before the key is looked up,
    `body_refusal` (content type, encoding) after it. `database` and `table` are set if the path
    names them, whatever else is wrong. An event fails by `key_rule` if its key isn't valid.
    `from_url` is whether the URL parameters are the record. A request for the global id (I20) is
    not an event either. `ingestion` is whether the request speaks the Data Ingestion API.
    """

    profile: Profile
    size_limit: int
    ingestion: bool
    refusal: Refusal | None = None
    preflight: bool = False
    database: str | None = None
    table: str | None = None
    key: WriteKey | None = None
    key_rule: str = "A5"
    source: RecordSource = RecordSource.JSON
    from_url: bool = False
    body_refusal: Refusal | None = None
    global_id_request: bool = False


def judge_head(  # noqa: C901, PLR0912 - the order of judgement, top to bottom
    head: RequestHead, settings: Settings
) -> Verdict:
    """Return what method, target and header fields decide; equal heads have equal verdicts."""
    profile = settings.profile or for_host(head.host)
    served = head.segments[:4] == ROUTE
    if profile.postback is not None and served:
        profile = profile.postback
    ingestion = profile.postback is not None
    verdict = partial(Verdict, profile, size_limit(profile, settings), ingestion)
    if ingestion:
        return _judge_ingestion_head(verdict, head)
    if not served:
        return verdict(refusal=_not_served(head))
    if head.method == "OPTIONS":
        return verdict(preflight=True)
    database, table, refusal = _route(head)
    verdict = partial(verdict, database=database, table=table)
    if head.method not in profile.methods:
        allowed = ", ".join(profile.methods)
        reason = f"the method {shown(head.method)} is not one of {allowed}"
        return verdict(refusal=Refusal(405, "R4", reason, allowed))
    if refusal is not None:
        return verdict(refusal=refusal)
    key, key_rule = _sent_key(profile, head)
    if not key:
        return verdict(refusal=Refusal(403, "A4", f"no write key: {key_rule}"))
    if key_rule == "A5" and not KEY_SHAPE.match(key):
        if settings.malformed_key == "refuse":
            reason = f"the write key {shown(shortened(key))} is not account/secret"
            return verdict(refusal=Refusal(403, "A7", reason))
        key_rule = "A7"
    source, body_refusal = RecordSource.JSON, None
    if profile.url_interface:
        if head.last_parameters.get("td_format") == "pixel":
            source = RecordSource.PIXEL
        elif head.method == "GET":
            source = RecordSource.DEPRECATED_GET
        elif head.media_type in ("", "text/plain"):
            source = RecordSource.URL_PARAMETERS
    if source is RecordSource.JSON and head.media_type != "application/json":
        body_refusal = _wrong_type("B1", head)
    elif source in (RecordSource.JSON, RecordSource.URL_PARAMETERS) and (sent := codings(head)):
        reason = f"Content-Encoding '{shown(sent[0])}' is not documented"
        body_refusal = Refusal(400, "B8", reason)
    return verdict(
        key=WriteKey(key),
        key_rule=key_rule,
        source=source,
        from_url=source is not RecordSource.JSON,
        body_refusal=body_refusal,
    )


def judge_body(
    verdict: Verdict, head: RequestHead, body: bytes, *, size: int | None = None
) -> Refusal | None:
    """Return why the body of a request is refused, `None` if it is accepted.

    `verdict` is what `judge_head` returned for `head` and has no refusal. `size` is the length of
    the body in bytes if `body` isn't all of it.
    """
    size = len(body) if size is None else size
    if size > verdict.size_limit:
        return _too_large(size, verdict.size_limit)
    from_parameters = verdict.from_url and verdict.source is RecordSource.URL_PARAMETERS
    if from_parameters and body:
        return _wrong_type("B1", head)
    if verdict.body_refusal is not None:
        return verdict.body_refusal
    if not verdict.from_url:
        try:
            json_body.parse(body)
        except json_body.InvalidBody as error:
            return Refusal(400, error.rule, str(error))
    elif from_parameters and not data_parameters(head):
        return Refusal(400, "B4", "the body is empty and the URL has no data parameter")
    return None


def judge_batch(
    verdict: Verdict,
    head: RequestHead,
    body: bytes,
    refusal: Refusal | None = None,
    *,
    size: int | None = None,
) -> tuple[Refusal | None, BatchBody | None]:
    """Return why a request to the Data Ingestion API is refused, or the records in its body.

    `refusal` is why it is refused whatever its body is; then the reason gets the number of the
    records, if they can be read. The other arguments are those of `judge_body`.
    """
    from . import batch  # most runs send none

    size = len(body) if size is None else size
    refusal = refusal or verdict.body_refusal
    if refusal is None and size > verdict.size_limit:
        return _too_large(size, verdict.size_limit, "I9"), None
    single, sent = head.media_type == SINGLE, codings(head)
    if refusal is not None and (single or not body or not set(sent).issubset(CODINGS)):
        return refusal, None
    try:
        found = batch.read(body, sent, single=single, limit=verdict.size_limit)
    except json_body.InvalidBody as error:
        return refusal or Refusal(error.status, error.rule, str(error)), None
    if refusal is None:
        return None, found
    counted = "1 record" if len(found.records) == 1 else f"{len(found.records)} records"
    return refusal._replace(reason=f"{refusal.reason} (the batch has {counted})"), None


def size_limit(profile: Profile, settings: Settings) -> int:
    """B6: return the largest body in bytes that is accepted."""
    return min(profile.body_limit or settings.max_body, settings.max_body)


def data_parameters(head: RequestHead) -> dict[str, str]:
    """P2: return the URL parameters that are columns if the URL is the record."""
    return {name: value for name, value in head.parameters if name not in CONSUMED}


def content_encodings(head: RequestHead) -> list[str]:
    """B8, I10: return every coding in `Content-Encoding`, in order and in lower case."""
    values = ",".join(head.fields.get("content-encoding", ())).lower().split(",")
    return [coding for value in values if (coding := value.strip())]


def codings(head: RequestHead) -> list[str]:
    """I10: return the content codings of the body, in the order in which they were applied."""
    return [coding for coding in content_encodings(head) if coding != "identity"]


def _judge_ingestion_head(  # noqa: C901 - as `judge_head`
    verdict: Callable[..., Verdict], head: RequestHead
) -> Verdict:
    """I1 to I5, I20: what the head of a request to the Data Ingestion API decides."""
    names = head.segments[1:]
    wants_global_id = names == ("",)
    if len(names) != 2 and not wants_global_id:
        return verdict(refusal=_not_served(head))
    if head.method == "OPTIONS":
        return verdict(preflight=True)
    if not wants_global_id:
        wrong = [name for name in names if not PLATFORM_NAME.match(name)]
        if not wrong:
            verdict = partial(verdict, database=names[0], table=names[1])
        elif head.method == "POST":
            reason = f"the name '{shown(wrong[0])}' is not 3 to 128 of a to z, 0 to 9 and _"
            return verdict(refusal=Refusal(400, "I2", reason))
    if head.method != ("GET" if wants_global_id else "POST"):
        allowed = "GET, OPTIONS" if wants_global_id else "POST, OPTIONS"
        reason = f"the method {shown(head.method)} is not one of {allowed}"
        return verdict(refusal=Refusal(405, "I2", reason, allowed))
    scheme, _, key = head.field("authorization").partition(" ")
    if scheme.lower() != "td1" or not key.strip():
        sent = "has no key" if scheme.lower() == "td1" else f"has the scheme '{shown(scheme)}'"
        reason = f"no write key: Authorization {sent if scheme else 'is missing'}, not 'TD1 <key>'"
        return verdict(refusal=Refusal(401, "I4", reason))
    verdict = partial(verdict, key=WriteKey(key.strip()), key_rule="I14")
    if wants_global_id:
        return verdict(global_id_request=True)
    body_refusal = None
    if head.media_type not in INGESTION_TYPES:
        body_refusal = _wrong_type("I5", head, f"one of {', '.join(sorted(INGESTION_TYPES))}")
    elif unknown := [coding for coding in codings(head) if coding not in CODINGS]:
        reason = f"Content-Encoding '{shown(unknown[0])}' is not gzip, deflate or identity"
        body_refusal = Refusal(400, "I10", reason)
    source = RecordSource.SINGLE if head.media_type == SINGLE else RecordSource.BATCH
    return verdict(source=source, body_refusal=body_refusal)


def _not_served(head: RequestHead) -> Refusal:
    reason = f"the path {_path(head)} is not served"
    sdk = _LEGACY_SDKS.get(head.segments[1]) if head.segments[2:4] == ("v3", "event") else None
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
    elif all(map(NAME.match, names)):
        return names[0], names[1], None
    else:
        role, name = ("table", names[1]) if NAME.match(names[0]) else ("database", names[0])
        reason = f"the {role} name is empty"
        if name:
            reason = f"the {role} name '{shown(name)}' has more than ASCII letters, digits and _"
    return None, None, Refusal(400, "R2", reason)


def _sent_key(profile: Profile, head: RequestHead) -> tuple[str, str]:
    """The key that decides and the rule by which it fails; without a key, why there is none."""
    header = head.fields.get("x-td-write-key")
    if profile.td1_authorization and "authorization" in head.fields:
        authorization = head.field("authorization")
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() in ("td1", ""):
            key = credentials.strip()
            return key, "A5" if key else "the Authorization header has none"
        if header:
            return authorization, "A10"
    elif header:
        return header[0], "A5" if header[0] else "the X-TD-Write-Key header is empty"
    elif profile.url_interface and (key := head.last_parameters.get("td_write_key", "")):
        return key, "A5"
    other = "the URL parameter td_write_key"
    if profile.td1_authorization:
        other = "an Authorization of the scheme TD1"
    return "", f"neither the X-TD-Write-Key header nor {other} has one"


def _wrong_type(rule: str, head: RequestHead, wanted: str = "application/json") -> Refusal:
    found = f"is '{shown(head.media_type)}'" if head.media_type else "is missing"
    return Refusal(400, rule, f"Content-Type {found}, not {wanted}")


def _too_large(size: int, limit: int, rule: str = "B6") -> Refusal:
    return Refusal(413, rule, f"the body has {size} bytes; the limit is {limit}")


def _path(head: RequestHead) -> str:
    return shown(head.shown_target.partition("?")[0], 200)
