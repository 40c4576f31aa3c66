"""The order of judgement: of two faults in one request, the earlier one answers."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.protocol.requests import JSON, KEY, make_postback, send

LARGE = b'{"a":"' + b"x" * 600 + b'"}'

# Each fault changes a request that is in order; they stand in the order in which they are judged.
FAULTS: dict[str, dict[str, Any]] = {
    "R6": {"path": "/elsewhere"},
    "R4": {"method": "PUT"},
    "R2": {"table": "bad-name"},
    "A4": {"key": ""},
    "A6": {"key": "12345/wrong"},
    "A7": {"key": "malformed"},
    "B6": {"body": LARGE},
    "B1": {"content_type": "text/csv"},
    "B8": {"encoding": "gzip"},
    "B4": {"body": b""},
    "B2": {"body": b"{"},
    "B3": {"body": b"[]"},
    "B7": {"body": b"[" * 513},
}
STATUS = {"R6": 404, "R4": 405, "A4": 403, "A6": 403, "A7": 403, "B6": 413}


def request(**changed):
    path = changed.get("path", "/postback/v3/event")
    headers = {
        "Content-Type": changed.get("content_type", "application/json"),
        "X-TD-Write-Key": changed.get("key", KEY),
        "Content-Encoding": changed.get("encoding", ""),
    }
    return {
        "method": changed.get("method", "POST"),
        "target": f"{path}/test_db/{changed.get('table', 'test_tbl')}",
        "headers": list(headers.items()),
        "body": changed.get("body", b"{}"),
    }


def pairs():
    for first, second in combinations(FAULTS, 2):
        if not FAULTS[first].keys() & FAULTS[second].keys():
            yield pytest.param(first, second, id=f"{first}-before-{second}")


@pytest.fixture(scope="module")
def postback():
    """The profile that refuses most: unknown keys at once, and malformed ones too."""
    return make_postback(profile="article-2015", malformed_key="refuse", max_body=600)


@pytest.mark.parametrize("rule", FAULTS)
def test_one_fault(postback, rule):
    event = send(postback, **request(**FAULTS[rule]))
    assert (event.rule, event.status) == (rule, STATUS.get(rule, 400))


@pytest.mark.parametrize(("first", "second"), list(pairs()))
def test_two_faults(postback, first, second):
    event = send(postback, **request(**FAULTS[first], **FAULTS[second]))
    assert (event.rule, event.status) == (first, STATUS.get(first, 400))


def test_all_faults(postback):
    """[R6] what comes first answers, whatever else is wrong."""
    everything = {name: value for fault in FAULTS.values() for name, value in fault.items()}
    assert send(postback, **request(**everything)).rule == "R6"


def test_a_preflight_of_the_event_route_is_no_event():
    """[R5] a browser asks what it may send."""
    assert send(make_postback(), method="OPTIONS", headers=JSON) is None


def test_a_preflight_of_an_unknown_path_is_a_refused_event():
    """[R6] a page that loses everything at its preflight must not look as if it sent nothing."""
    event = send(make_postback(), method="OPTIONS", target="/elsewhere", headers=JSON)
    assert (event.status, event.state, event.rule) == (404, "refused", "R6")


@pytest.mark.parametrize("method", ["PUT", "HEAD", "BREW"])
def test_route_of_a_refused_method(method):
    """[R4] the event knows the table that was meant."""
    event = send(make_postback(), method=method)
    assert (event.rule, event.database, event.table) == ("R4", "test_db", "test_tbl")
