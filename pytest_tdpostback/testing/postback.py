"""`Postback`: one double as a test sees it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ..collector.event_log import EventState
from ..collector.events import Event, Events, Record, SettleTimeout, UnexpectedAuthFailure
from ..protocol.secrets import RedactedText, without_keys
from . import formatting, messages
from .aio import Aio
from .assertions import SETTLE_SECONDS, Assertions
from .doors import Doors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..collector.account import Account
    from ..collector.clock import Clock
    from ..collector.collector import Collector
    from ..collector.write_keys import WriteKeys
    from ..protocol.settings import Settings
    from ..server.faults import Faults
    from .server import PostbackServer


ANSWER_SECONDS = 0.1
"""How long a look waits for what follows an answer; one that a fault keeps back takes longer."""


class Postback(Assertions, Doors):
    """A double of the Postback API: where to send, what arrived, and what became of it."""

    def __init__(
        self,
        server: PostbackServer,
        make_collector: Callable[[], Collector],
        *,
        write_key: str | None = None,
    ) -> None:
        """Made by the fixtures and by `PostbackServer`, whose URL it has until it listens.

        `write_key` is one that `make_collector()` knows; without it, a key is made when it is
        needed.
        """
        super().__init__(server, make_collector)
        self._write_key = write_key
        self._checked = 1
        """The first event that a later check still has to look at."""

    def renew_key(self) -> None:
        """Have a write key of its own; the one before stays valid."""
        self._write_key = None

    # where to send

    @property
    def write_key(self) -> str:
        """A valid write key, `account/secret`; its `repr` is shortened."""
        if self._write_key is None:
            self._write_key = self._collector.keys.add()
        return self._write_key

    @property
    def keys(self) -> WriteKeys:
        """The write keys of this double alone."""
        return self._collector.keys

    @property
    def clock(self) -> Clock:
        """The double's clock: `freeze(at=None)`, `advance(seconds)`, `now()`."""
        return self._collector.clock

    @property
    def settings(self) -> Settings:
        """The settings it was made with."""
        return self._collector.settings

    def event_url(self, database: str, table: str, **params: object) -> str:
        """Full URL of the event route of `table` in `database`, with `params` as URL parameters.

        Quotes what it is given and judges nothing (R1, A2).
        """
        route = f"{quote(database, safe='')}/{quote(table, safe='')}"
        query = f"?{urlencode(params)}" if params else ""
        url = f"{self.url}/postback/v3/event/{route}{query}"
        return RedactedText(url, without_keys(url)) if "write_key" in query else url

    @property
    def aio(self) -> Aio:
        """The waiting names as coroutines: `await tdpostback.aio.assert_ingested(...)`."""
        return Aio(self)

    @cached_property
    def faults(self) -> Faults:
        """Faults on the wire and behind it."""
        from ..server.faults import Faults

        return Faults(self._collector)

    # what arrived

    @property
    def events(self) -> Sequence[Event]:
        """Every request that reached this double except `OPTIONS`, in order of arrival."""
        return Events(self._collector.log)

    def records(self, database: str | None = None, table: str | None = None) -> list[Record]:
        """The rows that were ingested, in order of arrival; `None` is any database, any table."""
        self._collector.wait_for_responses(ANSWER_SECONDS)
        log = self._collector.log
        return [Record(log, index) for index in log.records(database, table)]

    @property
    def account(self) -> Account:
        """How many events are in each state, and what faults hid from their senders."""
        return self._collector.account()

    @property
    def auth_failures(self) -> Sequence[Event]:
        """Events rejected after their 200, expected or not (Y3)."""
        self._collector.wait_for_responses(ANSWER_SECONDS)
        return self._in(EventState.REJECTED)

    @property
    def refused(self) -> Sequence[Event]:
        """Events answered with a 4xx."""
        return self._in(EventState.REFUSED)

    def _in(self, state: EventState) -> Sequence[Event]:
        log = self._collector.log
        return Events(log, list(log.indexes(state)))

    @property
    def empty(self) -> bool:
        """Whether no event arrived."""
        return self.untouched or self._collector.empty

    @property
    def held(self) -> bool:
        """Whether validation is held."""
        return not self.untouched and self._collector.held

    @property
    def quiet(self) -> bool:
        """Whether a check would find nothing that the one before did not."""
        if self.untouched:
            return True
        return self._checked == self._collector.next_seq and not self._collector.errors

    def check(self, *, wait: bool = True) -> None:
        """Raise what a test fails with: errors while serving, what is pending, unexpected failures.

        Waits for outcomes as long as they can come, five seconds at the most; not `wait` leaves
        what is pending for later. Each failure is raised once.
        """
        __tracebackhide__ = True
        errors = self._collector.errors
        if errors:
            first = errors[0]
            errors.clear()
            raise first
        if self.quiet:
            return
        if wait and not self._collector.settled():
            self._check_settled()
        with self._collector.lock:
            log = self._collector.log
            self._checked = log.first + next(log.indexes(EventState.PENDING), len(log))
            failures = self._unexpected()
        if failures:
            self._expect(failures)
            raise UnexpectedAuthFailure(messages.unexpected(self, failures), failures)

    def unchecked(self) -> Sequence[Event]:
        """What arrived after the last `check`, or had no outcome by then."""
        return self.events[max(0, self._checked - self._collector.log.first) :]

    def _check_settled(self) -> None:
        __tracebackhide__ = True
        self._collector.wait_for_responses(ANSWER_SECONDS)
        why = self._collector.why_pending(SETTLE_SECONDS)
        if not why:
            self.settle(SETTLE_SECONDS)
        elif not self._collector.settled():
            waiting = self._in(EventState.PENDING)
            raise SettleTimeout(formatting.unsettled(waiting, SETTLE_SECONDS, why), waiting)

    def _unexpected(self) -> list[Event]:
        if self.settings.on_auth_failure == "ignore":
            return []
        log = self._collector.log
        rejected = log.indexes(EventState.REJECTED)
        return [Event(log, at) for at in rejected if at not in log.expected]

    def clear(self) -> None:
        """Forget what happened so far; keys, settings and clock stay."""
        self._collector.clear()

    def _expect(self, events: Sequence[Event]) -> None:
        log = self._collector.log
        log.expected.update(event.seq - log.first for event in events)

    def __repr__(self) -> str:
        return f"<Postback {self.url} {len(self.events)} events>"
