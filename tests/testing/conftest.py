"""How the tests of `testing` send events, and act while something waits for them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from typing import Any

import pytest
import requests

from tests.http_client import DEADLINE

DELIVERED = ("shop", "orders")


@pytest.fixture
def send(tdpostback):
    """Send one event, `id=7` for `shop.orders` unless told otherwise; `raw` is a body as it is."""

    def send(data=None, *, to=DELIVERED, key=None, raw=None, path=None, headers=None, url=None):
        fields = {"X-TD-Write-Key": key or tdpostback.write_key, "Content-Type": "application/json"}
        fields |= headers or {}
        path = path or tdpostback.event_url(*to).removeprefix(tdpostback.url)
        url = (url or tdpostback.url) + path
        body = json.dumps({"id": 7} if data is None else data) if raw is None else raw
        sent = {name: value for name, value in fields.items() if value}
        return requests.post(url, body, headers=sent, timeout=10)

    return send


@pytest.fixture
def while_waiting(monkeypatch):
    """Calls `wait` in a thread and `act` once that thread waits; gives what `wait` returns."""

    def while_waiting(wait, act):
        waits, plain = threading.Event(), threading.Condition.wait
        result: Future[Any] = Future()

        def call():
            try:
                result.set_result(wait())
            except BaseException as error:  # noqa: BLE001 - the test raises it
                result.set_exception(error)

        thread = threading.Thread(target=call, daemon=True)

        def noticed(condition, timeout=None):
            if threading.current_thread() is thread:
                waits.set()
            return plain(condition, timeout)

        monkeypatch.setattr(threading.Condition, "wait", noticed)
        thread.start()
        assert waits.wait(DEADLINE), "nothing waits"
        act()
        return result.result(DEADLINE)

    return while_waiting
