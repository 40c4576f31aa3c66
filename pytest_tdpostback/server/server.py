"""The server: listeners, each with a collector behind it, in one event loop."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import threading
import weakref
from contextlib import suppress
from functools import cache, partial
from itertools import chain
from selectors import EVENT_READ
from ssl import SSLError
from typing import TYPE_CHECKING, Any

from pytest_httpserver.httpserver import HTTPServerBase, HTTPServerError
from werkzeug.wrappers import Request

from ..collector.collector import Collector
from ..collector.waiting import call_later
from ..errors import ConfigurationError
from ..protocol.response import Response
from .connection import Connection
from .loop import Loop
from .wsgi import environ_of, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ssl import SSLContext

    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.waiting import Timer
    from ..protocol.request import RequestHead
    from ..protocol.settings import Settings

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]
BACKLOG = 2048
PORT_TRIES = 20
"""How often a free port is looked for that is free in every address family."""
EXHAUSTED_SECONDS = 0.5
"""Time without accepting connections after the process ran out of descriptors."""
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
TOO_FEW_DESCRIPTORS = (
    "this process may not open more files or sockets; "
    "raise the limit (`ulimit -n`), or close what the tests leave open"
)

servers: weakref.WeakSet[CollectorServer] = weakref.WeakSet()


class Listener:
    """Listens on one port. Methods run in the loop, unless they say otherwise."""

    def __init__(  # noqa: PLR0917 - all are needed
        self,
        server: CollectorServer,
        host: str,
        sockets: Sequence[socket.socket],
        collector: Callable[[], Collector],
        ssl_context: SSLContext | None,
        connection: Callable[[Listener, socket.socket, str], Connection] = Connection,
    ) -> None:
        """Made in any thread; `collector()` returns what receives the request that arrives now.

        `connection(listener, sock, peer)` makes what serves the sender `peer`.
        """
        self.current_collector = collector
        self.port: int = sockets[0].getsockname()[1]
        self.host = host
        """What it listens at."""
        scheme = "https" if ssl_context else "http"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"
        """Base URL, no trailing slash."""
        self.loop: Loop = server.loop
        self.connections: set[Connection] = set()
        self._dispatch = server.dispatch
        self._make_connection = connection
        self._ssl_context = ssl_context
        self._sockets = sockets
        self._accepting = False
        self._exhausted = False

    def reopen(self, loop: Loop, sockets: Sequence[socket.socket]) -> None:
        """After `close`, listen on `sockets` in another loop; any thread."""
        self.loop, self._sockets = loop, sockets
        loop.call(self.open)

    def open(self) -> None:
        """Accept connections from now on."""
        if not self._accepting and self._sockets[0].fileno() >= 0:  # else it is closed by now
            self._accepting = True
            for sock in self._sockets:
                self.loop.selector.register(sock, EVENT_READ, partial(self._accept, sock))

    def close(self) -> None:
        """Stop listening, and end every connection."""
        self._stop_accepting()
        for sock in self._sockets:
            sock.close()
        for connection in list(self.connections):
            connection.abort()

    def close_connections(self) -> None:
        """End every connection, a busy one after its response. New ones are accepted."""
        for connection in list(self.connections):
            connection.close_after_response()

    def close_copies(self) -> None:
        """In a forked process, close its copies of all sockets; any thread."""
        _close((*self._sockets, *(each.socket for each in self.connections)))

    # what a connection asks

    def inspect(self, head: RequestHead, body: bytes, peer: str, size: int | None) -> Response:
        """The response of the server to an inspection request; from any thread."""
        environ = environ_of(head, body, peer, size, secure=self._ssl_context is not None)
        environ["tdpostback.collector"] = self.current_collector()
        response = self._dispatch(Request(environ))
        body = response.get_data()
        response.close()
        return Response(response.status_code, tuple(response.headers), body)

    def report_error(self, error: BaseException) -> None:
        """Keep an error of the server for the test; from any thread."""
        self.current_collector().report_error(error)

    def note_refused_connection(self, peer: str, reason: str, status: int | None = None) -> None:
        """Keep that `peer` sent what is not an event, and got `status`; from any thread."""
        self.current_collector().note_refused_connection(f"{peer} at {self.url}: {reason}", status)

    # accepting

    def serve(self, sock: socket.socket, peer: str) -> None:
        """Serve the sender `peer` at the other end of the non-blocking socket `sock`."""
        try:
            if self._ssl_context is not None:
                sock = self._ssl_context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            self._make_connection(self, sock, peer)
        except BaseException as error:
            sock.close()  # or the sender waits for as long as the error is kept
            if isinstance(error, SSLError):
                self.note_refused_connection(peer, f"the TLS handshake failed: {error}")
            elif not isinstance(error, OSError):
                raise  # otherwise the sender is gone

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                self._exhausted = False
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause()
                    return
                continue  # the sender was gone before it was accepted
            sock.setblocking(False)
            with suppress(OSError):  # the sender may be gone
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, port = address[:2]
            self.serve(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def _stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            for sock in self._sockets:
                self.loop.selector.unregister(sock)

    def _pause(self) -> None:
        """Accept nothing for a moment; else the loop would do nothing but try to accept."""
        if not self._exhausted:
            self._exhausted = True
            message = f"cannot accept a connection: {TOO_FEW_DESCRIPTORS}"
            self.report_error(ConfigurationError(message))
        self._stop_accepting()
        self.loop.call_later(EXHAUSTED_SECONDS, self.open)


class CollectorServer(HTTPServerBase):
    """Serves collectors over HTTP, one listener each. Any thread may call its methods."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        settings: Settings,
        ssl_context: SSLContext | None = None,
        expose: bool = False,
    ) -> None:
        """Nothing listens before `start`; `expose` allows a `host` that other machines reach."""
        if type(port) is not int or not 0 <= port <= 65_535:
            raise ConfigurationError(f"port {port!r}: a port is an int from 0 to 65535")
        if not isinstance(host, str):
            raise ConfigurationError(f"host {host!r}: give an address or a name as a string")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        super().__init__(host, port, ssl_context)
        if not expose and not _is_loopback(host):
            raise ConfigurationError(
                f"host {host!r} can be reached from other machines; if that is what you want, "
                "pass expose=True, or --expose on the command line"
            )
        self.settings = settings
        self.lock = threading.RLock()
        """Held while a collector is made, or a port opened, that several threads may ask for."""
        self._collectors: weakref.WeakSet[Collector] = weakref.WeakSet()
        self.collector = self.make_collector(settings)
        self.loop: Loop
        self._addresses = cache(_addresses)  # each test opens a port
        self._listeners: list[Listener] = []
        """Those that are open; after `stop`, those that `start` opens again at their ports."""
        self._is_copy = False
        servers.add(self)

    def make_collector(self, settings: Settings) -> Collector:
        """A collector whose validation runs in the loop of this server."""
        collector = Collector(settings, call_later=self._call_later)
        self._collectors.add(collector)
        return collector

    def current_collector(self) -> Collector:
        """The collector of what arrives at the address of the server now."""
        return self.collector

    def start(self) -> None:
        """Listen, and serve in a daemon thread."""
        if self.is_running():
            raise HTTPServerError("Server is already running")
        places = [(each.port, each.host) for each in self._listeners] or [(self.port, self.host)]
        opened: list[list[socket.socket]] = []
        try:
            opened.extend(self._listen(*place) for place in places)
            self.loop = Loop(lambda error: self.current_collector().report_error(error))
        except BaseException as error:
            _close(chain(*opened))
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                message = f"cannot start the server: {TOO_FEW_DESCRIPTORS}"
                raise ConfigurationError(message) from None
            raise
        self._is_copy = False
        self.server_thread = self.loop.thread
        self.server = self.loop  # type: ignore[assignment]  # true while it runs
        if not self._listeners:
            made = Listener(self, self.host, opened[0], self.current_collector, self.ssl_context)
            self.port = self._add(made).port
            return
        for listener, sockets in zip(self._listeners, opened, strict=True):
            listener.reopen(self.loop, sockets)

    @property
    def stopped(self) -> bool:
        """Whether it was started and does not run any more."""
        return hasattr(self, "loop") and not self.is_running()

    def stop(self) -> None:
        """Close every socket and end the thread, without waiting for any sender."""
        self._check_running()
        self.server = self.server_thread = None
        self._close(self._listeners)
        self.loop.stop()
        for listener in self._listeners:
            listener.current_collector().notify()  # a wait for what cannot arrive any more ends

    def open_listener(
        self,
        collector: Callable[[], Collector],
        *,
        ssl_context: SSLContext | None = None,
        host: str | None = None,
        connection: Callable[[Listener, socket.socket, str], Connection] = Connection,
    ) -> Listener:
        """Listen on a further free port, of `host` if it is given."""
        self._check_running()
        host = host or self.host
        sockets = self._listen(0, host)
        return self._add(Listener(self, host, sockets, collector, ssl_context, connection))

    def close_listeners(self, listeners: Iterable[Listener]) -> None:
        """Close those of `listeners` that are open, with their connections; wakes the loop once."""
        closing = [listener for listener in listeners if listener in self._listeners]
        for listener in closing:
            self._listeners.remove(listener)
        if closing and self.is_running():
            self._close(closing)

    def dispatch(self, request: Request) -> WerkzeugResponse:
        """The response to a request that is not an event, as werkzeug sees it."""
        collector = request.environ.get("tdpostback.collector") or self.current_collector()
        return respond(collector, request)

    def after_fork(self) -> None:
        """Be a stopped server in a forked process. That of the parent is not affected."""
        self.lock = threading.RLock()  # a thread that does not exist here may hold the other one
        for collector in self._collectors:
            collector.lock = threading.RLock()
        if self.is_running():
            self._is_copy = True
            self.server = self.server_thread = None
            for listener in self._listeners:
                listener.close_copies()
            self._listeners.clear()

    def check_not_copy(self) -> None:
        """Raise `ConfigurationError` in a process that was forked while the server ran."""
        __tracebackhide__ = True
        if self._is_copy:
            raise ConfigurationError(
                "the fake server runs in the parent of this forked process; enter `redirect()`, "
                "call `proxy_environ()`, and read `url` and `write_key` before the fork"
            )

    def _check_running(self) -> None:
        __tracebackhide__ = True
        self.check_not_copy()
        if not self.is_running():
            raise HTTPServerError("Server is not running")

    def _close(self, listeners: Sequence[Listener]) -> None:
        def close() -> None:
            for listener in listeners:
                listener.close()

        self.loop.call(close)

    def _add(self, listener: Listener) -> Listener:
        self._listeners.append(listener)
        if self.loop.takes_new_sockets:  # to wake the loop takes a test 0.1 ms
            listener.open()
        else:
            self.loop.call(listener.open)
        return listener

    def _listen(self, port: int, host: str) -> list[socket.socket]:
        """Sockets that listen on one port of each address of `host`."""
        addresses = self._addresses(host)
        tries = 1 if port or len(addresses) == 1 else PORT_TRIES
        while True:
            tries -= 1
            try:
                return _bound(addresses, port)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    raise ConfigurationError(f"cannot listen: {TOO_FEW_DESCRIPTORS}") from error
                if not tries:
                    where = f"{self.format_host(host)}:{port}"
                    message = f"cannot listen on {where}: {error}; give port 0 for a free one"
                    raise ConfigurationError(message) from error

    def _call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        if self.is_running():
            with suppress(RuntimeError):  # the loop ended this very moment
                return self.loop.call_later(seconds, function)
        return call_later(seconds, function)


def _addresses(host: str) -> list[_Address]:
    """The addresses of `host`, each with its family."""
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        found = socket.getaddrinfo(_encoded(host), 0, type=kind, flags=flags)
    except (OSError, ValueError) as error:  # it cannot be a name
        raise ConfigurationError(f"cannot listen on {host!r}: {error}") from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(addresses: Sequence[_Address], port: int) -> list[socket.socket]:
    """Listening sockets for `addresses`, all on `port`, or on the one that the first gets for 0.

    An address of a family that this machine does not have is left out, unless it is the only one.
    """
    sockets: list[socket.socket] = []
    try:
        for number, (family, (host, _, *more)) in enumerate(addresses, 1):
            shared = sockets[0].getsockname()[1] if sockets else port
            address = (host, shared, *more)
            try:
                sock = socket.create_server(address, family=family, backlog=BACKLOG)
            except OSError as error:
                only = not sockets and number == len(addresses)
                if error.errno != errno.EADDRNOTAVAIL or only:
                    raise
            else:
                sock.setblocking(False)
                sockets.append(sock)
    except BaseException:
        _close(sockets)
        raise
    return sockets


def _encoded(host: str) -> bytes | str:
    """`host` as bytes, if that needs no IDNA, which takes 3 ms to import."""
    return host.encode() if host.isascii() else host


def _is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return True
    try:
        found = socket.getaddrinfo(_encoded(host), None, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return False
    address = ipaddress.ip_address(found[0][4][0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _after_fork_in_child() -> None:
    for server in servers:
        server.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
