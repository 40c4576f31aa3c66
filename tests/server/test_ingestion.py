"""The Data Ingestion API over every transport: real clients' requests as bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
import requests
from pytest_httpserver import HTTPServer

from tests.http_client import HttpClient
from tests.server.behaviour import KEY, NOW
from tests.server.transports import transports

if TYPE_CHECKING:
    from collections.abc import Mapping

INGESTION = "ingestion-v1"
TYPE = "application/vnd.treasuredata.v1{}+json"
BATCH, JS, MOBILE, SINGLE = map(TYPE.format, ("", ".js", ".mobile", ".single"))
ORIGIN = "https://shop.example"
UUID = "0b9c5a4e-3d43-4b67-9d8f-6d0e5f1a2b3c"
MIB = 1024 * 1024


def raw(
    body=b"",
    *fields,
    content_type=BATCH,
    method="POST",
    target="/shop_db/page_views",
    version="1.1",
    host="records.in.treasuredata.com",
    key=f"TD1 {KEY}",
    length=True,
):
    """A request as bytes."""
    named = [f"{method} {target} HTTP/{version}", f"Host: {host}"]
    named += [f"Content-Type: {content_type}"] * bool(content_type)
    named += [f"Authorization: {key}"] * bool(key)
    named += fields
    named += [f"Content-Length: {len(body)}"] * length
    return "\r\n".join([*named, "", ""]).encode() + body


def batch(*records, **others):
    return json.dumps({"events": records, **others}).encode()


def chunked(body, size=7):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Shape:
    """A request, and what becomes of it."""

    id: str
    raw: bytes
    status: int = 200
    states: tuple[str, ...] = ("ingested",)
    record: Mapping[str, object] | None = None
    """The first record without its time."""
    rule: str | None = None
    """The rule of the first event that is refused."""
    response: dict[str, str] = field(default_factory=dict)
    not_on: tuple[str, ...] = ()


PAGE = {"td_url": "https://shop.example/é", "n": 1}
ADDRESS = {"td_ip": "127.0.0.1"}
GZIP = "Content-Encoding: gzip"
BROWSER = (
    f"Origin: {ORIGIN}",
    "Referer: https://shop.example/",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36",
    f"Accept: {JS}",
)
READABLE = {
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Allow-Credentials": "true",
}
PREFLIGHT = (
    f"Origin: {ORIGIN}",
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization,content-type",
)
SHAPES = [
    Shape(
        "browser",
        raw(
            batch(PAGE),
            *BROWSER,
            content_type=JS,
            target="/shop_db/page_views?modified=1700000000123&time=1700000000123",
        ),
        record=PAGE | ADDRESS,
        response={**READABLE, "Content-Type": JS},
    ),
    Shape(
        "browser with a global id",
        raw(
            batch({"td_global_id": "td_global_id"}),
            *BROWSER,
            "Cookie: a=b; _td_global=of-the-browser",
            content_type=JS,
        ),
        record={"td_global_id": "of-the-browser"} | ADDRESS,
    ),
    Shape(
        "preflight of a browser",
        raw(b"", *PREFLIGHT, method="OPTIONS", content_type="", key="", length=False),
        status=204,
        states=(),
        response={**READABLE, "Access-Control-Allow-Headers": "authorization,content-type"},
    ),
    Shape(
        "global id of a browser",
        raw(b"", *BROWSER, method="GET", target="/", content_type=JS, length=False),
        states=(),
        response=READABLE,
    ),
    Shape(
        "preflight of a global id",
        raw(b"", *PREFLIGHT, method="OPTIONS", target="/", content_type="", key="", length=False),
        status=204,
        states=(),
        response=READABLE,
    ),
    Shape(
        "preflight of a path that is not served",
        raw(b"", *PREFLIGHT, method="OPTIONS", target="/shop_db", content_type="", length=False),
        status=404,
        states=("refused",),
        rule="R6",
        response=READABLE,
    ),
    Shape(
        "android",
        raw(
            gzip.compress(batch({**PAGE, "uuid": UUID}, {"n": 2})),
            GZIP,
            f"Accept: {MOBILE}",
            "User-Agent: Dalvik/2.1.0 (Linux; U; Android 14)",
            content_type=MOBILE,
        ),
        states=("ingested", "ingested"),
        record=PAGE | ADDRESS,
    ),
    Shape(
        "ios",
        raw(
            gzip.compress(batch({"n": 1}), mtime=0),
            GZIP,
            "User-Agent: Shop/1 CFNetwork/1410.0.3 Darwin/22.6.0",
            f"Accept: {MOBILE}",
            "Accept-Language: ja",
            content_type=MOBILE,
        ),
        record={"n": 1, **ADDRESS},
    ),
    Shape("deflate", raw(zlib.compress(batch(PAGE)), "Content-Encoding: deflate"), record=PAGE),
    Shape(
        "one record",
        raw(json.dumps(PAGE).encode(), content_type=SINGLE),
        record=PAGE,
        response={"Content-Type": SINGLE},
    ),
    Shape(
        "many records, one fails",
        raw(batch({"n": 0}, "text", {"n": 2})),
        status=206,
        states=("ingested", "refused", "ingested"),
        record={"n": 0},
    ),
    Shape(
        "a repeated uuid",
        raw(batch({"uuid": UUID, "n": 1}, {"uuid": UUID, "n": 1})),
        states=("ingested", "deduplicated"),
        record={"n": 1},
    ),
    Shape(
        "chunked",
        raw(b"", "Transfer-Encoding: chunked", length=False) + chunked(batch(PAGE)),
        record=PAGE,
        not_on=("wsgi", "mounted"),
    ),
    Shape(
        "chunked and compressed",
        raw(b"", GZIP, "Transfer-Encoding: chunked", length=False)
        + chunked(gzip.compress(batch(PAGE))),
        record=PAGE,
        not_on=("wsgi", "mounted"),
    ),
    Shape("http 1.0", raw(batch(PAGE), version="1.0"), record=PAGE, not_on=("wsgi", "mounted")),
    Shape(
        "the names of fields in lower case",
        raw(batch(PAGE)).replace(b"Authorization", b"authorization").replace(b"TD1", b"td1"),
        record=PAGE,
    ),
    Shape(
        "another type",
        raw(batch({}), content_type="application/json"),
        400,
        ("refused",),
        rule="I5",
    ),
    Shape(
        "no key", raw(batch({}), *BROWSER, key=""), 401, ("refused",), rule="I4", response=READABLE
    ),
    Shape("an unknown key", raw(batch({}), key="TD1 1/unknown"), 401, ("refused",), rule="I4"),
    Shape(
        "the key of the other API",
        raw(batch({}), f"X-TD-Write-Key: {KEY}", key=""),
        401,
        ("refused",),
        rule="I4",
    ),
    Shape(
        "another method",
        raw(b"", method="PUT"),
        405,
        ("refused",),
        rule="I2",
        response={"Allow": "POST, OPTIONS"},
    ),
    Shape(
        "another name", raw(batch({}), target="/shop-db/page_views"), 400, ("refused",), rule="I2"
    ),
    Shape("another path", raw(batch({}), target="/shop_db"), 404, ("refused",), rule="R6"),
    Shape(
        "an older sdk",
        raw(b"", target="/js/v3/event/shop_db/page_views"),
        404,
        ("refused",),
        rule="R6",
    ),
    Shape("not compressed", raw(batch({}), GZIP), 400, ("refused",), rule="I10"),
    Shape("not JSON", raw(b'{"events":[{}'), 400, ("refused",), rule="I11"),
    Shape("a list of records", raw(b'{"records":[{}]}'), 422, ("refused",), rule="I7"),
    Shape("no record", raw(batch()), 422, ("refused",), rule="I8"),
]


@pytest.fixture(scope="module")
def exchanges():
    with HTTPServer() as server:
        every = transports(server)
        yield {name: every[name] for name in ("whole", "bytewise", "wsgi", "mounted")}


@pytest.mark.parametrize("profile", [INGESTION, None], ids=["profile", "host"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
def test_a_request_ends_in_the_same_way_on_every_transport(exchanges, shape, profile, postback_for):
    for transport, exchange in exchanges.items():
        if transport in shape.not_on:
            continue
        postback = postback_for(profile)
        (response,) = exchange(postback, shape.raw, 1)
        assert response.status == shape.status, transport
        for name, value in shape.response.items():
            assert response.header(name) == value, transport
        postback.settle()
        events = list(postback.events)
        assert [str(event.state) for event in events] == list(shape.states), transport
        assert [event.rule for event in events if event.status and event.status >= 400] == (
            [shape.rule] if shape.rule else []
        ), transport
        if shape.record is not None:
            assert dict(events[0].record) == {"time": str(NOW), **shape.record}, transport
        if shape.status in (200, 206) and shape.states:
            told = [receipt["success"] for receipt in json.loads(response.body)["receipts"]]
            assert told == [state != "refused" for state in shape.states], transport
        if shape.status >= 400:
            assert set(json.loads(response.body)) == {"error", "message"}, transport


def sent(postback, *pieces, count=1):
    with HttpClient.to(postback.url) as client:
        for piece in pieces:
            client.send(piece)
        return client.read_responses(count)


def test_a_batch_that_is_too_large_is_drained_and_the_connection_stays(postback_for):
    postback = postback_for(INGESTION)
    large = raw(b" " * (5 * MIB + 1))
    refused, accepted = sent(postback, large, raw(batch({"n": 1})), count=2)
    assert [refused.status, accepted.status] == [413, 200]
    assert refused.header("Connection") == "keep-alive"
    assert [event.rule for event in postback.events] == ["I9", None]


def test_a_batch_of_5_mib_in_chunks_is_read_and_one_byte_more_is_not(postback_for):
    postback = postback_for(INGESTION)
    body = batch({"n": 1})
    body += b" " * (5 * MIB - len(body))
    head = raw(b"", "Transfer-Encoding: chunked", length=False)
    for more, status in ((b"", 200), (b" ", 413)):
        (response,) = sent(postback, head + chunked(body + more, 65_536))
        assert response.status == status


def test_a_batch_is_asked_for_with_100_continue(postback_for):
    postback, body = postback_for(INGESTION), batch({"n": 1})
    request = raw(body, "Expect: 100-continue")
    with HttpClient.to(postback.url) as client:
        client.send(request[: -len(body)])
        assert client.read_status() == 100
        client.send(body)
        assert client.read_status() == 200
    postback.assert_ingested("shop_db", "page_views", n=1)


def test_a_batch_that_is_announced_too_large_is_not_asked_for(postback_for):
    postback = postback_for(INGESTION)
    request = raw(b"", "Expect: 100-continue", f"Content-Length: {5 * MIB + 1}", length=False)
    (response,) = sent(postback, request)
    assert response.status == 413
    assert response.header("Connection") == "close"


def test_the_response_has_a_reason_phrase(postback_for):
    postback = postback_for(INGESTION)
    phrases = {
        raw(batch({}, 5)): b"206 Partial Content",
        raw(b"{}"): b"422 Unprocessable Content",
        raw(batch({}), key=""): b"401 Unauthorized",
    }
    for request, phrase in phrases.items():
        (response,) = sent(postback, request)
        assert response.raw.startswith(b"HTTP/1.1 " + phrase + b"\r\n")


def test_requests_on_one_connection_keep_their_order(postback_for):
    postback = postback_for(INGESTION)
    both = raw(batch({"n": 1}, {"n": 2})) + raw(batch({"n": 3}))
    assert [each.status for each in sent(postback, both, count=2)] == [200, 200]
    assert [event.payload["n"] for event in postback.events] == [1, 2, 3]


URL = "https://us01.records.in.treasuredata.com/shop_db/page_views"


def with_httpx(postback, url, headers, body):
    with httpx.Client(transport=postback.httpx_transport()) as client:
        response = client.post(url, headers=headers, content=body)
    return response.status_code, response.json()


def with_requests(postback, url, headers, body):
    with requests.Session() as session:
        session.mount("https://", postback.requests_adapter())
        response = session.post(url, headers=headers, data=body)
    return response.status_code, response.json()


@pytest.mark.parametrize("send", [with_httpx, with_requests])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_clients_without_a_socket_send_batches(tdpostback, send, coding):
    body = batch({"n": 1}, 5)
    headers = {"Authorization": f"TD1 {tdpostback.write_key!s}", "Content-Type": BATCH}
    if coding == "gzip":
        body, headers["Content-Encoding"] = gzip.compress(body), coding
    status, told = send(tdpostback, URL, headers, body)
    assert status == 206
    assert [receipt["success"] for receipt in told["receipts"]] == [True, False]
    record = tdpostback.assert_ingested("shop_db", "page_views", n=1)
    assert record.event.request.body == body
