"""The first 60 characters of every failure name its cause, and the text is short and safe."""

from __future__ import annotations

import pytest

KEY = "1/" + 4 * "0123456789"
pytestmark = [
    pytest.mark.tdpostback(on_auth_failure="ignore"),
    pytest.mark.filterwarnings("ignore::pytest_tdpostback.PostbackWarning"),
]


def ingested(postback, **columns):
    postback.assert_ingested("shop", "orders", timeout=0, **columns)


def is_rejected(event):
    return event.state == "rejected"


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
}


@pytest.mark.parametrize("cause", CASES)
def test_the_first_characters_name_the_cause(tdpostback, send, cause):
    arrange, call = CASES[cause]
    arrange(tdpostback, send)
    with pytest.raises(AssertionError) as caught:
        call(tdpostback)
    text = str(caught.value)
    assert text[: min(60, len(cause))] == cause[:60]
    lines = text.splitlines()
    assert len(lines) < 25
    assert all(line.isprintable() for line in lines)
    assert "012345678901" not in text
