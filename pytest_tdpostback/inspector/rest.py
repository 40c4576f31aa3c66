"""The REST interface below `/.tdpostback/`, for programs in any language.

It is served only if somebody asks for it; else these paths are refused like any other (R6). A call
is no event. No response holds a whole write key.
"""

from __future__ import annotations

import ipaddress
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

from ..collector.event_log import EventState
from ..collector.events import Events, Record
from ..errors import ConfigurationError
from ..protocol.secrets import KeyRedactor
from ..protocol.settings import SETTINGS, valid_seconds
from ..recording.export import exported
from ..server.connection import INSPECTION_PREFIX as PREFIX
from ..server.connection import MAX_INSPECTION_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..collector.collector import Collector

SETTLE_SECONDS = 5.0
"""How long `settle` waits if the request does not say."""
HOLDER = "the REST interface"
"""Who holds validation by `hold`. What the test holds, only the test releases."""
FIXED = {"redirect", "block_network", "extra_hosts", "allow_hosts", "tls"}
"""Settings that have an effect only at the start."""


def respond(request: Request, collector: Collector, bound_host: str) -> WerkzeugResponse:
    """The response to a request below `PREFIX`: JSON; a 4xx has an `error` that says why.

    Args:
        request: The request.
        collector: What the request is about.
        bound_host: The address at which the server listens, which a `Host` may name too.
    """
    forbidden = _why_forbidden(request, bound_host)
    if forbidden:
        return _json({"error": forbidden}, HTTPStatus.FORBIDDEN)
    call = (request.method, request.path[len(PREFIX) :])
    if call not in _ROUTES:
        known = [f"{method} {PREFIX}{name}" for method, name in _ROUTES]
        return _json({"error": "no such call", "known": known}, HTTPStatus.NOT_FOUND)
    handler, *parameters = _ROUTES[call]
    if request.method != "GET" and request.mimetype != "application/json":
        error = "a call that changes something needs Content-Type: application/json"
        return _json({"error": error}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    size = request.content_length or 0
    if size > MAX_INSPECTION_BODY:
        error = f"the body has {size} bytes; the limit of a call is {MAX_INSPECTION_BODY}"
        return _json({"error": error}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    redact = KeyRedactor(collector.keys.known())
    try:
        _refuse_unknown(request.args, parameters)
        return _json(handler(request, collector), redact=redact)
    except (ConfigurationError, TypeError, ValueError) as error:
        return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST, redact)


def inspected(collector: Collector, events: WSGIApplication) -> WSGIApplication:
    """The WSGI application `events` of a collector, with the REST interface beside it."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(PREFIX):
            return respond(Request(environ), collector, "")(environ, start_response)
        return events(environ, start_response)

    return app


def _why_forbidden(request: Request, bound_host: str) -> str:
    """Why a request may come from a page of another site; empty if it does not.

    A page can reach this machine by a host name of its own (DNS rebinding), and it can send simple
    requests to any site.
    """
    host = request.headers.get("Host", "")
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if not _is_loopback(name) and name != bound_host.lower():
        return "the Host must be a loopback address, localhost, or the address of the server"
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{host}":
        return "a page of another origin may not call this interface"
    return ""


def about(_: Request, collector: Collector) -> dict[str, Any]:
    """`GET`: the version, the settings, the clock and the number of the last event."""
    from .. import __version__

    profile = collector.settings.profile
    return {
        "tdpostback": __version__,
        "settings": {**vars(collector.settings), "profile": profile and profile.name},
        "now": collector.clock.now(),
        "seq": collector.next_seq - 1,
    }


def _events(request: Request, collector: Collector) -> list[Any]:
    since = request.args.get("since", "0")
    if not (since.isdecimal() and len(since) < 20):
        raise ValueError(f"since={since[:40]!r} is not a sequence number; give 0 or more")
    return [exported(event) for event in Events(collector.log) if event.seq > int(since)]


def _clear(_: Request, collector: Collector) -> None:
    collector.clear()


def _records(request: Request, collector: Collector) -> list[Any]:
    collector.wait_for_responses()
    log, arguments = collector.log, request.args
    records = [
        Record(log, index)
        for index in log.records(arguments.get("database"), arguments.get("table"))
    ]
    return [{"database": row.database, "table": row.table, "columns": dict(row)} for row in records]


def _settle(request: Request, collector: Collector) -> dict[str, Any]:
    collector.settle(valid_seconds("timeout", request.args.get("timeout", SETTLE_SECONDS)))
    log = collector.log
    return {"pending": [log.first + index for index in log.indexes(EventState.PENDING)]}


def _hold(_: Request, collector: Collector) -> None:
    collector.hold(HOLDER)


def _release(_: Request, collector: Collector) -> None:
    collector.release(HOLDER)


def _add_key(request: Request, collector: Collector) -> None:
    collector.keys.add(**_members(request, "key", "databases", "tables"))


def _revoke_key(request: Request, collector: Collector) -> None:
    collector.keys.revoke(**_members(request, "key"))


def _freeze(request: Request, collector: Collector) -> None:
    collector.clock.freeze(**_members(request, "at"))


def _unfreeze(_: Request, collector: Collector) -> None:
    collector.clock.reset()


def _configure(request: Request, collector: Collector) -> None:
    members, settings = _members(request), collector.settings
    for name in sorted(FIXED & members.keys()):
        able = ", ".join(name for name in SETTINGS if name not in FIXED)
        raise ValueError(f"{name!r} cannot change while the server runs; these can: {able}")
    collector.configure(settings.changed(members, "settings"))


_ROUTES: dict[tuple[str, str], tuple[Any, *tuple[str, ...]]] = {
    ("GET", ""): (about,),
    ("GET", "events"): (_events, "since"),
    ("DELETE", "events"): (_clear,),
    ("GET", "records"): (_records, "database", "table"),
    ("POST", "settle"): (_settle, "timeout"),
    ("POST", "hold"): (_hold,),
    ("POST", "release"): (_release,),
    ("POST", "keys"): (_add_key,),
    ("DELETE", "keys"): (_revoke_key,),
    ("PUT", "clock"): (_freeze,),
    ("DELETE", "clock"): (_unfreeze,),
    ("PATCH", "settings"): (_configure,),
}
"""For each call its function, and the names of its URL parameters."""


def _refuse_unknown(given: Iterable[str], known: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown; known: {', '.join(known) or 'none'}")


def _members(request: Request, *known: str) -> dict[str, Any]:
    try:
        members = json.loads(request.get_data() or b"{}")
    except RecursionError:
        raise ValueError("the body has too many levels of nesting") from None
    if not isinstance(members, dict):
        raise TypeError("the body is not a JSON object")
    if known:
        _refuse_unknown(members, known)
        if known[0] not in members:
            raise ValueError(f"{known[0]!r} is missing")
    return members


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _json(
    value: Any, status: HTTPStatus = HTTPStatus.OK, redact: Callable[[str], str] = str
) -> WerkzeugResponse:
    # Keys are found in the text as it is; then no character is left that a terminal acts on.
    text = redact(json.dumps(value, ensure_ascii=False))
    text = re.sub(r"[^ -~]+", lambda found: json.dumps(found[0])[1:-1], text)
    return WerkzeugResponse(text, status, mimetype="application/json")
