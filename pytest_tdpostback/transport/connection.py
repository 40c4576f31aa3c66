"""One connection: bytes in, requests out to the collector, answers back in order.

Every request is parsed by httptools. A head that was parsed before is recognised by its bytes,
because senders repeat their heads: then only the body has to be cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from ..protocol.answer import Answer
from ..protocol.judge import size_limit
from .parser import Message, Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..collector.collector import Collector
    from ..protocol.request import Head

LINGER_SECONDS = 2.0

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_END = b"\r\n\r\n"


class Service(Protocol):
    """What a connection needs of the server that accepted it."""

    heads: dict[bytes, tuple[Head, int]]

    def collector(self) -> Collector:
        """The collector of the request that arrives now."""

    def answers_itself(self, head: Head) -> bool:
        """Whether `head` is no event and goes to `dispatch`."""

    def dispatch_request(self, head: Head, body: bytes, peer: str) -> Answer:
        """The answer to a request that is no event."""

    def answers_aside(self, head: Head) -> bool:
        """Whether `head` goes to `dispatch` and may take its time there."""

    def dispatch_aside(
        self, head: Head, body: bytes, peer: str, done: Callable[[Answer], None]
    ) -> None:
        """Find the answer in a thread of its own; the loop then calls `done` with it."""

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """A connection began."""

    def closed(self, transport: asyncio.BaseTransport) -> None:
        """A connection ended."""

    def failed(self, error: Exception) -> None:
        """An error of our own while serving: the test has to see it."""


class Connection(asyncio.Protocol):
    """Serves one sender, request by request."""

    def __init__(self, service: Service, peer: str) -> None:
        """`peer` is the sender's address as `host:port`."""
        self.service = service
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self._parser: Parser | None = None
        self._waiting: deque[Message] = deque()
        self._unread = bytearray()
        self._out: list[bytes] = []
        self._answered: list[tuple[Collector, int]] = []
        self._busy = False
        self._ending = False
        self._blocked = False

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self.transport = cast("asyncio.Transport", transport)
        self.service.opened(transport)

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes, then send their answers in one piece."""
        if self._ending:
            return
        if self._busy or self._blocked:
            self._unread += data
            self._pause()
            return
        try:
            self._serve(data)
        except Exception as error:
            self.service.failed(error)
            self._end(Answer(500, (("Content-Length", "0"),), b""))
        finally:
            self._flush()

    def eof_received(self) -> bool:
        """The sender sends no more: an answer on its way is still sent."""
        return self._busy and not self._ending

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, with whatever was not complete."""
        if self.transport:
            self.service.closed(self.transport)
        self.transport = self._parser = None
        self._ending = True
        self._waiting.clear()
        self._unread.clear()

    def pause_writing(self) -> None:
        """The sender does not read: stop reading from it."""
        self._blocked = True
        self._pause()

    def resume_writing(self) -> None:
        """The sender reads again."""
        self._blocked = False
        if not self._busy:
            self._go_on()

    # from bytes to requests

    def _serve(self, data: bytes) -> None:
        if self._parser is None:
            data = self._serve_known(data)
        if data and not self._ending:
            self._parse(data)

    def _serve_known(self, data: bytes) -> bytes:
        start = 0
        heads = self.service.heads
        while start < len(data) and not self._busy:
            end = data.find(_END, start) + 4
            known = heads.get(data[start:end]) if end > 3 else None
            if known is None or end + known[1] > len(data):
                break
            start = end + known[1]
            self._respond(known[0], data[end:start], keep_alive=True)
        if self._busy and start < len(data):
            self._unread += data[start:]
            return b""
        return data[start:] if start else data

    def _parse(self, data: bytes) -> None:
        while data:
            if self._parser is None:
                self._parser = Parser(self, data)
            try:
                data = self._parser.feed(data)
            except httptools.HttpParserError:
                if not self._ending:
                    self._end(_refusal_of_bytes(self._parser.oversized()))
                return
            if self._parser is not None and (self._parser.message is None or data):
                self._parser = None

    def begun(self, message: Message) -> None:
        """The head of `message` is complete: what can be answered before its body is."""
        verdict = self.service.collector().verdict(message.head)
        message.limit = size_limit(verdict.profile, self.service.collector().settings)
        if self._busy or self._waiting:
            return
        if message.length > message.limit:
            self.overflowed(message)
        elif message.expects_continue:
            self._out.append(CONTINUE)
            self._flush()

    def overflowed(self, message: Message) -> None:
        """The body of `message` is too large: answer now, and read on for the sender's sake."""
        if not message.answered and not self._busy and not self._waiting:
            message.answered = True
            keep_alive = message.keep_alive and not message.expects_continue
            self._respond(message.head, b"", keep_alive=keep_alive, size=message.limit + 1)
            self._flush()

    def completed(self, message: Message) -> None:
        """`message` is complete: answer it, or let it wait for those before it."""
        if self._busy:
            self._waiting.append(message)
        elif not message.answered:
            self._respond_to(message)

    # from requests to answers

    def _respond_to(self, message: Message) -> None:
        body, keep_alive = message.body(), message.keep_alive
        self._respond(message.head, body, keep_alive=keep_alive, size=message.size)

    def _respond(
        self, head: Head, body: bytes, *, keep_alive: bool, size: int | None = None
    ) -> None:
        if self._ending:
            return
        if self.service.answers_itself(head):
            answer = self.service.dispatch_request(head, body, self.peer)
            self.write(answer.wire(keep_alive=keep_alive), close=not keep_alive)
            return
        if self.service.answers_aside(head):
            self._busy = True
            done = partial(self._answered_aside, keep_alive)
            self.service.dispatch_aside(head, body, self.peer, done)
            return
        collector = self.service.collector()
        receipt = collector.receive(head, body, self.peer, size=size)
        if receipt.intervention is not None and receipt.intervention.delivery is not None:
            self._busy = True
            receipt.intervention.delivery(self, collector, receipt, keep_alive=keep_alive)
            return
        if keep_alive and head.method != "HEAD":
            self._out.append(receipt.answer.kept_alive)
        else:
            wire = receipt.answer.wire(keep_alive=keep_alive, head_only=head.method == "HEAD")
            self.write(wire, close=not keep_alive)
        self._answered.append((collector, receipt.seq))

    def write(self, data: bytes, *, close: bool = False) -> None:
        """Send `data` after what is to be sent already; `close` ends the connection with it."""
        self._out.append(data)
        if close:
            self._flush()
            self._linger()

    def _flush(self) -> None:
        if self._out and self.transport:
            self.transport.write(b"".join(self._out))
        self._out.clear()
        if self._answered:
            done, self._answered = self._answered, []
            for collector, seq in done:
                collector.answered(seq)

    def _answered_aside(self, keep_alive: bool, answer: Answer) -> None:  # noqa: FBT001 - partial
        self.write(answer.wire(keep_alive=keep_alive), close=not keep_alive)
        self.delivered()

    def flush(self) -> None:
        """Send what is to be sent."""
        self._flush()

    def ignore(self) -> None:
        """Read on and take no notice of it, until the sender closes the connection."""
        self._ending = True

    def delivered(self) -> None:
        """A delivery that took its time is over: go on with what has arrived since."""
        self._busy = False
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and not self._busy and not self._ending:
            message = self._waiting.popleft()
            self._respond_to(message)
        self._flush()
        if self._busy or self._blocked or self._ending:
            return
        unread, self._unread = bytes(self._unread), bytearray()
        if self.transport:
            self.transport.resume_reading()
        if unread:
            self.data_received(unread)

    def _pause(self) -> None:
        if self.transport:
            self.transport.pause_reading()

    def _end(self, answer: Answer) -> None:
        self.write(answer.wire(keep_alive=False), close=True)

    def _linger(self) -> None:
        """Read and ignore for a moment, so that closing does not take the answer from the sender."""
        self._ending = True
        if self.transport is None or self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._close)

    def _close(self) -> None:
        if self.transport:
            self.transport.close()


def _refusal_of_bytes(oversized: bool) -> Answer:
    return Answer(431 if oversized else 400, (("Content-Length", "0"),), b"")
