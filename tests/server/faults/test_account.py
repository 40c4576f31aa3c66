"""The account counts every event once, and agrees with what clients saw."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_tdpostback import PostbackServer
from tests.server.faults.clients import ERROR, Sender

FAULTS = {
    "none": lambda f: f.sequence(["ok"]),
    "status": lambda f: f.status(503),
    "delay": lambda f: f.delay(0.001),
    "reset before storing": lambda f: f.reset("storing"),
    "reset before answer": lambda f: f.reset("answer"),
    "truncate": lambda f: f.truncate(after=10),
    "drip": lambda f: f.drip(1_000_000),
    "garbage": lambda f: f.garbage(),
    "throttle": lambda f: f.throttle(1, 3600),
    "drop": lambda f: f.drop(),
    "duplicate": lambda f: f.duplicate(),
    "outage": lambda f: f.outage(3600),
    "sequence": lambda f: f.sequence([503, "ok", "reset", "drop"]),
    "coin": lambda f: f.drop(probability=0.5),
}
EVENTS = {"good": {"id": 1}, "refused": ["no object"], "stranger": {"id": 2}}


@pytest.fixture(scope="module")
def server():
    with PostbackServer(on_auth_failure="ignore") as server:
        yield server


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(FAULTS)), st.lists(st.sampled_from(sorted(EVENTS)))),
        max_size=6,
    )
)
def test_every_event_is_counted_once(server, story):
    postback = server.postback
    postback.clear()
    sender, seen = Sender(postback), []
    for fault, kinds in story:
        with FAULTS[fault](postback.faults):
            for kind in kinds:
                if kind == "stranger":
                    seen.append(as_stranger(sender))
                else:
                    seen.append(sender.by_socket(EVENTS[kind]))
    postback.settle()

    result = postback.account
    events = postback.events

    assert result.balanced
    assert result.sent == len(seen) == len(events)
    assert result.pending == 0
    assert [e.status or ERROR for e in events] == seen
    assert len(postback.records()) == result.ingested + result.duplicated
    assert result.lost_after_200 == sum(str(e.state) == "lost" and e.status == 200 for e in events)
    assert result.stored_unconfirmed == sum(
        saw == ERROR and str(e.state) == "ingested" for saw, e in zip(seen, events, strict=True)
    )


def as_stranger(sender):
    key = sender.postback.write_key.encode()
    with sender.connect() as client:
        client.send(sender.request(EVENTS["stranger"]).replace(key, b"1/nobody"))
        return client.read_status() or ERROR


def test_account_in_words(tdpostback):
    sender = Sender(tdpostback)
    with tdpostback.faults.sequence(["reset", "duplicate", "drop", 503, "garbage"]):
        for number in range(5):
            sender.by_socket({"id": number})
    sender.by_socket(["no object"])
    tdpostback.settle()

    result = tdpostback.account
    assert str(result) == "6 sent = 1 refused + 0 pending + 2 ingested + 0 rejected + 3 lost"
    assert (result.stored_unconfirmed, result.duplicated, result.lost_after_200) == (1, 1, 1)


def test_account_of_a_quiet_test(tdpostback):
    with tdpostback.hold_validation():
        Sender(tdpostback).by_socket({"id": 1})
        result = tdpostback.account
    assert str(result) == "1 sent = 0 refused + 1 pending + 0 ingested + 0 rejected + 0 lost"


def test_truncated_responses_count_as_unconfirmed_however_much_was_sent(tdpostback):
    sender = Sender(tdpostback)
    for after in (0, 17, 60, 100_000):
        with tdpostback.faults.truncate(after=after):
            sender.by_socket({"id": after})
    tdpostback.settle()

    result = tdpostback.account

    assert [event.status for event in tdpostback.events] == [None, 200, 200, 200]
    assert (result.ingested, result.stored_unconfirmed) == (4, 3)


def test_a_failed_test_shows_what_faults_hid(pytester):
    pytester.makepyfile(
        """
        from tests.server.faults.clients import Sender

        def test_one(tdpostback):
            tdpostback.faults.sequence(["garbage", "drop"])
            for number in range(3):
                Sender(tdpostback).by_socket({"id": number})
            assert False
        """
    )

    result = pytester.runpytest_inprocess()

    result.stdout.fnmatch_lines(
        [
            "*3 events: * at http://127.0.0.1:*",
            "1 stored although no whole response reached its sender",
            "1 lost after a response of 200",
        ]
    )
