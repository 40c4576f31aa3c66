"""One connection: bytes become requests, requests become responses, in the order of arrival.

`State` lists what a connection can be in, and `TRANSITIONS` what follows on what.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from enum import StrEnum
from functools import partial
from socket import SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Protocol, cast

from ..protocol.response import Response, empty
from .http_parser import (
    END_OF_HEAD,
    MAX_DRAIN,
    MAX_HEAD,
    BadRequest,
    BodyParser,
    check_start,
    parse_head,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..collector.collector import Collector, Exchange
    from ..protocol.request import RequestHead
    from .http_parser import Head

INSPECTION_PREFIX = "/.tdpostback/"
"""How the path of a call of the REST interface begins."""
MAX_INSPECTION_BODY = 1024 * 1024
"""Bytes of the body of a call of the REST interface."""
LARGE_BODY = 32 * 1024
"""Bytes of a body up to which it is judged in the loop; a larger one takes a worker thread.

The worst JSON of this size takes 3 to 5 ms. A thread takes 0.1 ms.
"""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class State(StrEnum):
    """What a connection is doing."""

    NEW = "the sender is connected and has sent nothing yet"
    IDLE = "every request that began has its response"
    HEAD = "a part of a head is there"
    BODY = "the head of a request is complete, its body is not"
    DRAINING = "the response is out; the rest of a body that is too large is read and thrown away"
    PROCESSING = "a worker thread or a fault has the response; nothing is read until it is out"
    HANGING = "a fault keeps the response back; what arrives is thrown away"
    CLOSING = "the last response is out; what arrives is thrown away until the sender closes"
    CLOSED = "the connection has ended"


# Python 3.11 takes long to find a member of an enumeration.
NEW, IDLE, HEAD, BODY, DRAINING, PROCESSING, HANGING, CLOSING, CLOSED = State

TRANSITIONS = {
    NEW: {IDLE, HEAD, BODY, CLOSING, CLOSED},
    IDLE: {HEAD, BODY, PROCESSING, CLOSING, CLOSED},
    HEAD: {IDLE, BODY, CLOSING, CLOSED},
    BODY: {IDLE, DRAINING, CLOSING, CLOSED},
    DRAINING: {IDLE, PROCESSING, CLOSING, CLOSED},
    PROCESSING: {IDLE, DRAINING, HANGING, CLOSING, CLOSED},
    HANGING: {CLOSED},
    CLOSING: {CLOSED},
    CLOSED: set(),
}
SECONDS = {
    HEAD: 10.0,  # from its first byte to its last
    BODY: 30.0,  # from one piece to the next
    DRAINING: 30.0,
    CLOSING: 2.0,  # from the last response until the server does not wait for the sender any more
}
"""How long a connection may be in a state."""


class Service(Protocol):
    """What a connection needs of the listener that accepted it."""

    loop: asyncio.AbstractEventLoop
    connections: set[Connection]

    def current_collector(self) -> Collector:
        """The collector of the request that arrives now."""

    def inspect(self, head: RequestHead, body: bytes, peer: str, size: int | None) -> Response:
        """The response of the REST interface; may take long. `size` is that of `receive`."""

    def report_error(self, error: BaseException) -> None:
        """Keep an error of the server for the test."""

    def note_refused_connection(self, peer: str, reason: str, status: int | None = None) -> None:
        """Keep that `peer` sent what is not an event, and why."""


class Connection(asyncio.Protocol):
    """Serves one sender. All methods run in the loop, unless they say otherwise."""

    def __init__(self, service: Service, peer: str) -> None:
        """`peer` is the address of the sender, `host:port`."""
        self.peer = peer
        self.state = NEW
        self.socket: socket.socket | None = None
        """The socket of the connection, which the transport closes."""
        self.transport: asyncio.Transport
        self._service = service
        self._body: BodyParser | None = None
        """The body that is arriving, in `BODY` and `DRAINING`."""
        self._unread = b""
        """The head so far in `HEAD`; in `PROCESSING`, what arrived behind the request."""
        self._unsent: list[Exchange] = []
        """Exchanges whose response is in the buffer of the transport."""
        self._close_after_response = False
        self._timer: asyncio.TimerHandle | None = None

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        # The transport says when anything waits in its buffer: a response there is not sent (Y1).
        # That is one byte over the limit without TLS, and one byte at the limit with TLS.
        self.transport.set_write_buffer_limits(high=0 if self.transport.can_write_eof() else 1)
        self._service.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes."""
        known, at = len(self._unread), 0
        if known:
            data, self._unread = self._unread + data, b""
        try:
            while at < len(data):
                state = self.state
                if state is IDLE or state is NEW or state is HEAD:
                    at = self._read_head(data, at, known)
                    if self.state is HEAD:
                        break
                elif state is BODY or state is DRAINING:
                    at = self._read_body(data, at)
                else:
                    break
        except BadRequest as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 - the test fails with it
            self._service.report_error(error)
            if self.state not in (CLOSING, CLOSED):
                self._send_response(empty(500), keep_alive=False)
        if self.state is PROCESSING or self.state is HEAD:
            self._unread = data[at:]

    def pause_writing(self) -> None:
        """Read nothing from a sender that does not read its responses."""
        if self.state is not NEW:  # then it is the handshake of TLS that waits
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """All responses are sent."""
        self._confirm_sent()
        self._continue()

    def eof_received(self) -> None:
        """Let the transport close: the sender sends no more, and has all of its responses."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """End."""
        if self.state is HEAD or self.state is BODY:
            self._service.note_refused_connection(self.peer, "it ended in the middle of a request")
        self._enter(CLOSED)
        self._service.connections.discard(self)
        self._body = None
        self._unread = b""
        if self._unsent:
            self._confirm_sent()

    # from bytes to requests

    def _read_head(self, data: bytes, at: int, known: int) -> int:
        """Read a head from `data[at:]`, and serve the request if it is all there.

        The head was not complete in the first `known` bytes of `data`.
        """
        if data[at] in b"\r\n":  # empty lines before a request count for nothing
            at = len(data) - len(data[at:].lstrip(b"\r\n"))
        end = data.find(END_OF_HEAD, at if known < 3 else max(at, known - 3))
        if end < 0:
            if at < len(data):
                check_start(data[at : at + MAX_HEAD], max(0, known - at))
                if self.state is not HEAD:
                    self._enter(HEAD)
            return at
        end += len(END_OF_HEAD)
        head = parse_head(data[at:end])
        at, end = end, end + head.length
        collector = self._service.current_collector()
        if end <= len(data) and not head.chunked and not head.expects_continue:
            if self.state is not IDLE:
                self._enter(IDLE)
            self.respond(collector, head, data[at:end])
            return end
        limit = collector.size_limit(head.request)
        if collector.settings.inspection and _is_inspection(head.request):
            limit = MAX_INSPECTION_BODY
        self._body = BodyParser(head, limit)
        self._enter(BODY)
        if self._body.too_large:
            self._refuse_body(self._body)
        elif head.expects_continue:
            self.transport.write(CONTINUE)
        return at

    def _read_body(self, data: bytes, at: int) -> int:
        """Read a body from `data[at:]`, and serve the request if that is all of it."""
        body = cast("BodyParser", self._body)
        at = body.feed(data, at)
        if body.complete:
            self._body = None
            responded = self.state is DRAINING
            self._enter(IDLE)
            if not responded:
                self.respond(self._service.current_collector(), body.head, body.data, body.size)
        elif body.too_large and self.state is BODY:
            self._refuse_body(body)
        else:
            self._enter(self.state)
        return at

    def _refuse_body(self, body: BodyParser) -> None:
        """Respond 413 now, and read the rest: a sender that still writes could not read (B6)."""
        size = max(body.size, body.head.length)
        if size > body.limit + MAX_DRAIN or body.head.expects_continue:
            self._close_after_response = True
        self._enter(DRAINING)
        self.respond(self._service.current_collector(), body.head, b"", size)

    def _refuse(self, error: BadRequest) -> None:
        """Respond to what is not a request, and end."""
        if self.state is DRAINING:  # the response is out
            self._close()
            return
        self._service.note_refused_connection(self.peer, str(error), error.status)
        self._send_response(empty(error.status), keep_alive=False)

    # from requests to responses

    def respond(
        self, collector: Collector, head: Head, body: bytes, size: int | None = None
    ) -> None:
        """Respond to a complete request, in a worker thread if that may take long.

        `size` is the length of the body in bytes, if `body` is not all of it.
        """
        request = head.request
        if collector.settings.inspection and _is_inspection(request):
            self._process(head, partial(self._service.inspect, request, body, self.peer, size))
        elif (
            collector.calls_user_code
            or len(body) > LARGE_BODY
            or "content-encoding" in request.fields  # 1 KiB may decode to 1 MiB
        ):
            self._process(head, partial(collector.receive, request, body, self.peer, size=size))
        else:
            self._send(head, collector.receive(request, body, self.peer, size=size))

    def _process(self, head: Head, work: Callable[[], Exchange | Response]) -> None:
        """Have a worker thread do `work`, then send the response that it returns."""
        self._enter(PROCESSING)

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - the test fails with it
                self._service.report_error(error)
                result = empty(500)
            with suppress(RuntimeError):  # the server has stopped
                self._service.loop.call_soon_threadsafe(self._processed, head, result)

        threading.Thread(target=run, name="tdpostback-request", daemon=True).start()

    def _processed(self, head: Head, result: Exchange | Response) -> None:
        if self.state is CLOSED:
            if not isinstance(result, Response):
                result.collector.response_sent(result)
            return
        self._enter(DRAINING if self._body else IDLE)
        if isinstance(result, Response):
            head_only = head.request.method == "HEAD"
            self._send_response(result, keep_alive=head.keep_alive, head_only=head_only)
        else:
            self._send(head, result)
        self._continue()

    def _send(self, head: Head, exchange: Exchange) -> None:
        """Send the response of `exchange`, as usual or as a fault wants it."""
        keep_alive = head.keep_alive and not self._close_after_response
        response, effect = exchange.response, exchange.effect
        if head.request.method == "HEAD":
            data = response.to_bytes(keep_alive=keep_alive, head_only=True)
        else:
            data = response.kept_alive if keep_alive else response.closing
        if effect is not None and effect.transmission is not None:
            self._enter(PROCESSING)
            effect.transmission.send(self, exchange, data, keep_alive=keep_alive)
            return
        self.transport.write(data)  # TLS may call `resume_writing` in it
        if self.transport.get_write_buffer_size():
            self._unsent.append(exchange)
        else:
            exchange.collector.response_sent(exchange)
        if not keep_alive:
            self._close(linger=head.keep_alive or self._body is not None)

    def _send_response(
        self, response: Response, *, keep_alive: bool, head_only: bool = False
    ) -> None:
        """Send a response that belongs to no event."""
        keep_alive = keep_alive and not self._close_after_response
        self.transport.write(response.to_bytes(keep_alive=keep_alive, head_only=head_only))
        if not keep_alive:
            self._close()

    def _confirm_sent(self) -> None:
        """Tell the collectors that the responses are out (Y1)."""
        exchanges, self._unsent = self._unsent, []
        for exchange in exchanges:
            exchange.collector.response_sent(exchange)

    def _continue(self) -> None:
        """Serve what arrived meanwhile, and read again, if nothing else is in the way."""
        if self._reading_is_paused:
            return
        unread, self._unread = self._unread, b""
        if self._close_after_response and self.state is IDLE:
            self._close()
        elif unread:
            self.data_received(unread)
        if not self._reading_is_paused:
            self.transport.resume_reading()

    @property
    def _reading_is_paused(self) -> bool:
        """Whether a response has to get out before anything is read."""
        if self.state is PROCESSING or self.state is CLOSED:
            return True
        return self.transport.get_write_buffer_size() > 0

    # what a fault does to a response, in PROCESSING

    def write(self, data: bytes) -> bool:
        """Send a part of a response; return whether the sender may still read it.

        A sender that closed only its own direction does.
        """
        if self.state is CLOSED or self.transport.is_closing():
            return False
        self.transport.write(data)
        if self.transport.is_closing():
            return False
        sock = self.transport.get_extra_info("socket")
        return sock is not None and not sock.getsockopt(SOL_SOCKET, SO_ERROR)

    def end_transmission(self, *, keep_alive: bool) -> None:
        """Go back to reading requests after the response is out; close without `keep_alive`."""
        if self.state is not PROCESSING:
            return
        if keep_alive:
            self._enter(DRAINING if self._body else IDLE)
            self._continue()
        else:
            self._close()

    def hang(self) -> None:
        """Send no response; keep the connection until its sender closes it."""
        self._enter(HANGING)
        self._unread = b""
        self.transport.resume_reading()  # to see that the sender closes

    # to the end

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self.state is CLOSED

    def close_after_response(self) -> None:
        """Close now, or after the response if one is due or the sender is about to ask for it."""
        self._close_after_response = True
        if self.state is IDLE and not self.transport.get_write_buffer_size():
            self.transport.abort()

    def abort(self) -> None:
        """End now, and throw away what is not sent yet."""
        if self.state is not CLOSED:
            self.transport.abort()

    def _close(self, *, linger: bool = True) -> None:
        """End after the last response.

        `linger` reads on for a moment: to close while the sender still sends would take the
        response from it. A sender that asked for the end sends nothing more.
        """
        if self.state is CLOSING:  # TLS came by `resume_writing` while it wrote
            return
        self._unread = b""
        if not linger:
            unsent = self.transport.get_write_buffer_size() or not self.transport.can_write_eof()
            self._enter(CLOSING if unsent else CLOSED)
            self.transport.close()
            return
        self._enter(CLOSING)
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            with suppress(OSError):  # the sender may be gone
                self.transport.write_eof()
        elif self._body is None:
            self.transport.close()  # TLS says goodbye itself

    def _timed_out(self) -> None:
        """The rest of a request did not come in time, or the sender did not close."""
        self._timer = None
        if self.state is CLOSING:
            self.transport.abort() if self.transport.can_write_eof() else self.transport.close()
        elif self.transport.get_write_buffer_size():  # it is not read from at present
            self._enter(self.state)
        else:
            self._refuse(BadRequest("the rest of its request did not come in time", 408))

    # within

    def _enter(self, state: State) -> None:
        """Be in `state`; its time limit begins, or begins again."""
        assert state is self.state or state in TRANSITIONS[self.state], (self.state, state)
        self.state = state
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state in SECONDS:
            self._timer = self._service.loop.call_later(SECONDS[state], self._timed_out)
        elif state is PROCESSING:
            self.transport.pause_reading()


def _is_inspection(head: RequestHead) -> bool:
    """Whether `head` asks the fake server about itself, and so is not an event."""
    return head.target.startswith(INSPECTION_PREFIX)
