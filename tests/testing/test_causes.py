"""The first 60 characters of every failure name its cause; the text is short, safe and helps."""

from __future__ import annotations

import asyncio
import re
import socket

import httpx
import pytest

from pytest_tdpostback import BlockedConnection, PostbackError, PostbackServer

KEY = "1/" + 4 * "0123456789"
pytestmark = [
    pytest.mark.tdpostback(on_auth_failure="ignore"),
    pytest.mark.filterwarnings("ignore::pytest_tdpostback.PostbackWarning"),
]


def ingested(postback, **columns):
    postback.assert_ingested("shop", "orders", timeout=0, **columns)


def is_rejected(event):
    return event.state == "rejected"


def send_a_large_head(postback, _):
    with httpx.Client(transport=postback.httpx_transport(), base_url="http://x") as client:
        client.get("/", headers={"X-Large": 70_000 * "a"})


def block_a_host(postback, _):
    with (
        postback.redirect(block_network=True),
        pytest.raises(BlockedConnection),
    ):
        socket.create_connection(("api.example", 80))


def expect_nothing_new(postback):
    postback.settle()
    with postback.expect_auth_failure(timeout=0):
        pass


def lost(postback, send):
    with postback.faults.status(503):
        send()


CASES = {
    "no request arrived; ": (lambda *_: None, ingested),
    "rejected after 200 by A5: write key 1/012… is unknown; ": (
        lambda _, send: send(key=KEY),
        ingested,
    ),
    "refused (4xx) with 403 by A4: no write key; ": (
        lambda _, send: send(headers={"X-TD-Write-Key": None}),
        ingested,
    ),
    "refused (4xx) with 400 by B1: Content-Type is 'text/html', n": (
        lambda _, send: send(headers={"Content-Type": "text/html"}),
        ingested,
    ),
    "refused (4xx) with 400 by B2: the body is not JSON; ": (
        lambda _, send: send(raw=f'{{"{KEY}": 1,}}'),
        ingested,
    ),
    "refused (4xx) with 400 by B3: the top level is an array, not": (
        lambda _, send: send(raw="[]"),
        ingested,
    ),
    "refused (4xx) with 404 by R6: the path /v3/event/shop/orders": (
        lambda _, send: send(path="/v3/event/shop/orders"),
        ingested,
    ),
    "nothing arrived in shop.orders; ": (
        lambda _, send: send({KEY: "\x1b[2J"}, to=("web", "clicks")),
        ingested,
    ),
    "the nearest record is in shop.order; ": (
        lambda _, send: send(to=("shop", "order")),
        ingested,
    ),
    "the nearest record has no column total; ": (
        lambda _, send: send({"totl": KEY}),
        lambda postback: ingested(postback, total=KEY),
    ),
    "the nearest record has id='7', not 7; ": (
        lambda _, send: send({"id": "7", "\u202e\n": "\x9b"}),
        lambda postback: ingested(postback, id=7),
    ),
    "the nearest record has a={'b': [1, {'c': 2}]}, not {'b': [1": (
        lambda _, send: send({"a": {"b": [1, {"c": 2}]}}),
        lambda postback: ingested(postback, a={"b": [1, {"c": 3}]}),
    ),
    "lost by the fault status(503); ": (lost, ingested),
    "2 records matched; wanted 1 record": (lambda _, send: [send(), send()], ingested),
    "no more than 1 record arrived; wanted 9 records": (
        lambda _, send: send(),
        lambda postback: ingested(postback, count=9),
    ),
    "1 event ingested: the write key is valid; ": (
        lambda _, send: send(),
        lambda postback: postback.assert_auth_failed(timeout=0),
    ),
    "1 rejected after 200 with another key, database or table; ": (
        lambda _, send: send(key=KEY),
        lambda postback: postback.assert_auth_failed("web", timeout=0),
    ),
    "refused (4xx) with 400 by B3: the top level is an array, not ": (
        lambda _, send: send(raw="[]"),
        lambda postback: postback.assert_refused(status=413, count=1, timeout=0),
    ),
    "1 event got 200; wanted at least 1 event refused (4xx)": (
        lambda _, send: send(),
        lambda postback: postback.assert_refused(timeout=0),
    ),
    "30 records ingested; wanted none": (
        lambda _, send: [send({str(number): KEY}) for number in range(30)],
        lambda postback: postback.assert_nothing_ingested(),
    ),
    "1 request arrived; wanted none": (
        lambda _, send: send(path=f"/\x7f{KEY}"),
        lambda postback: postback.assert_no_requests(),
    ),
    "30 of 30 records do not satisfy the schema": (
        lambda _, send: [send({KEY: "\x1b"}) for _ in range(30)],
        lambda postback: postback.assert_valid({"additionalProperties": {"type": "number"}}),
    ),
    "1 event arrived; wanted one that satisfies is_rejected (": (
        lambda _, send: send(raw=f'"{KEY}"'),
        lambda postback: postback.wait_for(is_rejected, timeout=0),
    ),
    "still pending: validation is held; wanted 1 record in shop.o": (
        lambda postback, send: [postback._collector.hold(), send()],
        ingested,
    ),
    "1 event still pending: validation is held": (
        lambda postback, send: [postback._collector.hold(), send()],
        lambda postback: postback.settle(0),
    ),
    "1 event still pending: validation is held; wanted at least 1 ": (
        lambda postback, send: [postback._collector.hold(), send()],
        lambda postback: postback.assert_auth_failed(timeout=0),
    ),
    "1 event lost by a fault; wanted at least 1 event refused (4xx": (
        lost,
        lambda postback: postback.assert_refused(timeout=0),
    ),
    "1 event lost by a fault; wanted at least 1 event rejected aft": (
        lost,
        lambda postback: postback.assert_auth_failed(timeout=0),
    ),
    "no more than 2 events refused (4xx); wanted 3 events refused ": (
        lambda _, send: [send(raw="[]"), send(raw="[]")],
        lambda postback: postback.assert_refused(count=3, timeout=0),
    ),
    "no more than 1 record matched; wanted 2 records in shop.order": (
        lambda _, send: [send(), send(to=("web", "clicks"))],
        lambda postback: ingested(postback, count=2),
    ),
    "2 events got 200 (1), 503 (1); wanted at least 1 event refuse": (
        lambda postback, send: [send(), lost(postback, send)],
        lambda postback: postback.assert_refused(timeout=0),
    ),
    "1 record ingested; wanted none in shop.orders with id=7": (
        lambda _, send: send(),
        lambda postback: ingested(postback, id=7, count=0),
    ),
    "2 events rejected after 200; wanted 1 event rejected after 20": (
        lambda _, send: [send(key=KEY), send(key=KEY)],
        lambda postback: postback.assert_auth_failed(count=1, timeout=0),
    ),
    "1 rejected after 200, but sent before the block began; wanted": (
        lambda _, send: send(key=KEY),
        expect_nothing_new,
    ),
    "1 connection was refused: it does not begin with an HTTP meth": (
        lambda postback, _: postback._collector.note_refused_connection(
            "127.0.0.1:5 at http://127.0.0.1:6: it does not begin with an HTTP method"
        ),
        ingested,
    ),
    "1 connection was refused: its head has ": (send_a_large_head, ingested),
    "no request arrived: connections to api.example were blocked; ": (
        block_a_host,
        ingested,
    ),
    "no event arrived, only 1 CORS preflight; wanted 1 record in s": (
        lambda postback, _: httpx.options(postback.event_url("shop", "orders")),
        ingested,
    ),
}


NEXT_STEP = re.compile(
    r"Fix: |\?|tdpostback rules [A-Z]|Give more | instead\.| asserts| lets it through"
)


@pytest.mark.parametrize("cause", CASES)
def test_the_first_characters_name_the_cause(tdpostback, send, cause, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    arrange, call = CASES[cause]
    arrange(tdpostback, send)
    with pytest.raises((AssertionError, PostbackError)) as caught:
        call(tdpostback)
    while tdpostback._collector.holds:
        tdpostback._collector.release()
    check(str(caught.value), cause)


def check(text, cause):
    assert text[: min(60, len(cause))] == cause[:60]
    lines = text.splitlines()
    assert len(lines) < 25
    assert all(line.isprintable() for line in lines)
    assert "012345678901" not in text
    assert NEXT_STEP.search(text), text


@pytest.mark.parametrize(
    ("settings", "body", "cause"),
    [
        ({}, {"key": KEY}, "Silent loss: 1 event got 200 but was never stored."),
        (
            {"on_refusal": "fail"},
            {"raw": "[]"},
            '1 event refused (4xx), and no assertion claimed it (on_refusal="fail")',
        ),
        (
            {"on_unasserted": "fail"},
            {},
            '1 event ingested, and no assertion claimed it (on_unasserted="fail")',
        ),
        (
            {"on_finding": "fail"},
            {"data": {"td_record_time": 1_700_000_000_000}},
            "1 finding: T5: td_record_time is ignored: 1700000000000 looks",
        ),
        (
            {"validation_delay": 3_600},
            {},
            "1 event still pending: the next one is due in 3.6e+03 s",
        ),
    ],
)
def test_the_first_characters_of_what_fails_a_test_at_its_end_name_the_cause(
    make_tdpostback, send, settings, body, cause
):
    other = make_tdpostback(**{"on_auth_failure": "fail", **settings})
    send(url=other.url, **{"key": other.write_key, **body})
    with pytest.raises((AssertionError, PostbackError)) as caught:
        other.check()
    check(str(caught.value), cause)
    other._collector.clear()


ALL = [
    lambda postback: postback.assert_ingested("shop", "orders", timeout=3_600),
    lambda postback: postback.assert_refused(timeout=3_600),
    lambda postback: postback.assert_auth_failed(timeout=3_600),
    lambda postback: postback.assert_valid(True, timeout=3_600),
    lambda postback: postback.wait_for(lambda event: event.seq == 7, timeout=3_600),
    lambda postback: asyncio.run(postback.aio.assert_refused(timeout=3_600)),
]


@pytest.mark.parametrize("wait", ALL)
def test_a_server_that_stops_ends_every_wait_and_is_its_cause(wait, while_waiting):
    server = PostbackServer()
    server.start()
    with pytest.raises(AssertionError) as caught:
        while_waiting(lambda: wait(server.postback), server.stop)
    check(str(caught.value), "no request arrived: the server is stopped; wanted ")
    assert "(waited 3600 s)" not in str(caught.value)


@pytest.mark.parametrize("wait", ALL)
def test_a_server_that_was_never_started_ends_every_wait_and_is_its_cause(wait):
    with pytest.raises(AssertionError) as caught:
        wait(PostbackServer().postback)
    check(str(caught.value), "no request arrived: the server was never started; wanted ")
    assert "\n  The server was never started. Fix: start it before you send." in str(caught.value)
    assert "(waited 0 s)" in str(caught.value)


def test_a_server_that_was_never_started_may_be_used_without_a_socket(while_waiting):
    postback = PostbackServer().postback

    def send():
        with httpx.Client(transport=postback.httpx_transport()) as client:
            headers = {"X-TD-Write-Key": postback.write_key}
            client.post("http://x/postback/v3/event/shop/orders", json={}, headers=headers)

    with httpx.Client(transport=postback.httpx_transport()):
        while_waiting(lambda: postback.assert_ingested("shop", "orders", timeout=10), send)


def test_a_server_that_stops_ends_the_wait_for_a_quiet_time(while_waiting):
    server = PostbackServer()
    server.start()
    while_waiting(lambda: server.postback.assert_no_requests(3_600), server.stop)


@pytest.mark.parametrize("wait", [ALL[1], ALL[2], ALL[4]])
def test_a_stopped_server_is_named_beside_what_arrived(wait):
    with PostbackServer() as server:
        headers = {"X-TD-Write-Key": server.write_key}
        httpx.post(server.postback.event_url("shop", "orders"), json={}, headers=headers)
        server.postback.settle()
    with pytest.raises(
        AssertionError, match=r"\n  The server is stopped\. Fix: start it"
    ) as caught:
        wait(server.postback)
    assert "(waited 0 s)" in str(caught.value)
