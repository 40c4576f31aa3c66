"""`Postback`: a fake server as a test sees it, and `Aio`, its waiting methods as coroutines."""

from __future__ import annotations

import logging
import re
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, Protocol, overload
from urllib.parse import quote, urlencode

from ..collector.event_log import EventState
from ..collector.events import Event, Events, Record
from ..protocol.secrets import KeyRedactor, Redacted, without_keys
from ..server import in_process
from ..server.tls import client_context
from ..server.wsgi import application, respond
from . import assertions, formatting, messages
from .aio import awaitable
from .assertions import ExpectedFailures, HeldValidation, find, with_hint
from .check import RESPONSE_SECONDS, Check
from .matching import Search, Where, check_names, check_timeout, invalid, two_names
from .receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from ssl import SSLContext
    from typing import Unpack

    import httpx
    from _typeshed.wsgi import WSGIApplication
    from pytest_httpserver import HTTPServer
    from requests.adapters import BaseAdapter
    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.clock import Clock
    from ..collector.collector import Collector
    from ..collector.event_log import Account
    from ..collector.write_keys import WriteKeys
    from ..protocol.settings import Settings, SettingValues
    from ..server.faults import Faults
    from ..server.redirect import Redirection

__tracebackhide__ = True  # a failure shows the lines of the test, not ours


class PostbackFactory(Protocol):
    """The type of the fixture `make_tdpostback`."""

    def __call__(
        self, *, write_keys: Iterable[str] = (), **settings: Unpack[SettingValues]
    ) -> Postback:
        """Make a `Postback` with a URL, write keys and settings of its own.

        `write_keys` are valid besides `write_key`; `settings` differ from those of the test. A name
        or value that is not valid raises `ConfigurationError`.
        """


class Postback:
    """A fake server of the Postback API: where to send, what arrived, and what became of it.

    Everywhere, `database` and `table` are names; `None` is any. `timeout` is the longest time to
    wait, in seconds of real time, from 0 to 3,600. `count` is how many records or events have to be
    there, no more and no less; `None` is at least one. An assertion that does not hold raises
    `AssertionError`. An argument that is not valid raises `ConfigurationError`; so does what needs
    the extra `tls` if that is not installed.
    """

    def __init__(self, receiver: Receiver, check: Check) -> None:
        """Made by the fixtures and by `PostbackServer`."""
        self._receiver = receiver
        self._check = check

    @property
    def _collector(self) -> Collector:
        return self._receiver.collector

    # where to send

    @property
    def url(self) -> str:
        """The base URL, no trailing slash."""
        return self._receiver.url

    @property
    def write_key(self) -> str:
        """A valid write key, `account/secret`. Its `repr` is shortened."""
        return self._receiver.write_key

    def event_url(self, database: str, table: str, **params: object) -> str:
        """The full URL of the event route (R1) of a table, with `params` as URL parameters.

        What is given is quoted and not judged.
        """
        route = f"{quote(database, safe='')}/{quote(table, safe='')}"
        query = f"?{urlencode(params)}" if params else ""
        url = f"{self.url}/postback/v3/event/{route}{query}"
        return Redacted(url, without_keys(url)) if "write_key" in query else url

    @property
    def keys(self) -> WriteKeys:
        """The write keys that are valid here: `add`, `revoke`, `accept_any`."""
        return self._collector.keys

    @property
    def clock(self) -> Clock:
        """The clock of the fake server: `freeze(at=None)`, `advance(seconds)`, `now()`."""
        return self._collector.clock

    @property
    def settings(self) -> Settings:
        """The settings that are in force."""
        return self._collector.settings

    @property
    def faults(self) -> Faults:
        """What can be made to go wrong: `status`, `delay`, `reset`, `drop`, …."""
        return self._receiver.faults

    @property
    def aio(self) -> Aio:
        """The waiting methods as coroutines: `await tdpostback.aio.assert_ingested(...)`."""
        return Aio(self, self._check.expect_entering)

    # what arrived

    @property
    def events(self) -> Sequence[Event]:
        """Every request that arrived, except `OPTIONS` to a served path, in order of arrival."""
        return Events(self._collector.log)

    def records(self, database: str | None = None, table: str | None = None) -> list[Record]:
        """The records that were ingested, in order of arrival."""
        check_names(database, table)
        self._collector.wait_for_responses(RESPONSE_SECONDS)
        log = self._collector.log
        return [Record(log, index) for index in log.records(database, table)]

    @property
    def auth_failures(self) -> Sequence[Event]:
        """The events that were rejected after their 200 (Y3), expected or not."""
        self._collector.wait_for_responses(RESPONSE_SECONDS)
        log = self._collector.log
        return Events(log, list(log.indexes(EventState.REJECTED)))

    @property
    def refused(self) -> Sequence[Event]:
        """The events that got a 4xx."""
        log = self._collector.log
        return Events(log, list(log.indexes(EventState.REFUSED)))

    @property
    def account(self) -> Account:
        """How many events are in each state, and what their senders cannot know."""
        return self._collector.account()

    @property
    def empty(self) -> bool:
        """Whether no event arrived."""
        return not self._collector.log

    def clear(self) -> None:
        """Forget what happened so far. Keys, settings and clock stay as they are.

        An event for which `check` would raise is not forgotten: this waits for outcomes as `check`
        does, and raises it first.
        """
        self._check.raise_failures()
        self._collector.clear()

    def check(self) -> None:
        """Raise now what the end of the test would raise; each failure is raised once.

        It waits up to 5 seconds for outcomes, if they can come in that time.

        Raises:
            UnexpectedAuthFailure: An event was rejected after its 200, and nothing expects it (Y3).
            SettleTimeout: An event has no outcome.
            AssertionError: A setting makes it fail: `on_refusal`, `on_unasserted`, `on_finding`.
            ConfigurationError: A context manager was called and never entered, or a coroutine of
                `aio` was never awaited.
        """
        self._check.check()

    # waiting

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until no event is pending (Y2); else raise `SettleTimeout`, which names them."""
        assertions.settle(self._receiver, timeout)

    def wait_for(self, predicate: Callable[[Event], object], timeout: float = 2.0) -> Event:
        """Wait for an event that satisfies `predicate`, a function of an event, and return it.

        The function is asked when an event arrives, when it has its outcome, and at the end. If
        there is no such event in time, this raises `AssertionError`.
        """
        if not callable(predicate):
            raise invalid("predicate", predicate, "a function that takes an event")
        search = Search(self._receiver, None, where=predicate, timeout=timeout)
        found: list[Event] = find(search)
        return found[0]

    def hold_validation(self) -> AbstractContextManager[None]:
        """A context manager: events that are accepted inside stay pending until it ends (Y5)."""
        return self._check.expect_entering("hold_validation", HeldValidation(self._collector))

    # assertions

    @overload
    def assert_ingested(
        self,
        /,
        database: str,
        table: str,
        *,
        count: Literal[1] = 1,
        timeout: float = 2.0,
        where: Where = None,
        **columns: Any,
    ) -> Record: ...
    @overload
    def assert_ingested(
        self,
        /,
        database: str,
        table: str,
        *,
        count: int | None,
        timeout: float = 2.0,
        where: Where = None,
        **columns: Any,
    ) -> list[Record]: ...
    @with_hint
    def assert_ingested(
        self,
        /,
        database: str,
        table: str = "",
        *,
        count: int | None = 1,
        timeout: float = 2.0,
        where: Where = None,
        **columns: Any,
    ) -> Record | list[Record]:
        """Wait for records in a table, then want exactly `count` of them.

        It waits for events that have not arrived yet, too; with a `count` of 0 it settles first. A
        record matches if it has `columns` and perhaps others. Values are compared with `==`.
        `where` is a mapping of columns whose names are no identifiers, or a function of a record.

        Returns:
            The record if `count` is 1, else the list of records.

        Raises:
            AssertionError: Another number of records is there; the message shows the nearest event.
            TypeError: The table is missing.
        """
        if table in ("", None):
            call = f"assert_ingested({formatting.value(database)})"
            names = f"assert_ingested({two_names(str(database))})"
            raise TypeError(f"{call}: give the database and the table as two arguments: {names}")
        if database is None:
            raise invalid("database", None, "a string", beside_columns=True)
        at = (EventState.INGESTED, database, table)
        wanted = Search(
            self._receiver, *at, where=where, columns=columns, count=count, timeout=timeout
        )
        records = find(wanted)
        return records[0] if count == 1 else records

    @with_hint
    def assert_nothing_ingested(
        self,
        /,
        database: str | None = None,
        table: str | None = None,
        *,
        timeout: float = 5.0,
        where: Where = None,
        **columns: Any,
    ) -> None:
        """Settle, then want that no record matches.

        `where` and `columns` say which records, as in `assert_ingested`. If an event is still
        pending, this raises `SettleTimeout`.
        """
        at = (EventState.INGESTED, database, table)
        find(Search(self._receiver, *at, where=where, columns=columns, count=0, timeout=timeout))

    @with_hint
    def assert_refused(
        self,
        database: str | None = None,
        table: str | None = None,
        *,
        status: int | None = None,
        rule: str | None = None,
        count: int | None = None,
        timeout: float = 2.0,
    ) -> list[Event]:
        """Wait for events that get a 4xx, then want exactly `count` of them and return them.

        `status` is the status of the response, `rule` the id of the rule that refuses them; `None`
        is any.
        """
        at = (EventState.REFUSED, database, table)
        wanted = Search(self._receiver, *at, status=status, rule=rule, count=count, timeout=timeout)
        return find(wanted)

    @with_hint
    def assert_auth_failed(
        self,
        database: str | None = None,
        table: str | None = None,
        *,
        key: str | None = None,
        count: int | None = None,
        timeout: float = 2.0,
    ) -> list[Event]:
        """Wait for events that are rejected after their 200 (Y3), then want exactly `count`.

        `key` is the write key of the events; `None` is any. The test expects these failures from
        then on. It returns the events.
        """
        at = (EventState.REJECTED, database, table)
        return find(Search(self._receiver, *at, key=key, count=count, timeout=timeout))

    @with_hint
    def expect_auth_failure(
        self,
        database: str | None = None,
        table: str | None = None,
        *,
        key: str | None = None,
        count: int | None = None,
        timeout: float = 2.0,
    ) -> ExpectedFailures:
        """A context manager: events that are sent inside may be rejected after their 200 (Y3).

        At its end it does what `assert_auth_failed` does, with the same arguments. It is for `with`
        and for `async with`, and gives a list, which holds the events after the end.
        """
        at = (EventState.REJECTED, database, table)
        search = Search(self._receiver, *at, key=key, count=count, timeout=timeout)
        return self._check.expect_entering("expect_auth_failure", ExpectedFailures(search))

    @with_hint
    def assert_valid(
        self,
        schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
        database: str | None = None,
        table: str | None = None,
        *,
        timeout: float = 5.0,
    ) -> None:
        """Wait for a record and until nothing is pending, then want that every record is valid.

        `schema` is a JSON Schema. Its draft is that of `$schema`, else 2020-12. If an event is
        still pending, this raises `SettleTimeout`.
        """
        at = (EventState.INGESTED, database, table)
        records = find(Search(self._receiver, *at, timeout=timeout, settled=True))
        assertions.validate(self._receiver, records, schema)

    def assert_no_requests(self, timeout: float = 0) -> None:
        """Want that no request arrived, and that none does for `timeout` seconds.

        A connection that was refused without leaving an event counts as a request.
        """
        check_timeout(timeout)
        receiver, collector = self._receiver, self._collector

        refused = collector.refused_connections
        collector.wait_until(lambda: collector.log or refused or receiver.closed, timeout)
        if collector.log or refused:
            collector.wait_for_responses()
            raise AssertionError(messages.requests(receiver))

    def claim(self, *events: Event) -> None:
        """Count events as asserted, for the settings `on_unasserted` and `on_refusal`.

        Events from before a `clear` are ignored. What is not an `Event` raises `TypeError`.
        """
        log = self._collector.log
        for event in events:
            if not isinstance(event, Event):
                given = formatting.value(event)
                raise TypeError(f"claim({given}): give events, like tdpostback.events[0]")
            index = event.seq - log.first
            if 0 <= index < len(log) and Event(log, index) == event:
                log.claimed.add(index)

    # the service's hosts, and clients without a socket

    def redirect(self, *, hosts: Iterable[str] = (), block_network: bool = False) -> Redirection:
        """A context manager: this process's connections to the service's hosts end here.

        The ports 80 and 443 of every known host, of the setting `extra_hosts` and of `hosts` are
        redirected. Clients use real sockets and verify TLS, against the authority of this run. If
        several redirects are active, the last one decides. With `block_network`, connections to
        any other machine raise `BlockedConnection`. It needs the extra `tls`.
        """
        receiver = self._receiver
        manager = receiver.redirect(receiver.hosts, hosts, block_network=block_network)
        return self._check.expect_entering("redirect", manager)

    def proxy_environ(self, *, hosts: Iterable[str] = ()) -> dict[str, str]:
        """The environment of a subprocess whose connections to the service's hosts end here.

        It is the environment of this process with a proxy that leads to the service's hosts, to
        `hosts` and to no other host, and with the authority of this run beside the usual ones. It
        needs the extra `tls`.
        """
        return self._receiver.proxy_environ(hosts)

    @property
    def ca_file(self) -> str:
        """The path of a PEM file with the authority of this run. It needs the extra `tls`."""
        return self._receiver.trust.ca

    def ssl_context(self) -> SSLContext:
        """A new context for a client that trusts that authority. It needs the extra `tls`."""
        return client_context()

    def httpx_transport(self) -> httpx.BaseTransport:
        """A transport for `httpx.Client` that leads here without a socket."""
        return in_process.httpx_transport(self._receiver.collector_in_process)

    def async_httpx_transport(self) -> httpx.AsyncBaseTransport:
        """A transport for `httpx.AsyncClient` that leads here without a socket."""
        return in_process.async_httpx_transport(self._receiver.collector_in_process)

    def requests_adapter(self) -> BaseAdapter:
        """An adapter to mount on a `requests.Session`; it leads here without a socket."""
        return in_process.requests_adapter(self._receiver.collector_in_process)

    @cached_property
    def wsgi_app(self) -> WSGIApplication:
        """The fake server as a WSGI application."""
        collector = self._receiver.collector_in_process
        return application(lambda: collector)

    def mount(self, httpserver: HTTPServer) -> None:
        """Serve every request to a `httpserver` of pytest-httpserver from here."""
        collector = self._receiver.collector_in_process
        access_log = logging.getLogger("werkzeug")

        def handle(request: Request) -> WerkzeugResponse:
            response = respond(collector, request)
            del response.headers["Date"]  # the server that sends it writes its own
            return response

        def shorten_keys(record: logging.LogRecord) -> bool:
            redact = KeyRedactor(collector.keys.known())
            record.msg, record.args = redact(record.getMessage()), ()
            return True

        access_log.addFilter(shorten_keys)
        weakref.finalize(self, access_log.removeFilter, shorten_keys)
        httpserver.expect_request(re.compile("")).respond_with_handler(handle)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Postback cannot be copied or pickled; share it, or give its url")

    def __repr__(self) -> str:
        return f"<Postback {self.url}, {formatting.counted(len(self.events), 'event')}>"


class Member(NamedTuple):
    """A `Postback`, and what it is made of."""

    receiver: Receiver
    check: Check
    postback: Postback

    @classmethod
    def made(cls, *of: Any, **how: Any) -> Member:
        """Make a `Postback`; the arguments are those of `Receiver`."""
        receiver = Receiver(*of, **how)
        check = Check(receiver)
        return cls(receiver, check, Postback(receiver, check))


class Aio:
    """The waiting methods of a `Postback` as coroutines, for asyncio and trio.

    Arguments, results and errors are the same. Time limits are real time, even if a test froze the
    clock. A coroutine that is cancelled stops waiting. One that is never awaited fails the test.
    """

    def __init__(self, blocking: Postback, expect: Callable[[str, object], object]) -> None:
        """Made by `Postback.aio`."""
        self._blocking = blocking
        self._expect = expect
        self.expect_auth_failure = blocking.expect_auth_failure  # for `async with`, too

    settle = awaitable(Postback.settle)
    wait_for = awaitable(Postback.wait_for)
    assert_nothing_ingested = awaitable(Postback.assert_nothing_ingested)
    assert_refused = awaitable(Postback.assert_refused)
    assert_auth_failed = awaitable(Postback.assert_auth_failed)
    assert_valid = awaitable(Postback.assert_valid)
    assert_no_requests = awaitable(Postback.assert_no_requests)
    check = awaitable(Postback.check)

    if TYPE_CHECKING:  # `awaitable` would lose the overloads

        @overload
        async def assert_ingested(
            self,
            /,
            database: str,
            table: str,
            *,
            count: Literal[1] = 1,
            timeout: float = 2.0,  # noqa: ASYNC109
            where: Where = None,
            **columns: Any,
        ) -> Record: ...
        @overload
        async def assert_ingested(
            self,
            /,
            database: str,
            table: str,
            *,
            count: int | None,
            timeout: float = 2.0,  # noqa: ASYNC109
            where: Where = None,
            **columns: Any,
        ) -> list[Record]: ...
        async def assert_ingested(self, /, *arguments: Any, **columns: Any) -> Any:
            """As `Postback.assert_ingested`."""
    else:
        assert_ingested = awaitable(Postback.assert_ingested)

    def __repr__(self) -> str:
        return f"<aio of {self._blocking!r}>"
