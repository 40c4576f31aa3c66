"""Who waits is woken by what happens, and by nothing else."""

from __future__ import annotations

import http.client
import threading
import time

import pytest

SOON = 10.0
"""Seconds that no wait takes which is woken; each may take three times as long."""


@pytest.fixture
def meanwhile(monkeypatch):
    """Does something in a thread as soon as the test's own thread waits."""
    waits, mine, plain = threading.Event(), threading.get_ident(), threading.Condition.wait
    threads = []

    def wait(condition, timeout=None):
        if threading.get_ident() == mine:
            waits.set()
        return plain(condition, timeout)

    def meanwhile(act):
        threads.append(threading.Thread(target=lambda: waits.wait(SOON) and act()))
        threads[0].start()
        monkeypatch.setattr(threading.Condition, "wait", wait)
        return time.monotonic() + SOON

    yield meanwhile
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "wait",
    [
        lambda double: double.settle(30),
        lambda double: double.wait_for(lambda event: event.state == "ingested", timeout=30),
        lambda double: double.assert_ingested("shop", "orders", timeout=30),
    ],
    ids=["settle", "wait_for", "assert_ingested"],
)
def test_an_outcome_wakes(tdpostback, send, meanwhile, wait):
    held = tdpostback.hold_validation()
    held.__enter__()
    send()
    deadline = meanwhile(lambda: held.__exit__(None, None, None))
    wait(tdpostback)
    assert time.monotonic() < deadline


def test_an_arrival_wakes(tdpostback, send, meanwhile):
    assert tdpostback.url
    deadline = meanwhile(lambda: send(headers={"X-TD-Write-Key": ""}))
    tdpostback.wait_for(lambda event: event.status == 403, timeout=30)
    assert time.monotonic() < deadline


def test_an_answer_that_is_out_wakes_though_its_event_is_held(tdpostback):
    connection = http.client.HTTPConnection(tdpostback.url.partition("://")[2], timeout=SOON)
    headers = {"Content-Type": "application/json", "X-TD-Write-Key": tdpostback.write_key}
    deadline = time.monotonic() + SOON
    with tdpostback.hold_validation():
        for _ in range(80):
            connection.request("POST", "/postback/v3/event/shop/orders", b'{"id": 7}', headers)
            connection.getresponse().read()
            tdpostback.keys.add("1/another")  # what is on its way is judged before
    connection.close()
    assert time.monotonic() < deadline


def test_nobody_wakes_for_nothing(tdpostback, send, monkeypatch):
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
