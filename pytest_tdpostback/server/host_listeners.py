"""Listeners in place of the service's hosts, and the proxy that connects to them and nowhere else.

A redirect in this process and the environment of a subprocess both lead to these listeners.
"""

from __future__ import annotations

import json
import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..protocol.response import Response
from ..protocol.settings import host_name
from .connection import Connection
from .http_parser import END_OF_HEAD, BadRequest
from .tls import STORE_PASSWORD, server_context

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping, MutableSequence

    from ..collector.collector import Collector
    from .http_parser import Head
    from .redirect import Redirect
    from .server import CollectorServer, Listener
    from .tls import TrustFiles

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

LOOPBACK = "127.0.0.1"
PRELOAD = Path(__file__).with_name("preload.cjs")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class HostListeners:
    """Opens listeners for the service's hosts when they are needed, once for the same hosts."""

    def __init__(
        self,
        server: CollectorServer,
        collector: Callable[[], Collector],
        opened: MutableSequence[Listener],
    ) -> None:
        """`collector()` returns the collector of a request that arrives now.

        `opened` takes every listener that is opened.
        """
        self._collector = collector
        self._opened = opened
        self._server = server
        self._listeners: dict[tuple[str, ...], tuple[dict[int, Listener], Listener]] = {}

    def redirect(
        self,
        hosts: tuple[str, ...],
        *,
        block_network: bool = False,
        allow_hosts: tuple[str, ...] = (),
    ) -> Redirect:
        """A redirect of `hosts` to these listeners; it is not active yet."""
        from . import redirect

        listeners, proxy = self._listeners_of(hosts)
        return redirect.Redirect(
            hosts=frozenset(hosts),
            ports={port: listener.port for port, listener in listeners.items()},
            proxies=dict.fromkeys(redirect.proxies_of_environment(), proxy.port),
            close_connections=partial(self._close_connections, [*listeners.values(), proxy]),
            note_blocked_host=lambda host: self._collector().note_blocked_host(host),
            block_network=block_network,
            allow_hosts=allow_hosts,
        )

    def proxy_environ(self, hosts: tuple[str, ...], files: TrustFiles) -> dict[str, str]:
        """The environment of a subprocess whose connections to `hosts` end here.

        It is the environment of this process with other values for what programs read about proxies
        and authorities. A Node that reads no proxy variables gets the local ports.
        """
        listeners, proxy = self._listeners_of(hosts)
        changed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy.url)
        changed["no_proxy"] = ""
        changed |= {name.upper(): value for name, value in changed.items()}
        changed |= dict.fromkeys(
            ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), files.bundle
        )
        changed |= {"NODE_EXTRA_CA_CERTS": files.ca, "NODE_USE_ENV_PROXY": "1"}
        changed["NODE_OPTIONS"] = _extended("NODE_OPTIONS", f'--require "{PRELOAD.as_posix()}"')
        ports = {port: listener.port for port, listener in listeners.items()}
        told = {"hosts": hosts, "ports": ports, "proxy": proxy.port}
        changed["TDPOSTBACK_REDIRECT"] = json.dumps(told)
        java = {
            "http.proxyHost": LOOPBACK,
            "http.proxyPort": proxy.port,
            "https.proxyHost": LOOPBACK,
            "https.proxyPort": proxy.port,
            "http.nonProxyHosts": "",
            "javax.net.ssl.trustStore": files.java,
            "javax.net.ssl.trustStoreType": "JKS",
            "javax.net.ssl.trustStorePassword": STORE_PASSWORD,
        }
        options = " ".join(f'"-D{name}={value}"' for name, value in java.items())
        changed["JAVA_TOOL_OPTIONS"] = _extended("JAVA_TOOL_OPTIONS", options)
        # An empty element means the folder that was compiled in; the last folder's values win.
        scanned = os.environ.get("PHP_INI_SCAN_DIR", "")
        changed["PHP_INI_SCAN_DIR"] = f"{scanned}{os.pathsep}{files.php}"
        return {**os.environ, **changed}

    def _listeners_of(self, hosts: tuple[str, ...]) -> tuple[dict[int, Listener], Listener]:
        """The listener for each port of `hosts`, 80 without TLS and 443 with it, and the proxy."""
        if hosts not in self._listeners:
            listeners = {80: self._open(), 443: self._open(ssl_context=server_context(hosts))}
            by_name = {str(port): listener for port, listener in listeners.items()}
            connection = partial(ProxyConnection, listeners=by_name, hosts=frozenset(hosts))
            self._listeners[hosts] = listeners, self._open(connection=connection)
        return self._listeners[hosts]

    def _open(self, **options: Any) -> Listener:
        listener = self._server.open_listener(self._collector, host=LOOPBACK, **options)
        self._opened.append(listener)
        return listener

    def _close_connections(self, listeners: Iterable[Listener]) -> None:
        """Close the connections to `listeners`; requests that have arrived get their response."""
        if not self._server.is_running():
            return
        done = threading.Event()

        def close() -> None:
            for listener in listeners:
                listener.close_connections()
            loop.call(done.set)  # the loop closes the sockets in its next round

        loop = self._server.loop
        loop.call(partial(loop.call_later, 0.0, close))
        done.wait(1.0)


class ProxyConnection(Connection):
    """Serves a client that uses the fake server as its proxy."""

    def __init__(
        self,
        proxy: Listener,
        sock: socket.socket,
        peer: str,
        *,
        listeners: Mapping[str, Listener],
        hosts: frozenset[str],
    ) -> None:
        """`listeners` gives the listener for each port of `hosts`."""
        super().__init__(proxy, sock, peer)
        self._proxy = proxy
        self._listeners = listeners
        self._hosts = hosts
        self._more_follows = False

    def serve(self) -> None:
        """Serve every request that is complete."""
        head_ends = self._unread.find(END_OF_HEAD) + len(END_OF_HEAD)
        self._more_follows = head_ends != len(self._unread)
        super().serve()

    def respond(
        self, collector: Collector, head: Head, body: bytes, size: int | None = None
    ) -> None:
        """Open a tunnel for `CONNECT`, respond to other requests, refuse those for other hosts."""
        request, hosts = head.request, self._hosts
        connect = request.method == "CONNECT"
        where = str(request.target) if connect else request.host
        host, colon, port = where.partition(":")
        # Only CONNECT has to name a port. The listener of port 80 also takes `https` targets, which
        # some clients send without CONNECT.
        listener = self._listeners.get(port if colon or connect else "80")
        if listener is None or host_name(host) not in hosts:
            self._proxy.note_refused_connection(
                self.peer,
                f"this proxy does not connect to {where}, only to ports 80 and 443 of the service; "
                "the argument hosts= adds a host",
            )
            names = ", ".join(sorted(hosts))
            text = f"tdpostback: no way to {where}, only to ports 80 and 443 of {names}\n"
            fields = (("Content-Type", "text/plain"), ("Content-Length", str(len(text))))
            refusal = Response(403, fields, text.encode("latin-1"))
            # Many clients show nothing else of a proxy's response.
            refusal.phrase = f"tdpostback: no way to {where}"
            self._send_response(refusal, keep_alive=False)
        elif not connect:
            super().respond(collector, head, body, size)
        elif self._more_follows:  # bytes that `listener` should get were already read here
            raise BadRequest("data follows CONNECT before the response to it")
        else:
            sock = self.socket.dup()  # keeps the connection open
            self.write(ESTABLISHED)
            self.abort()
            listener.serve(sock, self.peer)


def _extended(name: str, options: str) -> str:
    return " ".join(filter(None, [os.environ.get(name), options]))
