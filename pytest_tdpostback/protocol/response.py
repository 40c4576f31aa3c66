"""From a verdict to the response that goes out (rules R4, R5, W1 to W4, P4, P5, P7)."""

from __future__ import annotations

import base64
import json
import re
from email.utils import formatdate
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .escaping import shown
from .judge import RecordSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .batch import Failure
    from .judge import Refusal, Verdict
    from .profiles import Profile
    from .request import RequestHead

COOKIE = "_td_global"
"""P7: the cookie that carries the global id; its name is inferred."""
_COOKIE_SECONDS = 2 * 365 * 86_400
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""P4: a transparent image of one pixel."""

# The standard library has two names for some of them before Python 3.13.
_PHRASES = {
    **{int(status): status.phrase for status in HTTPStatus},
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
_GLOBAL_ID_VALUE = r"(?<=[?&])(?:(td_global_id=)[^&#]*|([^&#=]*=)td_global_id(?=[&#]|\Z))"
_COOKIE_VALUE = r"[!#-+\--:<-\[\]-~]{1,200}"

_Fields = tuple[tuple[str, str], ...]


class Response:
    """Status, header fields in their order (without `Connection`), and body."""

    def __init__(self, status: int, headers: _Fields, body: bytes = b"{}") -> None:
        self.status = status
        self.phrase = _PHRASES.get(status, "Unknown")
        """The reason phrase of the status."""
        self.headers = headers
        self.body = body

    @cached_property
    def kept_alive(self) -> bytes:
        """The bytes on the wire if the connection stays open, made once."""
        return self.to_bytes()

    def to_bytes(self, *, keep_alive: bool = True, head_only: bool = False) -> bytes:
        """Return the response as bytes of HTTP/1.1; `head_only` leaves the body out (`HEAD`)."""
        connection = "keep-alive" if keep_alive else "close"
        lines = [f"HTTP/1.1 {self.status} {self.phrase}", *map(": ".join, self.headers)]
        lines += [f"Connection: {connection}", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + (b"" if head_only else self.body)


def accepted(profile: Profile, head: RequestHead, date: str) -> Response:
    """W1: return the response to an accepted event; `date` is the value of `Date`."""
    return _response(200, profile, head, date)


def refused(
    refusal: Refusal, profile: Profile, head: RequestHead, date: str, *, explain: bool = False
) -> Response:
    """W2, I22: return the response to a refused request; `explain` adds rule and reason (W4)."""
    body = b"{}"
    if profile.postback is not None:
        phrase = _PHRASES[refusal.status]
        error = {"error": phrase, "message": refusal.reason if explain else phrase}
        body = json.dumps(error | ({"rule": refusal.rule} if explain else {})).encode()
    elif explain:
        body = json.dumps({"rule": refusal.rule, "reason": refusal.reason}).encode()
    extra = (("Allow", refusal.allow),) if refusal.allow else ()
    return _response(refusal.status, profile, head, date, body, extra)


def from_url(verdict: Verdict, head: RequestHead, date: str, global_id: str) -> Response:
    """P4 to P7: return the response to an event made from the URL of `head`."""
    profile = verdict.profile
    extra: _Fields = ()
    if sent_global_id(head) is None:
        extra = (("Set-Cookie", f"{COOKIE}={global_id}; Max-Age={_COOKIE_SECONDS}; Path=/"),)
    if verdict.source is not RecordSource.PIXEL:
        return _response(200, profile, head, date, extra=extra)
    target = head.last_parameters.get("td_redirect")
    if target:
        extra = (("Location", redirect_target(target, global_id)), *extra)
        return _response(302, profile, head, date, b"", extra)
    return _response(200, profile, head, date, GIF, extra, "image/gif")


def receipts(
    verdict: Verdict, head: RequestHead, date: str, outcomes: Sequence[str | Failure]
) -> Response:
    """I6, I12, I13: return the response to a batch.

    `outcomes` has the uuid of each record, or why it fails.
    """
    listed: list[dict[str, Any]] = [
        {"success": True, "uuid": outcome}
        if isinstance(outcome, str)
        else {"success": False, "error": {"name": outcome.name, "description": outcome.description}}
        for outcome in outcomes
    ]
    status = 200 if all(receipt["success"] for receipt in listed) else 206
    body = json.dumps({"receipts": listed}).encode()
    sent = head.field("content-type").strip()
    return _response(status, verdict.profile, head, date, body, content_type=sent)


def global_id(verdict: Verdict, head: RequestHead, date: str, value: str) -> Response:
    """I20: return the response to a request for the global id, which keeps it in a cookie."""
    cookie = f"{COOKIE}={value}; Max-Age={_COOKIE_SECONDS}; Path=/; SameSite=None; Secure; HttpOnly"
    body = json.dumps({"global_id": value}).encode()
    return _response(200, verdict.profile, head, date, body, (("Set-Cookie", cookie),))


def preflight(head: RequestHead, profile: Profile, date: str) -> Response:
    """R5: return the response to `OPTIONS`: the origin, the methods and the headers asked for."""
    methods, key_header = ", ".join(profile.methods), "X-TD-Write-Key"
    if profile.postback is not None:
        methods, key_header = "GET, POST, OPTIONS", "Authorization"
    asked = head.field("access-control-request-headers")
    headers = [
        ("Date", date),
        *_cross_origin(head.field("origin") or "*"),
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", asked or f"Content-Type, {key_header}"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
    ]
    return Response(204, tuple(headers), b"")


def refused_by_browser(head: RequestHead, response: Response) -> str:
    """R5: return why a browser sends no request after this `preflight`, empty if it sends one.

    A browser sends `GET`, `HEAD` and `POST` whatever methods are allowed (Fetch, 4.8).
    """
    asked = head.field("access-control-request-method")
    allowed = dict(response.headers)["Access-Control-Allow-Methods"]
    if asked in ("", "GET", "HEAD", "POST", *allowed.split(", ")):
        return ""
    return f"its preflight asks for the method {shown(asked)}; let the page use one of {allowed}"


def empty(status: int) -> Response:
    """Return a response with `status` and without a body."""
    return Response(status, (("Content-Length", "0"),), b"")


@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """Return `seconds` since 1970 as the value of the `Date` header."""
    return formatdate(seconds, usegmt=True)


def sent_global_id(head: RequestHead) -> str | None:
    """P7: return the global id in the request's cookie, `None` if there is none to use."""
    for header in head.fields.get("cookie", ()):
        for piece in header.split(";"):
            name, _, value = piece.strip().partition("=")
            if name == COOKIE and re.fullmatch(_COOKIE_VALUE, value):
                return value
    return None


def redirect_target(url: str, global_id: str) -> str:
    """P5: return where a pixel redirects to: `url` with its `td_global_id` value replaced.

    All characters that a header can't carry are percent-encoded.
    """
    with_id = re.sub(_GLOBAL_ID_VALUE, rf"\g<1>\g<2>{quote(global_id, safe='')}", url)
    return quote(with_id, safe="%/:=&?~#+!$,;'@()*[]")


def _response(  # noqa: PLR0917 - the parts of a response in their order
    status: int,
    profile: Profile,
    head: RequestHead,
    date: str,
    body: bytes = b"{}",
    extra: _Fields = (),
    content_type: str = "application/json",
) -> Response:
    headers = [("Content-Type", content_type), ("Date", date)]
    if profile.strict_transport_security:
        headers.append(("Strict-Transport-Security", "max-age=31536000"))
    headers += [("Content-Length", str(len(body))), *extra]
    if "origin" in head.fields:
        headers += [*_cross_origin(head.field("origin")), ("Vary", "Origin")]
    return Response(status, tuple(headers), body)


def _cross_origin(origin: str) -> _Fields:
    return (("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true"))
