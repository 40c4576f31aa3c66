"""Listeners in place of the service's hosts, and the proxies that lead to them."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from .tls import server_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..collector.collector import Collector
    from .listener import Listener
    from .redirect import Redirect
    from .server import CollectorServer
    from .tls import TrustFiles

LOOPBACK = "127.0.0.1"


class HostListeners:
    """Opens listeners for the service's hosts when they are needed, once for the same hosts."""

    def __init__(self, server: CollectorServer, collector: Callable[[], Collector]) -> None:
        """`collector()` returns the collector of a request that arrives now."""
        self.collector = collector
        self.opened: list[Listener] = []
        """Every listener that this object has opened."""
        self._server = server
        self._listeners: dict[tuple[str, ...], dict[int, Listener]] = {}
        self._proxies: dict[tuple[str, ...], Listener] = {}

    def listeners(self, hosts: tuple[str, ...]) -> dict[int, Listener]:
        """Return the listener for each port of `hosts`: 80 without TLS, 443 with it."""
        __tracebackhide__ = True
        if hosts not in self._listeners:
            context = server_context(hosts)
            self._listeners[hosts] = {80: self._open(), 443: self._open(ssl_context=context)}
        return self._listeners[hosts]

    def proxy(self, hosts: tuple[str, ...]) -> Listener:
        """Return the proxy that connects to `hosts` and to no other host."""
        __tracebackhide__ = True
        from .proxy import ProxyListener

        if hosts not in self._proxies:
            proxy_class = partial(ProxyListener, self.listeners(hosts), frozenset(hosts))
            self._proxies[hosts] = self._open(listener_class=proxy_class)
        return self._proxies[hosts]

    def redirect(
        self,
        hosts: tuple[str, ...],
        *,
        block_network: bool = False,
        allow_hosts: tuple[str, ...] = (),
    ) -> Redirect:
        """Return a redirect of `hosts` to these listeners; it is not active yet."""
        __tracebackhide__ = True
        from . import redirect

        listeners = self.listeners(hosts)
        proxies = redirect.proxies_of_environment()
        proxy = self.proxy(hosts) if proxies else None
        opened = [*listeners.values(), *([proxy] if proxy else [])]
        return redirect.Redirect(
            hosts=frozenset(hosts),
            ports=_ports(listeners),
            proxies=dict.fromkeys(proxies, proxy.port) if proxy else {},
            close_connections=partial(self.close_connections, opened),
            note_blocked_host=lambda host: self.collector().note_blocked_host(host),
            block_network=block_network,
            allow_hosts=allow_hosts,
        )

    def proxy_environ(self, hosts: tuple[str, ...], files: TrustFiles) -> dict[str, str]:
        """Return the environment of a subprocess whose connections to `hosts` end here."""
        __tracebackhide__ = True
        from .proxy import environment

        url = f"http://{LOOPBACK}:{self.proxy(hosts).port}"
        return environment(url, _ports(self.listeners(hosts)), hosts, files)

    def close_connections(self, listeners: Iterable[Listener]) -> None:
        """Close the connections to `listeners`; requests that have arrived get their response."""
        if not self._server.is_running():
            return
        done = threading.Event()

        def close() -> None:
            for listener in listeners:
                listener.close_connections()
            loop.call(done.set)  # the loop closes the sockets in its next round

        loop = self._server.loop_thread
        loop.call(partial(loop.call_later, 0.0, close))
        done.wait(1.0)

    def _open(self, **options: Any) -> Listener:
        listener = self._server.open_listener(self.collector, host=LOOPBACK, **options)
        self.opened.append(listener)
        return listener


def _ports(listeners: dict[int, Listener]) -> dict[int, int]:
    return {port: listener.port for port, listener in listeners.items()}
