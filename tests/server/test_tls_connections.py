"""The same wire within TLS, and what comes to its port without."""

from __future__ import annotations

import gc
import http.client
import socket
import ssl
import threading

import pytest

from pytest_tdpostback.server import connection as connections
from pytest_tdpostback.server.tls import client_context, server_context
from tests.http_client import DEADLINE, HttpClient
from tests.server.conftest import Server
from tests.server.raw_connections import BODY, KEY, request


@pytest.fixture
def server():
    context = server_context(("127.0.0.1",))
    with Server(ssl_context=context, max_body=1_000_000) as server:
        yield server
        assert secured(server, request()) == [200]
        server.check()


def secured(server, data):
    """The statuses of the responses to `data` over TLS."""
    with connect(server) as client:
        client.send(data)
        return client.statuses(data.count(b"POST "))


def connect(server):
    return HttpClient("127.0.0.1", server.port, tls=client_context())


def test_requests_within_tls(server):
    connection = http.client.HTTPSConnection(
        "127.0.0.1", server.port, timeout=DEADLINE, context=client_context()
    )
    headers = {"Content-Type": "application/json", "X-TD-Write-Key": KEY}
    for _ in range(5):
        connection.request("POST", "/postback/v3/event/shop/orders", BODY, headers)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"{}")
    connection.close()
    assert server.ingested() == 5


def test_a_pipeline_and_the_end_within_tls(server):
    data = request() * 3 + request(BODY, b"Connection: close")
    assert secured(server, data) == [200] * 4


@pytest.mark.parametrize("field", [b"Connection: close", b"Connection: keep-alive"])
def test_a_response_reaches_a_client_that_is_still_writing(server, field):
    head, _, _ = request(b"x" * 8_000_000, field).partition(b"\r\n\r\n")
    with connect(server) as client:
        client.send(head + b"\r\n\r\n")
        for _ in range(800):
            client.send(b"x" * 10_000)
        assert client.statuses(1) == [413]


def test_a_client_that_does_not_finish_is_closed_with_close_notify(server, monkeypatch):
    monkeypatch.setitem(connections.SECONDS, connections.State.CLOSING, 0.01)
    with connect(server) as client:
        client.send(b"garbage\r\n\r\n")
        assert client.statuses(1) == [400]
        assert client.read_to_end() == b""


@pytest.mark.parametrize("size", [1, 100, 20_000])
def test_plain_bytes_end_cleanly(server, size):
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(b"x" * size)
        if size == 1:
            sender.socket.shutdown(socket.SHUT_WR)
        sender.read_to_end()
        assert sender.ended
    assert not server.events


HELLO = b"\x16\x03\x01\x00\x80\x01"
"""The first bytes of a client in a TLS handshake."""


def test_a_handshake_that_does_not_end_is_given_up_and_noted(server, monkeypatch):
    monkeypatch.setitem(connections.SECONDS, connections.State.HANDSHAKE, 0.05)
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(HELLO)
        sender.read_to_end()
        assert sender.ended
    (refused,) = server.collector.refused_connections
    assert "the TLS handshake did not end in 0.05 seconds" in refused.reason


def test_a_client_that_leaves_in_the_handshake_without_an_alert_is_noted(server):
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(HELLO)
    refused = server.collector.refused_connections
    assert server.collector.wait_until(lambda: refused, DEADLINE)
    assert "if it does not trust the certificate" in refused[0].reason


def test_a_client_that_does_not_trust_the_certificate_is_noted(server):
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
    strange = ssl.create_default_context().wrap_socket(
        plain, server_hostname="127.0.0.1", do_handshake_on_connect=False
    )
    with strange, pytest.raises(ssl.SSLCertVerificationError):
        strange.do_handshake()
    refused = server.collector.refused_connections
    assert server.collector.wait_until(lambda: refused, DEADLINE)
    assert "does not trust the certificate" in refused[0].reason


def test_a_client_that_misses_its_host_name_in_the_certificate_is_noted(server):
    """It trusts the certificate, and the text says nothing else."""
    mismatch = pytest.raises(ssl.SSLCertVerificationError, match="mismatch")
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain, mismatch:
        client_context().wrap_socket(plain, server_hostname="other.example")
    refused = server.collector.refused_connections
    assert server.collector.wait_until(lambda: refused, DEADLINE)
    assert "check that the certificate names the host in its URL" in refused[0].reason
    assert "does not trust" not in refused[0].reason


def test_plain_http_on_a_tls_port_is_noted(server):
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(request())
        sender.read_to_end()
    refused = server.collector.refused_connections
    assert server.collector.wait_until(lambda: refused, DEADLINE)
    assert "https://" in refused[0].reason


def test_plain_http_on_a_tls_port_ends_without_a_reset(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
        plain.sendall(request())
        assert plain.recv(1000) == b""  # a reset would be an error


def test_a_client_that_closes_tls_gets_a_close_notify(server):
    with connect(server) as client:
        client.send(request())
        assert client.statuses(1) == [200]
        assert client.socket.unwrap() is not None


def test_a_context_that_cannot_serve_is_noted(make_server):
    context = ssl.create_default_context()
    context.check_hostname = False
    other = make_server(ssl_context=context)
    with HttpClient("127.0.0.1", other.port) as sender:
        sender.send(HELLO)
        sender.read_to_end()
    refused = other.collector.refused_connections
    assert other.collector.wait_until(lambda: refused, DEADLINE)
    assert "TLS handshake failed: Cannot create a server socket" in refused[0].reason


def test_a_connection_that_says_nothing_is_not_noted(server):
    with HttpClient("127.0.0.1", server.port):
        pass
    assert secured(server, request()) == [200]
    assert not server.collector.refused_connections


def test_stop_with_connections_and_handshakes_open():
    before = threading.active_count()
    server = Server(ssl_context=server_context(("127.0.0.1",)))
    server.start()
    secure, silent = connect(server), HttpClient("127.0.0.1", server.port)
    secure.send(request())
    assert secure.statuses(1) == [200]
    assert secured(server, request()) == [200]
    server.stop()
    assert threading.active_count() == before
    silent.read_to_end()
    assert silent.ended
    secure.read_to_end()
    assert secure.ended
    secure.socket.close()
    silent.socket.close()
    gc.collect()  # what was left open would warn now, and warnings are errors
