"""From a request to a verdict, in the service's order of judgement.

Unknown path 404; OPTIONS; other method 405; names 400; authentication 403; size 413; content type
or encoding 400; body 400: the first that applies answers. No clock, no state, no list of keys: a
profile that refuses unknown keys at once has them looked up by the caller, between `judge_head`
and `judge_body`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from . import body as json_body
from .profiles import for_host
from .secrets import WriteKey, shortened, without_keys

if TYPE_CHECKING:
    from .profiles import Profile
    from .request import RequestHead
    from .settings import Settings

ROUTE = ("", "postback", "v3", "event")
NAME = re.compile(r"[A-Za-z0-9_]+\Z")
"""R2: what a database or table name holds."""
KEY_SHAPE = re.compile(r"[^/\s]+/[^/\s]+\Z")
"""A7: the shape of a write key, `account/secret`."""
CONSUMED = frozenset({"td_format", "td_write_key", "td_record_time", "td_redirect"})
"""P2: URL parameters that are no columns of an event made from the URL."""


class RecordSource(Enum):
    """Where the record of an accepted request comes from."""

    JSON = "the JSON body"
    PIXEL = "the URL parameters of a tracking pixel (P1)"
    DEPRECATED_GET = "the URL parameters of a GET without td_format (P6)"
    URL_PARAMETERS = "the URL parameters of an empty POST (B9)"


@dataclass(frozen=True)
class Refusal:
    """A 4xx: its status, the rule that says so, and the reason in words."""

    status: int
    rule: str
    reason: str


class Verdict(NamedTuple):
    """What is known of a request: refused, a preflight (R5, not an event), or an event to accept.

    `refusal` counts before the key is looked up. `body_refusal` (size, content type, encoding)
    counts after it. `database` and `table` are set if the path names them, whatever else is wrong.
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

    @property
    def from_url(self) -> bool:
        """Whether the URL parameters are the record."""
        return self.source is not RecordSource.JSON


def judge_head(head: RequestHead, settings: Settings) -> Verdict:
    """What method, target and header fields decide; the answer is the same for equal heads."""
    profile = settings.profile or for_host(head.host)
    preflight = head.method == "OPTIONS"
    if head.segments[:4] != ROUTE:
        return Verdict(profile, Refusal(404, "R6", f"no such path: {_path(head)}"), preflight)
    if preflight:
        return Verdict(profile, preflight=True)
    database, table, refusal = _route(head)
    if head.method not in profile.methods:
        refusal = Refusal(405, "R4", f"{head.method} is not one of {', '.join(profile.methods)}")
    if refusal is not None:
        return Verdict(profile, refusal, database=database, table=table)
    key, key_rule, refusal = _key(profile, head, settings)
    if refusal is not None:
        return Verdict(profile, refusal, database=database, table=table)
    source = _record_source(profile, head)
    body_refusal = _body_refusal(profile, source, head, settings)
    return Verdict(
        profile, None, False, database, table, WriteKey(key), key_rule, source, body_refusal
    )


def judge_body(
    verdict: Verdict, head: RequestHead, body: bytes, settings: Settings, *, size: int | None = None
) -> Refusal | None:
    """What the body decides of a request whose head was accepted; `None` accepts it.

    `size` is the length of the body in bytes where `body` is not all of it.
    """
    size = len(body) if size is None else size
    if size > size_limit(verdict.profile, settings):
        return _too_large(size, verdict.profile, settings)
    if verdict.source is RecordSource.URL_PARAMETERS and body:
        return _not_json(head)
    if verdict.body_refusal:
        return verdict.body_refusal
    if verdict.source is RecordSource.URL_PARAMETERS and not data_parameters(head):
        return Refusal(400, "B4", "the body is empty and the URL holds no data parameter")
    return None if verdict.from_url else judge_json(body)


def judge_json(body: bytes) -> Refusal | None:
    """What a JSON body decides where nothing else is left to (B2 to B4, B7)."""
    try:
        json_body.parse(body)
    except json_body.InvalidBody as error:
        return Refusal(400, error.rule, str(error))
    return None


def size_limit(profile: Profile, settings: Settings) -> int:
    """B6: the largest body in bytes that is accepted."""
    return min(profile.body_limit or settings.max_body, settings.max_body)


def data_parameters(head: RequestHead) -> dict[str, str]:
    """P2: the URL parameters that are columns where the URL is the record."""
    return {name: value for name, value in head.parameters if name not in CONSUMED}


def _route(head: RequestHead) -> tuple[str | None, str | None, Refusal | None]:
    """Database and table, or why the path does not name them."""
    names = head.segments[4:]
    if len(names) == 3 and not names[2]:
        names = names[:2]
    if len(names) != 2:
        reason = f"{_path(head)} is not /postback/v3/event/{{database}}/{{table}}"
        return None, None, Refusal(400, "R2", reason)
    for role, name in zip(("database", "table"), names, strict=True):
        if not NAME.match(name):
            shown = without_keys(repr(name))
            fault = f"{shown} holds more than ASCII letters, digits and _" if name else "is empty"
            return None, None, Refusal(400, "R2", f"the {role} name {fault}")
    return names[0], names[1], None


def _key(
    profile: Profile, head: RequestHead, settings: Settings
) -> tuple[str, str, Refusal | None]:
    """The key that decides and the rule it fails by, or why there is none."""
    key, rule = _sent_key(profile, head)
    if not key:
        return key, rule, Refusal(403, "A4", f"no write key: {rule}")
    if rule == "A5" and not KEY_SHAPE.match(key):
        rule = "A7"
        if settings.malformed_key == "refuse":
            reason = f"the write key {shortened(key)} is not account/secret"
            return key, rule, Refusal(403, "A7", reason)
    return key, rule, None


def _sent_key(profile: Profile, head: RequestHead) -> tuple[str, str]:
    """The key that decides and the rule it fails by; without a key, what is the matter."""
    if profile.td1_authorization and "authorization" in head.fields:
        scheme, _, credentials = head.field("authorization").partition(" ")
        if scheme.lower() == "td1":
            key = credentials.strip()
            return key, "A5" if key else "the Authorization header holds none"
        if "x-td-write-key" in head.fields and scheme:
            return head.field("authorization"), "A10"
        return "", _nowhere(profile) if scheme else "the Authorization header holds none"
    if "x-td-write-key" in head.fields:
        key = head.field("x-td-write-key")
        return key, "A5" if key else "the X-TD-Write-Key header is empty"
    key = head.last_parameters.get("td_write_key", "") if profile.url_interface else ""
    return key, "A5" if key else _nowhere(profile)


def _nowhere(profile: Profile) -> str:
    td1, url = "an Authorization of the scheme TD1", "the URL parameter td_write_key"
    other = td1 if profile.td1_authorization else url
    return f"neither the X-TD-Write-Key header nor {other} holds one"


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


def media_type(head: RequestHead) -> str:
    """The type of `Content-Type` in lower case, without its parameters (B1); empty without one."""
    return head.field("content-type").partition(";")[0].strip().lower()


def _body_refusal(
    profile: Profile, source: RecordSource, head: RequestHead, settings: Settings
) -> Refusal | None:
    length = head.field("content-length")
    if length.isdecimal() and int(length[:20]) > size_limit(profile, settings):
        return _too_large(int(length[:20]), profile, settings)
    if source in (RecordSource.PIXEL, RecordSource.DEPRECATED_GET):
        return None
    if source is RecordSource.JSON and media_type(head) != "application/json":
        return _not_json(head)
    encoding = head.field("content-encoding")
    if encoding:
        shown = without_keys(repr(encoding))
        return Refusal(400, "B8", f"Content-Encoding {shown} is not documented")
    return None


def _not_json(head: RequestHead) -> Refusal:
    kind = media_type(head)
    given = f"Content-Type is {without_keys(repr(kind))}" if kind else "Content-Type is missing"
    return Refusal(400, "B1", f"{given}, not application/json")


def _too_large(size: int, profile: Profile, settings: Settings) -> Refusal:
    limit = size_limit(profile, settings)
    return Refusal(413, "B6", f"the body has {size} bytes; {limit} are the most")


def _path(head: RequestHead) -> str:
    path = without_keys(head.target.partition("?")[0])
    return path if len(path) <= 200 else path[:200] + "…"
