"""From a verdict to the answer that goes out (rules R4, R5, W1 to W4, P4, P5, P7)."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from .judge import RecordSource

if TYPE_CHECKING:
    from .judge import Refusal, Verdict
    from .profiles import Profile
    from .request import RequestHead

COOKIE = "_td_global"
"""P7: the cookie that carries the global id; its name is inferred."""
COOKIE_SECONDS = 2 * 365 * 86_400
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""P4: a transparent image of one pixel."""

_REASONS = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_GLOBAL_ID_VALUE = re.compile(r"(?<=[?&])(td_global_id=[^&#]*|[^&#=]*=td_global_id(?=[&#]|\Z))")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{1,200}\Z")


@dataclass(frozen=True)
class Response:
    """Status, header fields in their order (without `Connection`), body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b"{}"

    @cached_property
    def kept_alive(self) -> bytes:
        """The usual form on the wire, made once."""
        return self.to_bytes()

    @cached_property
    def closing(self) -> bytes:
        """The last one on its connection, made once."""
        return self.to_bytes(keep_alive=False)

    def to_bytes(self, *, keep_alive: bool = True, head_only: bool = False) -> bytes:
        """The answer as bytes of HTTP/1.1; `head_only` leaves the body out (`HEAD`)."""
        connection = "keep-alive" if keep_alive else "close"
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Connection: {connection}", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + (b"" if head_only else self.body)


@lru_cache(maxsize=64)
def accepted(profile: Profile, date: str, *, origin: str | None = None) -> Response:
    """W1: the answer to an accepted event; tests that run in the same second share it."""
    return _shaped(200, profile, date, b"{}", origin=origin)


def refused(
    refusal: Refusal,
    profile: Profile,
    date: str,
    *,
    origin: str | None = None,
    explain: bool = False,
) -> Response:
    """W2: the answer to a refused request; `explain` puts rule and reason into its body (W4)."""
    body = b"{}"
    if explain:
        body = json.dumps({"rule": refusal.rule, "reason": refusal.reason}).encode()
    extra = (("Allow", ", ".join(profile.methods)),) if refusal.status == 405 else ()
    return _shaped(refusal.status, profile, date, body, origin=origin, extra=extra)


def from_url(
    verdict: Verdict, head: RequestHead, date: str, *, origin: str | None, global_id: str
) -> Response:
    """P4, P5, P6, P7: the answer to an event made from the URL."""
    extra: tuple[tuple[str, str], ...] = ()
    if sent_global_id(head) is None:
        extra = (("Set-Cookie", f"{COOKIE}={global_id}; Max-Age={COOKIE_SECONDS}; Path=/"),)
    if verdict.source is not RecordSource.PIXEL:
        return _shaped(200, verdict.profile, date, b"{}", origin=origin, extra=extra)
    target = head.last_parameters.get("td_redirect")
    if target:
        extra = (("Location", redirect_target(target, global_id)), *extra)
        return _shaped(302, verdict.profile, date, b"", origin=origin, extra=extra)
    return _shaped(
        200, verdict.profile, date, GIF, origin=origin, extra=extra, content_type="image/gif"
    )


def preflight(head: RequestHead, profile: Profile, date: str) -> Response:
    """R5: the answer to `OPTIONS`: the origin, the methods and the headers asked for."""
    asked = head.headers.get("access-control-request-headers")
    headers = [
        ("Date", date),
        *_for_page(head.headers.get("origin", "*")),
        ("Access-Control-Allow-Methods", ", ".join(profile.methods)),
        ("Access-Control-Allow-Headers", asked or "Content-Type, X-TD-Write-Key"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
    ]
    return Response(204, tuple(headers), b"")


def empty(status: int) -> Response:
    """A response with `status` and without a body."""
    return Response(status, (("Content-Length", "0"),), b"")


@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """`seconds` since 1970 as the `Date` header writes it, in English whatever the locale."""
    from time import gmtime

    moment = gmtime(seconds)
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02} {_MONTHS[moment.tm_mon - 1]} "
        f"{moment.tm_year} {moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} GMT"
    )


def sent_global_id(head: RequestHead) -> str | None:
    """P7: the global id in the request's cookie, `None` where there is none to use."""
    for header in head.headers.getlist("cookie"):
        for piece in header.split(";"):
            name, _, value = piece.strip().partition("=")
            if name == COOKIE and _COOKIE_VALUE.match(value):
                return value
    return None


def redirect_target(url: str, global_id: str) -> str:
    """P5: where a pixel redirects to, with its `td_global_id` value replaced, safe in a header."""

    def replaced(found: re.Match[str]) -> str:
        return found[0].partition("=")[0] + "=" + quote(global_id, safe="")

    return quote(_GLOBAL_ID_VALUE.sub(replaced, url), safe="%/:=&?~#+!$,;'@()*[]")


def _shaped(
    status: int,
    profile: Profile,
    date: str,
    body: bytes,
    *,
    origin: str | None,
    extra: tuple[tuple[str, str], ...] = (),
    content_type: str = "application/json",
) -> Response:
    headers = [("Content-Type", content_type), ("Date", date)]
    if profile.strict_transport_security:
        headers.append(("Strict-Transport-Security", "max-age=31536000"))
    headers.append(("Content-Length", str(len(body))))
    headers.extend(extra)
    if origin is not None:
        headers += [*_for_page(origin), ("Vary", "Origin")]
    return Response(status, tuple(headers), body)


def _for_page(origin: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
    )
