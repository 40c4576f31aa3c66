"""A collector and requests to it, without a socket."""

from __future__ import annotations

import json

import pytest

from pytest_tdpostback.collector.collector import Collector
from pytest_tdpostback.protocol.request import RequestHead
from pytest_tdpostback.protocol.settings import Settings

KEY = "12345/abcdef"
PATH = "/postback/v3/event/web/visits"
BATCH = "application/vnd.treasuredata.v1+json"


@pytest.fixture
def make_collector():
    """Make a collector that knows `KEY`, with the settings that a test wants."""

    def make(**settings):
        collector = Collector(Settings().changed(settings))
        collector.keys.add(KEY)
        return collector

    return make


@pytest.fixture
def collector(make_collector):
    return make_collector()


@pytest.fixture
def receive():
    """Let a collector receive one event, whose response is not sent yet."""

    def receive(collector, data=None, *, key=KEY, path=PATH, **fields):
        body = json.dumps({"id": 1} if data is None else data).encode()
        named = {"Content-Type": "application/json", "X-TD-Write-Key": key, **fields}
        head = RequestHead.of("POST", path, named.items())
        return collector.receive(head, body, "127.0.0.1:1")

    return receive


@pytest.fixture
def store(receive):
    """Let a collector receive one event, and send the response."""

    def store(collector, data=None, **options):
        exchange = receive(collector, data, **options)
        collector.response_sent(exchange)
        return exchange

    return store


@pytest.fixture
def receive_batch():
    """Let a collector receive a batch of records, or the bytes `text`."""

    def receive_batch(
        collector, records, *, text=None, key=KEY, path="/web/pages", content_type=BATCH, **fields
    ):
        body = json.dumps({"events": records}).encode() if text is None else text
        named = {"Content-Type": content_type, "Authorization": f"TD1 {key}", **fields}
        head = RequestHead.of("POST", path, named.items())
        return collector.receive(head, body, "127.0.0.1:1")

    return receive_batch


@pytest.fixture
def send_batch(receive_batch):
    """Let a collector receive a batch, and send the response."""

    def send_batch(collector, records, **options):
        exchange = receive_batch(collector, records, **options)
        collector.response_sent(exchange)
        return exchange

    return send_batch


@pytest.fixture
def ask_for_global_id():
    """Let a collector receive a request for the global id."""

    def ask(collector, key=KEY, **fields):
        head = RequestHead.of("GET", "/", {"Authorization": f"TD1 {key}", **fields}.items())
        return collector.receive(head, b"", "127.0.0.1:1")

    return ask
