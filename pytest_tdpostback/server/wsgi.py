"""The collector as a WSGI application, and translation between werkzeug's objects and ours."""

from __future__ import annotations

import io
from contextlib import suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING
from urllib.parse import quote

from werkzeug.datastructures import EnvironHeaders
from werkzeug.datastructures import Headers as WerkzeugHeaders
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

from ..protocol.response import empty
from .http_parser import MAX_DRAIN, BadRequest, checked_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..collector.collector import Collector
    from ..protocol.request import RequestHead
    from ..protocol.response import Response

LONGEST_LENGTH = 19
"""Digits of a `Content-Length`."""
_PATH_SAFE = "/:@!$&'()*+,;=-._~"


def application(collector: Callable[[], Collector]) -> WSGIApplication:
    """A WSGI application; `collector()` returns what receives each request."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = respond(collector(), Request(environ), in_pieces=True)
        return response(environ, start_response)

    return app


def respond(collector: Collector, request: Request, *, in_pieces: bool = False) -> WerkzeugResponse:
    """Have `collector` receive `request`; its event is validated after the response (Y1).

    `in_pieces` reads the body up to its limit, which only works if werkzeug has not read it yet. An
    `OSError` means that a fault leaves no response.
    """
    environ = request.environ
    length = environ.get("CONTENT_LENGTH") or "0"
    if in_pieces and length.startswith("00"):  # werkzeug reads no number of thousands of digits
        environ["CONTENT_LENGTH"] = length = length.lstrip("0") or "0"
    address = environ.get("REMOTE_ADDR") or "unknown"  # a server at a UNIX socket tells none
    host = f"[{address}]" if ":" in address else address
    peer = f"{host}:{environ.get('REMOTE_PORT') or 0}"
    try:
        if not length.isdecimal() or len(length) > LONGEST_LENGTH:
            raise BadRequest("its Content-Length is not one number")  # noqa: TRY301 - as `checked_head` does
        # The server in front has merged repeated fields.
        fields = [*EnvironHeaders(environ)]
        head = checked_head(environ["REQUEST_METHOD"], _target(environ), fields)
        body, size = _read(request, collector.size_limit(head), in_pieces=in_pieces)
    except (ValueError, BadRequest, ClientDisconnected) as error:
        reason, status = str(error), getattr(error, "status", 400)
        if isinstance(error, ClientDisconnected):
            reason = "it ended in the middle of a request"
        collector.note_refused_connection(f"{peer} by WSGI: {reason}", status)
        return response_of(empty(status))
    exchange = collector.receive(head, body, peer, size=size)
    effect = exchange.effect
    if effect is not None and effect.transmission is not None:
        collector.response_sent(exchange)
        try:
            effect.transmission.deliver(exchange)
        except ConnectionError:
            sock = environ.get("werkzeug.socket")  # its server keeps the connection alive
            if sock is not None:
                with suppress(OSError):  # the sender may have been faster
                    sock.shutdown(SHUT_RDWR)
            raise
    response = response_of(exchange.response)
    collector.response_returned(exchange)
    response.call_on_close(lambda: collector.response_sent(exchange))
    return response


def environ_of(
    head: RequestHead, body: bytes, peer: str, size: int | None, *, secure: bool
) -> WSGIEnvironment:
    """The WSGI environment of a request that this server has read itself.

    `size` is the length of the body in bytes, if `body` is not all of it.
    """
    from werkzeug.test import EnvironBuilder  # only inspection requests need it

    address, _, port = peer.rpartition(":")
    # The body has no transfer coding any more.
    fields = [pair for pair in head.headers.pairs if pair[0].lower() != "transfer-encoding"]
    return EnvironBuilder(
        method=head.method,
        path=quote("/".join(head.segments)),
        query_string=head.query,
        base_url="https://localhost" if secure else "http://localhost",
        headers=fields,
        input_stream=io.BytesIO(body),
        environ_overrides={
            "CONTENT_LENGTH": str(len(body) if size is None else size),
            "REMOTE_ADDR": address.strip("[]"),
            "REMOTE_PORT": port,
        },
    ).get_environ()


def response_of(response: Response) -> WerkzeugResponse:
    """`response` as an object of werkzeug; the server in front adds `Connection`."""
    converted = WerkzeugResponse(response.body, response.status)
    converted.headers = WerkzeugHeaders(list(response.headers))
    return converted


def _target(environ: WSGIEnvironment) -> str:
    """The target as it was sent, if the server tells it; under a prefix, the rest of it."""
    sent = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if sent and not environ.get("SCRIPT_NAME"):
        return _as_sent(str(sent), environ)
    path = environ.get("PATH_INFO", "")
    query = _as_sent(environ.get("QUERY_STRING", ""), environ)
    return quote(path.encode("latin-1"), safe=_PATH_SAFE) + (f"?{query}" if query else "")


def _as_sent(text: str, environ: WSGIEnvironment) -> str:
    """`text` with a character for each byte. Werkzeug's server encodes those above ASCII twice."""
    if text.isascii() or not str(environ.get("SERVER_SOFTWARE")).startswith("Werkzeug/"):
        return text
    return text.encode("latin-1").decode("utf-8")


def _read(request: Request, limit: int, *, in_pieces: bool) -> tuple[bytes, int]:
    """The body, empty if it is larger than `limit`, and how many bytes it has at least."""
    if (request.content_length or 0) > limit:
        return b"", request.content_length or 0
    stream = request.stream if in_pieces else io.BytesIO(request.get_data())
    body, size = bytearray(), 0
    while size <= limit + MAX_DRAIN and (piece := stream.read(64 * 1024)):
        size += len(piece)
        if size <= limit:
            body += piece
        else:
            body.clear()
    return bytes(body), size
