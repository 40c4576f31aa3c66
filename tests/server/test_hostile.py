"""What hostile or broken senders do: each ends in a clean 4xx or a close, and others are served."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import struct
import tracemalloc
from dataclasses import dataclass

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from pytest_tdpostback.server import connection as connections
from pytest_tdpostback.server import wsgi
from pytest_tdpostback.server.http_parser import MAX_HEAD
from tests.http_client import HttpClient, statuses, talk
from tests.server.conftest import served
from tests.server.raw_connections import BODY, KEY, Desk, chunked, outcome, request

CHUNKED = b"Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Trick:
    """Bytes, the status of the last answer to them (empty: a close without one), and the events."""

    name: str
    data: bytes
    statuses: tuple[int, ...] = (400,)
    events: int = 0

    def __str__(self) -> str:
        return self.name


def bare(*lines: bytes, end: bytes = b"\r\n\r\n", between: bytes = b"\r\n") -> bytes:
    return between.join([b"POST /postback/v3/event/shop/orders HTTP/1.1", *lines]) + end


def length(value: bytes, body: bytes = BODY) -> bytes:
    return request(b"", b"Content-Length: " + value, length=False) + body


def chunk(data: bytes) -> bytes:
    return request(b"", CHUNKED, length=False) + data


def gzipped(*fields: bytes) -> bytes:
    return request(b"", *fields, length=False) + b"8\r\n" + BODY + b"\r\n0\r\n\r\n"


SMUGGLED = b"POST /postback/v3/event/shop/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

TRICKS = [
    Trick("garbage", b"\x00\xff\x13garbage\r\n\r\n"),
    Trick("text", b"hello\r\n\r\n"),
    Trick("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500),
    Trick("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Trick("http/0.9", b"GET /postback/v3/event/shop/orders\r\n\r\n"),
    Trick("http/2.0", request(version=b"2.0")),
    Trick("http/1.2", request(version=b"1.2")),
    Trick("http/11", request(version=b"11")),
    Trick("lowercase-method", request(method=b"post"), (405,), events=1),
    Trick("unknown-method", request(method=b"BREW"), (405,), events=1),
    Trick("unknown-method-chunked", chunked(BODY).replace(b"POST", b"QUERY", 1), (405,), events=1),
    Trick("unknown-method-unknown-path", request(method=b"FOO", target=b"/"), (404,), events=1),
    Trick("method-too-long", request(method=b"A" * 65)),
    Trick("method-no-token", request(method=b"PO(ST")),
    Trick("method-without-target", b"BREW \r\n\r\n"),
    Trick("no-host", bare(b"Content-Length: 0")),
    Trick("two-hosts", request(BODY, b"Host: other")),
    Trick("space-before-colon", request(BODY, b"X-A : 1")),
    Trick("space-in-name", request(BODY, b"X A: 1")),
    Trick("no-name", request(BODY, b": 1")),
    Trick("no-colon", request(BODY, b"X-A")),
    Trick("folded", request(BODY, b"X-A: 1\r\n 2")),
    Trick("folded-first", bare(b" Host: localhost", b"Host: localhost")),
    Trick("nul-in-value", request(BODY, b"X-A: \x00")),
    Trick("nul-in-name", request(BODY, b"X-\x00: 1")),
    Trick("nul-in-target", request(target=b"/postback/v3/event/shop/\x00")),
    Trick("bare-cr", request(BODY, b"X-A: 1\rX-B: 2")),
    Trick("bare-lf", request().replace(b"\r\n", b"\n")),
    Trick("bare-lf-once", request(BODY, b"X-A: 1\nX-B: 2")),
    Trick("space-in-target", request(target=b"/postback/v3/event/shop/or ders")),
    Trick("no-length", request(BODY, length=False), (400,), events=1),
    Trick("length-negative", length(b"-1")),
    Trick("length-plus", length(b"+8")),
    Trick("length-hex", length(b"0x8")),
    Trick("length-list", length(b"8, 8")),
    Trick("length-empty", length(b"")),
    Trick("length-words", length(b"eight")),
    Trick("length-spaced", length(b"8 8")),
    Trick("length-twice", request(BODY, b"Content-Length: 8")),
    Trick("length-twice-different", request(BODY, b"Content-Length: 80")),
    Trick("length-overflow", length(b"99999999999999999999999999")),
    Trick("length-huge", length(b"9223372036854775807"), (413,), events=1),
    Trick("length-and-chunked", request(b"0\r\n\r\n", CHUNKED)),
    Trick("chunked-and-length", request(b"", CHUNKED, b"Content-Length: 5", length=False)),
    Trick("chunked-twice", request(b"", CHUNKED, CHUNKED, length=False) + b"0\r\n\r\n"),
    Trick("chunked-not-last", request(b"", CHUNKED + b", gzip", length=False)),
    Trick("gzip-and-chunked", gzipped(CHUNKED.replace(b"chunked", b"gzip, chunked")), (501,)),
    Trick("gzip-then-chunked", gzipped(b"Transfer-Encoding: gzip", CHUNKED), (501,)),
    Trick("rtsp", request(method=b"OPTIONS").replace(b"HTTP/1.1", b"RTSP/1.0")),
    Trick("rtsp-event", request().replace(b"HTTP/1.1", b"RTSP/1.0")),
    Trick("ice-event", request().replace(b"HTTP/1.1", b"ICE/1.0")),
    Trick("chunked-misspelt", request(b"", b"Transfer-Encoding: xchunked", length=False)),
    Trick("chunked-vertical-tab", request(b"", b"Transfer-Encoding: \x0bchunked", length=False)),
    Trick("identity", request(BODY, b"Transfer-Encoding: identity")),
    Trick("chunk-size-negative", chunk(b"-1\r\nx\r\n0\r\n\r\n")),
    Trick("chunk-size-hex-prefix", chunk(b"0x1\r\nx\r\n0\r\n\r\n")),
    Trick("chunk-size-words", chunk(b"one\r\nx\r\n0\r\n\r\n")),
    Trick("chunk-size-overflow", chunk(b"FFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n")),
    Trick("chunk-size-huge", chunk(b"7FFFFFFFFFFFFFFF\r\n" + b"x" * 1000), ()),
    Trick("chunk-bare-lf", chunk(b"8\n" + BODY + b"\n0\n\n")),
    Trick("chunk-too-long", chunk(b"2\r\n{}xx0\r\n\r\n")),
    Trick("chunk-extension-lf", chunk(b"8;a=\nb\r\n" + BODY + b"\r\n0\r\n\r\n")),
    Trick("head-too-large", request(BODY, b"X-A: " + b"a" * 100_000), (431,)),
    Trick("heads-too-many", request(BODY, *[b"X-A: 1"] * 20_000), (431,)),
    Trick("head-endless", bare(b"Host: x", end=b"\r\n") + b"X-A: 1\r\n" * 200_000, (431,)),
    Trick("name-too-large", request(BODY, b"A" * 100_000 + b": 1"), (431,)),
    Trick("target-too-large", request(target=b"/" + b"a" * 100_000), (431,)),
    Trick("json-deep", request(b"[" * 100_000), (400,), events=1),
    Trick("json-deep-object", request(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), events=1),
    Trick("json-long-number", request(b'{"a":' + b"9" * 100_000 + b"}"), events=1),
    Trick("early-close-head", request()[:30], ()),
    Trick("early-close-body", request()[:-2], ()),
    Trick("early-close-chunk", chunked(BODY)[:-9], ()),
    Trick("nothing", b"", ()),
    Trick("blank-lines", b"\r\n" * 1000, ()),
    Trick("lines-10000", request(BODY, *[b"a:1"] * 10_000), (200,), events=1),
    Trick("close-in-a-list", request(BODY, b"Connection: TE, Close") + request(), (200,), 1),
    Trick("get-with-a-body", request(BODY, method=b"GET") + request(), (200,), events=2),
    Trick("trailer-length", chunk(b"0\r\nContent-Length: 9\r\n\r\n") + request()),
    Trick("trailer-folded", chunk(b"0\r\nX-A: 1\r\n 2\r\n\r\n") + request()),
    Trick("smuggled-behind-length", length(b"0", b"") + b"(" + SMUGGLED, (400,), events=1),
    Trick("token-behind-length", length(b"0", b"") + b"X" + request(), (405,), events=2),
]


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_trick(server, trick):
    answers = talk(server.port, trick.data)
    assert tuple(answers[-1:]) == trick.statuses
    assert len(server.events) == trick.events
    assert not [event for event in server.events if event.table == "smuggled"]


@pytest.mark.parametrize(
    ("trick", "reason"),
    [("tls-hello", "it is TLS at a port without TLS"), ("http2-preface", "it is HTTP/2")],
)
def test_another_protocol_is_named(server, trick, reason):
    talk(server.port, next(each.data for each in TRICKS if each.name == trick))
    assert reason in server.collector.refused_connections[0].reason


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_a_trick_in_pieces_has_the_same_outcome(trick):
    whole = outcome(Desk(), [trick.data])
    for size in (1, 3, 7, 1000):
        if len(trick.data) / size > 5000:
            continue
        pieces = [trick.data[at : at + size] for at in range(0, len(trick.data), size)]
        split = outcome(Desk(), pieces)
        assert statuses(split.answers) == statuses(whole.answers)
        assert split.events == whole.events
        assert split.ended == whole.ended


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_a_trick_does_not_disturb_good_requests(trick):
    """The head cache knows the good request: what stands around it must not be taken for it."""
    desk = Desk()
    outcome(desk, [request()] * 3)
    cold = outcome(Desk(), [request() + trick.data + request()])
    for _ in range(3):
        warm = outcome(desk, [request() + trick.data + request()])
        assert warm == cold


def test_a_sender_that_resets(server):
    for data in (b"", request()[:20], request()[:-2], request()):
        sender = HttpClient("127.0.0.1", server.port)
        sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sender.send(data)
        sender.socket.close()
        assert served(server)


def test_a_slow_head_is_given_up(server, monkeypatch):
    monkeypatch.setitem(connections.SECONDS, connections.State.HEAD, 0.01)
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(request()[:30])
        assert sender.statuses() == [408]


def test_a_head_does_not_gain_time_by_dripping():
    desk = Desk()
    _, wire = desk.connect()
    for at in range(30):
        wire.deliver(request()[at : at + 1])
    assert [timer.seconds for timer in desk.loop.timers] == [
        connections.SECONDS[connections.State.HEAD]
    ]


@pytest.mark.parametrize("rounds", [0, 3], ids=["unknown", "known"])
def test_a_body_that_does_not_come_is_given_up(server, monkeypatch, rounds):
    monkeypatch.setitem(connections.SECONDS, connections.State.BODY, 0.01)
    with HttpClient("127.0.0.1", server.port) as sender:
        for _ in range(rounds):
            sender.send(request())
            sender.read_responses(1)
        sender.send(request()[:-2])
        assert sender.statuses() == [408]
    assert len(server.events) == rounds


def test_each_piece_of_a_body_gains_time():
    desk = Desk()
    _, wire = desk.connect()
    for piece in (request()[:-3], request()[-3:-2], request()[-2:-1]):
        wire.deliver(piece)
    assert {timer.seconds for timer in desk.loop.timers} == {
        connections.SECONDS[connections.State.BODY]
    }
    assert len(desk.loop.timers) >= 3
    assert len(desk.loop.running) == 1


def test_a_refused_body_that_does_not_come_is_given_up(make_server, monkeypatch):
    monkeypatch.setitem(connections.SECONDS, connections.State.DRAINING, 0.01)
    with HttpClient("127.0.0.1", make_server(max_body=10).port) as sender:
        sender.send(request(b"x" * 100)[:-50])
        assert sender.statuses() == [413]


@pytest.mark.parametrize("blocked", [False, True], ids=["read", "unread"])
def test_a_last_response_that_nobody_reads_is_given_up(blocked):
    desk = Desk()
    _, wire = desk.connect()
    wire.blocked = blocked
    wire.deliver(request(BODY, b"Connection: close"))
    assert wire.ended != blocked
    limit = connections.SECONDS[connections.State.FLUSHING]
    assert [timer.seconds for timer in desk.loop.running] == [limit] * blocked
    for timer in desk.loop.running:
        timer.function()
    assert wire.ended


def test_a_client_that_does_not_close_is_closed(server, monkeypatch):
    monkeypatch.setitem(connections.SECONDS, connections.State.CLOSING, 0.01)
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(b"garbage\r\n\r\n")
        assert sender.statuses() == [400]
        while server._listeners[0].connections:
            assert served(server)


def test_an_idle_connection_has_no_timeout():
    desk = Desk()
    _, wire = desk.connect()
    assert not desk.loop.running
    wire.deliver(request()[:-1])
    wire.deliver(request()[-1:])
    assert not desk.loop.running


def test_a_body_of_a_hundred_megabytes_is_refused(server):
    size = 100 * 1024 * 1024
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/postback/v3/event/shop/orders")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("X-TD-Write-Key", KEY)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    tracemalloc.start()
    try:
        piece = b" " * (1024 * 1024)
        for _ in range(size // len(piece)):
            connection.send(piece)
        response = connection.getresponse()
        assert (response.status, response.read()) == (413, b"{}")
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
    connection.request("POST", "/postback/v3/event/shop/orders", BODY)  # no key
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize(
    ("begin", "end"),
    [(b"0\r\nX-T: ", b"\r\nX-T: "), (b"0\r\nX-T: ", b""), (b"1;a=", b"")],
    ids=["trailers", "trailer", "extension"],
)
def test_trailers_and_extensions_are_bounded(begin, end):
    desk = Desk()
    _, wire = desk.connect()
    wire.deliver(chunk(b"8\r\n" + BODY + b"\r\n" + begin))
    tracemalloc.start()
    try:
        for _ in range(MAX_HEAD // 1000):
            wire.deliver(b"t" * 980 + end)
        assert not wire.ended
        wire.deliver(b"t" * 2000)
        assert statuses(wire.written) == [431]
        assert wire.ended
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()


def test_tiny_chunks_cost_what_they_hold():
    desk = Desk()
    _, wire = desk.connect()
    wire.deliver(chunk(b""))
    tracemalloc.start()
    try:
        for _ in range(20):
            wire.deliver(b"1\r\n \r\n" * 2000)
        assert tracemalloc.get_traced_memory()[0] < 80_000
    finally:
        tracemalloc.stop()
    wire.deliver(b"8\r\n" + BODY + b"\r\n0\r\n\r\n")
    desk.loop.run_next()
    assert statuses(wire.written) == [200]


def test_unknown_methods_in_a_pipeline():
    """Known from the cache or not, each keeps its own method; a known one is not taken for it."""
    desk = Desk()
    methods = [b"BREW", b"PUT", b"BREW", b"put"]
    data = b"\r\n".join(request(method=method) for method in methods)
    data += chunked(BODY).replace(b"POST", b"FOO", 1) + request(method=b"QUERY")
    whole = outcome(desk, [data])
    assert statuses(whole.answers) == [405] * 6
    assert [head.split()[0] for head, *_ in whole.events] == [*methods, b"FOO", b"QUERY"]
    for _ in range(2):
        assert outcome(desk, [data]) == whole
    for at in range(1, len(data), 7):
        assert outcome(Desk(), [data[:at], data[at:]]) == whole
    assert whole.answers.count(b"\r\nAllow: GET, POST, OPTIONS\r\n") == 6


def test_tls_bytes_on_a_plain_port(server):
    context = ssl.create_default_context()
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    secure = context.wrap_socket(plain, server_hostname="h", do_handshake_on_connect=False)
    with secure, pytest.raises((ssl.SSLError, ConnectionError)):
        secure.do_handshake()


def test_connections_of_all_tricks_at_once(server):
    senders = [HttpClient("127.0.0.1", server.port) for _ in TRICKS * 3]
    for sender, trick in zip(senders, TRICKS * 3, strict=True):
        sender.send(trick.data[:100])
    assert served(server)
    for sender in senders:
        sender.socket.close()


class Spaces(io.RawIOBase):
    """A stream of that many of them, and how many were read."""

    def __init__(self, count):
        self.count = count
        self.seen = 0

    def read(self, size=-1):
        piece = b" " * min(size if size >= 0 else self.count, self.count - self.seen)
        self.seen += len(piece)
        return piece


def post_by_wsgi(postback, stream):
    """Its size unknown, as a server passes on a body in chunks."""
    builder = EnvironBuilder(
        "/postback/v3/event/shop/orders",
        method="POST",
        content_type="application/json",
        headers=[("X-TD-Write-Key", KEY)],
    )
    environ = builder.get_environ()
    environ.update({"wsgi.input": stream, "wsgi.input_terminated": True})
    environ.pop("CONTENT_LENGTH", None)
    return run_wsgi_app(postback.wsgi_app, environ, buffered=True)[1]


@pytest.mark.parametrize(("drained", "read"), [(1 << 30, 64_000_000), (1_000_000, 1_065_536)])
def test_a_body_without_a_size_is_bounded_behind_another_server(
    make_tdpostback, monkeypatch, drained, read
):
    postback = make_tdpostback(max_body=1000, write_keys=[KEY])
    monkeypatch.setattr(wsgi, "MAX_DRAIN", drained)
    stream = Spaces(64_000_000)
    tracemalloc.start()
    try:
        assert post_by_wsgi(postback, stream).startswith("413 ")
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert stream.seen <= read
    assert postback.events[0].reason == f"the body has {stream.seen} bytes; the limit is 1000"


def test_a_body_without_a_size_is_read_behind_another_server(make_tdpostback):
    postback = make_tdpostback(write_keys=[KEY])
    body = b'{"id":' + b" " * 200_000 + b"1}"
    assert post_by_wsgi(postback, io.BytesIO(body)).startswith("200 ")
    assert postback.assert_ingested("shop", "orders", id=1).event.request.body == body


def test_a_body_that_ends_early_behind_another_server_is_noted(make_tdpostback):
    postback = make_tdpostback(write_keys=[KEY])
    environ = EnvironBuilder("/postback/v3/event/shop/orders", method="POST").get_environ()
    environ |= {"wsgi.input": io.BytesIO(b'{"id":'), "CONTENT_LENGTH": "100"}
    assert run_wsgi_app(postback.wsgi_app, environ, buffered=True)[1].startswith("400 ")
    (noted,) = postback._collector.refused_connections
    assert noted.reason == "unknown:0 by WSGI: it ended in the middle of a request"
    assert not postback.events
