"""From a request to a verdict, in the service's order of judgement.

The first of these that applies decides: unknown path 404; `OPTIONS`; other method 405; names 400;
authentication 403; size 413; content type or encoding 400; body 400. Nothing here reads a clock,
keeps state or knows which keys are valid. A profile that refuses unknown keys at once (A6) has
them looked up by the caller, between `judge_head` and `judge_body`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

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
_PATH_SHOWN = 200


class RecordSource(Enum):
    """Where the record of an accepted request comes from."""

    JSON = "the JSON body"
    PIXEL = "the URL parameters of a tracking pixel (P1)"
    DEPRECATED_GET = "the URL parameters of a GET without td_format (P6)"
    URL_PARAMETERS = "the URL parameters of an empty POST (B9)"


@dataclass(frozen=True)
class Refusal:
    """A 4xx: its status, the id of the rule behind it, and the reason in words."""

    status: int
    rule: str
    reason: str


class Verdict(NamedTuple):
    """What is known of a request: refused, a preflight (R5, not an event), or an event to accept.

    `refusal` counts before the key is looked up. `body_refusal` (size, content type, encoding)
    counts after it. `database` and `table` are set if the path names them, whatever else is wrong.
    `key_rule` is the rule by which an event fails if its key isn't valid. `from_url` is whether the
    URL parameters are the record.
    """

    profile: Profile
    refusal: Refusal | None = None
    preflight: bool = False
    database: str | None = None
    table: str | None = None
    key: WriteKey | None = None
    key_rule: str = "A5"
    source: RecordSource = RecordSource.JSON
    from_url: bool = False
    body_refusal: Refusal | None = None


def judge_head(head: RequestHead, settings: Settings) -> Verdict:
    """Return what method, target and header fields decide; equal heads have equal verdicts."""
    profile = settings.profile or for_host(head.host)
    if head.segments[:4] != ROUTE:
        return Verdict(profile, Refusal(404, "R6", f"the path {_path(head)} is not served"))
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
        from_url=source is not RecordSource.JSON,
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
    length = head.field("content-length")
    if length.isdecimal():
        size = int(length.lstrip("0")[:20] or "0")  # 20 digits are above any limit
        if size > size_limit(profile, settings):
            return _too_large(size, profile, settings)
    if source in (RecordSource.PIXEL, RecordSource.DEPRECATED_GET):
        return None
    if source is RecordSource.JSON and media_type(head) != "application/json":
        return _not_json(head)
    for encoding in sorted(content_encodings(head) - {"identity"}):
        return Refusal(400, "B8", f"Content-Encoding '{shown(encoding)}' is not documented")
    return None


def _not_json(head: RequestHead) -> Refusal:
    sent = media_type(head)
    found = f"Content-Type is '{shown(sent)}'" if sent else "Content-Type is missing"
    return Refusal(400, "B1", f"{found}, not application/json")


def _too_large(size: int, profile: Profile, settings: Settings) -> Refusal:
    limit = size_limit(profile, settings)
    return Refusal(413, "B6", f"the body has {size} bytes; the limit is {limit}")


def _path(head: RequestHead) -> str:
    return shown(str(head.target).partition("?")[0], _PATH_SHOWN)
