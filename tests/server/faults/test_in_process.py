"""Faults without a connection of the fake server: WSGI, and clients in this process."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading

import httpx
import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug.serving import WSGIRequestHandler
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from tests.server.faults.clients import ERROR, Sender

TIMEOUT = 20
"""Seconds after which a client gives up; no case takes a fraction of them."""
CASES = {
    "status": (lambda f: f.status(503), 503, "lost", 503, 0),
    "throttle": (lambda f: f.throttle(0, 60), 429, "lost", 429, 0),
    "delay": (lambda f: f.delay(0.01), 200, "ingested", 200, 1),
    "drip": (lambda f: f.drip(10_000), 200, "ingested", 200, 1),
    "hang": (lambda f: f.hang(), ERROR, "lost", None, 0),
    "reset before storing": (lambda f: f.reset("storing"), ERROR, "lost", None, 0),
    "reset before answer": (lambda f: f.reset("answer"), ERROR, "ingested", None, 1),
    "truncate": (lambda f: f.truncate(after=3), ERROR, "ingested", None, 1),
    "garbage": (lambda f: f.garbage(), ERROR, "ingested", None, 1),
    "outage": (lambda f: f.outage(60), ERROR, "lost", None, 0),
    "drop": (lambda f: f.drop(), 200, "lost", 200, 0),
    "duplicate": (lambda f: f.duplicate(), 200, "ingested", 200, 2),
}


def by_werkzeug(postback, _):
    sender = Sender(postback)
    client = Client(postback.wsgi_app)
    try:
        return client.post(
            sender.target("orders"), json={"id": 1}, headers=sender.headers()
        ).status_code
    except OSError:
        return ERROR


def by_mounted_server(postback, httpserver):
    sender = Sender(postback)
    postback.mount(httpserver)
    connection = http.client.HTTPConnection(httpserver.host, httpserver.port, timeout=10)
    try:
        connection.request("POST", sender.target("orders"), json.dumps({"id": 1}), sender.headers())
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return ERROR
    finally:
        connection.close()


def by_httpx(postback, _):
    sender = Sender(postback)
    with httpx.Client(transport=postback.httpx_transport(), timeout=TIMEOUT) as client:
        try:
            url = postback.event_url("shop", "orders")
            return client.post(url, json={"id": 1}, headers=sender.headers()).status_code
        except httpx.HTTPError:
            return ERROR


def by_requests(postback, _):
    sender = Sender(postback)
    with requests.Session() as session:
        session.mount(postback.url, postback.requests_adapter())
        try:
            url = postback.event_url("shop", "orders")
            return session.post(
                url, json={"id": 1}, headers=sender.headers(), timeout=TIMEOUT
            ).status_code
        except requests.RequestException:
            return ERROR


@pytest.mark.parametrize("name", ["reset before storing", "truncate", "garbage"])
def test_a_server_with_threads_closes_the_connection_of_a_fault(tdpostback, name, monkeypatch):
    monkeypatch.setattr(WSGIRequestHandler, "protocol_version", "HTTP/1.1")  # it would set it
    make, _, state, _, _ = CASES[name]
    handle = make(tdpostback.faults)
    sender = Sender(tdpostback)
    with HTTPServer(threaded=True) as server:
        tdpostback.mount(server)
        url = server.url_for(sender.target("orders"))
        with pytest.raises(httpx.RemoteProtocolError, match="disconnected"):
            httpx.post(url, json={"id": 1}, headers=sender.headers(), timeout=TIMEOUT)

    assert [str(event.state) for event in handle.events] == [state]


@pytest.mark.parametrize("send", [by_werkzeug, by_mounted_server, by_httpx, by_requests])
@pytest.mark.parametrize("name", CASES)
def test_fault(tdpostback, httpserver, name, send):
    make, seen, state, status, copies = CASES[name]
    handle = make(tdpostback.faults)

    assert send(tdpostback, httpserver) == seen

    tdpostback.settle()
    (event,) = handle.events
    assert (str(event.state), event.status, event.copies) == (state, status, copies)


@pytest.mark.parametrize("send", [by_werkzeug, by_mounted_server, by_httpx, by_requests])
def test_no_outcome_waits_for_a_late_response_which_comes_when_the_fault_ends(
    tdpostback, httpserver, send
):
    handle = tdpostback.faults.delay(600)
    seen = []
    sending = threading.Thread(target=lambda: seen.append(send(tdpostback, httpserver)))

    sending.start()
    event = tdpostback.assert_ingested("shop", "orders").event
    assert event.status is None
    handle.remove()
    sending.join(10)

    assert seen == [200]
    assert event.status == 200


def test_an_async_client_is_released_too(tdpostback):
    handle = tdpostback.faults.delay(600)
    url, headers = tdpostback.event_url("shop", "orders"), Sender(tdpostback).headers()

    async def post():
        async with httpx.AsyncClient(
            transport=tdpostback.async_httpx_transport(), timeout=None
        ) as client:
            return await client.post(url, json={"id": 1}, headers=headers)

    async def both():
        sending = asyncio.create_task(post())
        await tdpostback.aio.assert_ingested("shop", "orders")
        handle.remove()
        return (await sending).status_code

    assert asyncio.run(both()) == 200


@pytest.mark.parametrize(
    "value", ["a\r\nX-B: 1", "a\n", "a\r", "a\0b", "a\x01b", "a\x0bb", "a\x7fb"]
)
def test_a_header_that_no_connection_would_carry_is_refused(tdpostback, value):
    url, key = tdpostback.event_url("shop", "orders"), tdpostback.write_key
    headers = {"X-TD-Write-Key": key, "X-A": value}

    with (
        httpx.Client(transport=tdpostback.httpx_transport()) as client,
        pytest.raises(httpx.LocalProtocolError, match="X-A"),
    ):
        client.post(url, json={"id": 1}, headers=headers)

    prepared = requests.Request("POST", url, json={"id": 1}).prepare()
    prepared.headers.update(headers)
    with requests.Session() as session:
        session.mount(tdpostback.url, tdpostback.requests_adapter())
        with pytest.raises(requests.exceptions.InvalidHeader, match="X-A"):
            session.send(prepared)

    environ = EnvironBuilder(
        Sender(tdpostback).target("orders"), method="POST", json={"id": 1}
    ).get_environ()
    environ |= {"HTTP_X_TD_WRITE_KEY": key, "HTTP_X_A": value}
    assert run_wsgi_app(tdpostback.wsgi_app, environ)[1].startswith("400 ")

    environ |= {"HTTP_X_A": "a", "QUERY_STRING": value}
    del environ["REQUEST_URI"], environ["RAW_URI"]
    assert run_wsgi_app(tdpostback.wsgi_app, environ)[1].startswith("400 ")

    assert not tdpostback.events
    assert len(tdpostback._collector.refused_connections) == 2


@pytest.mark.parametrize("method", ["po st", "G\xc9T", "", "A" * 65])
def test_a_method_that_no_connection_would_carry_is_refused(tdpostback, method):
    url = tdpostback.event_url("shop", "orders")
    prepared = requests.Request("POST", url, json={"id": 1}).prepare()
    prepared.method = method
    with (
        requests.Session() as session,
        httpx.Client(transport=tdpostback.httpx_transport()) as client,
    ):
        session.mount(tdpostback.url, tdpostback.requests_adapter())
        if method:  # requests sends POST otherwise
            with pytest.raises(requests.exceptions.InvalidHeader, match="Illegal method"):
                session.send(prepared)
        with pytest.raises(httpx.LocalProtocolError, match="Illegal method"):
            client.request(method, url)
    assert status_by_wsgi(tdpostback, REQUEST_METHOD=method) == 400
    assert not tdpostback.events


@pytest.mark.parametrize(
    "fields", [{"X-A": "a" * 70_000}, {f"X-{n}": "a" * 700 for n in range(100)}]
)
def test_a_head_that_is_too_long_gets_431(tdpostback, fields):
    url = tdpostback.event_url("shop", "orders")
    with (
        requests.Session() as session,
        httpx.Client(transport=tdpostback.httpx_transport()) as client,
    ):
        session.mount(tdpostback.url, tdpostback.requests_adapter())
        assert session.post(url, json={"id": 1}, headers=fields).status_code == 431
        assert client.post(url, json={"id": 1}, headers=fields).status_code == 431
    in_environ = {f"HTTP_{name.replace('-', '_')}": value for name, value in fields.items()}
    assert status_by_wsgi(tdpostback, **in_environ) == 431
    assert not tdpostback.events
    assert len(tdpostback._collector.refused_connections) == 3


@pytest.mark.parametrize(
    ("length", "status"),
    [("0" * 5000 + "9", 200), ("9" * 5000, 400), ("9" * 19, 413), ("-9", 400), ("nine", 400)],
    ids=lambda value: str(value)[:9],
)
def test_a_length_behind_another_server_is_read_as_by_a_connection(tdpostback, length, status):
    given = {"CONTENT_LENGTH": length, "HTTP_X_TD_WRITE_KEY": tdpostback.write_key}
    assert status_by_wsgi(tdpostback, **given) == status


def test_a_mounted_server_refuses_a_length_that_werkzeug_does_not_read(tdpostback, httpserver):
    sender = Sender(tdpostback)
    tdpostback.mount(httpserver)
    fields = {**sender.headers(), "Content-Length": "0" * 5000 + "9"}
    connection = http.client.HTTPConnection(httpserver.host, httpserver.port, timeout=10)
    connection.request("POST", sender.target("orders"), b'{"id": 1}', fields)
    assert connection.getresponse().status == 400
    connection.close()
    (refused,) = tdpostback._collector.refused_connections
    assert "Content-Length" in refused.reason
    assert not tdpostback.events


def status_by_wsgi(tdpostback, **changed):
    builder = EnvironBuilder(Sender(tdpostback).target("orders"), method="POST", json={"id": 1})
    environ = {**builder.get_environ(), **changed}
    return int(run_wsgi_app(tdpostback.wsgi_app, environ)[1].split()[0])
