"""One listener: its sockets, the connections that it accepted, and the collector behind them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from pytest_httpserver.httpserver import HTTPServerBase
from werkzeug.wrappers import Request

from ..errors import ConfigurationError
from ..protocol.response import Response
from .connection import LINGER_SECONDS, Connection
from .wsgi import environ_of

if TYPE_CHECKING:
    import asyncio
    import socket
    import ssl
    from collections.abc import Callable, Sequence

    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.collector import Collector
    from ..protocol.request import RequestHead
    from .loop import LoopThread

BACKLOG = 2048
HANDSHAKE_SECONDS = 10.0
EXHAUSTED_SECONDS = 0.5
"""Time without accepting connections after the process ran out of descriptors."""
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
TOO_FEW_DESCRIPTORS = (
    "this process may not open more files or sockets; "
    "raise the limit (`ulimit -n`), or close what the tests leave open"
)


class ListeningServer(Protocol):
    """What a listener needs of the server that opened it."""

    loop_thread: LoopThread
    host: str

    def is_inspection(self, head: RequestHead) -> bool:
        """Whether `head` asks the fake server about itself."""

    def application(self, request: Request) -> WerkzeugResponse:
        """The response to a request that is not an event."""


class Listener:
    """Listens on one port. Methods run in the loop, unless they say otherwise."""

    def __init__(
        self,
        server: ListeningServer,
        sockets: Sequence[socket.socket],
        collector: Callable[[], Collector],
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Made in any thread; `collector()` returns what receives the request that arrives now."""
        self.current_collector = collector
        self.ssl_context = ssl_context
        self.port: int = sockets[0].getsockname()[1]
        scheme = "https" if ssl_context else "http"
        self.url = f"{scheme}://{HTTPServerBase.format_host(server.host)}:{self.port}"
        """Base URL, no trailing slash."""
        self.loop: asyncio.AbstractEventLoop = server.loop_thread.loop
        self.is_inspection = server.is_inspection
        self.connections: set[Connection] = set()
        self._application = server.application
        self._sockets = sockets
        self._accepting = False
        self._exhausted = False
        self._starting: dict[asyncio.Task[None], Connection] = {}
        """Connections that were accepted and have no transport yet, and what starts them."""

    def open(self) -> None:
        """Accept connections from now on."""
        if not self._accepting:
            self._accepting = True
            for sock in self._sockets:
                if sock.fileno() >= 0:
                    self.loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Stop listening, and end every connection."""
        self._stop_accepting()
        for sock in self._sockets:
            sock.close()
        for task in self._starting:
            task.cancel()
        for connection in list(self.connections):
            connection.abort()

    def close_connections(self) -> None:
        """End every connection, a busy one after its response. New ones are accepted."""
        for connection in [*self.connections, *self._starting.values()]:
            connection.close_after_response()

    def close_copies(self) -> None:
        """In a forked process, close its copies of all sockets; any thread."""
        connections = (*self.connections, *self._starting.values())
        for sock in (*self._sockets, *(each.socket for each in connections)):
            if sock is not None:
                sock.close()

    # what a connection asks

    def inspect(self, head: RequestHead, body: bytes, peer: str) -> Response:
        """The response of the server to an inspection request; from any thread."""
        environ = environ_of(head, body, peer, secure=self.ssl_context is not None)
        environ["tdpostback.collector"] = self.current_collector()
        response = self._application(Request(environ))
        body = response.get_data()
        response.close()
        return Response(response.status_code, tuple(response.headers), body)

    def report_error(self, error: BaseException) -> None:
        """Keep an error of the server for the test; from any thread."""
        self.current_collector().report_error(error)

    def note_refused_connection(self, peer: str, reason: str) -> None:
        """Keep that `peer` sent what is not an event; from any thread."""
        self.current_collector().note_refused_connection(f"{peer} at {self.url}: {reason}")

    # accepting

    def connection(self, peer: str) -> Connection:
        """What serves the sender `peer`; a subclass may return another kind."""
        return Connection(self, peer)

    def serve(self, sock: socket.socket, peer: str) -> None:
        """Serve the sender `peer` at the other end of the non-blocking socket `sock`."""
        try:
            connection = self.connection(peer)
            connection.socket = sock
            task = self.loop.create_task(self._start(connection, sock))
        except BaseException:
            sock.close()  # or the sender waits for as long as the error is kept
            raise
        self._starting[task] = connection
        task.add_done_callback(self._starting.pop)

    async def _start(self, connection: Connection, sock: socket.socket) -> None:
        try:
            tls = {}
            if self.ssl_context is not None:
                tls = {
                    "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                    "ssl_shutdown_timeout": LINGER_SECONDS,
                }
            await self.loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self.ssl_context, **tls
            )
        except OSError as error:
            sock.close()
            if self.ssl_context is not None and not isinstance(error, ConnectionResetError):
                self.note_refused_connection(connection.peer, _failed_handshake(error))
        except BaseException:
            sock.close()
            raise

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
            host, port = address[:2]
            self.serve(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def _stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            for sock in self._sockets:
                self.loop.remove_reader(sock)

    def _pause(self) -> None:
        """Accept nothing for a moment; else the loop would do nothing but try to accept."""
        if not self._exhausted:
            self._exhausted = True
            self.report_error(
                ConfigurationError(f"cannot accept a connection: {TOO_FEW_DESCRIPTORS}")
            )
        self._stop_accepting()
        self.loop.call_later(EXHAUSTED_SECONDS, self.open)


def _failed_handshake(error: OSError) -> str:
    """Why a TLS handshake failed, and what to do."""
    reason = str(getattr(error, "reason", ""))
    if reason in ("HTTP_REQUEST", "WRONG_VERSION_NUMBER"):
        return "it does not speak TLS; send to a URL that begins with https://"
    if "UNKNOWN_CA" in reason or "CERTIFICATE" in reason:
        return (
            "it does not trust the certificate; let it trust the authority in `ca_file`, "
            "or use `ssl_context()`"
        )
    return f"the TLS handshake failed: {error}"
