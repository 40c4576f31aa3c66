"""Matching skips what cannot match, and finds every record that does."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.protocol.request import RequestHead

values = st.sampled_from(
    [None, True, 0, 1, 7, 77, 7.0, 77.0, "7", "", "é", "☃", "a\\b", 'q"', "\n"]
)


def collect(postback, bodies, target="/postback/v3/event/db/table"):
    fields = [("Content-Type", "application/json"), ("X-TD-Write-Key", str(postback.write_key))]
    head = RequestHead.of("POST", target, fields)
    collector = postback._collector
    for body in bodies:
        collector.response_sent(collector.receive(head, body, "127.0.0.1:1"))


@example(rows=[{"a": 77.0}, {"a": 7}], wanted={"a": 77}, ascii_only=False)
@example(rows=[{"a": True}, {"a": "1"}], wanted={"a": 1}, ascii_only=False)
@example(rows=[{"a": "é"}, {"a": "e"}], wanted={"a": "é"}, ascii_only=True)
@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from("ab"), values), max_size=5),
    wanted=st.dictionaries(st.sampled_from("ab"), values, max_size=2),
    ascii_only=st.booleans(),
)
def test_it_finds_exactly_the_records_that_equal_the_wanted_columns(rows, wanted, ascii_only):
    postback = PostbackServer().postback
    bodies = [json.dumps(row, ensure_ascii=ascii_only).encode() for row in rows]
    collect(postback, [body.replace(b"77.0", b"7.7e1") for body in bodies])
    expected = [
        row for row in rows if all(name in row and row[name] == wanted[name] for name in wanted)
    ]
    found = postback.assert_ingested("db", "table", count=len(expected), timeout=0, where=wanted)
    if len(expected) != 1:
        assert [{k: v for k, v in row.items() if k != "time"} for row in found] == expected


def test_records_from_url_parameters_are_found_too():
    postback = PostbackServer(profile="openapi-1.0.0").postback
    collect(postback, [b"{}"], "/postback/v3/event/db/table?td_format=pixel&a=7")
    collect(postback, [b'{"a": "7"}'])
    postback.assert_ingested("db", "table", a="7", count=2, timeout=0)


@pytest.mark.parametrize("setting", [{"value_types": "string"}, {"url_parameters": "store"}])
def test_a_record_that_differs_from_its_body_is_found(setting):
    postback = PostbackServer(**setting).postback
    collect(postback, [b'{"b": [1, 2]}'], "/postback/v3/event/db/table?a=x")
    wanted = {"b": "[1,2]"} if "value_types" in setting else {"a": "x"}
    postback.assert_ingested("db", "table", timeout=0, where=wanted)


@pytest.fixture
def postback():
    with PostbackServer() as server:
        yield server.postback


def test_a_later_look_begins_after_the_last_record_of_the_one_before(postback, while_waiting):
    looked_at = []

    def is_third(record):
        looked_at.append(record["a"])
        return record["a"] == 2

    def send_more():
        collect(postback, [b'{"a": 1}'])
        collect(postback, [b'{"a": 2}'])

    collect(postback, [b'{"a": 0}'])
    while_waiting(
        lambda: postback.assert_ingested("db", "table", where=is_third, timeout=10), send_more
    )
    assert looked_at == [0, 1, 2]


def test_a_record_that_is_stored_late_before_others_is_found(postback, while_waiting):
    collector = postback._collector
    fields = [("Content-Type", "application/json"), ("X-TD-Write-Key", str(postback.write_key))]
    head = RequestHead.of("POST", "/postback/v3/event/db/table", fields)
    first, second = (collector.receive(head, b'{"a": 1}', "peer:1") for _ in range(2))
    collector.response_sent(second)
    found = while_waiting(
        lambda: postback.assert_ingested("db", "table", a=1, count=2, timeout=10),
        lambda: collector.response_sent(first),
    )
    assert [record.event.seq for record in found] == [1, 2]


def test_wait_for_asks_again_while_an_event_is_pending(postback, while_waiting):
    asked = []

    def is_ingested(event):
        asked.append(event.seq)
        return event.seq == 2 and event.state == "ingested"

    collect(postback, [b"{}"])
    with postback.hold_validation():
        collect(postback, [b"{}"])
        postback._collector.hold()
    while_waiting(lambda: postback.wait_for(is_ingested, timeout=10), postback._collector.release)
    assert asked.count(1) == 1
