"""How the tests of this floor send events."""

from __future__ import annotations

import json

import pytest
import requests

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
