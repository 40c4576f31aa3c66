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
"""R1: the first segments of the path of an event."""
NAME = re.compile(r"[A-Za-z0-9_]+\Z")
"""R2: a database or table name."""
KEY_SHAPE = re.compile(r"[^/\s]+/[^/\s]+\Z")
"""A7: the shape of a write key, `account/secret`."""
CONSUMED = frozenset({"td_format", "td_write_key", "td_record_time", "td_redirect"})
"""P2: URL parameters that don't become columns of a record made from the URL."""


class RecordSource(Enum):
    """Where the record of an accepted request comes from."""

    JSON = "the JSON body"
    PIXEL = "the URL parameters of a tracking pixel (P1)"
    DEPRECATED_GET = "the URL parameters of a GET without td_format (P6)"
    URL_PARAMETERS = "the URL parameters of an empty POST (B9)"


# Python 3.11 takes long to find a member.
_JSON, _URL_PARAMETERS = RecordSource.JSON, RecordSource.URL_PARAMETERS


@dataclass(frozen=True)
class Refusal:
    """A 4xx: its status, the id of the rule behind it, and the reason in words."""

    status: int
    rule: str
    reason: str


class Verdict(NamedTuple):
    """What is known of a request: refused, a preflight (R5, not an event), or an event to accept.

    `size_limit` is the largest body in bytes (B6). `refusal` counts before the key is looked up,
    `body_refusal` (size, content type, encoding) after it. `database` and `table` are set if the
    path names them, whatever else is wrong. An event fails by `key_rule` if its key isn't valid.
    """

    profile: Profile
    size_limit: int
    refusal: Refusal | None = None
    preflight: bool = False
    database: str | None = None
    table: str | None = None
    key: WriteKey | None = None
    key_rule: str = "A5"
    source: RecordSource = RecordSource.JSON
    body_refusal: Refusal | None = None

    @property
    def from_url(self) -> bool:
        """Whether the URL parameters are the record."""
        return self.source is not _JSON


def judge_head(head: RequestHead, settings: Settings) -> Verdict:
    """Return what method, target and header fields decide; equal heads have equal verdicts."""
    profile = settings.profile or for_host(head.host)
    verdict = Verdict(profile, size_limit(profile, settings))
    if head.segments[:4] != ROUTE:
        reason = f"the path {_path(head)} is not served"
        return verdict._replace(refusal=Refusal(404, "R6", reason))
    if head.method == "OPTIONS":
        return verdict._replace(preflight=True)
    database, table, names_refusal = _route(head)
    verdict = verdict._replace(database=database, table=table)
    if head.method not in profile.methods:
        allowed = ", ".join(profile.methods)
        reason = f"the method {shown(head.method)} is not one of {allowed}"
        return verdict._replace(refusal=Refusal(405, "R4", reason))
    key, key_rule = _sent_key(profile, head)
    key_refusal: Refusal | None = None
    if not key:
        key_refusal = Refusal(403, "A4", f"no write key: {key_rule}")
    elif key_rule == "A5" and not KEY_SHAPE.match(key):
        key_rule = "A7"
        if settings.malformed_key == "refuse":
            reason = f"the write key {shown(shortened(key))} is not account/secret"
            key_refusal = Refusal(403, "A7", reason)
    if refusal := names_refusal or key_refusal:
        return verdict._replace(refusal=refusal)
    source = _record_source(profile, head)
    body_refusal = _body_refusal(head, source, verdict.size_limit)
    return verdict._replace(
        key=WriteKey(key), key_rule=key_rule, source=source, body_refusal=body_refusal
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
    if verdict.source is _URL_PARAMETERS and body:
        return _not_json(head)
    if verdict.body_refusal is not None:
        return verdict.body_refusal
    if verdict.source is _URL_PARAMETERS and not data_parameters(head):
        return Refusal(400, "B4", "the body is empty and the URL has no data parameter")
    if verdict.source is not _JSON:
        return None
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


def content_encodings(head: RequestHead) -> set[str]:
    """B8: return every coding in `Content-Encoding` in lower case; empty ones don't count."""
    values = ",".join(head.fields.get("content-encoding", ())).lower().split(",")
    return {value.strip() for value in values} - {""}


def _media_type(head: RequestHead) -> str:
    """B1: the type in `Content-Type` in lower case without parameters; may be empty."""
    return head.field("content-type").partition(";")[0].strip().lower()


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
    header = "x-td-write-key"
    td1, url = "an Authorization of the scheme TD1", "the URL parameter td_write_key"
    other = td1 if profile.td1_authorization else url
    has_none = f"neither the X-TD-Write-Key header nor {other} has one"
    if profile.td1_authorization and "authorization" in head.fields:
        scheme, _, credentials = head.field("authorization").partition(" ")
        if not scheme or (scheme.lower() == "td1" and not credentials.strip()):
            return "", "the Authorization header has none"
        if scheme.lower() == "td1":
            return credentials.strip(), "A5"
        return (head.field("authorization"), "A10") if header in head.fields else ("", has_none)
    if header in head.fields:
        key = head.field(header)
        return key, "A5" if key else "the X-TD-Write-Key header is empty"
    key = head.last_parameters.get("td_write_key", "") if profile.url_interface else ""
    return key, "A5" if key else has_none


def _record_source(profile: Profile, head: RequestHead) -> RecordSource:
    if profile.url_interface:
        if head.last_parameters.get("td_format") == "pixel":
            return RecordSource.PIXEL
        if head.method == "GET":
            return RecordSource.DEPRECATED_GET
        if _media_type(head) in ("", "text/plain"):
            return RecordSource.URL_PARAMETERS
    return RecordSource.JSON


def _body_refusal(head: RequestHead, source: RecordSource, limit: int) -> Refusal | None:
    length = head.field("content-length")
    if length.isdecimal():
        size = int(length.lstrip("0")[:20] or "0")  # 20 digits are above any limit
        if size > limit:
            return _too_large(size, limit)
    if source in (RecordSource.PIXEL, RecordSource.DEPRECATED_GET):
        return None
    if source is _JSON and _media_type(head) != "application/json":
        return _not_json(head)
    for encoding in sorted(content_encodings(head) - {"identity"}):
        return Refusal(400, "B8", f"Content-Encoding '{shown(encoding)}' is not documented")
    return None


def _not_json(head: RequestHead) -> Refusal:
    sent = _media_type(head)
    found = f"Content-Type is '{shown(sent)}'" if sent else "Content-Type is missing"
    return Refusal(400, "B1", f"{found}, not application/json")


def _too_large(size: int, limit: int) -> Refusal:
    return Refusal(413, "B6", f"the body has {size} bytes; the limit is {limit}")


def _path(head: RequestHead) -> str:
    return shown(head.shown_target.partition("?")[0], 200)
