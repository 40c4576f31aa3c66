"""The double as the proxy of another program: it reaches the service's hosts and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .connection import Connection
from .http_parser import BadRequest
from .listener import Listener
from .tls import STORE_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .http_parser import Head
    from .tls import TrustFiles

PRELOAD = Path(__file__).with_name("preload.cjs")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ProxyListener(Listener):
    """A listening socket where proxy requests arrive: `CONNECT` and absolute targets."""

    def __init__(
        self, fronts: Mapping[int, Listener], hosts: frozenset[str], *listening: Any
    ) -> None:
        """`fronts` gives for a port of `hosts` the listener that answers for it."""
        super().__init__(*listening)
        self.fronts = fronts
        self.hosts = hosts

    def connection(self, peer: str) -> Connection:
        """What serves one sender."""
        return ProxyConnection(self, peer)


class ProxyConnection(Connection):
    """Serves a sender that takes the double for its proxy."""

    def __init__(self, service: ProxyListener, peer: str) -> None:
        """`service` decides which hosts are served."""
        super().__init__(service, peer)
        self._proxy = service
        self._followed = False

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes."""
        self._followed = not data.endswith(b"\r\n\r\n") or data.count(b"\r\n\r\n") > 1
        super().data_received(data)

    def respond(self, head: Head, body: bytes, size: int | None = None) -> None:
        """Connect the sender to a listener, or refuse."""
        request = head.request
        connect = request.method == "CONNECT"
        where = str(request.target) if connect else request.host
        host, colon, port = where.partition(":")
        usual = "" if connect else "80"  # the one that the scheme implies serves alike
        port = port if colon else usual
        front = self._proxy.fronts.get(int(port) if port.isdecimal() else 0)
        if host.rstrip(".").lower() not in self._proxy.hosts or front is None:
            self._forbid(where)
        elif connect:
            self._tunnel(front)
        else:
            super().respond(head, body, size)

    def _tunnel(self, front: Listener) -> None:
        """Say yes, and let `front` serve the rest: TLS, if any, ends there."""
        if self._followed:  # what follows is for `front`, and was read here already
            raise BadRequest("data follows CONNECT before the response to it")
        front.serve(self.detach(ESTABLISHED), self.peer)

    def _forbid(self, where: str) -> None:
        """Say no, in the reason phrase too: many clients show nothing else of a proxy."""
        hosts = ", ".join(sorted(self._proxy.hosts))
        body = f"tdpostback: no way to {where}, only to ports 80 and 443 of {hosts}\n"
        head = (
            f"HTTP/1.1 403 tdpostback: no way to {where}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.send_and_close((head + body).encode("latin-1"))


def environment(
    proxy: str, ports: Mapping[int, int], hosts: Iterable[str], files: TrustFiles
) -> dict[str, str]:
    """The environment of a program whose connections go by the proxy at the URL `proxy`.

    It is this process's own with what programs read about proxies and authorities replaced.
    `ports` gives for a port of `hosts` the one that answers for it, to a Node that reads no proxy.
    """
    changed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy)
    changed["no_proxy"] = ""
    changed |= {name.upper(): value for name, value in changed.items()}
    changed |= dict.fromkeys(
        ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), files.bundle
    )
    changed |= {"NODE_EXTRA_CA_CERTS": files.ca, "NODE_USE_ENV_PROXY": "1"}
    changed["NODE_OPTIONS"] = _added("NODE_OPTIONS", f'--require "{PRELOAD.as_posix()}"')
    changed["TDPOSTBACK_REDIRECT"] = json.dumps({"hosts": [*hosts], "ports": ports})
    changed["JAVA_TOOL_OPTIONS"] = _added("JAVA_TOOL_OPTIONS", _java_options(proxy, files))
    return {**os.environ, **changed}


def _added(name: str, options: str) -> str:
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
