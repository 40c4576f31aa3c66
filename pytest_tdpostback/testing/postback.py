"""`Postback`: a fake server as a test sees it, and `Aio`, its waiting methods as coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload
from urllib.parse import quote, urlencode

from ..collector.event_log import EventState
from ..collector.events import Event, Events, Record
from ..protocol.secrets import Redacted, without_keys
from . import assertions, formatting, messages
from .aio import awaitable
from .check import RESPONSE_SECONDS
from .context_managers import ExpectedFailures, HeldValidation
from .matching import (
    EventSearch,
    Search,
    WantedEvents,
    WantedRecords,
    Where,
    check_count,
    check_timeout,
)

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
    from .check import Check
    from .receiver import Receiver

_MISSING: Any = object()


class PostbackFactory(Protocol):
    """The type of the fixture `make_tdpostback`."""

    def __call__(
        self, *, write_keys: Iterable[str] = (), **settings: Unpack[SettingValues]
    ) -> Postback:
        """Make a `Postback` with a URL, write keys and settings of its own.

        Args:
            write_keys: Write keys that are valid besides `write_key`.
            **settings: Settings that differ from those of the test.

        Raises:
            ConfigurationError: A name or a value is not valid.
        """


class Postback:
    """A fake server of the Postback API: where to send, what arrived, and what became of it."""

    def __init__(self, receiver: Receiver, check: Check) -> None:
        """Made by the fixtures and by `PostbackServer`."""
        self._receiver = receiver
        self._check = check
        self._wsgi_app: WSGIApplication | None = None

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
        """The full URL of the event route (R1) of a table.

        Args:
            database: The name of the database.
            table: The name of the table.
            **params: URL parameters.

        Returns:
            The URL. What is given is quoted and not judged.
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
        return Aio(self)

    # what arrived

    @property
    def events(self) -> Sequence[Event]:
        """Every request that arrived, except `OPTIONS` to a served path, in order of arrival."""
        return Events(self._collector.log)

    def records(self, database: str | None = None, table: str | None = None) -> list[Record]:
        """The records that were ingested, in order of arrival.

        Args:
            database: The name of a database; `None` (the default) is any.
            table: The name of a table; `None` (the default) is any.
        """
        self._collector.wait_for_responses(RESPONSE_SECONDS)
        log = self._collector.log
        return [Record(log, index) for index in log.records(database, table)]

    @property
    def auth_failures(self) -> Sequence[Event]:
        """The events that were rejected after their 200 (Y3), expected or not."""
        self._collector.wait_for_responses(RESPONSE_SECONDS)
        return self._events_in(EventState.REJECTED)

    @property
    def refused(self) -> Sequence[Event]:
        """The events that got a 4xx."""
        return self._events_in(EventState.REFUSED)

    def _events_in(self, state: EventState) -> Sequence[Event]:
        log = self._collector.log
        return Events(log, list(log.indexes(state)))

    @property
    def account(self) -> Account:
        """How many events are in each state, and what their senders cannot know."""
        return self._collector.account()

    @property
    def empty(self) -> bool:
        """Whether no event arrived."""
        return not self._receiver.used or self._collector.empty

    def clear(self) -> None:
        """Forget what happened so far. Keys, settings and clock stay as they are.

        Raises:
            UnexpectedAuthFailure: An event that would be forgotten was rejected after its 200, and
                nothing expects it (Y3). Nothing is forgotten then.
        """
        __tracebackhide__ = True
        self._collector.wait_for_responses(RESPONSE_SECONDS)
        self._check.raise_unexpected_losses()
        self._collector.clear()

    def check(self) -> None:
        """Raise now what the end of the test would raise; each failure is raised once.

        It waits up to 5 seconds for outcomes, if they can come in that time.

        Raises:
            UnexpectedAuthFailure: An event was rejected after its 200, and nothing expects it (Y3).
            SettleTimeout: An event has no outcome.
            ConfigurationError: A context manager was called and never entered.
        """
        __tracebackhide__ = True
        self._check.check()

    # waiting

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until no event is pending (Y2).

        Args:
            timeout: For how many seconds to wait, 5 by default.

        Raises:
            SettleTimeout: An event is still pending; the message names it.
        """
        __tracebackhide__ = True
        assertions.settle(self._collector, timeout)

    def wait_for(self, predicate: Callable[[Event], object], timeout: float = 2.0) -> Event:
        """Wait for an event that satisfies a predicate.

        Args:
            predicate: A function of an event. It is asked when the event arrives, when the event
                has its outcome, and once more at the end.
            timeout: For how many seconds to wait, 2 by default.

        Returns:
            The first such event, as soon as there is one.

        Raises:
            AssertionError: There was none in time.
        """
        __tracebackhide__ = True
        check_timeout(timeout)
        collector = self._collector
        event = collector.wait_until(EventSearch(collector, predicate).first, timeout)
        if event is None:  # a fault may have changed an event without an outcome since
            collector.wait_for_responses()
            event = EventSearch(collector, predicate).first()
        if event is None:
            text = messages.not_satisfied(self._receiver, predicate, timeout)
            raise assertions.failure(collector, text)
        assertions.claim(collector, [event])
        return event

    def hold_validation(self) -> AbstractContextManager[None]:
        """A context manager: events that are accepted inside stay pending until it ends (Y5)."""
        manager = HeldValidation(self._collector)
        return self._check.expect_entering("hold_validation", manager)

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
    def assert_ingested(
        self,
        /,
        database: str,
        table: str = _MISSING,
        *,
        count: int | None = 1,
        timeout: float = 2.0,
        where: Where = None,
        **columns: Any,
    ) -> Record | list[Record]:
        """Wait for records in a table, then want exactly `count` of them.

        Args:
            database: The name of the database.
            table: The name of the table.
            count: How many records, 1 by default; `None` is at least one, 0 settles first.
            timeout: For how many seconds to wait, 2 by default. It waits for events that have not
                arrived yet, too.
            where: A mapping of columns whose names are no identifiers, or a function of a record.
            **columns: Columns and their values, compared with `==`. Other columns may be there.

        Returns:
            The record if `count` is 1, else the list of records.

        Raises:
            AssertionError: Another number of records is there; the message shows the nearest event.
        """
        __tracebackhide__ = True
        if table is _MISSING:
            raise TypeError(_two_arguments("assert_ingested", database))
        wanted = WantedRecords.of(database, table, where, columns)
        check_count(count, beside_columns=True)
        check_timeout(timeout, beside_columns=True)
        collector = self._collector
        log, found = assertions.search(
            collector, EventState.INGESTED, wanted, count=count, timeout=timeout
        )
        if not assertions.enough(found, count):
            text = messages.not_ingested(
                self._receiver, wanted, count=count, timeout=timeout, found=(log, found)
            )
            raise assertions.failure(collector, text)
        log.claimed.update(found)
        records = [Record(log, index) for index in found]
        return records[0] if count == 1 else records

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

        Args:
            database: The name of a database; `None` (the default) is any.
            table: The name of a table; `None` (the default) is any.
            timeout: For how many seconds to wait until nothing is pending, 5 by default.
            where: As in `assert_ingested`.
            **columns: As in `assert_ingested`.

        Raises:
            AssertionError: There is such a record.
            SettleTimeout: An event is still pending.
        """
        __tracebackhide__ = True
        wanted = WantedRecords.of(database, table, where, columns)
        collector = self._collector
        assertions.settle(collector, timeout)
        log, found = Search(collector, EventState.INGESTED, wanted).found()
        if found:
            raise assertions.failure(collector, messages.ingested(log, wanted, found))

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
        """Wait for events that get a 4xx, then want exactly `count` of them.

        Args:
            database: The name of a database; `None` (the default) is any.
            table: The name of a table; `None` (the default) is any.
            status: The status of the response; `None` (the default) is any 4xx.
            rule: The id of the rule that refuses them; `None` (the default) is any.
            count: How many events; `None` (the default) is at least one.
            timeout: For how many seconds to wait, 2 by default.

        Returns:
            The events.

        Raises:
            AssertionError: Another number of events was refused.
        """
        __tracebackhide__ = True
        wanted = WantedEvents(database, table, status=status, rule=rule)
        check_count(count)
        check_timeout(timeout)
        collector = self._collector
        log, found = assertions.search(
            collector, EventState.REFUSED, wanted, count=count, timeout=timeout
        )
        if not assertions.enough(found, count):
            text = messages.not_refused(
                self._receiver, wanted, count=count, timeout=timeout, found=(log, found)
            )
            raise assertions.failure(collector, text)
        log.claimed.update(found)
        return [Event(log, index) for index in found]

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

        The test expects these failures from then on.

        Args:
            database: The name of a database; `None` (the default) is any.
            table: The name of a table; `None` (the default) is any.
            key: The write key of the events; `None` (the default) is any.
            count: How many events; `None` (the default) is at least one.
            timeout: For how many seconds to wait, 2 by default.

        Returns:
            The events.

        Raises:
            AssertionError: Another number of events was rejected.
        """
        __tracebackhide__ = True
        wanted = WantedEvents(database, table, key=key)
        return assertions.assert_auth_failed(self._receiver, wanted, count=count, timeout=timeout)

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

        At its end it waits for them as `assert_auth_failed` does, with the same arguments.

        Returns:
            A context manager for `with` and `async with`. It gives a list, which holds the events
            after the end.

        Raises:
            AssertionError: At the end, another number of events was rejected.
        """
        __tracebackhide__ = True
        check_count(count)
        check_timeout(timeout)
        wanted = WantedEvents(database, table, key=key)
        manager = ExpectedFailures(self._receiver, wanted, count, timeout)
        return self._check.expect_entering("expect_auth_failure", manager)

    def assert_valid(
        self,
        schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
        database: str | None = None,
        table: str | None = None,
        *,
        timeout: float = 5.0,
    ) -> None:
        """Settle, then want that every record satisfies a JSON Schema.

        Args:
            schema: The schema. Its draft is that of `$schema`, else 2020-12.
            database: The name of a database; `None` (the default) is any.
            table: The name of a table; `None` (the default) is any.
            timeout: For how many seconds to wait until nothing is pending, 5 by default.

        Raises:
            AssertionError: A record does not satisfy the schema, or there is no record.
            ConfigurationError: `schema` is not a JSON Schema.
        """
        __tracebackhide__ = True
        wanted = WantedRecords.of(database, table, None, {})
        collector = self._collector
        assertions.settle(collector, timeout)
        from .schemas import violations

        log, found = Search(collector, EventState.INGESTED, wanted).found()
        wrong = violations(schema, [Record(log, index) for index in found])
        if wrong or not found:
            raise assertions.failure(collector, messages.invalid_records(wrong, len(found)))
        log.claimed.update(found)

    def assert_no_requests(self, timeout: float = 0) -> None:
        """Want that no request arrived, and that none does for `timeout` seconds (default 0).

        A connection that was refused without leaving an event counts as a request.

        Raises:
            AssertionError: Something arrived.
        """
        __tracebackhide__ = True
        check_timeout(timeout)
        collector = self._collector
        arrived = collector.wait_until(
            lambda: bool(len(collector.log) or collector.refused_connections), timeout
        )
        if arrived:
            collector.wait_for_responses()
            raise assertions.failure(collector, messages.requests(collector))

    def claim(self, *events: Event) -> None:
        """Count events as asserted, for the settings `on_unasserted` and `on_refusal`.

        Raises:
            TypeError: An argument is not an `Event`.
        """
        __tracebackhide__ = True
        for event in events:
            if not isinstance(event, Event):
                raise TypeError(
                    f"claim({formatting.value(event)}): give events, like tdpostback.events[0]"
                )
        assertions.claim(self._collector, events)

    # the service's hosts, and clients without a socket

    def redirect(self, *, hosts: Iterable[str] = (), block_network: bool = False) -> Redirection:
        """A context manager: this process's connections to the service's hosts end here.

        The ports 80 and 443 of every known host, of the setting `extra_hosts` and of `hosts` are
        redirected. Clients use real sockets and verify TLS, against the authority of this run. If
        several redirects are active, the last one decides.

        Args:
            hosts: More hosts to redirect.
            block_network: Whether connections to any other machine raise `BlockedConnection`.

        Raises:
            ConfigurationError: On entering, if the extra `tls` is not installed.
        """
        __tracebackhide__ = True
        receiver = self._receiver
        manager = receiver.redirect(receiver.hosts, hosts, block_network=block_network)
        return self._check.expect_entering("redirect", manager)

    def proxy_environ(self, *, hosts: Iterable[str] = ()) -> dict[str, str]:
        """The environment of a subprocess whose connections to the service's hosts end here.

        It is the environment of this process with a proxy that leads to the service's hosts and to
        no other host, and with the authority of this run beside the usual ones.

        Args:
            hosts: More hosts to lead here.

        Raises:
            ConfigurationError: The extra `tls` is not installed.
        """
        __tracebackhide__ = True
        return self._receiver.proxy_environ(hosts)

    @property
    def ca_file(self) -> str:
        """The path of a PEM file with the authority of this run, for clients of HTTPS.

        Raises:
            ConfigurationError: The extra `tls` is not installed.
        """
        __tracebackhide__ = True
        return self._receiver.trust.ca

    def ssl_context(self) -> SSLContext:
        """A new context for a client that trusts the authority of this run.

        Raises:
            ConfigurationError: The extra `tls` is not installed.
        """
        __tracebackhide__ = True
        from ..server.tls import client_context

        return client_context()

    def httpx_transport(self) -> httpx.BaseTransport:
        """A transport for `httpx.Client` that leads here without a socket.

        Raises:
            ConfigurationError: httpx is not installed.
        """
        from ..server.in_process import httpx_transport

        return httpx_transport(self._collector)

    def async_httpx_transport(self) -> httpx.AsyncBaseTransport:
        """A transport for `httpx.AsyncClient` that leads here without a socket.

        Raises:
            ConfigurationError: httpx is not installed.
        """
        from ..server.in_process import async_httpx_transport

        return async_httpx_transport(self._collector)

    def requests_adapter(self) -> BaseAdapter:
        """An adapter to mount on a `requests.Session`; it leads here without a socket.

        Raises:
            ConfigurationError: requests is not installed.
        """
        from ..server.in_process import requests_adapter

        return requests_adapter(self._collector)

    @property
    def wsgi_app(self) -> WSGIApplication:
        """The fake server as a WSGI application."""
        if self._wsgi_app is None:
            from ..server.wsgi import application

            collector = self._collector
            self._wsgi_app = application(lambda: collector)
        return self._wsgi_app

    def mount(self, httpserver: HTTPServer) -> None:
        """Serve every request to a `httpserver` of pytest-httpserver from here."""
        import logging
        import re
        import weakref

        from ..protocol.secrets import KeyRedactor
        from ..server.wsgi import respond

        collector, access_log = self._collector, logging.getLogger("werkzeug")

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

    def __repr__(self) -> str:
        return f"<Postback {self.url}, {formatting.counted(len(self.events), 'event')}>"


class Aio:
    """The waiting methods of a `Postback` as coroutines, for asyncio and trio.

    Arguments, results and errors are the same. Time limits are real time, even if a test froze the
    clock. A coroutine that is cancelled stops waiting.
    """

    def __init__(self, postback: Postback) -> None:
        self.blocking = postback

    settle = awaitable(Postback.settle)
    wait_for = awaitable(Postback.wait_for)
    assert_nothing_ingested = awaitable(Postback.assert_nothing_ingested)
    assert_refused = awaitable(Postback.assert_refused)
    assert_auth_failed = awaitable(Postback.assert_auth_failed)
    assert_valid = awaitable(Postback.assert_valid)
    assert_no_requests = awaitable(Postback.assert_no_requests)
    check = awaitable(Postback.check)

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
        """As `Postback.assert_ingested`, without blocking the event loop."""
        __tracebackhide__ = True
        return await self._assert_ingested(*arguments, **columns)

    _assert_ingested = awaitable(Postback.assert_ingested)

    def expect_auth_failure(self, *args: Any, **kwargs: Any) -> ExpectedFailures:
        """As `Postback.expect_auth_failure`, for `async with`."""
        __tracebackhide__ = True
        return self.blocking.expect_auth_failure(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<aio of {self.blocking!r}>"


def _two_arguments(method: str, name: object) -> str:
    parts = str(name).partition(".")
    example = f'"{parts[0]}", "{parts[2] or "table"}"'
    return (
        f"{method}({formatting.value(name)}): give the database and the table as two arguments: "
        f"{method}({formatting.escaped(example)})"
    )
