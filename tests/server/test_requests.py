"""Requests on a connection: one after the other, in pieces, and in the odd forms HTTP allows."""

from __future__ import annotations

import http.client
import json
import threading
import tracemalloc
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from pytest_tdpostback.server.connection import Connection
from pytest_tdpostback.server.http_parser import parse_head
from tests.http_client import HttpClient, statuses, talk
from tests.server.raw_connections import BODY, KEY, Desk, chunked, outcome, request

OK = [200]


@pytest.fixture
def desk():
    return Desk()


def bodies(result):
    return [body for _, body, _, _ in result.events]


def test_a_connection_serves_request_after_request(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Content-Type": "application/json", "X-TD-Write-Key": KEY}
    socks = set()
    for number in range(20):
        body = json.dumps({"id": number})
        connection.request("POST", "/postback/v3/event/shop/orders", body, headers)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"{}")
        assert response.getheader("Connection") == "keep-alive"
        socks.add(connection.sock)
    connection.close()
    assert len(socks) == 1
    assert [event.payload["id"] for event in server.events] == list(range(20))


def test_pipelined_requests_are_answered_in_order(desk):
    wanted = [200, 404, 200, 400, 200]
    good, missing, broken = request(), request(target=b"/"), request(b"{")
    result = outcome(desk, [good + missing + good + broken + good])
    assert statuses(result.answers) == wanted
    assert [status for _, _, status, _ in result.events] == wanted


def test_known_and_unknown_heads_take_turns(desk):
    known = [request(b'{"n":%d}' % number) for number in range(10)]
    other = [request(b'{"n":%d}' % number, b"X-N: %d" % number) for number in range(10)]
    mixed = [each for pair in zip(known, other, strict=True) for each in pair]
    result = outcome(desk, [b"".join(mixed)] * 3)
    assert statuses(result.answers) == OK * 60
    assert bodies(result) == [each[-7:] for each in mixed] * 3


@pytest.mark.parametrize("rounds", [1, 3], ids=["unknown", "known"])
def test_every_split_of_a_request_comes_to_the_same(desk, rounds):
    whole = request()
    for at in range(len(whole)):
        result = outcome(desk, [whole[:at], whole[at:]] * rounds)
        assert statuses(result.answers) == OK * rounds
        assert bodies(result) == [BODY] * rounds
        assert not result.incomplete


def test_a_known_head_waits_for_its_body(desk):
    outcome(desk, [request()] * 3)
    head = request()[: -len(BODY)]
    result = outcome(desk, [head, BODY[:3]])
    assert result.incomplete
    assert not result.answers
    result = outcome(desk, [head, BODY[:3], BODY[3:] + head, BODY])
    assert bodies(result) == [BODY, BODY]
    assert not result.incomplete


def test_a_head_is_recognised_when_it_comes_again(desk, monkeypatch):
    outcome(desk, [request()])
    monkeypatch.setattr("pytest_tdpostback.server.http_parser.httptools", None)
    assert statuses(outcome(desk, [request()]).answers) == OK


def test_heads_that_never_repeat_do_not_fill_the_memory():
    tracemalloc.start()
    try:
        for number in range(5000):
            parse_head(request(b"", b"traceparent: %d" % number))
        before = tracemalloc.get_traced_memory()[0]
        for number in range(500):
            parse_head(request(b"", b"traceparent: %d" % number + b"a" * 50_000))
        assert before < 8_000_000
        assert tracemalloc.get_traced_memory()[0] < before + 100_000
    finally:
        tracemalloc.stop()


def test_a_body_in_chunks_with_trailers_is_read(desk):
    trailer = b"0\r\nX-Sum: 1\r\nHost: other\r\n\r\n"
    result = outcome(desk, [chunked(b'{"id"', b":1", b"}", end=trailer) + request()])
    assert statuses(result.answers) == OK * 2
    assert bodies(result) == [BODY, BODY]
    assert b"X-Sum" not in result.events[0][0]


@pytest.mark.parametrize(
    ("fields", "version"),
    [([b"Connection: close"], b"1.1"), ([], b"1.0"), ([b"Connection: keep-alive"], b"1.0")],
    ids=["close", "http/1.0", "http/1.0-keep-alive"],
)
def test_connection_close_ends_the_connection(desk, fields, version):
    for _ in range(3):  # the third time, the head is known
        result = outcome(desk, [request(BODY, *fields, version=version) + request()])
        assert statuses(result.answers) == OK
        assert b"\r\nConnection: close\r\n" in result.answers
        assert result.ended
        assert bodies(result) == [BODY]


def test_connection_close_ends_the_connection_after_a_head_request(desk):
    asked = request(b"", b"Connection: close", method=b"HEAD", length=False)
    result = outcome(desk, [asked + request()])
    assert statuses(result.answers) == [405]
    assert result.ended


def test_bytes_above_ascii_in_a_target_are_kept(desk):
    target = b"/postback/v3/event/shop/orders?td_format=pixel&td_write_key=1/abc&name=\xc3\xa4\xff"
    result = outcome(desk, [request(b"", method=b"GET", target=target, length=False)])
    assert statuses(result.answers) == OK
    assert result.events[0][0].split(b"\r\n")[0] == b"GET " + target


def test_a_length_with_thousands_of_zeros(desk):
    data = request(BODY, b"Content-Length: " + b"0" * 5000 + b"8", length=False)
    result = outcome(desk, [data])
    assert statuses(result.answers) == OK
    assert bodies(result) == [BODY]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\x03\x01\x02", "it is TLS at a port without TLS"),
        (request(BODY, b"X-A: " + b"a" * 100_000), "head has more than"),
        (request(version=b"2.0"), "HTTP/1.1"),
        (request(BODY, b"X-A : 1"), "header"),
    ],
    ids=["tls", "large-head", "version", "syntax"],
)
def test_bytes_that_are_no_request_are_noted(desk, data, reason):
    assert not outcome(desk, [data]).events
    assert len(desk.refused) == 1
    assert reason in desk.refused[0]


def test_a_request_that_ends_in_the_middle_is_noted(desk):
    connection, wire = desk.connect()
    wire.deliver(request()[:-1])
    connection.abort()
    assert "in the middle of a request" in desk.refused[0]


def test_a_connection_without_a_request_is_not_noted(desk):
    connection, _ = desk.connect()
    connection.abort()
    assert not desk.refused


@pytest.mark.parametrize(
    ("slow_request", "size", "status"),
    [
        (request(b" " * 200_000 + BODY), 200_008, 200),
        (request(b"decodes to more", b"Content-ENCODING: gzip"), 15, 400),
    ],
)
def test_a_body_that_takes_long_is_read_in_a_worker_thread(
    server, monkeypatch, slow_request, size, status
):
    """The loop serves others meanwhile."""
    go, receive = threading.Event(), server.collector.receive

    def slow(head, body, peer, **options):
        if len(body) == size:
            assert go.wait(20)
        return receive(head, body, peer, **options)

    monkeypatch.setattr(server.collector, "receive", slow)
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(slow_request + request())
        assert talk(server.port, request()) == OK
        go.set()
        assert sender.statuses(2) == [status, 200]
    assert [len(body) for body in server.collector.log.bodies] == [8, size, 8]


def test_continue_comes_before_the_body(desk):
    head = request(BODY, b"Expect: 100-continue")[: -len(BODY)]
    assert outcome(desk, [head]).answers == b"HTTP/1.1 100 Continue\r\n\r\n"
    result = outcome(desk, [head, BODY])
    assert statuses(result.answers) == [100, 200]
    assert outcome(desk, [head + BODY]).answers == result.answers


def test_413_comes_instead_of_100_continue():
    desk = Desk(max_body=10)
    head = request(b"x" * 11, b"Expect: 100-continue")[:-11]
    result = outcome(desk, [head])
    assert statuses(result.answers) == [413]
    assert result.ended


def test_a_refused_body_is_read_on_and_the_next_request_served():
    desk = Desk(max_body=10)
    large = request(b"x" * 100_000)
    result = outcome(desk, [large[:5000], large[5000:70_000], large[70_000:] + request()])
    assert statuses(result.answers) == [413, 200]
    assert bodies(result) == [b"", BODY]


def test_a_known_head_is_checked_against_the_limit_of_the_collector_that_it_reaches():
    data = request(b"x" * 2000)
    desk, strict = Desk(max_body=5000), Desk(max_body=1000)
    for _ in range(3):
        assert statuses(outcome(desk, [data]).answers) == [400]
    for pieces in ([data], [data[:-2000]], [data[:-2000], data[-2000:]]):
        assert outcome(strict, pieces) == outcome(Desk(max_body=1000), pieces)


def test_chunks_are_counted_against_the_limit():
    desk = Desk(max_body=10)
    result = outcome(desk, [chunked(b"x" * 6, b"y" * 6) + request()])
    assert statuses(result.answers) == [413, 200]


def test_a_refused_body_that_is_very_large_ends_the_connection(monkeypatch):
    for module in ("http_parser", "connection"):
        monkeypatch.setattr(f"pytest_tdpostback.server.{module}.MAX_DRAIN", 1000)
    desk = Desk(max_body=10)
    announced = outcome(desk, [request(b"", b"Content-Length: 5000", length=False)])
    endless = chunked(b"x" * 200_000)
    counted = outcome(desk, [endless[:500], endless[500:100_000], endless[100_000:]])
    for result in (announced, counted):
        assert statuses(result.answers) == [413]
        assert result.ended


def test_head_has_no_body(desk):
    result = outcome(desk, [request(b"", method=b"HEAD")] * 3)
    assert statuses(result.answers) == [405] * 3
    assert result.answers.count(b"\r\n\r\n{}") == 0
    assert result.answers.count(b"Content-Length: 2\r\n") == 3


@pytest.mark.parametrize("body", [BODY, b""], ids=["with-body", "without-body"])
def test_an_offered_upgrade_is_not_taken(desk, body):
    offer = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"]
    result = outcome(desk, [request(body, *offer) + request()])
    assert statuses(result.answers) == [200 if body else 400, 200]
    assert bodies(result) == [body, BODY]
    assert b"\r\nUpgrade: h2c\r\n" in result.events[0][0]


def test_an_offered_upgrade_in_single_bytes(desk):
    data = request(BODY, b"Connection: Upgrade", b"Upgrade: h2c") + request()
    result = outcome(desk, [data[at : at + 1] for at in range(len(data))])
    assert statuses(result.answers) == OK * 2
    assert bodies(result) == [BODY, BODY]


def test_absolute_form_and_connect(desk):
    absolute = request(target=b"http://localhost/postback/v3/event/shop/orders")
    assert statuses(outcome(desk, [absolute]).answers) == OK
    result = outcome(desk, [request(b"", method=b"CONNECT", target=b"localhost:443", length=False)])
    assert statuses(result.answers) == [404]


def test_a_half_closed_connection_gets_its_response(server):
    assert talk(server.port, request() * 3) == OK * 3


def test_a_sender_that_does_not_read_is_not_read_from(desk):
    _, wire = desk.connect()
    assert desk.loop.watched == EVENT_READ
    wire.blocked = True
    wire.deliver(request() * 3)
    assert desk.loop.watched == EVENT_WRITE
    wire.blocked = False
    desk.loop.ready()
    assert desk.loop.watched == EVENT_READ
    wire.deliver(request() * 2)
    assert statuses(wire.written) == OK * 5


def test_a_response_comes_before_the_wish_for_the_next_body(desk):
    _, wire = desk.connect()
    wire.deliver(request() + request(BODY, b"Expect: 100-continue")[: -len(BODY)])
    assert wire.written.count(b"HTTP/1.1 ") == 2
    assert wire.written.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_an_event_is_not_validated_while_its_response_waits_in_a_buffer(desk):
    _, wire = desk.connect()
    wire.blocked = True
    wire.deliver(request())
    log = desk.collector.log
    assert str(log.state(0)) == "pending"
    wire.blocked = False
    desk.loop.ready()
    assert str(log.state(0)) == "ingested"


def test_responses_that_wait_are_reported_to_the_collector_that_received_the_request(desk):
    first, second = desk.collector, Desk().collector
    desk.current_collector = iter([first, second]).__next__
    _, wire = desk.connect()
    wire.blocked = True
    wire.deliver(request() * 2)
    assert str(first.log.state(0)) == str(second.log.state(0)) == "pending"
    wire.blocked = False
    desk.loop.ready()
    assert str(first.log.state(0)) == str(second.log.state(0)) == "ingested"


def test_a_limit_that_was_lowered_and_raised_does_not_leave_an_old_head(desk):
    settings = desk.collector.settings
    long = request(b'{"id": "long enough"}')
    _, wire = desk.connect()
    wire.deliver(long + long[:-3])
    desk.collector.configure(settings.changed({"max_body": 10}))
    wire.deliver(long[-3:])
    desk.collector.configure(settings)
    wire.deliver(request(b"", method=b"PUT") + request())
    assert statuses(wire.written)[-2:] == [405, 200]
    assert [head.split(b" ")[0] for head in desk.collector.log.heads] == [
        b"POST",
        b"POST",
        b"PUT",
        b"POST",
    ]


def test_a_client_that_reads_at_the_end_gets_every_response(server):
    count = 20_000
    with HttpClient("127.0.0.1", server.port) as sender:
        sending = threading.Thread(target=sender.send, args=[request() * count])
        sending.start()
        sending.join(1)  # more than the sockets' buffers take would be left to send by now
        seen = sender.statuses(count)
        sending.join(20)
    assert seen == OK * count
    assert server.ingested() == count


def test_an_error_of_the_server_reaches_the_test(server):
    def fail(*_):
        raise LookupError("on purpose")

    server.collector.fault_hook = fail
    assert talk(server.port, request()) == [500]
    server.collector.fault_hook = None
    with pytest.raises(LookupError, match="on purpose"):
        server.check()


def test_an_error_in_the_loop_reaches_the_test(server):
    def fail():
        raise LookupError("in the loop")

    done = threading.Event()
    server.loop.call(fail)
    server.loop.call(done.set)
    assert done.wait(20)
    with pytest.raises(LookupError, match="in the loop"):
        server.check()


def test_a_timer_that_raises_ends_no_other(server):
    done = threading.Event()

    def fail():
        raise LookupError("in a timer")

    server.loop.call_later(0.001, fail)
    server.loop.call_later(0.002, done.set)
    assert done.wait(20)
    with pytest.raises(LookupError, match="in a timer"):
        server.check()


def test_the_key_is_looked_up_after_the_response(server, monkeypatch):
    order = []

    def noted(owner, name):
        original = getattr(owner, name)

        def replacement(*arguments):
            order.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, replacement)

    noted(Connection, "_write")
    noted(server.collector.keys, "rejection")
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(request())
        sender.read_responses(1)
    assert server.ingested() == 1
    assert order == ["_write", "rejection"]
