"""From a verdict to the response that goes out (rules R4, R5, W1 to W4, P4, P5, P7)."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from .judge import RecordSource

if TYPE_CHECKING:
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
_GLOBAL_ID_VALUE = re.compile(r"(?<=[?&])(td_global_id=[^&#]*|[^&#=]*=td_global_id(?=[&#]|\Z))")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{1,200}\Z")

_Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Response:
    """Status, header fields in their order (without `Connection`), and body."""

    status: int
    headers: _Fields
    body: bytes = b"{}"

    @cached_property
    def kept_alive(self) -> bytes:
        """The bytes on the wire if the connection stays open, made once."""
        return self.to_bytes()

    @cached_property
    def closing(self) -> bytes:
        """The bytes on the wire if the connection ends after them, made once."""
        return self.to_bytes(keep_alive=False)

    def to_bytes(self, *, keep_alive: bool = True, head_only: bool = False) -> bytes:
        """Return the response as bytes of HTTP/1.1; `head_only` leaves the body out (`HEAD`)."""
        connection = "keep-alive" if keep_alive else "close"
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Connection: {connection}", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + (b"" if head_only else self.body)


def accepted(profile: Profile, head: RequestHead, date: str) -> Response:
    """W1: return the response to an accepted event; `date` is the value of `Date`."""
    return _response(200, profile, head, date)


def refused(
    refusal: Refusal, profile: Profile, head: RequestHead, date: str, *, explain: bool = False
) -> Response:
    """W2: return the response to a refused request; `explain` adds rule and reason (W4)."""
    body = b"{}"
    if explain:
        body = json.dumps({"rule": refusal.rule, "reason": refusal.reason}).encode()
    extra = (("Allow", ", ".join(profile.methods)),) if refusal.status == 405 else ()
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


def preflight(head: RequestHead, profile: Profile, date: str) -> Response:
    """R5: return the response to `OPTIONS`: the origin, the methods and the headers asked for."""
    asked = head.field("access-control-request-headers")
    headers = [
        ("Date", date),
        *_cross_origin(head.field("origin") or "*"),
        ("Access-Control-Allow-Methods", ", ".join(profile.methods)),
        ("Access-Control-Allow-Headers", asked or "Content-Type, X-TD-Write-Key"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
    ]
    return Response(204, tuple(headers), b"")


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
            if name == COOKIE and _COOKIE_VALUE.match(value):
                return value
    return None


def redirect_target(url: str, global_id: str) -> str:
    """P5: return where a pixel redirects to: `url` with its `td_global_id` value replaced.

    All characters that a header can't carry are percent-encoded.
    """

    def replaced(found: re.Match[str]) -> str:
        return found[0].partition("=")[0] + "=" + quote(global_id, safe="")

    return quote(_GLOBAL_ID_VALUE.sub(replaced, url), safe="%/:=&?~#+!$,;'@()*[]")


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
