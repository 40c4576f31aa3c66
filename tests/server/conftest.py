"""A server that this folder's tests hurt, and the look whether it still serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tdpostback.collector.events import Events
from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server.server import CollectorServer
from tests.server.senders import KEY, Sender, request, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Server(CollectorServer):
    """A server with one collector and a write key."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        known = {name: options.pop(name) for name in ("ssl_context", "expose") if name in options}
        super().__init__(host, port, settings=Settings().changed(options), **known)
        self.collector.keys.add(KEY)

    @property
    def events(self) -> Events:
        return Events(self.collector.log)

    def ingested(self) -> int:
        """How many records there are, once nothing is pending."""
        assert self.collector.settle(20)
        return sum(map(len, self.collector.log.ingested.values()))

    def check(self) -> None:
        """Raise what went wrong while serving."""
        errors, self.collector.errors[:] = [*self.collector.errors], []
        for error in errors:
            raise error


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    """Makes servers that run until the end of the test."""
    servers = []

    def make(**options: Any) -> Server:
        servers.append(Server(**options))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        if server.is_running():
            server.stop()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Iterator[Server]:
    """A running server; what it says of itself at the end fails the test."""
    server = make_server()
    yield server
    assert served(server)
    server.check()


def served(server: CollectorServer) -> bool:
    """Whether a good request on a connection of its own is answered well."""
    with Sender(server.port) as sender:
        sender.send(request())
        return statuses(sender.read(answers=1)) == [200]
