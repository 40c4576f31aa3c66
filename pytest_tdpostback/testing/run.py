"""A test run: which test owns what arrives, and what is left of it when the test is over."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .postback import Postback
from .server import PostbackServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.settings import Settings
    from ..transport.server import Listener

KEPT_PORTS = 256
"""Listening ports of finished tests that stay open, so that late requests are heard."""


class Scope:
    """The doubles of one test."""

    def __init__(self, server: RunServer, name: str, settings: Settings) -> None:
        """`name` is the test's id, `settings` those of its marker, options and ini."""
        self.name = name
        self.settings = settings
        self.postback = server.new_postback(settings, key=server.write_key)
        self.postbacks = [self.postback]
        self._server = server
        self._redirects = ExitStack()

    def open(self) -> Postback:
        """The test's own double on a port of its own."""
        if not self.postback.listens:
            self._listen(self.postback)
            self.postback.renew_key()
        return self.postback

    def make(self, settings: Settings, write_keys: Iterable[str]) -> Postback:
        """A further double of this test."""
        made = self._server.new_postback(settings)
        for key in write_keys:
            made.keys.add(key)
        self._listen(made)
        self.postbacks.append(made)
        return made

    def check(self) -> None:
        """Raise what the test fails with; the first of its doubles that has something to say."""
        __tracebackhide__ = True
        for postback in self.postbacks:
            postback.check()

    def close(self) -> list[Listener]:
        """End what the doubles did to this process; returns what they listen with."""
        self._redirects.close()
        return [listener for postback in self.postbacks for listener in postback.listeners]

    def _listen(self, postback: Postback) -> None:
        postback.listen()
        if postback.settings.redirect or postback.settings.block_network:
            self._redirects.enter_context(postback.redirect())


class RunServer(PostbackServer):
    """The shared server of a test run: its own address belongs to the test running now."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(tls=settings.tls)
        self.settings = settings
        self.scope: Scope | None = None
        self._finished: deque[Listener] = deque()

    @property
    def postback(self) -> Postback:
        """The `Postback` of the test running now; between tests, of the run."""
        return self.scope.postback if self.scope else self._postback

    def new_postback(self, settings: Settings, key: str | None = None) -> Postback:
        """A double whose address is this server's until it listens on its own."""
        return Postback(self.make_collector(settings), self, write_key=key)

    def begin(self, name: str, settings: Settings) -> Scope:
        """The test `name` owns from now on what arrives here."""
        self.scope = Scope(self, name, settings)
        return self.scope

    def end(self, scope: Scope) -> None:
        """The test of `scope` is over, and so are its faults; its ports stay open for a while."""
        for postback in scope.postbacks:
            postback.faults.clear()
        if self.scope is scope:
            self.scope = None
        self._finished.extend(scope.close())
        while len(self._finished) > KEPT_PORTS:
            self.close(self._finished.popleft())


def report(postbacks: Iterable[Postback]) -> str:
    """What a failed test's report shows of its doubles; empty where nothing arrived."""
    from . import text

    return "\n".join(text.lines(each.events, indent="") for each in postbacks if each.events)
