"""The inspection interface: what a double knows, as JSON over HTTP, for programs elsewhere.

It stands beside the event route under `PREFIX`, only where it was asked for; otherwise those paths
are like any other (R6). A request to it is no event, and no answer of it holds a whole write key.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

from ..collector.event_log import EventState
from ..errors import ConfigurationError
from .export import exported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .postback import Postback

PREFIX = "/.tdpostback/"
SETTLE_SECONDS = 5.0
"""How long `settle` waits where the request does not say."""


class Inspection:
    """Answers the requests below `PREFIX` about one `Postback`."""

    def __init__(self, postback: Callable[[], Postback]) -> None:
        """`postback()` gives the double that a request is about."""
        self._current = postback
        self._holds = 0
        self._routes: dict[tuple[str, str], Callable[[Request, Postback], Any]] = {
            ("GET", ""): about,
            ("GET", "events"): _events,
            ("DELETE", "events"): _clear,
            ("GET", "records"): _records,
            ("POST", "settle"): _settle,
            ("POST", "hold"): self._hold,
            ("POST", "release"): self._release,
            ("POST", "keys"): _add_key,
            ("DELETE", "keys"): _revoke_key,
            ("PUT", "clock"): _freeze,
            ("DELETE", "clock"): _unfreeze,
            ("PATCH", "settings"): _configure,
        }

    def respond(self, request: Request) -> WerkzeugResponse:
        """The answer to a request below `PREFIX`: JSON, and 4xx with an `error` that says why."""
        handler = self._routes.get((request.method, request.path[len(PREFIX) :]))
        if handler is None:
            known = [f"{method} {PREFIX}{name}" for method, name in self._routes]
            return _json({"error": "no such inspection", "known": known}, HTTPStatus.NOT_FOUND)
        try:
            return _json(handler(request, self._current()))
        except (ConfigurationError, TypeError, ValueError) as error:
            return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    def _hold(self, _: Request, postback: Postback) -> None:
        postback._collector.hold()
        self._holds += 1

    def _release(self, _: Request, postback: Postback) -> None:
        if not self._holds:
            raise ValueError("nothing is held")
        self._holds -= 1
        postback._collector.release()


def inspected(postback: Postback) -> WSGIApplication:
    """`postback` as a WSGI application with the inspection interface, for any WSGI server."""
    inspection, events = Inspection(lambda: postback), postback.wsgi_app

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(PREFIX):
            return inspection.respond(Request(environ))(environ, start_response)
        return events(environ, start_response)

    return app


def about(_: Request, postback: Postback) -> dict[str, Any]:
    """`GET`: the version, the settings, the clock and the number of the last event."""
    from .. import __version__

    profile = postback.settings.profile
    log = postback._collector.log
    return {
        "tdpostback": __version__,
        "settings": {**asdict(postback.settings), "profile": profile and profile.name},
        "now": postback.clock.now(),
        "seq": log.first + len(log) - 1,
    }


def _events(request: Request, postback: Postback) -> list[Any]:
    since = _number(request, "since", 0)
    return [exported(event) for event in postback.events if event.seq > since]


def _clear(_: Request, postback: Postback) -> None:
    postback.clear()


def _records(request: Request, postback: Postback) -> list[Any]:
    chosen = postback.records(request.args.get("database"), request.args.get("table"))
    return [{"database": row.database, "table": row.table, "columns": dict(row)} for row in chosen]


def _settle(request: Request, postback: Postback) -> dict[str, Any]:
    collector = postback._collector
    collector.settle(_number(request, "timeout", SETTLE_SECONDS))
    return {
        "pending": [
            collector.log.first + index for index in collector.log.indexes(EventState.PENDING)
        ]
    }


def _add_key(request: Request, postback: Postback) -> None:
    postback.keys.add(**_members(request, "key", "databases", "tables"))


def _revoke_key(request: Request, postback: Postback) -> None:
    postback.keys.revoke(**_members(request, "key"))


def _freeze(request: Request, postback: Postback) -> None:
    postback.clock.freeze(**_members(request, "at"))


def _unfreeze(_: Request, postback: Postback) -> None:
    postback.clock.reset()


def _configure(request: Request, postback: Postback) -> None:
    changed = postback.settings.changed(_members(request), "settings")
    postback._collector.configure(changed)


def _number(request: Request, name: str, default: float) -> float:
    text = request.args.get(name, default)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is no number") from None


def _members(request: Request, *known: str) -> dict[str, Any]:
    members = json.loads(request.get_data() or b"{}")
    if not isinstance(members, dict):
        raise TypeError("the body is to be a JSON object")
    unknown = sorted(set(members) - set(known)) if known else []
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown; known: {', '.join(known)}")
    if known and known[0] not in members:
        raise ValueError(f"{known[0]!r} is missing")
    return members


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> WerkzeugResponse:
    return WerkzeugResponse(
        json.dumps(value, ensure_ascii=False), status, mimetype="application/json"
    )
