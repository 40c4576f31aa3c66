"""A server that this folder's tests hurt, and the look whether it still serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tdpostback import PostbackServer
from tests.server.senders import KEY, Sender, request, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[PostbackServer]:
    """A running server; what it says of itself at the end fails the test."""
    with PostbackServer(write_keys=[KEY]) as server:
        yield server
        assert served(server)
        server.check()


def served(server: PostbackServer) -> bool:
    """Whether a good request on a connection of its own is answered well."""
    with Sender(server.port) as sender:
        sender.send(request())
        return statuses(sender.read(answers=1)) == [200]
