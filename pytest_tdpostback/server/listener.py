"""One listening socket and the connections that come in by it."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from ..protocol.response import Response
from .channel import SocketChannel, socket_of
from .connection import Connection
from .selector import READ
from .wsgi import environ_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from ssl import SSLContext

    from ..collector.collector import Collector
    from ..protocol.request import RequestHead
    from .server import CollectorServer

BACKLOG = 2048
HANDSHAKE_SECONDS = 10.0
EXHAUSTED_SECONDS = 0.5
"""How long no connection is accepted when the process has no descriptor left for one."""
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


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
        self.deadlines = server.loop.deadlines
        self.port: int = sock.getsockname()[1]
        scheme = "https" if ssl_context else "http"
        self.url = f"{scheme}://{server.format_host(server.host)}:{self.port}"
        """Base URL, no trailing slash."""
        self._loop = server.loop.loop
        self._socket = sock
        self._open = False
        self._exhausted = False
        self._connections: set[Connection] = set()
        self._handshakes: set[asyncio.Task[object]] = set()

    def open(self) -> None:
        """Accept from now on; runs in the loop."""
        if self._socket.fileno() >= 0 and not self._open:
            self._open = True
            self._loop.selector.register(self._socket.fileno(), READ, self._accept)

    def close(self) -> None:
        """Stop accepting and end every connection; runs in the loop."""
        self._pause()
        self._socket.close()
        for handshake in self._handshakes:
            handshake.cancel()
        for connection in list(self._connections):
            _end(connection)

    def hang_up(self) -> None:
        """End every connection, a busy one after its answer; accept others. Runs in the loop."""
        for connection in list(self._connections):
            if connection.leave():
                _end(connection)

    def forget(self) -> None:
        """Give up the sockets in a process forked off: the parent's connections are not its own."""
        self._socket.close()
        for connection in self._connections:
            if isinstance(connection.transport, SocketChannel):
                connection.transport.get_extra_info("socket").close()

    # what a connection asks

    def answers_itself(self, head: RequestHead) -> bool:
        """Whether `head` is no event."""
        return head.method == "OPTIONS"

    def dispatch_request(self, head: RequestHead, body: bytes, peer: str) -> Response:
        """The answer of `dispatch`, through werkzeug."""
        secure = self.ssl_context is not None
        environ = environ_of(head, body, peer, secure=secure)
        environ["tdpostback.collector"] = self.collector()
        response = self.server.application(Request(environ))
        body = response.get_data()
        response.close()
        return Response(response.status_code, tuple(response.headers), body)

    def answers_aside(self, head: RequestHead) -> bool:
        """Whether `head` asks the double about itself."""
        return self.server.inspects(head)

    def dispatch_aside(
        self, head: RequestHead, body: bytes, peer: str, done: Callable[[Response], None]
    ) -> None:
        """The answer of `dispatch`, found in a thread: it may wait for events, the loop may not."""

        def work() -> None:
            try:
                answer = self.dispatch_request(head, body, peer)
            except Exception as error:  # noqa: BLE001 - shown by the test, and by `check`
                self.failed(error)
                answer = Response(500, (("Content-Length", "0"),), b"")
            self.server.loop.call_later(0.0, lambda: done(answer))

        threading.Thread(target=work, name="tdpostback-aside", daemon=True).start()

    def opened(self, connection: Connection) -> None:
        """A connection began."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection ended."""
        self._connections.discard(connection)

    def failed(self, error: Exception) -> None:
        """Keep an error of our own for the test and for `check`."""
        self.collector().report_error(error)

    # accepting

    def carry(self, sock: socket.socket, peer: str) -> None:
        """Serve the sender `peer` at the other end of `sock`; runs in the loop."""
        connection = self.connection(peer)
        if self.ssl_context is None:
            SocketChannel(self._loop.selector, sock, connection)
            return
        handshake = self._loop.create_task(
            self._loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=self.ssl_context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        )
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._shaken)

    def connection(self, peer: str) -> Connection:
        """What serves one sender."""
        return Connection(self, peer)

    def _shaken(self, handshake: asyncio.Task[object]) -> None:
        self._handshakes.discard(handshake)
        if not handshake.cancelled():
            handshake.exception()  # the sender's affair: it sees that it is not served

    def _accept(self, events: int) -> None:  # noqa: ARG002 - there is one that it waits for
        if not self._open:  # closed since it became ready
            return
        for _ in range(BACKLOG):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                self._exhausted = False
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest(error)
                    return
                continue  # the sender was gone before it was accepted
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, port = address[:2]
            try:
                self.carry(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            except BaseException:
                sock.close()  # or the sender waits for as long as the error is kept
                raise

    def _pause(self) -> None:
        """Accept nothing until `open`."""
        if self._open:
            self._open = False
            self._loop.selector.unregister(self._socket.fileno())

    def _rest(self, error: OSError) -> None:
        """Accept nothing for a moment: the loop would ask again and again, and serve nobody."""
        if not self._exhausted:
            self._exhausted = True
            self.failed(error)
        self._pause()
        self._loop.call_later(EXHAUSTED_SECONDS, self.open)


def _end(connection: Connection) -> None:
    transport = connection.transport
    if transport is None:
        return
    sock = socket_of(transport)
    if sock is not None:
        with contextlib.suppress(OSError):  # at once: `abort` may take a turn of the loop
            sock.shutdown(socket.SHUT_RDWR)
    transport.abort()
