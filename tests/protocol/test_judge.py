"""The judge takes every head there is, and equal heads have equal verdicts."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tdpostback import profiles
from pytest_tdpostback.protocol.judge import judge_body, judge_head
from pytest_tdpostback.protocol.profiles import for_host
from pytest_tdpostback.protocol.request import RequestHead
from pytest_tdpostback.protocol.settings import Settings
from tests.protocol.requests import KEY, PATH, make_postback, send, texts, unhurried

_BYTES = "".join(chr(number) for number in range(256) if number not in b"\r\n")
_TEXT = texts(_BYTES, max_size=20)
_NAMES = st.sampled_from(
    [
        *("X-TD-Write-Key", "authorization", "Content-Type", "Content-Length"),
        *("Content-Encoding", "Host", "Cookie", "Origin"),
    ]
)
_VALUES = _TEXT | st.sampled_from(
    [
        *(KEY, f"TD1 {KEY}", "TD1", "application/json", "text/plain;", "9" * 30),
        *("in.treasuredata.com", "application/vnd.treasuredata.v1+json", "gzip"),
    ]
)
_TARGETS = _TEXT | st.builds(
    "{}{}".format, st.sampled_from([PATH, "http://h", "//", "/web_db/pages", "/"]), _TEXT
)
_METHODS = st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "PUT", ""]) | texts(
    string.ascii_letters, max_size=5
)
_HEADS = st.builds(
    RequestHead.of, _METHODS, _TARGETS, st.lists(st.tuples(_NAMES, _VALUES), max_size=6)
)
_SETTINGS = st.builds(
    Settings,
    profile=st.sampled_from([None, *profiles]),
    malformed_key=st.sampled_from(["async", "refuse"]),
    max_body=st.integers(1, 100),
)


@unhurried
@given(_HEADS, _SETTINGS, st.binary(max_size=120))
def test_any_head(head, settings, body):
    """[R6] a verdict comes out, and it is complete."""
    verdict = judge_head(head, settings)
    assert judge_head(RequestHead(head.raw), settings) == verdict
    refusal = verdict.refusal
    if refusal is None and not (verdict.preflight or verdict.global_id_request):
        assert verdict.key
        assert verdict.database
        assert verdict.table
        refusal = judge_body(verdict, head, body)
    assert refusal is None or (refusal.status in (400, 401, 403, 404, 405, 413) and refusal.reason)


@unhurried
@given(_TEXT, st.lists(st.tuples(_NAMES, _TEXT), max_size=4))
def test_head_keeps_what_was_sent(target, fields):
    """[A1] the raw head is the request, but for blanks around values."""
    head = RequestHead(RequestHead.of("POST", target, fields).raw)
    assert (head.method, head.target) == ("POST", target)
    assert list(head.headers.pairs) == [(name, value.strip(" \t")) for name, value in fields]


@pytest.mark.parametrize("profile", profiles, ids=str)
def test_profile_is_data(profile):
    """[R4] the methods that a profile serves."""
    assert ("GET" in profile.methods) == profile.url_interface
    spoken = [for_host(host) for host in profile.hosts]
    assert all(profile in (each, each.postback) for each in spoken)


_REQUESTS = st.fixed_dictionaries(
    {
        "target": st.sampled_from([PATH, f"{PATH}/", "/x", f"{PATH}?td_format=pixel&a=1"]),
        "method": st.sampled_from(["POST", "GET", "OPTIONS", "PUT"]),
        "headers": st.tuples(
            st.sampled_from([("Content-Type", "application/json"), ("Content-Type", "text/csv")]),
            st.sampled_from([KEY, "1/wrong", "malformed", ""]).map(
                lambda key: ("X-TD-Write-Key", key)
            ),
        ),
        "body": st.sampled_from([b"{}", b'{"td_record_time":1}', b"[]", b""]),
    }
)


@unhurried
@given(st.lists(_REQUESTS, max_size=8), st.sampled_from([row.name for row in profiles]))
def test_account_balances(requests, profile):
    """[Y2] sent is refused, rejected or ingested, and a record stands for each ingested event."""
    postback = make_postback(profile=profile, stale_time="drop")
    for request in requests:
        send(postback, **request)
    postback.settle()
    sent = [each for each in requests if each["method"] != "OPTIONS" or each["target"] == "/x"]
    ended = len(postback.refused), len(postback.auth_failures), len(postback.records())
    assert sum(ended) == len(sent) == len(postback.events)
    assert all(event.state in ("refused", "rejected", "ingested") for event in postback.events)
