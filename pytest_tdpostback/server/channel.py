"""A plain TCP connection on the loop, without the cost of asyncio's own transports.

It calls the same protocol methods, so a connection does not know which of the two carries it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from .selector import READ, WRITE

if TYPE_CHECKING:
    from .selector import ServingSelector

READ_SIZE = 64 * 1024
"""Bytes asked for at once: for larger ones memory is mapped, and unmapped, with each read."""


def socket_of(transport: asyncio.BaseTransport) -> socket.socket | None:
    """The socket under `transport`; `None` for the moment between TLS losing it and saying so."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    return sock


class SocketChannel(asyncio.Transport):
    """Carries one accepted, non-blocking socket for one protocol."""

    __slots__ = (
        "_closing",
        "_descriptor",
        "_ended",
        "_out",
        "_protocol",
        "_selector",
        "_socket",
        "_watched",
    )

    def __init__(
        self, selector: ServingSelector, sock: socket.socket, protocol: asyncio.Protocol
    ) -> None:
        """Starts reading at once: what the sender has already sent is served right away."""
        self._selector = selector
        self._socket = sock
        self._descriptor = sock.fileno()
        self._protocol = protocol
        self._out = bytearray()
        self._closing = False
        self._ended = False
        self._watched = 0
        protocol.connection_made(self)
        self.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`"socket"` gives the socket, as in asyncio."""
        return self._socket if name == "socket" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` now as far as the socket takes it, the rest when it can."""
        if self._closing:
            return
        if self._out:
            self._out += data
            return
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < len(data):
            self._out += data[sent:]
            self._watch(self._watched | WRITE)
            self._protocol.pause_writing()

    def close(self) -> None:
        """End the connection when everything written is sent."""
        if not self._closing:
            self._closing = True
            self.pause_reading()
            if not self._out:
                self._lose(None)

    def abort(self) -> None:
        """End the connection now, whatever is still to be sent."""
        self._lose(None)

    def is_closing(self) -> bool:
        """Whether the connection is ending or ended."""
        return self._closing

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        self._watch(self._watched & ~READ)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._closing:
            self._watch(self._watched | READ)

    def write_eof(self) -> None:
        """Tell the peer that no more will be sent, once everything written is."""
        self._ended = True
        if not self._out and not self._closing:
            self._shutdown()

    def can_write_eof(self) -> bool:
        """TCP can end one direction alone."""
        return True

    def _watch(self, events: int) -> None:
        """Be told of `events` of the socket from now on, and of no others."""
        if events == self._watched:
            return
        if not events:
            self._selector.unregister(self._descriptor)
        elif self._watched:
            self._selector.modify(self._descriptor, events, self._ready)
        else:
            self._selector.register(self._descriptor, events, self._ready)
        self._watched = events

    def _ready(self, events: int) -> None:
        """`events` happened; what is not watched any more was seen before that ended."""
        if events & self._watched & READ:
            self._read()
        if events & self._watched & WRITE:
            self._flush()

    def _shutdown(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._lose(error)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if data:
            self._protocol.data_received(data)
        elif self._protocol.eof_received():
            self.pause_reading()
        else:
            self.close()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        del self._out[:sent]
        if self._out:
            return
        self._watch(self._watched & ~WRITE)
        if self._closing:
            self._lose(None)
            return
        if self._ended:
            self._shutdown()
        self._protocol.resume_writing()

    def _lose(self, error: Exception | None) -> None:
        if self._socket.fileno() < 0:
            return
        self._closing = True
        self._watch(0)
        self._out.clear()
        self._socket.close()
        self._protocol.connection_lost(error)
