"""Any bytes, cut anywhere, with a head cache that knows much or nothing: the same comes out.

The invariant behind all of it: whatever arrives, a connection raises nothing, writes nothing but
whole answers, and after its end nothing more.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.http_client import statuses
from tests.server.raw_connections import BODY, Desk, Outcome, chunked, outcome, request

ANSWER = re.compile(
    rb"HTTP/1\.1 (?:100 Continue\r\n\r\n"
    rb"|\d{3} [^\r\n]+\r\n(?:[!-~]+: [^\r\n]*\r\n)+\r\n(?:\{\}|GIF89a[^;]+;)?)"
)
FIELDS = [
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade",
    b"Content-Encoding: gzip",
    b"Content-Length: 0",
    b"Content-Length: 8",
    b"Content-Length: 08",
    b"Content-Length: 8 ",
    b"Content-Length:\t8",
    b"Content-length: 7",
    b"Content-Length: 100000",
    b"Content-Length: -8",
    b"Expect: 100-continue",
    b"Host: other",
    b"Origin: http://a",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Upgrade: h2c",
    b"X-A: \xc3\xa0",
    b"X-A: ",
    b"X-A:",
    b" folded",
    b"X-TD-Write-Key: 1/other",
]
TARGETS = [
    b"/postback/v3/event/shop/orders",
    b"/postback/v3/event/shop/orders?td_format=pixel&a=1",
    b"http://localhost/postback/v3/event/shop/orders",
    b"/",
    b"*",
    b"localhost:443",
]
METHODS = [b"POST"] * 3 + b"GET HEAD OPTIONS CONNECT PUT post BREW".split()
SHARDS = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nab",
    b"POST / HTTP/1.1",
    b"Host: x\r\n",
    b"\x00",
    b"{}",
    BODY,
    b"GET / HTTP/1.0\r\n\r\n",
]

made = st.builds(
    lambda method, target, version, fields, body, counted: request(
        body, *fields, method=method, target=target, version=version, length=counted
    ),
    st.sampled_from(METHODS),
    st.sampled_from(TARGETS),
    st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2.0"]),
    st.lists(st.sampled_from(FIELDS), max_size=3),
    st.sampled_from([BODY, b"", b"{", b"[1]", b'{"a":"\\ud800"}', b"x" * 5000]),
    st.booleans(),
)
good = st.sampled_from([request(), request(b'{"id":2}'), chunked(b'{"id"', b":3}")])
piece = st.one_of(made, good, st.sampled_from(SHARDS), st.binary(min_size=1, max_size=8))
stream = st.lists(piece, min_size=1, max_size=6).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces that end at `places`."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """`data` with single bytes replaced."""
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    return bytes(changed)


def warm(data: bytes) -> Desk:
    """A desk that has served `data` and every usual request before, each alone and often enough."""
    desk = Desk(max_body=1000)
    for each in [request(), request(b'{"id":2}'), request(b"", method=b"GET"), data] * 2:
        outcome(desk, [each])
    return desk


def check_form(result: Outcome) -> None:
    """Whole answers and nothing else; a 4xx where the end was ours."""
    assert not ANSWER.sub(b"", result.answers)
    kept = result.answers.count(b"Connection: keep-alive")
    closed = result.answers.count(b"Connection: close")
    assert closed == (1 if result.ended else 0)
    assert kept + closed + result.answers.count(b"100 Continue") == len(
        re.findall(rb"HTTP/1\.1 \d", result.answers)
    )


fuzz = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@fuzz
@given(stream, st.lists(st.integers(0, 1 << 16), max_size=6))
@example(request() + b"\r\n" + request(), [140])
@example(request(BODY, b"Connection: Upgrade", b"Upgrade: h2c") + request(), [10, 200])
@example(request(b"", b"Content-Length: 8 ", length=False) + BODY + request(), [])
def test_cut_anywhere_with_a_cold_and_a_warm_cache(data, places):
    whole = outcome(Desk(max_body=1000), [data])
    check_form(whole)
    pieces = cut(data, places)
    assert outcome(Desk(max_body=1000), pieces) == whole
    knincomplete = warm(data)
    assert outcome(knincomplete, [data]) == whole
    assert outcome(knincomplete, pieces) == whole


@fuzz
@given(stream, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=3))
def test_flipped_bytes(data, changes):
    data = mutated(data, changes)
    whole = outcome(Desk(max_body=1000), [data])
    check_form(whole)
    assert outcome(Desk(max_body=1000), [data[at : at + 1] for at in range(len(data))]) == whole
    assert outcome(warm(data), [data]) == whole


line = st.one_of(
    st.sampled_from(FIELDS),
    st.sampled_from([b"X-A: 2", b"X-A:3 \t", b"X-A : 4", b"X-B: 5", b"X-A: \x00", b"x-a: 6"]),
    st.binary(max_size=12).map(lambda value: b"X-A: " + value),
    st.binary(max_size=12),
)


@fuzz
@given(st.lists(line, min_size=2, max_size=4), st.booleans())
@example([b"X-A: 1", b"X-A: 2", b"X-A : 3"], True)
@example([b"X-A: 1", b"Transfer-Encoding: chunked"], False)
@example([b"Connection: keep-alive", b"Connection: close"], True)
@example([b"Proxy-Connection: keep-alive", b"Proxy-Connection: close"], True)
def test_a_line_that_differs_from_the_last_head_s(lines, counted):
    """Served one by one, the later heads may be taken as like the first; in one piece, none is."""
    requests = [request(BODY, each, length=counted) for each in lines]
    one_by_one = outcome(Desk(), requests)
    in_one_piece = outcome(Desk(), [b"".join(requests)])
    assert one_by_one == in_one_piece


@fuzz
@given(
    st.lists(
        st.tuples(line, st.sampled_from([BODY, b'{"id":22}', b"", b"x" * 2000])),
        min_size=2,
        max_size=4,
    ),
    st.booleans(),
    st.sampled_from(METHODS),
)
@example([(b"Content-Length: 8", BODY), (b"Content-Length: 9", b'{"id":22}')], False, b"POST")
@example([(b"Content-Length: 0", b""), (b"Content-Length: 8", BODY)], False, b"CONNECT")
@example([(b"X-A: 1", BODY), (b"X-A: 2", b"x" * 2000)], True, b"POST")
@example([(b"X-A: 1", BODY), (b"X-A: " + b"2" * 66_000, BODY)], True, b"POST")
def test_a_line_that_differs_from_the_last_head_s_on_another_connection(sent, counted, method):
    """What a head on one connection came to decides nothing about a head on the next."""
    knincomplete = Desk(max_body=1000)
    for field, body in sent:
        data = request(body, field, length=counted, method=method)
        head = data[: len(data) - len(body)]
        assert outcome(knincomplete, [data]) == outcome(Desk(max_body=1000), [data])
        assert outcome(knincomplete, [head]) == outcome(Desk(max_body=1000), [head])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes(data, places):
    whole = outcome(Desk(), [data])
    check_form(whole)
    assert outcome(Desk(), cut(data, places)) == whole
    assert not whole.events


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_cut_of_a_pipeline(rounds):
    data = (request() + chunked(BODY) + request(b"", method=b"HEAD")) * rounds
    whole = outcome(Desk(), [data])
    assert statuses(whole.answers) == [200, 200, 405] * rounds
    knincomplete = warm(data)
    for at in range(1, len(data)):
        assert outcome(knincomplete, [data[:at], data[at:]]) == whole
