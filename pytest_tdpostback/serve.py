"""The double outside pytest: serves until it is told to end, and tells what happens meanwhile."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from .collector.event_log import STATES, EventState
from .collector.events import Event
from .protocol.secrets import shortened
from .testing.server import PostbackServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .collector.collector import Collector

SHOWN_TARGET = 200
"""Characters of a request target that are shown."""
_END = None
_News = SimpleQueue[tuple[Event, bool] | None]
"""Events, each once when it arrives and once, marked true, when it is decided; `_END` ends them."""


class _TellingServer(PostbackServer):
    """A `PostbackServer` whose events can be followed in `news`."""

    def __init__(self, *address: Any, **options: Any) -> None:
        self.news: _News = SimpleQueue()
        super().__init__(*address, **options)

        self._told = (self.collector.log, 0)
        self.collector.subscribe(self._tell_changes)

    def _tell_changes(self) -> None:
        """Put what changed since the last time into `news`."""
        with self.collector.lock:
            log = self.collector.log
            told = self._told[1] if self._told[0] is log else 0
            for number in range(told, len(log.changes)):
                index, decided = log.change(number)
                self.news.put((Event(log, index), decided))
            self._told = (log, len(log.changes))

    def _check_outcomes(self) -> None:
        """Nothing: each outcome is told in its line."""


def serve(
    host: str,
    port: int,
    *,
    write_keys: Sequence[str] = (),
    expose: bool = False,
    inspection: bool = False,
    settings: Mapping[str, Any],
) -> int:
    """Serve at `host` and `port` until SIGINT or SIGTERM, and print what happens, line by line.

    The first line holds the URL. `write_keys` are valid; without any, one is made and shown in
    full, because nobody could send with it otherwise. `expose`, `inspection` and `settings` are
    those of `PostbackServer`. Returns the status to exit with: 1 where the double itself had an
    error, else 0. Raises `ConfigurationError` for an address it cannot have, a key or a setting
    that is not valid. To be called in the main thread, which gets the signals.
    """
    # What is rejected is told line by line: nobody has to be warned of it in the end.
    chosen = {"profile": None, "on_auth_failure": "ignore", **settings}
    words = {"expose": expose, "inspection": inspection}
    server = _TellingServer(host, port, write_keys=write_keys, **words, **chosen)
    with server, _signals(server.news):
        _tell(f"tdpostback serves {server.url}")
        _tell(*_preface(server, write_keys))
        _follow(server)
        server.stop()
        server.news.put(_END)
        _follow(server)
    _tell(_account(server.collector))
    for error in server.collector.errors:
        print(f"tdpostback serve: error while serving: {error!r}", file=sys.stderr)
    return 1 if server.collector.errors else 0


@contextmanager
def _signals(news: _News) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: news.put(_END))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _preface(server: PostbackServer, write_keys: Sequence[str]) -> Iterator[str]:
    profile = server.settings.profile
    yield f"profile: {profile or 'that of the host that is asked, else openapi-1.0.0'}"
    for key in write_keys:
        yield f"write key: {shortened(key)} (as given)"
    if not write_keys:
        yield f"write key: {server.write_key!s} (made for this run; later lines shorten it)"
    yield "Ctrl-C ends it"


def _follow(server: _TellingServer) -> None:
    """Tell the news as it comes, up to the end."""
    while (news := server.news.get()) is not _END:
        event, decided = news
        if not decided:
            _tell(_arrival(event))
        elif event.state is not EventState.REFUSED:  # what is refused was so when it arrived
            _tell(_outcome(event))


def _arrival(event: Event) -> str:
    target = repr(event.request.target)[1:-1]
    if len(target) > SHOWN_TARGET:
        target = target[:SHOWN_TARGET] + "…"
    state = f"refused{_why(event)}" if event.state is EventState.REFUSED else "pending"
    return f"#{event.seq} {event.request.method} {target} -> {event.status}, {state}"


def _outcome(event: Event) -> str:
    place = f" into {event.database}.{event.table}" if event.record else ""
    found = "".join(f"; {finding}" for finding in event.findings)
    return f"#{event.seq} {event.state}{place}{_why(event)}{found}"


def _why(event: Event) -> str:
    return f" ({event.rule}: {event.reason})" if event.rule else ""


def _account(collector: Collector) -> str:
    log = collector.log
    counts = [(log.count(state), state) for state in STATES]
    known = [f"{count} {state}" for count, state in counts if count or state is not EventState.LOST]
    return f"{len(log)} events = {' + '.join(known)}"


def _tell(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
