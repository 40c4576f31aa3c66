"""Clients without sockets: the library behaves for its caller as it does with a socket."""

from __future__ import annotations

import asyncio
import io
import socket
import sys

import httpx
import pytest
import requests
import trio

from pytest_tdpostback import ConfigurationError
from pytest_tdpostback.protocol.profiles import V2_BODY_LIMIT
from tests.server.client_libraries import HOST, PATH, URL, headers


@pytest.fixture
def session(tdpostback):
    with requests.Session() as opened:
        opened.mount("https://", tdpostback.requests_adapter())
        yield opened


@pytest.fixture
def client(tdpostback):
    with httpx.Client(transport=tdpostback.httpx_transport()) as opened:
        yield opened


def test_no_socket_is_opened(tdpostback, session, client, monkeypatch):
    def forbidden(*_):
        raise AssertionError

    monkeypatch.setattr(socket.socket, "connect", forbidden, raising=False)
    for sender in (session, client):
        answer = sender.post(URL, headers=headers(tdpostback.write_key), json={"n": 1})
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    for record in tdpostback.assert_ingested("shop", "orders", count=2, n=1):
        assert record.event.request.headers["host"] == HOST


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_async_clients(tdpostback, run):
    async def send():
        async with httpx.AsyncClient(transport=tdpostback.async_httpx_transport()) as sender:
            sent = sender.post(URL, headers=headers(tdpostback.write_key), json={"n": 1})
            return (await sent).status_code

    call = send() if run is asyncio.run else send
    assert run(call) == 200
    tdpostback.assert_ingested("shop", "orders", n=1)


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_a_late_response_is_late_for_async_clients(tdpostback, run):
    tdpostback.faults.delay(5)

    async def send():
        transport = tdpostback.async_httpx_transport()
        async with httpx.AsyncClient(transport=transport, timeout=0.01) as sender:
            with pytest.raises(httpx.ReadTimeout):
                await sender.post(URL, headers=headers(tdpostback.write_key), json={"n": 1})

    run(send() if run is asyncio.run else send)
    tdpostback.assert_ingested("shop", "orders", n=1)


def test_the_host_chooses_the_profile(tdpostback, session, client):
    url = f"https://us01.records.in.treasuredata.com{PATH}"
    large = b" " * (V2_BODY_LIMIT + 1)
    by_session = session.post(url, headers=headers("1/k"), data=large)
    by_client = client.post(url, headers=headers("1/k"), content=large)
    assert (by_session.status_code, by_session.reason) == (413, "Content Too Large")
    assert (by_client.status_code, by_client.reason_phrase) == (413, "Content Too Large")
    assert [event.request.body for event in tdpostback.refused] == [b"", b""]  # as from the wire


def test_a_key_failure_is_seen(tdpostback, session, client):
    with tdpostback.expect_auth_failure(count=2):
        for sender in (session, client):
            assert sender.post(URL, headers=headers("1/wrong"), json={}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        *('{"n": 1}', b'{"n": 1}', bytearray(b'{"n": 1}'), memoryview(b'{"n": 1}')),
        *(io.BytesIO(b'{"n": 1}'), iter([b'{"n"', b": 1}"])),
    ],
    ids=type,
)
def test_requests_sends_any_kind_of_body(tdpostback, session, body):
    assert session.post(URL, headers=headers(tdpostback.write_key), data=body).ok
    tdpostback.assert_ingested("shop", "orders", n=1)


def test_requests_sends_header_fields_of_bytes(tdpostback, session):
    key = str(tdpostback.write_key).encode()
    assert session.post(URL, headers={"X-TD-Write-Key": key, "X-A": b"\xe9"}, json={"n": 1}).ok
    record = tdpostback.assert_ingested("shop", "orders", n=1)
    assert record.event.request.headers["x-a"] == "\xe9"


def test_cookies_are_kept(tdpostback, session, client):
    pixel = f"{URL}?td_format=pixel&td_write_key={tdpostback.write_key}"
    for sender in (session, client):
        first, second = sender.get(pixel), sender.get(pixel)
        assert first.content.startswith(b"GIF89a")
        assert "_td_global" in first.cookies
        assert not second.cookies


def test_a_response_of_httpx_can_be_streamed_and_knows_its_time(client):
    with client.stream("POST", URL) as answer:
        assert b"".join(answer.iter_raw()) == b"{}"
    assert answer.elapsed.total_seconds() > 0


def test_head_has_no_body(session, client):
    for sender in (session, client):
        answer = sender.head(URL)
        assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (
            405,
            b"",
            "2",
        )


@pytest.mark.parametrize(
    ("way", "library"),
    [
        ("httpx_transport", "httpx"),
        ("async_httpx_transport", "httpx"),
        ("requests_adapter", "requests"),
    ],
)
def test_names_the_library_that_is_missing(tdpostback, monkeypatch, way, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ConfigurationError, match=rf"^{way}\(\) needs {library}: pip install {library}$"
    ):
        getattr(tdpostback, way)()
