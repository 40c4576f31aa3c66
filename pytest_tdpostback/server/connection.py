"""One connection: bytes become requests, requests become responses, in the order of arrival.

`State` lists what a connection can be in, and `TRANSITIONS` what follows on what.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from enum import StrEnum
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from socket import MSG_PEEK, SHUT_WR, SO_ERROR, SOL_SOCKET, socket
from ssl import SSLEOFError, SSLSocket, SSLWantReadError, SSLWantWriteError
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
    from collections.abc import Callable

    from ..collector.collector import Collector, Exchange
    from ..protocol.request import RequestHead
    from .http_parser import Head
    from .loop import Loop, LoopTimer

INSPECTION_PREFIX = "/.tdpostback/"
"""How the path of a call of the REST interface begins."""
MAX_INSPECTION_BODY = 1024 * 1024
"""Bytes of the body of a call of the REST interface."""
LARGE_BODY = 32 * 1024
"""Bytes of a body up to which it is judged in the loop; a larger one takes a worker thread.

The worst JSON of this size takes 3 to 5 ms. A thread takes 0.1 ms.
"""

READ_SIZE = 64 * 1024
"""Bytes that are read at a time; at least those of a TLS record (16 KiB)."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOT_READY = (BlockingIOError, InterruptedError, SSLWantReadError, SSLWantWriteError)


class State(StrEnum):
    """What a connection is doing."""

    NEW = "the sender is connected and has sent no request yet"
    HANDSHAKE = "a TLS handshake has begun"
    IDLE = "every request that began has its response"
    HEAD = "a part of a head is there"
    BODY = "the head of a request is complete, its body is not"
    DRAINING = "the response is out; the rest of a body that is too large is read and thrown away"
    PROCESSING = "a worker thread or a fault has the response; nothing is read until it is out"
    HANGING = "a fault keeps the response back; what arrives is thrown away"
    FLUSHING = "the last response waits in the buffer; nothing is read until it is out"
    CLOSING = "the last response is out; what arrives is thrown away until the sender closes"
    CLOSED = "the connection has ended"


# Python 3.11 takes long to find a member of an enumeration.
NEW, HANDSHAKE, IDLE, HEAD, BODY, DRAINING, PROCESSING, HANGING, FLUSHING, CLOSING, CLOSED = State

TRANSITIONS = {
    NEW: {HANDSHAKE, IDLE, HEAD, BODY, FLUSHING, CLOSING, CLOSED},
    HANDSHAKE: {NEW, CLOSED},
    IDLE: {HEAD, BODY, PROCESSING, FLUSHING, CLOSING, CLOSED},
    HEAD: {IDLE, BODY, FLUSHING, CLOSING, CLOSED},
    BODY: {IDLE, DRAINING, FLUSHING, CLOSING, CLOSED},
    DRAINING: {IDLE, PROCESSING, FLUSHING, CLOSING, CLOSED},
    PROCESSING: {IDLE, DRAINING, HANGING, FLUSHING, CLOSING, CLOSED},
    HANGING: {CLOSED},
    FLUSHING: {CLOSING, CLOSED},
    CLOSING: {CLOSED},
    CLOSED: set(),
}
SECONDS = {
    HANDSHAKE: 10.0,
    HEAD: 10.0,  # from its first byte to its last
    BODY: 30.0,  # from one piece to the next
    DRAINING: 30.0,
    FLUSHING: 30.0,
    CLOSING: 2.0,  # from the last response until the server does not wait for the sender any more
}
"""How long a connection may be in a state."""


class Service(Protocol):
    """What a connection needs of the listener that accepted it."""

    loop: Loop
    connections: set[Connection]

    def current_collector(self) -> Collector:
        """The collector of the request that arrives now."""

    def inspect(self, head: RequestHead, body: bytes, peer: str, size: int | None) -> Response:
        """The response of the REST interface; may take long. `size` is that of `receive`."""

    def report_error(self, error: BaseException) -> None:
        """Keep an error of the server for the test."""

    def note_refused_connection(self, peer: str, reason: str, status: int | None = None) -> None:
        """Keep that `peer` sent what is not an event, and why."""


class Connection:
    """Serves one sender. All methods run in the loop, unless they say otherwise."""

    def __init__(self, service: Service, sock: socket, peer: str) -> None:
        """Begin. `sock` does not block, `peer` is the address of the sender, `host:port`."""
        self.socket = sock
        self.loop = service.loop
        self.peer = peer
        self.state = NEW
        self.when_closed: Callable[[], object] | None = None
        """Called at the end, by a fault that keeps a response back."""
        self._service = service
        self._body: BodyParser | None = None
        """The body that is arriving, in `BODY` and `DRAINING`."""
        self._unread = b""
        """What was read and is not served yet; in `HEAD`, the head so far."""
        self._searched = 0
        """In how many of these bytes a head does not end."""
        self._buffer = bytearray()
        """What is sent in the next step of the loop, or when the sender takes it."""
        self._blocked = False
        """Whether the sender does not take it. Meanwhile nothing is read from it."""
        self._unsent: list[Exchange] = []
        """Exchanges whose response is in the buffer: it is not sent yet (Y1)."""
        self._close_after_response = False
        self._timer: LoopTimer | None = None
        self._when_ready = self._shake_hands if isinstance(sock, SSLSocket) else self._transfer
        self._events = EVENT_READ
        self.loop.selector.register(sock, EVENT_READ, self._when_ready)
        service.connections.add(self)

    # what the loop calls

    def _shake_hands(self) -> None:
        """Take the next step of the TLS handshake."""
        sock = cast("SSLSocket", self.socket)
        try:
            if self.state is NEW:
                # A client that only looks whether somebody listens sends nothing. This reads the
                # bytes of the handshake themselves.
                if not socket.recv(sock, 1, MSG_PEEK):
                    self.abort()
                    return
                self._enter(HANDSHAKE)
            sock.do_handshake()
        except SSLWantReadError:
            self._watch(EVENT_READ)
        except SSLWantWriteError:
            self._watch(EVENT_WRITE)
        except OSError as error:
            if self.state is HANDSHAKE:
                self._service.note_refused_connection(self.peer, _failed_handshake(error))
            with suppress(OSError):  # to close with bytes unread would take the alert from it
                socket.recv(sock, READ_SIZE)
            self.abort()
        else:
            self._when_ready = self._transfer
            self.loop.selector.modify(sock, self._events, self._when_ready)
            self._enter(NEW)

    def _transfer(self) -> None:
        """Send what waits in the buffer, or read."""
        try:
            if self._blocked:
                self._flush()
            elif data := self.socket.recv(READ_SIZE):
                self._unread += data
                self.loop.soon(self.serve)
            else:
                if self.state is not CLOSING:
                    self._end_sending()
                self.abort()
        except NOT_READY:
            pass
        except OSError:
            self.abort()

    def _flush(self) -> None:
        """Send what is in the buffer, unless it is out already; then go on."""
        if not self._buffer:
            return
        self._send_buffer()
        if self._buffer:
            return
        if self.state is FLUSHING:
            self._enter(CLOSING)
            self._end_sending()
        else:
            self._continue()

    def serve(self) -> None:
        """Serve every request that is complete."""
        data, searched, at = self._unread, self._searched, 0
        self._unread, self._searched = b"", 0
        try:
            while at < len(data):
                state = self.state
                if state is IDLE or state is NEW or state is HEAD:
                    at = self._read_head(data, at, searched)
                    if self.state is HEAD:
                        self._searched = len(data) - at
                        break
                elif state is BODY or state is DRAINING:
                    at = self._read_body(data, at)
                else:
                    break
        except BadRequest as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 - the test fails with it
            self._service.report_error(error)
            if self.state not in (FLUSHING, CLOSING, CLOSED):
                self._send_response(empty(500), keep_alive=False)
        if self.state is PROCESSING or self.state is HEAD:
            self._unread = data[at:]

    # from bytes to requests

    def _read_head(self, data: bytes, at: int, searched: int) -> int:
        """Read a head from `data[at:]`, and serve the request if it is all there.

        The head does not end in the first `searched` bytes of `data`.
        """
        if data[at] in b"\r\n":  # empty lines before a request count for nothing
            at = len(data) - len(data[at:].lstrip(b"\r\n"))
        end = data.find(END_OF_HEAD, at if searched < 3 else max(at, searched - 3))
        if end < 0:
            if at < len(data):
                check_start(data[at : at + MAX_HEAD], max(0, searched - at))
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
            self._write(CONTINUE)
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
                collector, data = self._service.current_collector(), bytes(body.data)
                self.respond(collector, body.head, data, body.size)
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
            try:
                self.loop.call(partial(self._processed, head, result))
            except RuntimeError:  # the server has stopped, and nobody reads the response
                if not isinstance(result, Response):
                    result.collector.response_sent(result)

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
        head_only = head.request.method == "HEAD"
        if keep_alive and not head_only:
            data = response.kept_alive
        else:
            data = response.to_bytes(keep_alive=keep_alive, head_only=head_only)
        if effect is not None and effect.transmission is not None:
            self._enter(PROCESSING)
            effect.transmission.send(self, exchange, data, keep_alive=keep_alive)
            return
        self._unsent.append(exchange)
        if keep_alive:
            self._write(data)
        else:
            self._close(data, linger=head.keep_alive or self._body is not None)

    def _send_response(
        self, response: Response, *, keep_alive: bool, head_only: bool = False
    ) -> None:
        """Send a response that belongs to no event."""
        keep_alive = keep_alive and not self._close_after_response
        data = response.to_bytes(keep_alive=keep_alive, head_only=head_only)
        if keep_alive:
            self._write(data)
        else:
            self._close(data)

    def _continue(self) -> None:
        """Serve what arrived meanwhile, if nothing else is in the way."""
        if self.state is PROCESSING or self.state is CLOSED or self._buffer:
            return
        if self._close_after_response and self.state is IDLE:
            self._close()
        elif self._unread:
            self.serve()

    def _write(self, data: bytes) -> None:
        """Send `data` in the next step of the loop, or when the sender takes it."""
        if not self._buffer:
            self.loop.soon(self._flush)
        self._buffer += data

    def _send_buffer(self) -> bool:
        """Send of the buffer what the sender takes now; return whether it is still there."""
        gone = False
        try:
            sent = self.socket.send(self._buffer)
        except NOT_READY:
            sent = 0
        except OSError:  # reading will show it, too
            sent, gone = len(self._buffer), True
        del self._buffer[:sent]
        if self._buffer or self._blocked:
            self._blocked = bool(self._buffer)
            self._watch()
        while self._unsent and not self._buffer:
            exchange = self._unsent.pop(0)
            exchange.collector.response_sent(exchange)
        return not gone

    # what a fault does to a response, in PROCESSING

    def write(self, data: bytes) -> bool:
        """Send a part of a response now; return whether the sender may still read it.

        A sender that closed only its own direction does.
        """
        if self.state is CLOSED:
            return False
        self._buffer += data
        if not (self._blocked or self._send_buffer()):
            return False
        return not self.socket.getsockopt(SOL_SOCKET, SO_ERROR)

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

    # to the end

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self.state is CLOSED

    def close_after_response(self) -> None:
        """Close now, or after the response if one is due or the sender is about to ask for it."""
        self._close_after_response = True
        if self.state is IDLE and not self._buffer:
            self.abort()

    def abort(self) -> None:
        """End now, and throw away what the sender does not take."""
        if self.state is CLOSED:
            return
        if self._buffer and not self._blocked:  # its turn to be sent has not come
            self._send_buffer()
        if self.state is HEAD or self.state is BODY:
            self._service.note_refused_connection(self.peer, "it ended in the middle of a request")
        self._enter(CLOSED)
        self.socket.close()
        self._service.connections.discard(self)
        self._body, self._unread = None, b""
        self._buffer.clear()
        del self._when_ready  # a reference cycle
        for exchange in self._unsent:
            exchange.collector.response_sent(exchange)
        if self.when_closed is not None:
            self.when_closed()

    def _close(self, data: bytes = b"", *, linger: bool = True) -> None:
        """End after `data`, which is the rest of the last response.

        `linger` reads on for a moment: to close while the sender still sends would take the
        response from it. A sender that asked for the end sends nothing more.
        """
        self._unread = b""
        self._buffer += data
        if self._buffer and not self._blocked:
            self._send_buffer()
        if not linger and not self._buffer:
            if isinstance(self.socket, SSLSocket):
                self._end_sending()
            self.abort()
            return
        self._enter(FLUSHING if self._buffer else CLOSING)
        if not self._buffer:
            self._end_sending()

    def _end_sending(self) -> None:
        with suppress(OSError):  # the sender may be gone, and TLS waits for no confirmation
            if isinstance(self.socket, SSLSocket):
                self.socket.unwrap()
        with suppress(OSError):
            self.socket.shutdown(SHUT_WR)  # what arrives from now on is not decrypted

    def _timed_out(self) -> None:
        """The rest of a request did not come in time, or the sender did not close."""
        self._timer = None
        if self.state is FLUSHING or self.state is CLOSING:
            self.abort()
        elif self.state is HANDSHAKE:
            reason = f"the TLS handshake did not end in {SECONDS[HANDSHAKE]:g} seconds"
            self._service.note_refused_connection(self.peer, reason)
            self.abort()
        elif self._blocked:  # it is not read from at present
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
            self._timer = self.loop.call_later(SECONDS[state], self._timed_out)
        self._watch()

    def _watch(self, events: int = EVENT_READ) -> None:
        """Wait for `events` of the socket, if neither the state nor the buffer wants others."""
        if self.state is CLOSED or self.state is PROCESSING:
            events = 0
        if self._blocked and self.state is not CLOSED:
            events = EVENT_WRITE
        before, self._events = self._events, events
        if not before:
            if events:
                self.loop.selector.register(self.socket, events, self._when_ready)
        elif not events:
            self.loop.selector.unregister(self.socket)
        elif events != before:
            self.loop.selector.modify(self.socket, events, self._when_ready)


def _is_inspection(head: RequestHead) -> bool:
    """Whether `head` asks the fake server about itself, and so is not an event."""
    return head.target.startswith(INSPECTION_PREFIX)


def _failed_handshake(error: OSError) -> str:
    """Why a TLS handshake failed, and what to do."""
    reason = str(getattr(error, "reason", ""))
    if reason in ("HTTP_REQUEST", "WRONG_VERSION_NUMBER"):
        return "it does not speak TLS; send to a URL that begins with https://"
    fix = "let it trust the authority in `ca_file`, or use `ssl_context()`"
    if "UNKNOWN_CA" in reason:
        return f"it does not trust the certificate; {fix}"
    if "CERTIFICATE" in reason:  # some clients send this alert in both cases
        return (
            "it does not accept the certificate; check that the certificate names the host in its "
            f"URL, and {fix}"
        )
    if isinstance(error, (SSLEOFError, ConnectionError)):
        return f"it ended the TLS handshake; if it does not trust the certificate, {fix}"
    return f"the TLS handshake failed: {error}"
