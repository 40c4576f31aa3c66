"""A small shop whose orders become events. Application code: it knows nothing of tests."""

from __future__ import annotations

import json

import requests


class Shop:
    """Where its events go, and with which key, is for its configuration to say."""

    def __init__(self, postback_url: str, write_key: str) -> None:
        self.event_url = f"{postback_url}/postback/v3/event/shop/orders"
        self.headers = {"X-TD-Write-Key": write_key, "Content-Type": "application/json"}

    def place_order(self, number: int, total: float) -> None:
        """Place an order and report it; no report may stop an order, so nobody reads the answer."""
        body = json.dumps({"number": number, "total": total})
        requests.post(self.event_url, data=body, headers=self.headers, timeout=5)
