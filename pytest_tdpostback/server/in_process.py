"""The double without sockets: transports of httpx and an adapter of requests.

What a sender notices of the network stays: an answer, or the exception that its library raises.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..protocol.judge import size_limit
from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx
    import requests
    from requests.adapters import BaseAdapter

    from ..collector.collector import Collector, Exchange
    from ..protocol.response import Response

PEER = "127.0.0.1:0"
"""Where a request without a connection comes from."""


class InProcessExchange:
    """One request to a collector, and what comes of it."""

    def __init__(
        self,
        collector: Collector,
        head: RequestHead,
        body: bytes,
        *,
        timeout: float | None,
    ) -> None:
        """`timeout` is how long the sender waits for an answer, in seconds; `None` is for ever."""
        limit = size_limit(collector.verdict(head).profile, collector.settings)
        kept = body if len(body) <= limit else b""
        self._collector = collector
        self._exchange: Exchange = collector.receive(head, kept, PEER, size=len(body))
        effect = self._exchange.effect
        self._transmission: Any = effect.transmission if effect else None
        if self._transmission is not None:
            collector.response_sent(self._exchange)
        late = self._transmission.seconds if self._transmission else 0.0
        self._in_time = timeout is None or late < timeout
        self.seconds: float = late if timeout is None else min(late, timeout)
        """How long the sender waits, because a fault wants it so."""

    def end(self) -> Response:
        """The answer; raises `TimeoutError` or a `ConnectionError` where a fault leaves none."""
        if self._transmission is not None and self._in_time:
            self._transmission.arrive(self._exchange)
        else:
            self._collector.response_sent(self._exchange)
        if not self._in_time:
            raise TimeoutError("no answer in time")
        return self._exchange.response


def httpx_transport(collector: Collector) -> httpx.BaseTransport:
    """A transport for `httpx.Client`.

    Raises `ConfigurationError` where httpx is not installed.
    """
    library = _library("httpx", "httpx_transport()")

    def handle(request: httpx.Request) -> httpx.Response:
        exchange = _httpx_exchange(collector, request)
        if exchange.seconds:
            time.sleep(exchange.seconds)
        return _httpx_response(library, request, exchange)

    transport: httpx.BaseTransport = library.MockTransport(handle)
    return transport


def async_httpx_transport(collector: Collector) -> httpx.AsyncBaseTransport:
    """A transport for `httpx.AsyncClient`, on asyncio and on trio.

    Raises `ConfigurationError` where httpx is not installed.
    """
    library = _library("httpx", "async_httpx_transport()")

    async def handle(request: httpx.Request) -> httpx.Response:
        exchange = _httpx_exchange(collector, request)
        if exchange.seconds:
            await _library("anyio", "a fault that takes its time").sleep(exchange.seconds)
        return _httpx_response(library, request, exchange)

    transport: httpx.AsyncBaseTransport = library.MockTransport(handle)
    return transport


def requests_adapter(collector: Collector) -> BaseAdapter:
    """An adapter to mount on a `requests.Session`.

    Raises `ConfigurationError` where requests is not installed.
    """
    library = _library("requests", "requests_adapter()")
    urllib3 = _library("urllib3", "requests_adapter()")

    class Adapter(library.adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        """Hands each request to the collector."""

        def send(
            self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any
        ) -> requests.Response:
            """The answer of the collector."""
            exchange = InProcessExchange(
                collector,
                _requests_head(request),
                _bytes(request.body),
                timeout=_read_timeout(timeout),
            )
            if exchange.seconds:  # sleeping for none would still hand over to another thread
                time.sleep(exchange.seconds)
            try:
                answer = exchange.end()
            except TimeoutError as error:
                raise library.ReadTimeout(error, request=request) from None
            except ConnectionError as error:
                raise library.ConnectionError(error, request=request) from None
            raw = _urllib3_response(urllib3, answer, request.method)
            response: requests.Response = self.build_response(request, raw)
            return response

    return Adapter()


def _library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        message = f"{what} needs {name}: pip install {name}"
        raise ConfigurationError(message) from None


def _httpx_exchange(collector: Collector, request: httpx.Request) -> InProcessExchange:
    head = RequestHead.of(
        request.method,
        request.url.raw_path.decode("latin-1"),
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
    )
    timeout = request.extensions.get("timeout", {}).get("read")
    return InProcessExchange(collector, head, request.content, timeout=timeout)


def _httpx_response(
    library: Any, request: httpx.Request, exchange: InProcessExchange
) -> httpx.Response:
    try:
        answer = exchange.end()
    except TimeoutError as error:
        raise library.ReadTimeout(str(error), request=request) from None
    except ConnectionResetError as error:
        raise library.ReadError(str(error), request=request) from None
    except ConnectionError as error:
        raise library.RemoteProtocolError(str(error), request=request) from None
    body = b"" if request.method == "HEAD" else answer.body
    response: httpx.Response = library.Response(
        answer.status, headers=list(answer.headers), content=body, request=request
    )
    return response


def _requests_head(request: requests.PreparedRequest) -> RequestHead:
    fields = [(_text(name), _text(value)) for name, value in request.headers.items()]
    if "host" not in request.headers:
        host = (request.url or "").partition("://")[2].partition("/")[0].partition("?")[0]
        fields.insert(0, ("Host", host.rpartition("@")[2]))
    return RequestHead.of(request.method or "GET", request.path_url, fields)


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


def _urllib3_response(urllib3: Any, answer: Response, method: str | None) -> Any:
    """`answer` as urllib3 hands it to requests, read by the standard library's own parser."""
    parsed = HTTPResponse(_Wire(answer.to_bytes(head_only=method == "HEAD")), method=method)  # type: ignore[arg-type]
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


class _Wire:
    """As much of a socket as the parser of the standard library wants."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
