"""Clients in this process that need no socket: transports of httpx and an adapter of requests.

A sender gets a response, or the exception that its library raises for a broken connection.
"""

from __future__ import annotations

import io
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..protocol.response import empty
from .http_parser import BadRequest, checked_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    import requests
    from requests.adapters import BaseAdapter

    from ..collector.collector import Collector
    from ..protocol.response import Response

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

PEER = "127.0.0.1:0"
"""The sender of a request without a connection."""


def _respond(
    collector: Collector,
    method: str,
    target: str,
    fields: Sequence[tuple[str, str]],
    body: bytes,
    *,
    timeout: float | None,
) -> Response:
    """The response to a request; `timeout` is how long its sender waits, in seconds (`None`: ever).

    Raise `ValueError` if no connection would carry the request, and `TimeoutError` or a
    `ConnectionError` if a fault leaves no response.
    """
    try:
        head = checked_head(method, target, fields)
    except BadRequest as error:
        collector.note_refused_connection(f"{PEER} without a connection: {error}", error.status)
        return empty(error.status)
    exchange = collector.receive(head, body, PEER)
    collector.response_sent(exchange)  # a fault delays the response, not validation
    if exchange.effect is not None and exchange.effect.transmission is not None:
        exchange.effect.transmission.deliver(exchange, timeout)
    return exchange.response


def httpx_transport(collector: Collector) -> httpx.BaseTransport:
    """A transport for `httpx.Client`."""
    _check_installed("httpx", "httpx_transport()")
    import httpx

    return httpx.MockTransport(partial(_httpx_response, collector))


def async_httpx_transport(collector: Collector) -> httpx.AsyncBaseTransport:
    """A transport for `httpx.AsyncClient`, on asyncio and on trio."""
    _check_installed("httpx", "async_httpx_transport()")
    import httpx

    async def handle(request: httpx.Request) -> httpx.Response:
        if collector.fault_hook is None:
            return _httpx_response(collector, request)
        from anyio import to_thread  # httpx needs it, too

        # A fault may wait, or ask code of the user.
        respond = partial(_httpx_response, collector, request)
        return await to_thread.run_sync(respond, abandon_on_cancel=True)

    return httpx.MockTransport(handle)


def requests_adapter(collector: Collector) -> BaseAdapter:
    """An adapter to mount on a `requests.Session`."""
    _check_installed("requests", "requests_adapter()")
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Sends each request to the collector."""

        def send(
            self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any
        ) -> requests.Response:
            """The response of the collector."""
            given: Any = request.headers.items()
            fields = [(n, v.decode("latin-1") if isinstance(v, bytes) else v) for n, v in given]
            if "host" not in request.headers:
                fields.insert(0, ("Host", urlsplit(request.url or "").netloc.rpartition("@")[2]))
            if isinstance(timeout, tuple):
                timeout = timeout[1]
            timeout = getattr(timeout, "read_timeout", timeout)
            seconds = timeout if isinstance(timeout, (int, float)) else None
            method, target, body = request.method or "GET", request.path_url, _bytes(request.body)
            try:
                response = _respond(collector, method, target, fields, body, timeout=seconds)
            except ValueError as error:
                raise requests.exceptions.InvalidHeader(str(error), request=request) from None
            except TimeoutError as error:
                raise requests.ReadTimeout(error, request=request) from None
            except ConnectionError as error:
                raise requests.ConnectionError(error, request=request) from None
            sets_cookie = "Set-Cookie" in dict(response.headers)
            original: Any = SimpleNamespace(isclosed=lambda: True) if sets_cookie else None
            headers: Any = [*response.headers, ("Connection", "keep-alive")]
            raw = urllib3.HTTPResponse(
                body=io.BytesIO(b"" if method == "HEAD" else response.body),
                headers=headers,
                status=response.status,
                reason=response.phrase,
                version=11,
                preload_content=False,
                original_response=original,
                request_method=method,
            )
            if sets_cookie:  # requests looks for it there, which takes long
                original.msg = raw.headers
            return self.build_response(request, raw)

    return Adapter()


def _check_installed(name: str, what: str) -> None:
    try:
        __import__(name)
    except ImportError:
        raise ConfigurationError(f"{what} needs {name}: pip install {name}") from None


def _httpx_response(collector: Collector, request: httpx.Request) -> httpx.Response:
    import httpx

    fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers.raw]
    method, target = request.method, request.url.raw_path.decode("latin-1")
    timeout = request.extensions.get("timeout", {}).get("read")
    try:
        response = _respond(collector, method, target, fields, request.content, timeout=timeout)
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error), request=request) from None
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=request) from None
    except ConnectionResetError as error:
        raise httpx.ReadError(str(error), request=request) from None
    except ConnectionError as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from None
    return httpx.Response(
        response.status,
        headers=response.headers,
        stream=httpx.ByteStream(b"" if method == "HEAD" else response.body),
        request=request,
        extensions={"reason_phrase": response.phrase.encode()},
    )


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if hasattr(body, "read"):
        body = body.read()
    pieces = (body,) if isinstance(body, (str, bytes, bytearray, memoryview)) else body
    return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)
