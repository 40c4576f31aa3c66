"""The server: listening sockets, each with a collector behind it, on one loop."""

from __future__ import annotations

import ipaddress
import os
import socket
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_httpserver.httpserver import HTTPServerBase, HTTPServerError

from ..collector.collector import Collector
from ..collector.waiting import Timer, call_later
from ..errors import ConfigurationError
from .heads import Heads
from .listener import BACKLOG, Listener
from .loop import LoopThread
from .wsgi import respond

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..protocol.request import RequestHead
    from ..protocol.settings import Settings

__all__ = ["CollectorServer", "Listener"]

_running: weakref.WeakSet[CollectorServer] = weakref.WeakSet()


class CollectorServer(HTTPServerBase):
    """Serves collectors over HTTP, one listening socket each, all in one thread."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        settings: Settings,
        ssl_context: SSLContext | None = None,
        expose: bool = False,
    ) -> None:
        """`port` 0 takes a free one; `expose` is the word to bind to more than loopback.

        Raises `ConfigurationError` for another host without that word, and for what is no port.
        """
        if type(port) is not int or not 0 <= port <= 65_535:
            raise ConfigurationError(f"port {port!r}: a port is an int from 0 to 65535")
        super().__init__(host, port, ssl_context)
        if not expose and not _is_loopback(host):
            message = (
                f"host {host!r} can be reached from outside this machine; "
                "if meant, say so: expose=True, on the command line --expose"
            )
            raise ConfigurationError(message)
        self.settings = settings
        self.heads = Heads()
        self.collector = self.make_collector(settings)
        self.loop: LoopThread
        self._listeners: list[Listener] = []

    def make_collector(self, settings: Settings) -> Collector:
        """A collector whose validation runs in this server's loop."""
        return Collector(settings, call_later=self._call_later)

    def current_collector(self) -> Collector:
        """Whose events arrive at the server's own address now."""
        return self.collector

    def inspects(self, head: RequestHead) -> bool:  # noqa: ARG002 - for a subclass to say
        """Whether `head` asks the double about itself instead of sending it an event."""
        return False

    def start(self) -> None:
        """Listen, and serve in a daemon thread.

        Raises `ConfigurationError` when the address cannot be had, `HTTPServerError` when running.
        """
        if self.is_running():
            raise HTTPServerError("Server is already running")
        sock = self._listen(self.port, self.host)
        try:
            self.loop = LoopThread(self._failed)
        except BaseException:
            sock.close()
            raise
        self.server_thread = self.loop.thread
        self.server = self.loop  # type: ignore[assignment]
        listener = Listener(self, sock, self.current_collector, self.ssl_context)
        self.port = self._add(listener).port
        _running.add(self)

    def stop(self) -> None:
        """Close every socket and end the thread; returns at once.

        Raises `HTTPServerError` when the server is not running.
        """
        if not self.is_running():
            raise HTTPServerError("Server is not running")
        self.server = self.server_thread = None
        _running.discard(self)
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            self.loop.call(listener.close)
        self.loop.stop()

    def forget(self) -> None:
        """Be a server that was stopped, in a process forked off; the parent's goes on."""
        self.server = self.server_thread = None
        for listener in self._listeners:
            listener.forget()
        self._listeners.clear()

    def open(
        self,
        collector: Callable[[], Collector],
        *,
        ssl_context: SSLContext | None = None,
        host: str | None = None,
        kind: Callable[..., Listener] = Listener,
    ) -> Listener:
        """A further listening socket on a free port, for what `collector()` returns.

        It serves HTTPS where there is an `ssl_context`; `host` is another address than the
        server's, `kind` another class of listener. Raises `HTTPServerError` when the server is not
        running.
        """
        if not self.is_running():
            raise HTTPServerError("Server is not running")
        sock = self._listen(0, host or self.host)
        return self._add(kind(self, sock, collector, ssl_context))

    def close(self, listener: Listener) -> None:
        """Close `listener` and its connections."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self.loop.call(listener.close)

    def dispatch(self, request: Request) -> WerkzeugResponse:
        """Answer a request as werkzeug sees it; everything that is no event comes by here."""
        collector = request.environ.get("tdpostback.collector") or self.current_collector()
        return respond(collector, request)

    def application(self, request: Request) -> WerkzeugResponse:
        """Entry point of werkzeug; an error in `dispatch` is the caller's, who keeps it."""
        return self.dispatch(request)

    def _add(self, listener: Listener) -> Listener:
        self._listeners.append(listener)
        self.loop.call(listener.open)
        return listener

    def _listen(self, port: int, host: str) -> socket.socket:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host!r}: {error}") from error
        try:
            if os.name == "posix":  # else a start at the same address waits for the last one's end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            where = f"{host}:{port}"
            message = f"cannot listen on {where}: {error}; give port 0 for a free one"
            raise ConfigurationError(message) from error
        return sock

    def _call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        if self.is_running():
            with suppress(RuntimeError):  # the loop ended this very moment
                return self.loop.call_later(seconds, function)
        return call_later(seconds, function)

    def _failed(self, error: Exception) -> None:
        self.current_collector().report_error(error)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _forget_all() -> None:
    for server in list(_running):
        server.forget()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
