"""The ways in which a request reaches the fake server; each takes bytes and gives responses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import requests
from werkzeug.test import Client, EnvironBuilder

from tests.http_client import HttpClient, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_httpserver import HTTPServer

    from pytest_tdpostback import Postback

    Exchange = Callable[[Postback, bytes, int], list["Response"]]


@dataclass(frozen=True)
class Sent:
    """A raw request taken apart, for transports that take it in pieces."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, raw: bytes) -> Sent:
        """The pieces of one complete request."""
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        if any(name.lower() == "transfer-encoding" for name, _ in headers):
            body = b"".join(_chunks(body))
        return cls(method, target, headers, body)


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            return
        yield body[:length]
        body = body[length + 2 :]


def over_socket(url: str, pieces: list[bytes], count: int) -> list[Response]:
    """Send the pieces one after the other, and read as many responses as are expected."""
    with HttpClient.to(url) as client:
        for piece in pieces:
            client.send(piece)
        return client.read_responses(count)


def whole(postback: Postback, raw: bytes, count: int) -> list[Response]:
    """The fake server, everything in one piece."""
    return over_socket(postback.url, [raw], count)


def bytewise(postback: Postback, raw: bytes, count: int) -> list[Response]:
    """The fake server, one byte at a time."""
    return over_socket(postback.url, [bytes([byte]) for byte in raw], count)


def wsgi(postback: Postback, raw: bytes, count: int) -> list[Response]:
    """The WSGI application, called by werkzeug's test client."""
    assert count == 1
    sent = Sent.of(raw)
    builder = EnvironBuilder(
        method=sent.method,
        headers=sent.headers,
        data=sent.body or None,
        environ_overrides={
            "REQUEST_URI": sent.target,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input_terminated": True,
        },
    )
    response = Client(postback.wsgi_app, use_cookies=False).open(builder, buffered=True)
    return [received(response.status_code, response.headers, response.data)]


def received(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
    """A response that a library has parsed already."""
    return Response(status, tuple(headers), body, is_complete=True, raw=b"")


def mounted_on(server: HTTPServer) -> Exchange:
    """A server of pytest-httpserver on which the fake server is mounted."""

    def mounted(postback: Postback, raw: bytes, count: int) -> list[Response]:
        server.clear()
        postback.mount(server)
        return over_socket(server.url_for("/"), [raw], count)

    return mounted


def tls(postback: Postback, raw: bytes, count: int) -> list[Response]:
    """The fake server over verified TLS, everything in one piece."""
    port = urlsplit(postback.url).port
    assert port
    with HttpClient("127.0.0.1", port, tls=postback.ssl_context()) as client:
        client.send(raw)
        return client.read_responses(count)


def with_httpx(postback: Postback, raw: bytes, _: int) -> list[Response]:
    """The transport of httpx."""
    response = postback.httpx_transport().handle_request(_httpx_request(raw))
    return [received(response.status_code, response.headers.multi_items(), response.read())]


def with_async_httpx(postback: Postback, raw: bytes, _: int) -> list[Response]:
    """The transport of httpx for asynchronous clients."""
    sent = postback.async_httpx_transport().handle_async_request(_httpx_request(raw))
    response = asyncio.run(sent)
    return [received(response.status_code, response.headers.multi_items(), response.read())]


def _httpx_request(raw: bytes) -> httpx.Request:
    sent = Sent.of(raw)
    url = httpx.URL("https://in.treasuredata.com").copy_with(raw_path=sent.target.encode())
    return httpx.Request(sent.method, url, headers=sent.headers, content=sent.body)


def with_requests(postback: Postback, raw: bytes, _: int) -> list[Response]:
    """The adapter of requests."""
    sent = Sent.of(raw)
    request = requests.PreparedRequest()
    request.method, request.url = sent.method, f"https://in.treasuredata.com{sent.target}"
    request.headers, request.body = requests.structures.CaseInsensitiveDict(sent.headers), sent.body
    response = postback.requests_adapter().send(request, timeout=20)
    return [received(response.status_code, response.raw.headers.items(), response.content)]


def transports(server: HTTPServer) -> dict[str, Exchange]:
    """Every transport by its name; `server` is the one to mount the fake server on."""
    return {
        "whole": whole,
        "bytewise": bytewise,
        "tls": tls,
        "wsgi": wsgi,
        "mounted": mounted_on(server),
        "httpx": with_httpx,
        "async-httpx": with_async_httpx,
        "requests": with_requests,
    }
