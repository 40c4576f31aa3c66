"""Rows that were ingested: a list to its user, made only as far as somebody looks."""

from __future__ import annotations

import logging

import pytest
import requests

from pytest_tdpostback import PostbackServer, PostbackWarning, UnexpectedAuthFailure


def send(postback, key=None, **columns):
    headers = {"X-TD-Write-Key": key or postback.write_key}
    url = postback.event_url("web", "visits")
    return requests.post(url, json=columns, headers=headers, timeout=5)


@pytest.fixture
def three(tdpostback):
    for number in range(3):
        send(tdpostback, number=number)
    tdpostback.settle()
    return tdpostback


def numbers(rows):
    return [row["number"] for row in rows]


def test_a_list(three):
    rows = three.records("web", "visits")
    assert isinstance(rows, list)
    assert len(rows) == 3
    assert rows
    assert numbers(rows) == numbers([*rows]) == numbers(tuple(rows)) == [0, 1, 2]
    assert (rows[0]["number"], rows[-1]["number"], numbers(rows[1:])) == (0, 2, [1, 2])
    assert rows == three.records()
    assert rows == list(rows)
    assert list(rows) == rows
    assert not rows != list(rows)  # noqa: SIM202 - the other operator


@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows + [],  # noqa: RUF005
        lambda rows: [] + rows,  # noqa: RUF005
        lambda rows: rows.copy(),
        lambda rows: rows * 1,
        lambda rows: list(reversed(list(reversed(rows)))),
        lambda rows: sorted(rows, key=lambda row: row["number"]),
        list,
    ],
)
def test_whatever_a_list_can_do(three, use):
    assert numbers(use(three.records())) == [0, 1, 2]


def test_changing_the_list_changes_nothing_else(three):
    rows = three.records()
    rows.sort(key=lambda row: -row["number"])
    assert numbers(rows) == [2, 1, 0]
    assert rows.pop()["number"] == 0
    assert rows.index(rows[1]) == 1
    assert rows[0] in rows
    rows.append(rows[0])
    rows.extend(three.records())
    assert numbers(rows) == [2, 1, 2, 0, 1, 2]
    assert numbers(three.records()) == [0, 1, 2]


def test_events_equal_events(three):
    assert three.events == three.events[:]
    assert three.events == list(three.events)
    assert three.events != three.events[1:]
    assert three.refused == three.auth_failures == []


def test_a_refusal_stands_in_the_log_without_the_key(tdpostback, caplog):
    """[W4] the reason is on the event, in the report and in the log."""
    with caplog.at_level(logging.INFO, "pytest_tdpostback"):
        requests.post(
            tdpostback.event_url("web", "visits", td_write_key="1/secret-of-mine"),
            data=b"[]",
            headers={"Content-Type": "application/json"},
            timeout=5,
        )
        send(tdpostback, key="2/unknown-secret")
        tdpostback.assert_auth_failed(count=1)
    first, second = caplog.messages
    assert "400, refused, B3: the top level is an array, not an object" in first
    assert "200, rejected, A5: write key 2/unk… is unknown" in second
    assert "secret" not in caplog.text


def test_a_key_among_the_columns_is_not_shown(tdpostback):
    send(tdpostback, td_write_key="1/secret-of-mine")
    record = tdpostback.assert_ingested("web", "visits")
    assert record["td_write_key"] == "1/secret-of-mine"
    assert repr(record).endswith("'td_write_key': '1/sec…'})")


def test_check_warns_of_findings_without_pytest():
    with PostbackServer() as server:
        send(server.postback, **{"Bad-Name": 1})
        with pytest.warns(PostbackWarning, match=r"C1: .*event #1 web\.visits"):
            server.check()
        server.check()


@pytest.mark.filterwarnings("ignore::pytest_tdpostback.PostbackWarning")
def test_an_event_dropped_for_its_time_is_no_matter_of_keys(make_tdpostback):
    """[T3] the text of the failure speaks of the time."""
    postback = make_tdpostback(stale_time="drop")
    send(postback, td_record_time=1)
    with pytest.raises(UnexpectedAuthFailure, match=r"is older than 7 days \(T3\)") as failure:
        postback.check()
    assert "write key" not in str(failure.value)
    (finding,) = postback.events[0].findings
    assert finding.message.startswith("the event is dropped for its td_record_time")


def test_failures_from_before_the_block_are_named_as_such(tdpostback):
    send(tdpostback, key="1/unknown")
    tdpostback.settle()
    with (
        pytest.raises(
            AssertionError, match="1 rejected after 200, but sent before the block began"
        ),
        tdpostback.expect_auth_failure(timeout=0),
    ):
        pass
    tdpostback.assert_auth_failed(count=1)


def test_one_write_key_or_several(make_tdpostback):
    assert "1/mine" in make_tdpostback(write_keys="1/mine").keys
    assert "1/mine" in make_tdpostback(write_keys=["1/mine", "2/mine"]).keys
    with pytest.raises(Exception, match="of type bytes") as error:
        make_tdpostback(write_keys=[b"1/hidden"])
    assert "hidden" not in str(error.value)


def test_a_block_of_expected_failures_can_be_entered_again(tdpostback):
    expected = tdpostback.expect_auth_failure(count=1)
    for number in (1, 2):
        with expected as failures:
            send(tdpostback, key="1/unknown")
        assert [event.seq for event in failures] == list(range(1, number + 1))
