"""What listens in place of the service's hosts, and as the proxy that leads to them."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from ..server.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..server.listener import Listener
    from .postback import Postback
    from .server import PostbackServer

LOOPBACK = "127.0.0.1"


class Fronts:
    """Listeners for one double, or for the double of the test running now; once for given hosts."""

    def __init__(
        self, server: PostbackServer, postback: Callable[[], Postback], listeners: list[Listener]
    ) -> None:
        """`postback()` is whose request arrives now; `listeners` takes what `server` opens."""
        self.postback = postback
        self._server = server
        self._listeners = listeners
        self._of: dict[tuple[str, ...], dict[int, Listener]] = {}
        self._proxies: dict[tuple[str, ...], Listener] = {}

    def of(self, hosts: tuple[str, ...]) -> dict[int, Listener]:
        """What answers for each port of `hosts`."""
        if hosts not in self._of:
            context = server_context(hosts)
            self._of[hosts] = {80: self._open(), 443: self._open(ssl_context=context)}
        return self._of[hosts]

    def proxy(self, hosts: tuple[str, ...]) -> Listener:
        """The proxy that leads to `hosts`."""
        from ..server.proxy import ProxyListener

        if hosts not in self._proxies:
            kind = partial(ProxyListener, self.of(hosts), frozenset(hosts))
            self._proxies[hosts] = self._open(listener_class=kind)
        return self._proxies[hosts]

    def hang_up(self, listeners: Iterable[Listener]) -> None:
        """End the connections to `listeners`; what has arrived by now is answered first."""
        if not self._server.is_running():
            return
        done = threading.Event()

        def end() -> None:
            for listener in listeners:
                listener.close_connections()
            done.set()

        self._server.loop_thread.call(partial(self._server.loop_thread.call_later, 0.0, end))
        done.wait(1.0)

    def note_blocked(self, host: str) -> None:
        """Keep for the failure of a test what its code may have swallowed."""
        self.postback().blocked.append(host)

    def _open(self, **options: Any) -> Listener:
        opened = self._server.open_listener(
            lambda: self.postback()._collector, host=LOOPBACK, **options
        )
        self._listeners.append(opened)
        return opened
