"""Clients in this process that need no socket: transports of httpx and an adapter of requests.

A sender gets a response, or the exception that its library raises for a broken connection.
"""

from __future__ import annotations

import io
from functools import partial
from http.client import HTTPResponse
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..protocol.response import empty
from .http_parser import BadRequest, checked_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import httpx
    import requests
    from requests.adapters import BaseAdapter

    from ..collector.collector import Collector
    from ..protocol.response import Response

PEER = "127.0.0.1:0"
"""The sender of a request without a connection."""


class Call:
    """One request to a collector, and the response to it."""

    def __init__(
        self,
        collector: Collector,
        method: str,
        target: str,
        fields: Sequence[tuple[str, str]],
        body: bytes,
        *,
        timeout: float | None,
    ) -> None:
        """`timeout` is how long the sender waits for a response, in seconds; `None`: for ever.

        Raise `ValueError` if no connection would carry the request.
        """
        self._timeout = timeout
        self._transmission: Any = None
        try:
            head = checked_head(method, target, fields)
        except BadRequest as error:
            collector.note_refused_connection(f"{PEER} without a connection: {error}", error.status)
            self._response = empty(error.status)
            return
        kept = body if len(body) <= collector.size_limit(head) else b""
        self._exchange = collector.receive(head, kept, PEER, size=len(body))
        self._response = self._exchange.response
        collector.response_sent(self._exchange)  # a fault delays the response, not validation
        if self._exchange.effect is not None:
            self._transmission = self._exchange.effect.transmission

    @property
    def is_delayed(self) -> bool:
        """Whether `response` takes time, because a fault keeps the response back."""
        return self._transmission is not None and self._transmission.seconds > 0

    def response(self) -> Response:
        """The response; raise `TimeoutError` or a `ConnectionError` if a fault leaves none."""
        if self.is_delayed and not self._transmission.wait(self._timeout):
            raise TimeoutError("the response did not come in time")
        if self._transmission is not None:
            self._transmission.arrive(self._exchange)
        return self._response


def httpx_transport(collector: Collector) -> httpx.BaseTransport:
    """A transport for `httpx.Client`."""
    library = _library("httpx", "httpx_transport()")

    def handle(request: httpx.Request) -> httpx.Response:
        return _httpx_response(library, request, _httpx_call(library, collector, request))

    transport: httpx.BaseTransport = library.MockTransport(handle)
    return transport


def async_httpx_transport(collector: Collector) -> httpx.AsyncBaseTransport:
    """A transport for `httpx.AsyncClient`, on asyncio and on trio."""
    library = _library("httpx", "async_httpx_transport()")

    async def handle(request: httpx.Request) -> httpx.Response:
        receive = partial(_httpx_call, library, collector, request)
        if collector.calls_user_code:
            call = await _library("anyio", "a fault with a condition").to_thread.run_sync(receive)
        else:
            call = receive()
        respond = partial(_httpx_response, library, request, call)
        if not call.is_delayed:
            return respond()
        threads = _library("anyio", "a fault that delays the response").to_thread
        delayed: httpx.Response = await threads.run_sync(respond, abandon_on_cancel=True)
        return delayed

    transport: httpx.AsyncBaseTransport = library.MockTransport(handle)
    return transport


def requests_adapter(collector: Collector) -> BaseAdapter:
    """An adapter to mount on a `requests.Session`."""
    library = _library("requests", "requests_adapter()")
    urllib3 = _library("urllib3", "requests_adapter()")

    class Adapter(library.adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        """Sends each request to the collector."""

        def send(
            self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any
        ) -> requests.Response:
            """The response of the collector."""
            fields = [(_text(name), _text(value)) for name, value in request.headers.items()]
            if "host" not in request.headers:
                host = (request.url or "").partition("://")[2].partition("/")[0].partition("?")[0]
                fields.insert(0, ("Host", host.rpartition("@")[2]))
            method, target, body = request.method or "GET", request.path_url, _bytes(request.body)
            seconds = _read_timeout(timeout)
            try:
                call = Call(collector, method, target, fields, body, timeout=seconds)
            except ValueError as error:
                raise library.exceptions.InvalidHeader(str(error), request=request) from None
            try:
                response = call.response()
            except TimeoutError as error:
                raise library.ReadTimeout(error, request=request) from None
            except ConnectionError as error:
                raise library.ConnectionError(error, request=request) from None
            raw = _urllib3_response(urllib3, response, request.method)
            built: requests.Response = self.build_response(request, raw)
            return built

    return Adapter()


def _library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        message = f"{what} needs {name}: pip install {name}"
        raise ConfigurationError(message) from None


def _httpx_call(library: Any, collector: Collector, request: httpx.Request) -> Call:
    fields = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
    ]
    method, target = request.method, request.url.raw_path.decode("latin-1")
    timeout = request.extensions.get("timeout", {}).get("read")
    try:
        return Call(collector, method, target, fields, request.content, timeout=timeout)
    except ValueError as error:
        raise library.LocalProtocolError(str(error), request=request) from None


def _httpx_response(library: Any, request: httpx.Request, call: Call) -> httpx.Response:
    try:
        response = call.response()
    except TimeoutError as error:
        raise library.ReadTimeout(str(error), request=request) from None
    except ConnectionResetError as error:
        raise library.ReadError(str(error), request=request) from None
    except ConnectionError as error:
        raise library.RemoteProtocolError(str(error), request=request) from None
    body = b"" if request.method == "HEAD" else response.body
    converted: httpx.Response = library.Response(
        response.status, headers=list(response.headers), content=body, request=request
    )
    return converted


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if hasattr(body, "read"):
        body = body.read()
    pieces: Iterable[str | bytes] = (body,) if isinstance(body, (str, bytes)) else body
    return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)


def _read_timeout(timeout: Any) -> float | None:
    if isinstance(timeout, tuple):
        timeout = timeout[1]
    elif hasattr(timeout, "read_timeout"):
        timeout = timeout.read_timeout
    return timeout if isinstance(timeout, (int, float)) else None


def _urllib3_response(urllib3: Any, response: Response, method: str | None) -> Any:
    """`response` as urllib3 gives it to requests, parsed by the standard library."""
    data = response.to_bytes(head_only=method == "HEAD")
    sock: Any = SimpleNamespace(makefile=lambda _mode: io.BytesIO(data))  # all that it uses
    parsed = HTTPResponse(sock, method=method)
    parsed.begin()
    return urllib3.HTTPResponse(
        body=parsed,
        headers=urllib3.HTTPHeaderDict(parsed.msg.items()),
        status=parsed.status,
        reason=parsed.reason,
        version=parsed.version,
        preload_content=False,
        original_response=parsed,
        request_method=method,
    )
