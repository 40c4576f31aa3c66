"""A wait ends as soon as what it waits for happens, and nothing else wakes it."""

from __future__ import annotations

import http.client
import threading

import pytest

from pytest_tdpostback.collector.collector import Collector

HOUR = 3600
"""Seconds of a wait that ends in time only if something wakes it."""


@pytest.mark.parametrize(
    "wait",
    [
        lambda postback: postback.settle(HOUR),
        lambda postback: postback.wait_for(lambda event: event.state == "ingested", timeout=HOUR),
        lambda postback: postback.assert_ingested("shop", "orders", timeout=HOUR),
        lambda postback: postback.assert_valid({"required": ["id"]}, timeout=HOUR),
    ],
    ids=["settle", "wait_for", "assert_ingested", "assert_valid"],
)
def test_an_outcome_ends_a_wait(tdpostback, send, while_waiting, wait):
    held = tdpostback.hold_validation()
    held.__enter__()
    send()
    while_waiting(lambda: wait(tdpostback), lambda: held.__exit__(None, None, None))


def test_an_arrival_ends_a_wait(tdpostback, send, while_waiting):
    assert tdpostback.url
    while_waiting(
        lambda: tdpostback.wait_for(lambda event: event.status == 403, timeout=HOUR),
        lambda: send(headers={"X-TD-Write-Key": ""}),
    )


def test_a_schema_waits_for_the_first_record(tdpostback, send, while_waiting):
    assert tdpostback.url
    while_waiting(lambda: tdpostback.assert_valid({"required": ["id"]}, timeout=HOUR), send)


def test_a_sent_response_ends_the_wait_of_a_new_key_though_validation_is_held(tdpostback):
    headers = {"Content-Type": "application/json", "X-TD-Write-Key": tdpostback.write_key}
    ended = threading.Event()

    def send_and_add_keys():
        connection = http.client.HTTPConnection(tdpostback.url.partition("://")[2], timeout=10)
        with tdpostback.hold_validation():
            for _ in range(80):
                connection.request("POST", "/postback/v3/event/shop/orders", b'{"id": 7}', headers)
                connection.getresponse().read()
                tdpostback.keys.add("1/another")  # validates first what has arrived
        connection.close()
        ended.set()

    threading.Thread(target=send_and_add_keys, daemon=True).start()
    assert ended.wait(10)


def test_a_wait_is_not_woken_if_nothing_happens(tdpostback, send, monkeypatch):
    mine, plain, waits = threading.get_ident(), threading.Condition.wait, []

    def wait(condition, timeout=None):
        if threading.get_ident() == mine:
            waits.append(timeout)
        return plain(condition, timeout)

    send()
    monkeypatch.setattr(threading.Condition, "wait", wait)
    with pytest.raises(AssertionError, match="no more than 1 record arrived"):
        tdpostback.assert_ingested("shop", "orders", count=2, timeout=0.3)
    assert 1 <= len(waits) <= 2


def test_what_arrives_after_everything_is_settled_is_no_timeout(tdpostback, send, monkeypatch):
    settle, held = Collector.settle, tdpostback.hold_validation()

    def settle_and_send(collector, timeout):
        settled = settle(collector, timeout)
        held.__enter__()
        send()
        return settled

    send()
    with monkeypatch.context() as patched:
        patched.setattr(Collector, "settle", settle_and_send)
        tdpostback.settle()
    assert tdpostback.account.pending == 1
    held.__exit__(None, None, None)
