"""Fake servers: one that has to survive bad input, and those that the table of cases runs on."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.collector.events import Events
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server.server import CollectorServer
from tests.http_client import HttpClient
from tests.server import behaviour
from tests.server.raw_connections import KEY, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tdpostback import Postback


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
    with HttpClient("127.0.0.1", server.port) as sender:
        sender.send(request())
        return sender.statuses(1) == [200]


@pytest.fixture(scope="session")
def postback_for() -> Iterator[Callable[..., Postback]]:
    """Gives the postback of a running server by profile and settings: empty, its clock frozen."""
    running: dict[object, PostbackServer] = {}
    with ExitStack() as stack:

        def postback_for(profile: str | None, **settings: Any) -> Postback:
            name = (profile, *sorted(settings.items()))
            if name not in running:
                server = PostbackServer(
                    profile=profiles[profile] if profile else None,
                    write_keys=[behaviour.KEY],
                    on_auth_failure="ignore",
                    **settings,
                )
                running[name] = stack.enter_context(server)
            postback = running[name].postback
            postback.clear()
            postback.clock.freeze(behaviour.NOW)
            return postback

        yield postback_for
        for server in running.values():
            server.postback.clear()  # every case has looked at its own rejections
