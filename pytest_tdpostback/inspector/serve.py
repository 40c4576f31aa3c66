"""The fake server outside pytest: it serves until a signal ends it, and prints what happens."""

from __future__ import annotations

import os
import select
import signal
import sys
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from .. import PostbackServer
from ..collector.event_log import STATES, EventState
from ..collector.events import Event
from ..protocol.escaping import escaped
from ..protocol.escaping import shown as shown_of_sender
from ..protocol.secrets import KeyRedactor, shortened
from ..protocol.settings import Settings
from ..server.server import CollectorServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..collector.collector import Collector

TARGET_SHOWN = 200
"""How many characters of a request target a line shows."""
WAIT_SECONDS = 0.5
"""How long the main thread waits before it looks for a signal.

A signal does not interrupt the wait if another thread receives it.
"""
WRITTEN_AT_ONCE = 512
"""Bytes for which every pipe has room if it has any (POSIX), so that no write has to wait."""


def serve(
    host: str,
    port: int,
    *,
    write_keys: Sequence[str] = (),
    expose: bool = False,
    inspection: bool = False,
    **settings: Any,
) -> int:
    """Serve until SIGINT or SIGTERM, and print a line for each arrival and each outcome.

    The first line holds the URL. It has to run in the main thread, which receives the signals.

    Args:
        host: The address to listen at.
        port: The port to listen at; 0 takes a free one.
        write_keys: The valid write keys. Without any, one is generated and printed whole, because
            nobody could send anything otherwise.
        expose: Allows an address that other machines can reach.
        inspection: Serves the REST interface below `/.tdpostback/`.
        **settings: The settings of the fake server.

    Returns:
        The exit status: 1 if the server itself had an error, else 0.

    Raises:
        ConfigurationError: The address cannot be used, or a key or a setting is not valid.
    """
    Settings().changed(settings)  # an error must name the value alone, not `PostbackServer`
    # Each rejection has its line, so nothing has to warn of it at the end.
    chosen: dict[str, Any] = {"profile": None, "on_auth_failure": "ignore", **settings}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        server = PostbackServer(
            host, port, write_keys=write_keys, expose=expose, inspection=inspection, **chosen
        )
    for each in warned:
        print(f"tdpostback serve: warning: {each.message}", file=sys.stderr)
    collector = server.collector
    lines = _Lines(collector)
    with _handler_of_signals(lines.end):
        server.start()
        try:
            lines.write(f"tdpostback serves {server.url}", *_preface(server, write_keys))
            lines.follow()
        finally:
            errors = collector.errors[:]
            collector.errors.clear()  # they are printed below
            CollectorServer.stop(server)  # that of `PostbackServer` waits for what is pending
        lines.write_changes()
        lines.write(_account(collector))
    redact = KeyRedactor(collector.keys.known())
    for error in errors:
        print(redact(f"tdpostback serve: error while serving: {error!r}"), file=sys.stderr)
    return 1 if errors else 0


class _Lines:
    """Writes what happens in a collector, in the main thread.

    It writes to the file descriptor, because a buffer would be flushed at exit, into a pipe that
    perhaps nobody reads.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._log = collector.log
        self._written = 0
        """How many changes of the log have their line."""
        self._changed: SimpleQueue[None] = SimpleQueue()
        """Has an item after a change. A signal handler may put one: no lock is held meanwhile."""
        self._ended = False
        self._unread = False
        """Whether nobody read the output when a signal asked for the end."""
        collector.subscribe(partial(self._changed.put, None))

    def end(self, *_: object) -> None:
        """End `follow`: the handler of the signals. It also ends a write that nobody reads."""
        self._ended = True
        self._changed.put(None)

    def follow(self) -> None:
        """Write a line for each change, until `end` is called."""
        while not self._ended:
            with suppress(Empty):
                self._changed.get(timeout=WAIT_SECONDS)
                while True:
                    self._changed.get_nowait()
            self.write_changes()

    def write_changes(self) -> None:
        """Write a line for each change since the last time."""
        while True:
            log = self._log
            with self._collector.lock:  # an arrival is complete when the lock is free
                end, current = len(log.changes), self._collector.log
                refused = self._collector.refused_connections
                noted = [refused.pop(0) for _ in range(len(refused))]
            redact: Callable[[str], str] = str
            if noted or end > self._written:
                redact = KeyRedactor(self._collector.keys.known())
            for each in noted:
                self.write(redact(escaped(f"refused connection: {each.reason}")))
            while self._written < end:
                index, decided = log.change(self._written)
                self._written += 1
                line = _outcome(Event(log, index)) if decided else _arrival(Event(log, index))
                if line:
                    self.write(redact(line))
            if log is current:
                return
            self._log, self._written = current, 0

    def write(self, *lines: str) -> None:
        """Write `lines`, unless a signal asked for the end while nobody read the output."""
        text = "".join(f"{line}\n" for line in lines)
        try:
            descriptor = sys.stdout.fileno()
        except (OSError, ValueError):  # something captures the output
            print(text, end="", flush=True)
            return
        data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        while data and self._is_read(descriptor):
            data = data[os.write(descriptor, data[:WRITTEN_AT_ONCE]) :]

    def _is_read(self, descriptor: int) -> bool:
        """Wait until `descriptor` has room; false if nobody reads and the end was asked for."""
        while not self._unread:
            try:
                if select.select([], [descriptor], [], WAIT_SECONDS)[1]:
                    return True
            except (OSError, ValueError):  # the platform cannot tell
                return True
            self._unread = self._ended
        return False


@contextmanager
def _handler_of_signals(handler: Callable[..., None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _preface(server: PostbackServer, write_keys: Sequence[str]) -> Iterator[str]:
    profile = server.settings.profile
    yield f"profile: {profile or 'chosen by the host of the request, else openapi-1.0.0'}"
    for key in write_keys:
        yield f"write key: {shortened(key)} (as given)"
    if not write_keys:
        yield f"write key: {server.write_key!s} (made for this run; later lines shorten it)"
    yield "Ctrl-C ends it"


def _arrival(event: Event) -> str:
    target = shown_of_sender(str(event.request.target), TARGET_SHOWN)
    state = f"refused{_why(event)}" if event.state is EventState.REFUSED else "pending"
    return f"#{event.seq} {escaped(event.request.method)} {target} -> {event.status}, {state}"


def _outcome(event: Event) -> str:
    """The line of an outcome; empty for a refused event, whose arrival said it already."""
    if event.state is EventState.REFUSED:
        return ""
    place = f" into {event.database}.{event.table}" if event.record else ""
    found = "".join(f"; {finding}" for finding in event.findings)
    return escaped(f"#{event.seq} {event.state}{place}{_why(event)}{found}")


def _why(event: Event) -> str:
    return escaped(f" ({event.rule}: {event.reason})") if event.rule else ""


def _account(collector: Collector) -> str:
    log = collector.log
    counts = [(log.count(state), state) for state in STATES]
    rare = (EventState.LOST, EventState.DEDUPLICATED)
    parts = [f"{count} {state}" for count, state in counts if count or state not in rare]
    return f"{len(log)} event{'s' * (len(log) != 1)} = {' + '.join(parts)}"
