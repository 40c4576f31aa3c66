"""One connection: bytes in, requests out to the collector, answers back in order.

Requests are parsed by httptools. A head that was parsed before is recognised by its bytes, and one
that differs harmlessly by its lines, because senders repeat their heads: then only the body has to
be cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

import httptools

from ..protocol.response import Response
from .heads import END_OF_HEAD
from .http_parser import MAX_DRAIN, MAX_HEAD, BadRequest, Message, Parser

if TYPE_CHECKING:
    from ..collector.collector import Exchange
    from ..protocol.request import RequestHead
    from .heads import Known
    from .service import Service

HEAD_SECONDS = 10.0
"""From the first byte of a head to its last."""
BODY_SECONDS = 30.0
"""From one piece of a body to the next."""
LINGER_SECONDS = 2.0
"""From the last answer to the end of a connection whose sender does not close it."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Serves one sender, request by request."""

    def __init__(self, service: Service, peer: str) -> None:
        """`peer` is the sender's address as `host:port`."""
        self.service = service
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self._parser: Parser | None = None
        self._partial = bytearray()
        """A request whose head is known and whose body is not all there."""
        self._begun: Known | None = None
        """What the head of that request came to."""
        self._needed = 0
        self._waiting: deque[Message | Response] = deque()
        """What came after a request whose answer takes its time."""
        self._unread = bytearray()
        self._event_head: RequestHead | None = None
        self._out: list[bytes] = []
        self._answered: list[Exchange] = []
        self._busy = False
        self._blocked = False
        self._ending = False
        self._owing = False
        self._leaving = False
        self._silent = True
        """Whether nothing was ever sent."""

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self.transport = cast("asyncio.Transport", transport)
        self.service.opened(self)

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes, then send their answers in one piece."""
        self._silent = False
        if self._ending:
            return
        if self._busy or self._blocked:
            self._unread += data
            self._pause()
            return
        try:
            self._serve(data)
        except Exception as error:  # noqa: BLE001 - the test fails with it
            self.service.failed(error)
            self._end(_refusal(500))
        finally:
            self.flush()

    def eof_received(self) -> bool:
        """The sender sends no more: an answer on its way is still sent."""
        return self._busy and not self._ending

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The connection is gone, with whatever was not complete."""
        if self.transport:
            self.transport.close()  # or Python 3.10 says of TLS that nobody did
            self.service.closed(self)
        self.service.deadlines.drop(self)
        self.transport = self._parser = None
        self._ending = True
        self._blocked = False
        self._waiting.clear()
        self._unread.clear()
        self._partial.clear()
        self.flush()

    def pause_writing(self) -> None:
        """The sender does not read: stop reading from it."""
        self._blocked = True
        self._pause()

    def resume_writing(self) -> None:
        """The sender reads again."""
        self._blocked = False
        self.flush()
        if not self._busy:
            self._go_on()

    def expired(self) -> None:
        """The rest of a request did not come in time, or the sender did not close."""
        self._owing = False
        if self._ending:
            self._give_up()
        elif self._busy or self._blocked:
            self._watch()
        else:
            self._refuse(408)

    # from bytes to requests

    def _serve(self, data: bytes) -> None:
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                self._watch()
                return
            data = bytes(self._partial)
            self._partial.clear()
        if self._parser is None or self._parser.message is None:
            data = self._serve_known(data)
        if data and not self._ending:
            self._parse(data)
        if self._owing or self._partial or (self._parser and self._parser.message):
            self._watch()

    def _serve_known(self, data: bytes) -> bytes:
        """Serve requests as long as their heads are known; what is left is to be parsed."""
        start, size = 0, len(data)
        heads = self.service.heads
        while start < size and not self._ending:
            if self._busy:
                self._unread += data[start:]
                return b""
            end = data.find(END_OF_HEAD, start) + len(END_OF_HEAD)
            raw = data[start:end] if end >= len(END_OF_HEAD) else b""
            known = remembered = heads.get(raw)
            if known is None:
                known = self._begun or self._like_another(raw)
            if known is None or known.length > self.service.collector().size_limit(known.head):
                return data[start:]
            stop = end + known.length
            if stop > size:
                self._partial += data[start:]
                self._needed = stop - start
                self._begun = known
                return b""
            start, self._begun = stop, None
            if remembered is None:
                self.service.heads.note(raw, known)
            self._respond(known.head, data[end:stop], keep_alive=known.keep_alive)
        return b""

    def _like_another(self, raw: bytes) -> Known | None:
        """What `raw` comes to, if it is like the head parsed last, here or else anywhere."""
        pattern = (self._parser and self._parser.pattern) or self.service.heads.pattern
        return pattern.like(raw) if pattern and 0 < len(raw) <= MAX_HEAD else None

    def _parse(self, data: bytes) -> None:
        if self._parser is None:
            self._parser = Parser(self)
        try:
            self._parser.feed(data)
        except BadRequest as error:
            self._refuse(error.status)
        except httptools.HttpParserError:
            self._refuse(400)

    def _watch(self) -> None:
        """Keep account of how long the sender may leave its request incomplete."""
        message = self._parser and self._parser.message
        if self._ending:
            return
        if not message and not self._partial:
            self._owing = False
            self.service.deadlines.drop(self)
        elif self._parser and message and self._parser.in_head:
            if not self._owing:
                self._owing = True
                self.service.deadlines.set(self, HEAD_SECONDS)
        else:
            self._owing = True
            self.service.deadlines.set(self, BODY_SECONDS)

    def begun(self, message: Message) -> None:
        """The head of `message` is complete."""
        message.limit = self.service.collector().size_limit(message.head)
        if not self._busy and not self._waiting:
            self._admit(message)

    def _admit(self, message: Message) -> None:
        """Answer what can be answered before the body is there (B6, B11)."""
        if message.length > message.limit:
            self.overflowed(message)
        elif message.expects_continue and not message.size and not self._ending:
            self._out.append(CONTINUE)
            self.flush()

    def overflowed(self, message: Message) -> None:
        """The body of `message` is too large: answer now, and read on for the sender's sake."""
        if message.answered or self._busy or self._waiting:
            return
        message.answered = True
        size = max(message.length, message.size)
        bearable = size <= message.limit + MAX_DRAIN and not message.expects_continue
        self._respond(message.head, b"", keep_alive=message.keep_alive and bearable, size=size)
        self.flush()

    def completed(self, message: Message) -> None:
        """`message` is complete: answer it, or let it wait for those before it."""
        if message.answered:
            return
        if self._busy or self._waiting:
            self._waiting.append(message)
        else:
            self._respond_to(message)

    # from requests to answers

    def _respond_to(self, message: Message) -> None:
        body, keep_alive = message.body(), message.keep_alive
        self._respond(message.head, body, keep_alive=keep_alive, size=message.size)

    def _respond(
        self, head: RequestHead, body: bytes, *, keep_alive: bool, size: int | None = None
    ) -> None:
        if self._ending:
            return
        keep_alive = keep_alive and not self._leaving
        if head is not self._event_head:
            if self._answers_otherwise(head, body, keep_alive=keep_alive):
                return
            self._event_head = head
        collector = self.service.collector()
        exchange = collector.receive(head, body, self.peer, size=size)
        if exchange.effect is not None and exchange.effect.transmission is not None:
            self._busy = True
            exchange.effect.transmission(self, exchange, keep_alive=keep_alive)
            return
        self._answered.append(exchange)
        answer = exchange.response
        if head.method == "HEAD":
            self.write(answer.to_bytes(keep_alive=keep_alive, head_only=True), close=not keep_alive)
        elif keep_alive:
            self._out.append(answer.kept_alive)
        else:
            self.write(answer.closing, close=True)

    def _answers_otherwise(self, head: RequestHead, body: bytes, *, keep_alive: bool) -> bool:
        """Answer what is no event; false where it is one."""
        if self.service.answers_itself(head):
            answer = self.service.dispatch_request(head, body, self.peer)
            self.write(answer.to_bytes(keep_alive=keep_alive), close=not keep_alive)
            return True
        if self.service.answers_aside(head):
            self._busy = True
            done = partial(self._answered_aside, keep_alive)
            self.service.dispatch_aside(head, body, self.peer, done)
            return True
        return False

    def _answered_aside(self, keep_alive: bool, answer: Response) -> None:  # noqa: FBT001 - partial
        self.write(answer.to_bytes(keep_alive=keep_alive), close=not keep_alive)
        self.delivered()

    def write(self, data: bytes, *, close: bool = False) -> None:
        """Send `data` after what is to be sent already; `close` ends the connection with it."""
        self._out.append(data)
        if close:
            self.flush()
            self._linger()

    def flush(self) -> None:
        """Send what is to be sent; once it is out, the events it answers are validated (Y1)."""
        if self._out:
            if self.transport:
                self.transport.write(b"".join(self._out))
            self._out.clear()
        if self._answered and not self._blocked:
            exchanges, self._answered = self._answered, []
            for exchange in exchanges:
                exchange.collector.response_sent(exchange)

    def ignore(self) -> None:
        """Read on and take no notice of it, until the sender closes the connection."""
        self._ending = True
        self.service.deadlines.drop(self)

    def delivered(self) -> None:
        """A delivery that took its time is over: go on with what has arrived since."""
        self._busy = False
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and not self._busy and not self._ending:
            next_one = self._waiting.popleft()
            if isinstance(next_one, Response):
                self._end(next_one)
            else:
                self._respond_to(next_one)
        self.flush()
        if self._busy or self._blocked or self.transport is None:
            return
        if self._leaving and not self._ending:
            self._linger()
            return
        self.transport.resume_reading()
        if self._parser and self._parser.message and not self._parser.in_head:
            self._admit(self._parser.message)
        if self._unread:
            unread, self._unread = bytes(self._unread), bytearray()
            self.data_received(unread)

    def _pause(self) -> None:
        if self.transport:
            self.transport.pause_reading()

    # to the end

    def leave(self) -> bool:
        """End after the answer that is due, which is then the last; whether none is.

        One is where nothing was ever sent: who has just connected is about to send.
        """
        self._leaving = True
        begun = self._partial or self._unread or (self._parser and self._parser.message)
        return not (self._silent or begun or self._busy or self._blocked or self._ending)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, once those before it are answered, and end."""
        if self._busy or self._waiting:
            self._waiting.append(_refusal(status))
        elif self._parser and self._parser.message and self._parser.message.answered:
            self._linger()
        elif not self._ending:
            self._end(_refusal(status))

    def _end(self, answer: Response) -> None:
        self.write(answer.to_bytes(keep_alive=False), close=True)

    def _give_up(self) -> None:
        """End now; TLS first takes leave, and has as long again for that."""
        if self.transport is None:
            return
        if self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.abort()
        else:
            self.transport.close()
            self.service.deadlines.set(self, LINGER_SECONDS)

    def _linger(self) -> None:
        """Read and ignore for a moment, lest closing takes the answer from the sender."""
        self._ending = True
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        elif not (self._parser and self._parser.message):  # all was read: TLS can end at once
            self.transport.close()
            return
        self.service.deadlines.set(self, LINGER_SECONDS)


def _refusal(status: int) -> Response:
    return Response(status, (("Content-Length", "0"),), b"")
