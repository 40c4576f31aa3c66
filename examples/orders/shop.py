"""A small shop that sends its orders as events. This is application code without tests in mind."""

from __future__ import annotations

import json

import requests


class Shop:
    """A shop. Its configuration says where its events go, and with which write key."""

    def __init__(self, postback_url: str, write_key: str) -> None:
        self.event_url = f"{postback_url}/postback/v3/event/shop/orders"
        self.headers = {"X-TD-Write-Key": write_key, "Content-Type": "application/json"}

    def place_order(self, number: int, total: float) -> None:
        """Place an order and send an event; an order is placed even if the event gets an error."""
        body = json.dumps({"number": number, "total": total})
        requests.post(self.event_url, data=body, headers=self.headers, timeout=5)
