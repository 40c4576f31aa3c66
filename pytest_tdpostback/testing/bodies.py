"""Bodies judged without a server, as `tdpostback validate` does with the lines of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..collector.collector import Collector
from ..collector.events import Event
from ..protocol import body as json_body
from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..protocol.settings import Settings

_KEY = "any/key"
_POSTBACK = RequestHead.of(
    "POST",
    "/postback/v3/event/database/table",
    [("Content-Type", "application/json"), ("X-TD-Write-Key", _KEY)],
)
_BATCH, _RECORD = (
    RequestHead.of(
        "POST", "/database/table", [("Content-Type", of), ("Authorization", f"TD1 {_KEY}")]
    )
    for of in (
        "application/vnd.treasuredata.v1+json",
        "application/vnd.treasuredata.v1.single+json",
    )
)


def events_of(bodies: Iterable[bytes], settings: Settings) -> Iterator[tuple[int, Event]]:
    """What becomes of each body that is sent to one table with a valid key: its events.

    Each event comes with the number of its body, from 1. A line end after a body is not part of
    it. The settings count as in a fake server. With the profile `ingestion-v1`, an object with a
    list `events` is a batch, and any other body a record.
    """
    collector = Collector(settings)
    collector.keys.add(_KEY)
    for number, line in enumerate(bodies, 1):
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        head = _POSTBACK
        if settings.profile is not None and settings.profile.postback is not None:
            head = _BATCH if _is_batch(body) else _RECORD
        exchange = collector.receive(head, body, "")
        collector.response_sent(exchange)
        for index in exchange.indexes:
            yield number, Event(exchange.log, index)


def _is_batch(body: bytes) -> bool:
    try:
        value = json_body.parse(body)
    except json_body.InvalidBody:
        return False
    return isinstance(value.get("events"), list)
