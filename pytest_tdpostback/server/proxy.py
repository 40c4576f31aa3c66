"""The fake server as a proxy: it connects to the service's hosts and to no other host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..protocol.settings import host_name
from .connection import Connection
from .http_parser import BadRequest
from .listener import Listener
from .tls import STORE_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..protocol.request import RequestHead
    from .http_parser import Head
    from .tls import TrustFiles

PRELOAD = Path(__file__).with_name("preload.cjs")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def destination(head: RequestHead) -> str:
    """Return the `host:port` that a proxy request asks for; the port may be missing."""
    return str(head.target) if head.method == "CONNECT" else head.host


def destination_port(head: RequestHead, hosts: Collection[str]) -> int | None:
    """Return the port of one of `hosts` that a proxy request asks for, `None` for another host.

    `CONNECT` has to name a port. Any other request without a port means port 80: the same listener
    also takes `https` targets, which some clients send without `CONNECT`.
    """
    host, colon, port = destination(head).partition(":")
    if not colon and head.method != "CONNECT":
        port = "80"
    return int(port) if port.isdecimal() and host_name(host) in hosts else None


def forbidden(where: str, hosts: Iterable[str]) -> bytes:
    """Return the 403 response to a request for another host.

    The reason phrase says why, because many clients show nothing else of a proxy's response.
    """
    names = ", ".join(sorted(hosts))
    body = f"tdpostback: no way to {where}, only to ports 80 and 443 of {names}\n"
    head = (
        f"HTTP/1.1 403 tdpostback: no way to {where}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode("latin-1")


class ProxyListener(Listener):
    """A listening socket for proxy requests: `CONNECT` and absolute targets."""

    def __init__(
        self, listeners: Mapping[int, Listener], hosts: frozenset[str], *listening: Any
    ) -> None:
        """`listeners` gives the listener for each port of `hosts`."""
        super().__init__(*listening)
        self.listeners = listeners
        self.hosts = hosts

    def connection(self, peer: str) -> Connection:
        """Return the protocol of a new connection from `peer`."""
        return ProxyConnection(self, peer)


class ProxyConnection(Connection):
    """Serves a client that uses the fake server as its proxy."""

    def __init__(self, proxy: ProxyListener, peer: str) -> None:
        """`proxy` has the hosts that are served."""
        super().__init__(proxy, peer)
        self._proxy = proxy
        self._more_follows = False

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes."""
        self._more_follows = not data.endswith(b"\r\n\r\n") or data.count(b"\r\n\r\n") > 1
        super().data_received(data)

    def respond(self, head: Head, body: bytes, size: int | None = None) -> None:
        """Open a tunnel for `CONNECT`, respond to other requests, refuse those for other hosts."""
        request, hosts = head.request, self._proxy.hosts
        port = destination_port(request, hosts)
        listener = None if port is None else self._proxy.listeners.get(port)
        if listener is None:
            where = destination(request)
            self._proxy.note_refused_connection(
                self.peer, f"this proxy does not connect to {where}, only to hosts of the service"
            )
            self.send_and_close(forbidden(where, hosts))
        elif request.method != "CONNECT":
            super().respond(head, body, size)
        elif self._more_follows:  # bytes that `listener` should get were already read here
            raise BadRequest("data follows CONNECT before the response to it")
        else:
            listener.serve(self.detach(ESTABLISHED), self.peer)


def environment(
    proxy: str, ports: Mapping[int, int], hosts: Iterable[str], files: TrustFiles
) -> dict[str, str]:
    """Return the environment of a program that connects through the proxy at the URL `proxy`.

    It is the environment of this process with other values for what programs read about proxies and
    authorities. `ports` gives the local port for each port of `hosts`, for a Node that reads no
    proxy variables.
    """
    changed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy)
    changed["no_proxy"] = ""
    changed |= {name.upper(): value for name, value in changed.items()}
    changed |= dict.fromkeys(
        ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), files.bundle
    )
    changed |= {"NODE_EXTRA_CA_CERTS": files.ca, "NODE_USE_ENV_PROXY": "1"}
    changed["NODE_OPTIONS"] = _extended("NODE_OPTIONS", f'--require "{PRELOAD.as_posix()}"')
    changed["TDPOSTBACK_REDIRECT"] = json.dumps({"hosts": [*hosts], "ports": ports})
    changed["JAVA_TOOL_OPTIONS"] = _extended("JAVA_TOOL_OPTIONS", _java_options(proxy, files))
    # An empty element means the folder that was compiled in; the last folder's values win.
    scanned = os.environ.get("PHP_INI_SCAN_DIR", "")
    changed["PHP_INI_SCAN_DIR"] = f"{scanned}{os.pathsep}{files.php}"
    return {**os.environ, **changed}


def _extended(name: str, options: str) -> str:
    return " ".join(filter(None, [os.environ.get(name), options]))


def _java_options(proxy: str, files: TrustFiles) -> str:
    host, _, port = proxy.partition("://")[2].partition(":")
    options = {
        "http.proxyHost": host,
        "http.proxyPort": port,
        "https.proxyHost": host,
        "https.proxyPort": port,
        "http.nonProxyHosts": "",
        "javax.net.ssl.trustStore": files.java,
        "javax.net.ssl.trustStoreType": "JKS",
        "javax.net.ssl.trustStorePassword": STORE_PASSWORD,
    }
    return " ".join(f'"-D{name}={value}"' for name, value in options.items())
