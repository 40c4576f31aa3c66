"""The collector as a WSGI application, and between werkzeug's objects and ours."""

from __future__ import annotations

import io
import time
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from werkzeug.datastructures import Headers as WerkzeugHeaders
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

from ..protocol.judge import size_limit
from ..protocol.request import RequestHead
from .http_parser import MAX_DRAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..collector.collector import Collector
    from ..protocol.response import Response

PIECE = 64 * 1024
"""Bytes of a body that are read at a time."""
_PATH_SAFE = "/:@!$&'()*+,;=-._~"


def application(collector: Callable[[], Collector]) -> WSGIApplication:
    """A WSGI application that serves whatever `collector()` returns for each request."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        response = respond(collector(), request, request.stream)
        return response(environ, start_response)

    return app


def respond(
    collector: Collector, request: Request, stream: IO[bytes] | None = None
) -> WerkzeugResponse:
    """Hand `request` to `collector`; its event is validated when the response was sent (Y1).

    `stream` is where its body is still to be read from; without one it was read before. Raises
    `TimeoutError` or a `ConnectionError` where a fault leaves no answer, which servers take for a
    sender that is gone.
    """
    head = head_of(request.environ)
    limit = size_limit(collector.verdict(head).profile, collector.settings)
    body, size = _read(request, stream, limit)
    exchange = collector.receive(head, body, _peer(request.environ), size=size)
    if exchange.effect is not None and exchange.effect.transmission is not None:
        collector.response_sent(exchange)
        time.sleep(exchange.effect.transmission.seconds)
        exchange.effect.transmission.arrive(exchange)
    response = response_of(exchange.response)
    collector.response_returned(exchange)
    response.call_on_close(lambda: collector.response_sent(exchange))
    return response


def head_of(environ: WSGIEnvironment) -> RequestHead:
    """The head of a WSGI request; of a repeated field the server in front decided what is left."""
    fields = [
        (name[5:].replace("_", "-").title(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name, key in (("Content-Type", "CONTENT_TYPE"), ("Content-Length", "CONTENT_LENGTH")):
        if environ.get(key):
            fields.append((name, environ[key]))
    return RequestHead.of(environ["REQUEST_METHOD"], _target(environ), fields)


def environ_of(head: RequestHead, body: bytes, peer: str, *, secure: bool) -> WSGIEnvironment:
    """What WSGI says of a request that came over our own wire."""
    address, _, port = peer.rpartition(":")
    target = str(head.target)
    host, _, server_port = head.host.partition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": "/".join(head.segments).encode().decode("latin-1"),
        "QUERY_STRING": target.partition("?")[2],
        "REQUEST_URI": target,
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": server_port or ("443" if secure else "80"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": address.strip("[]"),
        "REMOTE_PORT": port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if secure else "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in head.headers.pairs:
        key = name.upper().replace("-", "_")
        environ.setdefault(
            key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", value
        )
    return environ


def response_of(answer: Response) -> WerkzeugResponse:
    """`answer` as werkzeug sends it: hop-by-hop fields belong to the server in front."""
    response = WerkzeugResponse(answer.body, answer.status)
    response.headers = WerkzeugHeaders(list(answer.headers))
    return response


def _target(environ: WSGIEnvironment) -> str:
    """The target as it was sent, where the server says; below a prefix, what is left of it."""
    sent = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if sent and not environ.get("SCRIPT_NAME"):
        return str(sent)
    path = environ.get("PATH_INFO", "")
    query = environ.get("QUERY_STRING", "")
    return quote(path.encode("latin-1"), safe=_PATH_SAFE) + (f"?{query}" if query else "")


def _peer(environ: WSGIEnvironment) -> str:
    address = environ.get("REMOTE_ADDR", "")
    port = environ.get("REMOTE_PORT", "")
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _read(request: Request, stream: IO[bytes] | None, limit: int) -> tuple[bytes, int]:
    """The body, empty where it is larger than `limit`, and how many bytes it has at least."""
    if (request.content_length or 0) > limit:
        return b"", request.content_length or 0
    if stream is None:
        stream = io.BytesIO(request.get_data())
    body, size = bytearray(), 0
    while size <= limit + MAX_DRAIN and (piece := stream.read(PIECE)):
        size += len(piece)
        if size <= limit:
            body += piece
        else:
            body.clear()
    return bytes(body), size
