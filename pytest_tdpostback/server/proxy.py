"""The double as the proxy of another program: it reaches the service's hosts and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .connection import Connection
from .heads import END_OF_HEAD
from .server import Listener
from .tls import STORE_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.request import RequestHead
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

    service: ProxyListener

    def data_received(self, data: bytes) -> None:
        """Serve every request that `data` completes."""
        self._last = data
        super().data_received(data)

    def _respond(
        self, head: RequestHead, body: bytes, *, keep_alive: bool, size: int | None = None
    ) -> None:
        connect = head.method == "CONNECT"
        where = str(head.target) if connect else head.host
        host, colon, port = where.partition(":")
        usual = "" if connect else "80"  # the one that the scheme implies serves alike
        port = port if colon else usual
        front = self.service.fronts.get(int(port) if port.isdecimal() else 0)
        if host.rstrip(".").lower() not in self.service.hosts or front is None:
            self._forbid(where)
        elif connect:
            self._tunnel(front)
        else:
            super()._respond(head, body, keep_alive=keep_alive, size=size)

    def _tunnel(self, front: Listener) -> None:
        """Say yes, and let `front` serve the rest: TLS, if any, ends there."""
        if self.transport is None:
            return
        if not self._last.endswith(b"\n") or self._last.count(END_OF_HEAD) > 1:
            self._refuse(400)  # what follows is for `front`, and was read here already
            return
        sock = self.transport.get_extra_info("socket").dup()
        self.transport.write(ESTABLISHED)
        self.transport.abort()  # the copy keeps the connection
        front.carry(sock, self.peer)

    def _forbid(self, where: str) -> None:
        """Say no, in the reason phrase too: many clients show nothing else of a proxy."""
        hosts = ", ".join(sorted(self.service.hosts))
        body = f"tdpostback: no way to {where}, only to ports 80 and 443 of {hosts}\n"
        head = (
            f"HTTP/1.1 403 tdpostback: no way to {where}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.write((head + body).encode("latin-1"), close=True)


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
