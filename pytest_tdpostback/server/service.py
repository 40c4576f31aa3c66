"""What a connection asks of the listener that accepted it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..collector.collector import Collector
    from ..protocol.request import RequestHead
    from ..protocol.response import Response
    from .connection import Connection
    from .deadlines import Deadlines
    from .heads import Heads


class Service(Protocol):
    """What a connection needs of the server that accepted it."""

    heads: Heads
    deadlines: Deadlines

    def collector(self) -> Collector:
        """The collector of the request that arrives now."""

    def answers_itself(self, head: RequestHead) -> bool:
        """Whether `head` is no event and goes to `dispatch`."""

    def dispatch_request(self, head: RequestHead, body: bytes, peer: str) -> Response:
        """The answer to a request that is no event."""

    def answers_aside(self, head: RequestHead) -> bool:
        """Whether `head` goes to `dispatch` and may take its time there."""

    def dispatch_aside(
        self, head: RequestHead, body: bytes, peer: str, done: Callable[[Response], None]
    ) -> None:
        """Find the answer in a thread of its own; the loop then calls `done` with it."""

    def opened(self, connection: Connection) -> None:
        """A connection began."""

    def closed(self, connection: Connection) -> None:
        """A connection ended."""

    def failed(self, error: Exception) -> None:
        """An error of our own while serving: the test has to see it."""
