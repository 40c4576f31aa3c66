"""Bodies judged without a server, as `tdpostback validate` does with the lines of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..collector.collector import Collector
from ..collector.events import Event
from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..protocol.settings import Settings

_KEY = "any/key"
_FIELDS = (("Content-Type", "application/json"), ("X-TD-Write-Key", _KEY))


def events_of(bodies: Iterable[bytes], settings: Settings) -> Iterator[Event]:
    """What becomes of each body as an event of one table that is sent with a valid key.

    A line end after a body is not part of it. The settings count as in a fake server.
    """
    collector = Collector(settings)
    collector.keys.add(_KEY)
    head = RequestHead.of("POST", "/postback/v3/event/database/table", _FIELDS)
    for line in bodies:
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        exchange = collector.receive(head, body, "")
        collector.response_sent(exchange)
        assert exchange.index is not None
        yield Event(exchange.log, exchange.index)
