"""The server: listening sockets, each with a collector behind it, on one loop."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, cast

from pytest_httpserver.httpserver import HTTPServerBase, HTTPServerError
from werkzeug.wrappers import Request

from ..collector.collector import Collector
from ..errors import ConfigurationError
from ..protocol.answer import Answer
from .channel import SocketChannel
from .connection import Connection
from .loop import LoopThread
from .wsgi import environ_of, respond

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from ssl import SSLContext

    from werkzeug.wrappers import Response

    from ..protocol.request import Head
    from ..protocol.settings import Settings

BACKLOG = 2048
LOOPBACK = ("localhost", "::1")


class Listener:
    """One listening socket of a server and the connections that came in by it."""

    def __init__(
        self,
        server: CollectorServer,
        sock: socket.socket,
        collector: Callable[[], Collector],
        ssl_context: SSLContext | None = None,
    ) -> None:
        """`collector()` gives the collector of the request that arrives now."""
        self.server = server
        self.ssl_context = ssl_context
        self.collector = collector
        self.heads = server.heads
        self.port: int = sock.getsockname()[1]
        self._socket = sock
        self._connections: set[asyncio.BaseTransport] = set()

    @property
    def url(self) -> str:
        """Base URL, no trailing slash."""
        scheme = "https" if self.ssl_context else "http"
        return f"{scheme}://{self.server.format_host(self.server.host)}:{self.port}"

    def open(self) -> None:
        """Accept from now on; runs in the loop."""
        self.server.loop.loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting and end every connection; runs in the loop."""
        if self._socket.fileno() >= 0:
            self.server.loop.loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for connection in list(self._connections):
            connection.close()

    def hang_up(self) -> None:
        """End every connection now and go on accepting; runs in the loop."""
        for connection in list(self._connections):
            cast("asyncio.Transport", connection).abort()

    def answers_itself(self, head: Head) -> bool:
        """Whether `head` is no event."""
        return head.method == "OPTIONS"

    def dispatch_request(self, head: Head, body: bytes, peer: str) -> Answer:
        """The answer of `dispatch`, through werkzeug."""
        secure = self.ssl_context is not None
        environ = environ_of(head, body, peer, secure=secure)
        environ["tdpostback.collector"] = self.collector()
        response = self.server.application(Request(environ))
        body = response.get_data()
        response.close()
        return Answer(response.status_code, tuple(response.headers), body)

    def answers_aside(self, head: Head) -> bool:
        """Whether `head` asks the double about itself."""
        return self.server.inspects(head)

    def dispatch_aside(
        self, head: Head, body: bytes, peer: str, done: Callable[[Answer], None]
    ) -> None:
        """The answer of `dispatch`, found in a thread: it may wait for events, the loop may not."""

        def work() -> None:
            try:
                answer = self.dispatch_request(head, body, peer)
            except Exception as error:  # noqa: BLE001 - shown by the test, and by `check`
                self.failed(error)
                answer = Answer(500, (("Content-Length", "0"),), b"")
            self.server.loop.call_later(0.0, lambda: done(answer))

        threading.Thread(target=work, name="tdpostback-aside", daemon=True).start()

    def failed(self, error: Exception) -> None:
        """Keep an error of our own for the test and for `check`."""
        self.collector().errors.append(error)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.failed(error)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = f"[{address[0]}]:{address[1]}" if ":" in address[0] else "%s:%s" % address[:2]
            self.carry(sock, peer)

    def carry(self, sock: socket.socket, peer: str) -> None:
        """Serve the sender `peer` at the other end of `sock`; runs in the loop."""
        loop = self.server.loop.loop
        connection = self.connection(peer)
        if self.ssl_context is None:
            SocketChannel(loop, sock, connection)
            return
        task = loop.create_task(
            loop.connect_accepted_socket(lambda: connection, sock, ssl=self.ssl_context)
        )
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def connection(self, peer: str) -> Connection:
        """What serves one sender."""
        return Connection(self, peer)

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """A connection began."""
        self._connections.add(transport)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        """A connection ended."""
        self._connections.discard(transport)


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

        Raises `ConfigurationError` for another host without that word.
        """
        super().__init__(host, port, ssl_context)
        if not expose and host not in LOOPBACK and not host.startswith("127."):
            message = (
                f"host {host!r} can be reached from outside this machine; "
                "if meant, say so: expose=True, on the command line --expose"
            )
            raise ConfigurationError(message)
        self.settings = settings
        self.heads: dict[bytes, tuple[Head, int]] = {}
        self.collector = self.make_collector(settings)
        self.loop: LoopThread
        self._listeners: list[Listener] = []

    def make_collector(self, settings: Settings) -> Collector:
        """A collector whose validation runs in this server's loop."""
        return Collector(settings, call_later=self._call_later)

    def current_collector(self) -> Collector:
        """Whose events arrive at the server's own address now."""
        return self.collector

    def inspects(self, head: Head) -> bool:  # noqa: ARG002 - for a subclass to say
        """Whether `head` asks the double about itself instead of sending it an event."""
        return False

    def start(self) -> None:
        """Listen, and serve in a daemon thread.

        Raises `ConfigurationError` when the address cannot be had, `HTTPServerError` when running.
        """
        if self.is_running():
            raise HTTPServerError("Server is already running")
        sock = self._listen(self.port, self.host)
        self.loop = LoopThread()
        self.server_thread = self.loop.thread
        self.server = self.loop  # type: ignore[assignment]
        listener = Listener(self, sock, self.current_collector, self.ssl_context)
        self.port = self._add(listener).port

    def stop(self) -> None:
        """Close every socket and end the thread; returns at once.

        Raises `HTTPServerError` when the server is not running.
        """
        if not self.is_running():
            raise HTTPServerError("Server is not running")
        self.server = self.server_thread = None
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            self.loop.call(listener.close)
        self.loop.stop()

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

    def dispatch(self, request: Request) -> Response:
        """Answer a request as werkzeug sees it; everything that is no event comes by here."""
        collector = request.environ.get("tdpostback.collector") or self.current_collector()
        return respond(collector, request)

    def application(self, request: Request) -> Response:
        """Entry point of werkzeug; an error in `dispatch` is kept for `check`."""
        try:
            return self.dispatch(request)
        except Exception as error:
            self.handler_errors.append(error)
            raise

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
            if port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except (OSError, OverflowError) as error:
            sock.close()
            where = f"{host}:{port}"
            message = f"cannot listen on {where}: {error}; give port 0 for a free one"
            raise ConfigurationError(message) from error
        return sock

    def _call_later(self, seconds: float, function: Callable[[], None]) -> None:
        if self.is_running():
            self.loop.call_later(seconds, function)
        else:
            threading.Timer(seconds, function).start()
