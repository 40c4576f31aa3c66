"""Judges the events in a file by the rules, without a server."""

from __future__ import annotations

from contextlib import suppress
from fileinput import FileInput
from typing import TYPE_CHECKING, Any

from ..collector.collector import Collector
from ..collector.event_log import EventState
from ..collector.events import Event
from ..errors import ConfigurationError
from ..protocol.body import InvalidBody, parse
from ..protocol.request import RequestHead
from ..protocol.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def validate(*, file: str, **settings: Any) -> int:
    """Print what is wrong with each body in `file`, and how many are accepted.

    `file` has one JSON body in each line; `-` is standard input. `settings` are those to judge by.
    Return 1 if a body is not accepted, else 0. Raise `ConfigurationError` if `file` cannot be read.
    """
    lines = records = accepted = noted = repeated = 0
    for lines, event in _events(_lines(file), Settings().changed(settings)):
        records += 1
        problems = [f"finding, {found}" for found in event.findings]
        if event.record is not None:
            accepted += 1
            noted += bool(problems)
        else:
            repeated += event.state is EventState.DEDUPLICATED
            problems.insert(0, f"{event.state}, {event.rule}: {event.reason}")
        place = "" if event.batch is None else f"record {event.batch.index + 1}: "
        for text in problems:
            print(f"{file}:{lines}: {place}{text}")
    counted = f"{lines} line{'' if lines == 1 else 's'}"
    counted += f" with {records} records" if records > lines else ""
    counted += f": {accepted} accepted ({noted} with findings)"
    counted += f", {repeated} deduplicated" if repeated else ""
    refused = records - accepted - repeated
    print(f"{counted}, {refused} not accepted")
    return 1 if refused else 0


def _events(bodies: Iterable[bytes], settings: Settings) -> Iterator[tuple[int, Event]]:
    """What becomes of each body, from number 1, that is sent to one table with a valid key.

    With the profile `ingestion-v1`, an object with a list `events` is a batch, and any other body a
    record.
    """
    collector = Collector(settings)
    collector.keys.add("any/key")
    for number, line in enumerate(bodies, 1):
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        path, sent = "/postback/v3/event/database/table", "application/json"
        name, key = "X-TD-Write-Key", "any/key"
        if settings.profile is not None and settings.profile.postback is not None:
            path, sent = "/database/table", "application/vnd.treasuredata.v1.single+json"
            name, key = "Authorization", "TD1 any/key"
            with suppress(InvalidBody):
                if isinstance(parse(body).get("events"), list):
                    sent = sent.replace(".single", "")
        headers = [("Content-Type", sent), (name, key)]
        exchange = collector.receive(RequestHead.of("POST", path, headers), body, "")
        collector.response_sent(exchange)
        for index in exchange.indexes:
            yield number, Event(exchange.log, index)


def _lines(file: str) -> Iterator[bytes]:
    try:
        with FileInput(file, mode="rb") as stream:
            yield from stream
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}; give a file with one JSON body in each line"
        ) from error
