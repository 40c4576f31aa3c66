"""The server: listeners, each with a collector behind it, in one event loop."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_httpserver.httpserver import HTTPServerBase, HTTPServerError

from ..collector.collector import Collector
from ..collector.waiting import call_later
from ..errors import ConfigurationError
from .http_parser import HeadCache
from .listener import BACKLOG, EXHAUSTED, TOO_FEW_DESCRIPTORS, Listener
from .loop import LoopThread
from .wsgi import respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext

    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.waiting import Timer
    from ..protocol.request import RequestHead
    from ..protocol.settings import Settings

PORT_TRIES = 20
"""How often a free port is looked for that is free in every address family."""

_running: weakref.WeakSet[CollectorServer] = weakref.WeakSet()


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
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        super().__init__(host, port, ssl_context)
        if not expose and not _is_loopback(host):
            raise ConfigurationError(
                f"host {host!r} can be reached from other machines; if that is what you want, "
                "pass expose=True, or --expose on the command line"
            )
        self.settings = settings
        self.heads = HeadCache()
        self.collector = self.make_collector(settings)
        self.loop_thread: LoopThread
        self._listeners: list[Listener] = []

    def make_collector(self, settings: Settings) -> Collector:
        """A collector whose validation runs in the loop of this server."""
        return Collector(settings, call_later=self._call_later)

    def current_collector(self) -> Collector:
        """The collector of what arrives at the address of the server now."""
        return self.collector

    def is_inspection(self, head: RequestHead) -> bool:  # noqa: ARG002 - for subclasses
        """Whether `head` asks the fake server about itself, so that `dispatch` responds to it."""
        return False

    def start(self) -> None:
        """Listen, and serve in a daemon thread."""
        if self.is_running():
            raise HTTPServerError("Server is already running")
        sockets = self._listen(self.port, self.host)
        try:
            self.loop_thread = LoopThread(
                lambda error: self.current_collector().report_error(error)
            )
        except BaseException as error:
            _close(sockets)
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise ConfigurationError(
                    f"cannot start the server: {TOO_FEW_DESCRIPTORS}"
                ) from None
            raise
        self.server_thread = self.loop_thread.thread
        self.server = self.loop_thread  # type: ignore[assignment]  # true while it runs
        listener = Listener(self, sockets, self.current_collector, self.ssl_context)
        self.port = listener.port
        self._listeners.append(listener)
        self.loop_thread.call(listener.open)
        _running.add(self)

    @property
    def stopped(self) -> bool:
        """Whether it was started and does not run any more."""
        return hasattr(self, "loop_thread") and not self.is_running()

    def stop(self) -> None:
        """Close every socket and end the thread, without waiting for any sender."""
        if not self.is_running():
            raise HTTPServerError("Server is not running")
        self.server = self.server_thread = None
        _running.discard(self)
        self.close_listeners(self._listeners)
        self.loop_thread.stop()

    def open_listener(
        self,
        collector: Callable[[], Collector],
        *,
        ssl_context: SSLContext | None = None,
        host: str | None = None,
        listener_class: Callable[..., Listener] = Listener,
    ) -> Listener:
        """Listen on a further free port, of `host` if it is given."""
        if not self.is_running():
            raise HTTPServerError("Server is not running")
        listener = listener_class(self, self._listen(0, host or self.host), collector, ssl_context)
        self._listeners.append(listener)
        self.loop_thread.call(listener.open)
        return listener

    def close_listeners(self, listeners: Iterable[Listener]) -> None:
        """Close those of `listeners` that are open, with their connections; wakes the loop once."""
        closing = [listener for listener in listeners if listener in self._listeners]
        for listener in closing:
            self._listeners.remove(listener)

        def close() -> None:
            for listener in closing:
                listener.close()

        if closing:
            self.loop_thread.call(close)

    def dispatch(self, request: Request) -> WerkzeugResponse:
        """The response to a request that is not an event, as werkzeug sees it."""
        collector = request.environ.get("tdpostback.collector") or self.current_collector()
        return respond(collector, request)

    def application(self, request: Request) -> WerkzeugResponse:
        """What werkzeug calls. An error of `dispatch` is kept by whoever called this."""
        return self.dispatch(request)

    def close_copies(self) -> None:
        """Be a stopped server in a forked process. That of the parent is not affected."""
        self.server = self.server_thread = None
        for listener in self._listeners:
            listener.close_copies()
            # Another thread may have held it, and that thread does not exist here.
            listener.current_collector().lock = threading.RLock()
        self._listeners.clear()

    def _listen(self, port: int, host: str) -> list[socket.socket]:
        """Sockets that listen on one port of each address of `host`."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host!r}: {error}") from error
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
        tries = 1 if port or len(addresses) == 1 else PORT_TRIES
        while True:
            tries -= 1
            try:
                return _bound(list(addresses))
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
                return self.loop_thread.call_later(seconds, function)
        return call_later(seconds, function)


def _bound(addresses: list[tuple[socket.AddressFamily, tuple[Any, ...]]]) -> list[socket.socket]:
    """Listening sockets for `addresses`, all on the port that the first one gets.

    An address of a family that this machine does not have is left out, unless it is the only one.
    """
    sockets: list[socket.socket] = []
    try:
        for number, (family, (host, port, *more)) in enumerate(addresses, 1):
            shared = sockets[0].getsockname()[1] if sockets else port
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            if os.name == "posix":  # else a restart may fail with "address in use"
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind((host, shared, *more))
            except OSError as error:
                only = len(sockets) == 1 and number == len(addresses)
                if error.errno != errno.EADDRNOTAVAIL or only:
                    raise
                sockets.pop().close()
                continue
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except BaseException:
        _close(sockets)
        raise
    return sockets


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _after_fork_in_child() -> None:
    for server in list(_running):
        server.close_copies()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
