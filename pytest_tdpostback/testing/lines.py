"""Bodies judged one by one without a server, as lines of a file are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..collector.collector import Collector
from ..collector.events import Events
from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..collector.events import Event
    from ..protocol.settings import Settings

_KEY = "any/key"
_FIELDS = (("Content-Type", "application/json"), ("X-TD-Write-Key", _KEY))


def judged(bodies: Iterable[bytes], settings: Settings) -> Iterator[Event]:
    """What becomes of each body as an event of one table, sent properly and with a valid key.

    A line end behind a body is no part of it. `settings` decide as they do in a double.
    """
    collector = Collector(settings)
    collector.keys.add(_KEY)
    head = RequestHead.of("POST", "/postback/v3/event/database/table", _FIELDS)
    events = Events(collector.log)
    for line in bodies:
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        exchange = collector.receive(head, body, "")
        collector.response_sent(exchange)
        yield events[-1]
