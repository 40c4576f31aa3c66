"""The doubles and the carriers of the wire table, made once for all of its cases."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pytest_httpserver import HTTPServer

from pytest_tdpostback import PostbackServer
from tests.wire.carriers import bytewise, mounted_on, whole, wsgi
from tests.wire.cases import KEY, NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tdpostback import Postback
    from tests.wire.carriers import Exchange


@pytest.fixture(scope="session")
def doubles() -> Iterator[Callable[..., Postback]]:
    """Running doubles by profile and settings, empty and with a frozen clock when asked for."""
    running: dict[object, PostbackServer] = {}
    with ExitStack() as stack:

        def double(profile: str | None, **settings: Any) -> Postback:
            name = (profile, *sorted(settings.items()))
            if name not in running:
                server = PostbackServer(
                    profile=profile, write_keys=[KEY], on_auth_failure="ignore", **settings
                )
                running[name] = stack.enter_context(server)
            postback = running[name].postback
            postback.clear()
            postback.clock.freeze(NOW)
            return postback

        yield double
        for server in running.values():
            server.postback.clear()  # every case has looked at its own rejections


@pytest.fixture(scope="session")
def front() -> Iterator[HTTPServer]:
    """A server of pytest-httpserver to mount doubles on."""
    with HTTPServer() as server:
        yield server


@pytest.fixture
def carry(request: pytest.FixtureRequest) -> Exchange:
    """The carrier that a test is parametrised with, by its name."""
    if request.param == "mounted":
        return mounted_on(request.getfixturevalue("front"))
    return {"whole": whole, "bytewise": bytewise, "wsgi": wsgi}[request.param]
